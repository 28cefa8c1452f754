import { describe, expect, it } from 'vitest';
import { checkPolicy } from './check.ts';
import { compilePolicy } from './compile.ts';
import { loadPolicy, type PolicyOptions } from './load.ts';
import { formatSourceIssue } from './source-issue.ts';

const NOW = Date.parse('2026-11-23T12:00:00Z');
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const rules = (...lines: string[]): string =>
  `version: 1\nrules:\n${lines.map((line) => `  - ${line}\n`).join('')}`;
const base = (operations: string): string =>
  `workloads: ["spiffe://example.org/w"], keys: [k], operations: [${operations}]`;
const OK = base('sign');
const JWT = base('sign-jwt');

const refusals = (text: string, options: PolicyOptions = {}): string =>
  loadPolicy(bytes(text), { file: 'p.yaml', ...options })
    .issues.map(formatSourceIssue)
    .join('\n');
const warnings = (text: string, options: PolicyOptions = {}): readonly string[] => {
  const found = checkPolicy(bytes(text), { file: 'p.yaml', ...options });
  expect(found.issues.map(formatSourceIssue)).toEqual([]);
  return found.warnings.map(formatSourceIssue);
};

const PROFILE = `id: web
    issuer: self
    names: { dns: ["*.example.org"] }
    validity: { max: 90d, default: 1d, backdate: 5m }
    keyUsage: [digitalSignature]
    extKeyUsage: [serverAuth, "1.3.6.1.4.1.99999.1"]
    subject: { O: Example, CN: "*" }`;

it('takes a policy with everything in it', () => {
  const text = `version: 1
calendars:
  holidays: ["12-25", "2026-12-24..2027-01-06"]
clock: { maxDoubt: 2s }
weights: [{ workloads: ["spiffe://example.org/**"], weight: 10 }]
certificateProfiles:
  - ${PROFILE}
rules:
  - id: all
    workloads: ["spiffe://example.org/w"]
    keys: [k]
    operations: [sign-jwt, sign-certificate, sign-dsse]
    windows:
      - { days: "mon-fri,sun", from: "22:00", to: "06:00", zone: Europe/Berlin, except: [holidays] }
      - { zone: UTC, dates: ["2026-12-01"] }
    not-before: "2026-01-01T00:00:00Z"
    not-after: "2027-01-01T00:00:00+01:00"
    when: 'request.operation != "sign-jwt" || request.jwt.seq > 0'
    evidence: { has: [x509-svid] }
    jwt: { issuers: ["https://*"], maxLifetime: 1h }
    certificate: { profiles: [web] }
    dsse: { predicateTypes: ["https://slsa.dev/provenance/v1"] }
    limits: [{ max: 5, per: 1s, by: workload, burst: 2 }, { max: 100, per: 1d, by: key }, { max: 10000, per: life, by: rule }]
  - { id: guarded, ${JWT}, guards: [{ monotonic: request.jwt.seq }] }
  - { id: trial, ${OK}, mode: observe, until: "2026-12-01T00:00:00Z", when: 'request.bytes < 10' }
  - { id: no, effect: deny, ${OK}, windows: [{ zone: UTC }], when: 'connection.peerAddress == ""' }
`;
  expect(refusals(text, { now: NOW })).toBe('');
  const loaded = loadPolicy(bytes(text), { now: NOW });
  expect(loaded.maxClockDoubtMs).toBe(2000);
  expect(loaded.certificateProfiles[0]).toEqual({
    id: 'web',
    issuer: 'self',
    names: { dns: ['*.example.org'] },
    subject: { O: 'Example', CN: '*' },
    validity: { max: 7_776_000, default: 86_400, backdate: 300 },
    keyUsage: ['digitalSignature'],
    extKeyUsage: ['serverAuth', '1.3.6.1.4.1.99999.1'],
  });
  // It crosses to another thread as it is.
  expect(structuredClone(loaded)).toEqual(loaded);
  expect(compilePolicy(bytes(text), { hash: 'h' }).certificateProfile('web')?.id).toBe('web');
});

describe('refused, each where it stands', () => {
  it.each([
    ['a time zone', `{id: a, ${OK}, windows: [{zone: Mars/Base}]}`, '`Mars/Base` is not a known time zone'],
    ['an offset for a zone', `{id: a, ${OK}, windows: [{zone: "+01:00"}]}`, 'is not a known time zone'],
    ['days', `{id: a, ${OK}, windows: [{zone: UTC, days: weekdays}]}`, '`weekdays` are no days'],
    ['a time of day', `{id: a, ${OK}, windows: [{zone: UTC, from: "8:00"}]}`, '`8:00` is not a time of day'],
    [
      'an empty window',
      `{id: a, ${OK}, windows: [{zone: UTC, from: "08:00", to: "08:00"}]}`,
      'does not end when it begins',
    ],
    [
      'a calendar that is not there',
      `{id: a, ${OK}, windows: [{zone: UTC, except: [holidays]}]}`,
      'there is no calendar `holidays`',
    ],
    ['a date', `{id: a, ${OK}, windows: [{zone: UTC, dates: ["2026-02-30"]}]}`, '`2026-02-30` is not a date'],
    ['a moment without a zone', `{id: a, ${OK}, not-after: "2026-12-01T00:00:00"}`, 'is not a moment'],
    [
      'an end before the beginning',
      `{id: a, ${OK}, not-before: "2026-12-01T00:00:00Z", not-after: "2026-12-01T00:00:00Z"}`,
      'not later than `not-before`',
    ],
    [
      'a length of a limit',
      `{id: a, ${OK}, limits: [{max: 1, per: 1w, by: key}]}`,
      '`1w` is not a length of time for a limit',
    ],
    [
      'a limit below a second',
      `{id: a, ${OK}, limits: [{max: 1, per: 500ms, by: key}]}`,
      'is not a length of time',
    ],
    ['a limit of none', `{id: a, ${OK}, limits: [{max: 0, per: 1s, by: key}]}`, 'too small'],
    [
      'two limits of one kind',
      `{id: a, ${OK}, limits: [{max: 1, per: 60s, by: key}, {max: 2, per: 1m, by: key}]}`,
      'an earlier limit counts the same',
    ],
    [
      'a burst above the limit',
      `{id: a, ${OK}, limits: [{max: 1, per: 1s, by: key, burst: 2}]}`,
      '`burst` is more than `max`',
    ],
    [
      'a burst in fixed windows',
      `{id: a, ${OK}, limits: [{max: 5, per: 1s, by: key, burst: 2, window: fixed}]}`,
      'smooth windows only',
    ],
    [
      'random counted by key',
      '{id: a, workloads: ["spiffe://e.org/w"], operations: [random], limits: [{max: 5, per: 1s, by: key}]}',
      'uses no key to count by',
    ],
    [
      'evidence that nobody verifies',
      `{id: a, ${OK}, evidence: {has: [tpm]}}`,
      '`tpm` is not supported by this version',
    ],
    [
      'evidence by another word',
      `{id: a, ${OK}, evidence: {is: [container-image]}}`,
      '`is` is not supported by this version',
    ],
    [
      'guards on raw signing',
      `{id: a, ${OK}, guards: [{monotonic: request.bytes}]}`,
      'are for typed signing only',
    ],
    [
      'a guard of two kinds',
      `{id: a, ${JWT}, guards: [{monotonic: "1", unique: "2"}]}`,
      'either `monotonic` or `unique`',
    ],
    [
      'a guard twice',
      `{id: a, ${JWT}, guards: [{unique: request.jwt.a}, {unique: request.jwt.a}]}`,
      'an earlier guard says the same',
    ],
    [
      'a guard of a wrong type',
      `{id: a, ${JWT}, guards: [{monotonic: request.operation}]}`,
      'where a whole number is needed',
    ],
    ['a type of another operation', `{id: a, ${OK}, jwt: {issuers: [a]}}`, '`jwt` is about `sign-jwt`'],
    ['an empty type', `{id: a, ${JWT}, jwt: {}}`, 'an empty `jwt` says nothing'],
    [
      'a profile that is not there',
      `{id: a, ${base('sign-certificate')}, certificate: {profiles: [web]}}`,
      'there is no certificate profile `web`',
    ],
    [
      'limits in a deny rule',
      `{id: a, effect: deny, ${OK}, limits: [{max: 1, per: 1s, by: key}]}`,
      'a deny rule has no `limits`',
    ],
    [
      'guards in a deny rule',
      `{id: a, effect: deny, ${JWT}, guards: [{unique: request.jwt.a}]}`,
      'a deny rule has no `guards`',
    ],
    [
      'types in a deny rule',
      `{id: a, effect: deny, ${JWT}, jwt: {issuers: [a]}}`,
      'a deny rule has no `jwt`; say it with `when`',
    ],
    [
      'a deny rule on probation',
      `{id: a, effect: deny, ${OK}, mode: observe}`,
      'a deny rule is always enforced',
    ],
    ['probation without an end', `{id: a, ${OK}, mode: observe}`, '`mode: observe` needs its end'],
    [
      'an end without probation',
      `{id: a, ${OK}, until: "2026-12-01T00:00:00Z"}`,
      '`until` is for `mode: observe`',
    ],
    [
      'probation of many workloads',
      '{id: a, workloads: ["spiffe://e.org/*"], keys: [k], operations: [sign], mode: observe, until: "2026-12-01T00:00:00Z"}',
      'names workloads without wildcards',
    ],
    [
      'probation of many keys',
      '{id: a, workloads: ["spiffe://e.org/w"], keys: ["**"], operations: [sign], mode: observe, until: "2026-12-01T00:00:00Z"}',
      'names keys without wildcards',
    ],
    [
      'probation with guards',
      `{id: a, ${JWT}, guards: [{unique: request.jwt.a}], mode: observe, until: "2026-12-01T00:00:00Z"}`,
      '`guards` is never only observed',
    ],
    [
      'a limit by another word',
      `{id: a, ${OK}, limits: [{max: 1, per: 1s, by: key, burts: 2}]}`,
      'did you mean `burst`?',
    ],
  ])('%s', (_, rule, message) => {
    expect(refusals(rules(rule), { now: NOW })).toContain(message);
  });

  it.each([
    ['past', '2026-11-23T12:00:00Z', 'has passed'],
    ['far', '2026-12-07T12:00:00.001Z', 'more than 14 days away'],
    ['just within', '2026-12-07T12:00:00Z', ''],
  ])('the end of probation that is %s, when there is a clock', (_, until, message) => {
    const text = rules(`{id: a, ${OK}, mode: observe, until: "${until}"}`);
    expect(refusals(text)).toBe('');
    if (message === '') expect(refusals(text, { now: NOW })).toBe('');
    else expect(refusals(text, { now: NOW })).toContain(message);
  });

  it('probation beside a rule with guards', () => {
    const trial = `{id: trial, ${JWT}, mode: observe, until: "2026-12-01T00:00:00Z"}`;
    const both = (guards: string): string =>
      `version: 1\nrules:\n  - {id: guarded, ${JWT}${guards}}\n  - ${trial}\n`;
    expect(refusals(both(''))).toBe('');
    expect(refusals(both(', guards: [{unique: request.jwt.a}]'))).toContain('p.yaml:4:');
    expect(refusals(both(', guards: [{unique: request.jwt.a}]'))).toContain(
      'the rule `guarded` guards the same',
    );
  });

  it('a clock that is none', () => {
    expect(refusals('version: 1\nclock: {maxDoubt: 10m}')).toContain(
      'p.yaml:2:19: `clock.maxDoubt` is more than 5m',
    );
    expect(refusals('version: 1\nclock: {maxDoubt: soon}')).toContain('is not a duration');
  });

  it('weights and calendars', () => {
    expect(refusals('version: 1\nweights: [{workloads: ["spiffe://*/x"], weight: 5}]')).toContain(
      'wildcard in the trust domain',
    );
    expect(refusals('version: 1\nweights: [{workloads: ["spiffe://e.org/x"], weight: 1001}]')).toContain(
      'at most 1000',
    );
    expect(refusals('version: 1\ncalendars: {a: [tomorrow]}')).toContain(
      'p.yaml:2:17: `tomorrow` is not a date',
    );
    expect(refusals('version: 1\ncalendars: {"a b": ["12-25"]}')).not.toBe('');
  });
});

describe('expressions are placed in the file', () => {
  it.each([
    ['plain', `when: request.bytes + "a" == 1`, 'p.yaml:8:11: the expression: no such overload'],
    [
      'plain, further in',
      'when: true && request.operaton == ""',
      'p.yaml:8:27: the expression: No such key: operaton',
    ],
    ['in double quotes', 'when: "true && request.operaton == \'\'"', 'p.yaml:8:28: the expression'],
    ['in single quotes', `when: 'true && nothing'`, 'p.yaml:8:20: the expression: Unknown variable: nothing'],
    ['with escapes: at its start', 'when: "true && \\x6eothing"', 'p.yaml:8:11: the expression'],
    [
      'in lines: at their start',
      'when: |\n      true &&\n      nothing',
      'p.yaml:8:11: the expression: Unknown variable: nothing (line 2, column 1 of the expression)',
    ],
  ])('%s', (_, written, expected) => {
    const text = `version: 1\n\nrules:\n  - id: a\n    workloads: ["spiffe://example.org/w"]\n    keys: [k]\n    operations: [sign]\n    ${written}\n`;
    expect(refusals(text)).toContain(expected);
  });

  it('and refused when they look at what is never there', () => {
    expect(refusals(rules(`{id: a, ${OK}, when: 'request.jwt.a == 1'}`))).toContain(
      '`request.jwt` is only there for `sign-jwt`',
    );
    expect(refusals(rules(`{id: a, effect: deny, ${JWT}, when: 'request.dsse.a == 1'}`))).toContain(
      'only there for `sign-dsse`',
    );
  });
});

describe('certificate profiles', () => {
  const profile = (change: (text: string) => string): string =>
    refusals(`version: 1\ncertificateProfiles:\n  - ${change(PROFILE)}\n`);
  it.each([
    [
      'a private key',
      (text: string) => text.replace('issuer: self', 'issuer: "-----BEGIN PRIVATE KEY-----"'),
      'hold it for disclosed',
    ],
    [
      'an issuer that is none',
      (text: string) => text.replace('issuer: self', 'issuer: ca.pem'),
      'is neither `self` nor certificates',
    ],
    [
      'CA usage without ca',
      (text: string) => text.replace('digitalSignature', 'keyCertSign'),
      '`keyCertSign` and `ca` go together',
    ],
    [
      'a default beyond the maximum',
      (text: string) => text.replace('default: 1d', 'default: 91d'),
      'not within `max`',
    ],
    ['backdating for long', (text: string) => text.replace('5m', '2h'), '`backdate` is more than 1h'],
    ['half seconds', (text: string) => text.replace('90d', '1500ms'), 'is less than whole seconds'],
    [
      'a SPIFFE pattern',
      (text: string) => text.replace('names: {', 'names: { uri: ["spiffe://*/a"],'),
      'wildcard in the trust domain',
    ],
    [
      'a URI pattern',
      (text: string) => text.replace('names: {', 'names: { uri: ["https://*.example/"],'),
      'ends in `/*`',
    ],
    [
      'an unknown extended usage',
      (text: string) => text.replace('serverAuth', 'anything'),
      'is neither a known name',
    ],
    ['the same id twice', (text: string) => `${text}\n  - ${text}`, 'is used already'],
  ])('refuse %s', (_, change, message) => {
    expect(profile((text) => text)).toBe('');
    expect(profile(change)).toContain(message);
  });
});

describe('warned about', () => {
  it.each([
    [
      'a rule that has ended',
      `{id: a, ${OK}, not-after: "2026-11-23T12:00:00Z"}`,
      'p.yaml:3:94: the rule `a` has ended',
    ],
    [
      'a window that never opens',
      `{id: a, ${OK}, windows: [{zone: UTC, days: mon, dates: ["2026-12-24"]}]}`,
      'never opens',
    ],
    [
      'a window before the rule',
      `{id: a, ${OK}, not-before: "2027-01-01T00:00:00Z", windows: [{zone: UTC, dates: ["2026-12-24"]}]}`,
      'never opens',
    ],
    [
      'a limit that another ends',
      `{id: a, ${OK}, limits: [{max: 1000, per: 1s, by: key}, {max: 500, per: 1d, by: key}]}`,
      'the limit of 1000 calls per 1s is never reached: 500 calls per 1d ends first',
    ],
    [
      'a limit above the budget',
      `{id: a, ${OK}, limits: [{max: 10, per: 1d, by: key}, {max: 10, per: life, by: rule}]}`,
      '10 calls for life ends first',
    ],
  ])('%s', (_, rule, message) => {
    expect(warnings(rules(rule), { now: NOW }).join('\n')).toContain(message);
  });

  it('not when it may be meant', () => {
    for (const rule of [
      `{id: a, ${OK}, not-after: "2026-11-24T12:00:00Z"}`,
      `{id: a, ${OK}, windows: [{zone: UTC, days: sun, dates: ["02-29"]}]}`,
      `{id: a, ${OK}, limits: [{max: 1, per: 1s, by: key}, {max: 1000, per: 1d, by: key}]}`,
      `{id: a, ${OK}, limits: [{max: 10, per: 1s, by: key}, {max: 5, per: 1d, by: workload}]}`,
    ]) {
      expect(warnings(rules(rule), { now: NOW })).toEqual([]);
    }
  });

  it('rules that change nothing beside one that always allows', () => {
    const wide =
      '{id: wide, workloads: ["spiffe://example.org/**"], keys: ["**"], operations: [sign, verify]}';
    expect(warnings(rules(wide, `{id: a, ${OK}, when: 'true'}`))).toEqual([
      expect.stringContaining('the rule `a` changes nothing: the rule `wide` allows all of it, always'),
    ]);
    expect(warnings(rules(`{id: a, ${OK}}`, `{id: b, ${OK}}`))).toEqual([
      expect.stringContaining('`b` changes nothing'),
    ]);
    expect(warnings(rules(wide.replace('}', ", when: 'true'}"), `{id: a, ${OK}}`))).toEqual([]);
  });

  it('signing of what is not understood, with keys of typed rules', () => {
    const wide = '{id: t, workloads: ["spiffe://example.org/x"], keys: ["*"], operations: [sign-jwt]}';
    expect(warnings(rules(`{id: a, ${OK}}`, wide))).toEqual([
      expect.stringContaining('the rule `a` allows `sign` to nobody: the rule `t` allows typed signing'),
    ]);
    expect(warnings(rules(`{id: a, ${base('sign, sign-jwt')}}`))).toEqual([
      expect.stringContaining('it also allows typed signing'),
    ]);
    expect(
      warnings(
        rules('{id: a, workloads: ["spiffe://example.org/x"], keys: ["**"], operations: [sign]}', wide),
      ),
    ).toEqual([]);
    expect(warnings(rules(`{id: a, ${base('verify')}}`, wide))).toEqual([]);
  });

  it('a deny rule with a condition or a window makes nothing void', () => {
    expect(
      warnings(rules(`{id: a, ${OK}}`, `{id: no, effect: deny, ${OK}, when: 'request.bytes > 5'}`)),
    ).toEqual([]);
    expect(warnings(rules(`{id: a, ${OK}}`, `{id: no, effect: deny, ${OK}}`))).toEqual([
      expect.stringContaining('allows nothing'),
    ]);
  });

  it('rules about no key and no workload that there is', () => {
    const text = rules(
      `{id: a, ${OK}}`,
      '{id: r, workloads: ["spiffe://example.org/x/*"], operations: [random]}',
    );
    const known = { knownKeys: ['other', 'a/k'], knownWorkloads: ['spiffe://example.org/x/y'] };
    expect(warnings(text, known)).toEqual([
      expect.stringContaining('the rule `a` matches no workload that is known'),
      expect.stringContaining('the rule `a` matches no key that there is'),
    ]);
    expect(
      warnings(text, {
        knownKeys: ['k'],
        knownWorkloads: ['spiffe://example.org/w', 'spiffe://example.org/x/y'],
      }),
    ).toEqual([]);
  });
});
