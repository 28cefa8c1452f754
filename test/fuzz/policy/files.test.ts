import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError, parseConfig } from '../../../broker/config.ts';
import { checkPolicy } from '../../../policy/check.ts';
import { compileLoadedPolicy } from '../../../policy/compile.ts';
import type { KeyUseQuestion } from '../../../policy/decision.ts';
import { loadPolicy } from '../../../policy/load.ts';
import { PatternError, parseKeyPattern, parseSpiffeIdPattern } from '../../../policy/pattern.ts';
import type { SourceIssue } from '../../../policy/source-issue.ts';
import { parseSpiffeId, SpiffeIdError } from '../../../policy/spiffe-id.ts';

const POLICY = `version: 1
roles:
  - id: auditors
    members: ["spiffe://example.org/auditor/*"]
    allow: { methods: [Audit.*], scope: { trustDomains: [example.org], keys: [k] } }
rules:
  - id: sign
    workloads: ["spiffe://example.org/ns/*/sa/**"]
    keys: [payments/*]
    operations: [sign, verify]
    algorithms: [ES256]
  - { id: no, effect: deny, workloads: ["spiffe://example.org/**"], keys: [old], operations: [sign] }
`;
const DYNAMIC_POLICY = `version: 1
calendars: { freeze: ["12-25", "2026-12-24..2027-01-06"] }
clock: { maxDoubt: 2s }
weights: [{ workloads: ["spiffe://example.org/batch/**"], weight: 10 }]
certificateProfiles:
  - { id: web, issuer: self, names: { dns: ["*.example.org"] }, validity: { max: 90d }, keyUsage: [digitalSignature] }
rules:
  - id: typed
    workloads: ["spiffe://example.org/w"]
    keys: [k]
    operations: [sign-jwt, sign-certificate]
    windows: [{ days: mon-fri, from: "22:00", to: "06:00", zone: Europe/Berlin, dates: ["2026-12-01"], except: [freeze] }]
    not-before: "2026-01-01T00:00:00Z"
    not-after: "2027-01-01T00:00:00+01:00"
    when: 'request.jwt.aud.all(a, a.matches("^https://")) && now > timestamp("2026-01-01T00:00:00Z")'
    jwt: { issuers: ["https://*"], maxLifetime: 1h }
    certificate: { profiles: [web] }
    limits: [{ max: 5, per: 1s, by: workload, burst: 2 }, { max: 9, per: life, by: rule, unit: bytes, window: fixed }]
    guards: [{ monotonic: request.jwt.seq }, { unique: request.jwt.sub }]
  - { id: trial, workloads: ["spiffe://example.org/w"], keys: [k], operations: [sign], mode: observe, until: "2026-12-01T00:00:00Z" }
  - id: approved
    workloads: ["spiffe://example.org/w"]
    keys: [q]
    operations: [sign, decrypt]
    quorum: { approvals: 2, of: [people], within: 15m, uses: 3, methods: [jws, sshsig, webauthn], blind: true, presence: none, covers: rule }
approvers:
  - { id: a, keys: [{ method: jws, publicKey: '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}' }], spiffeId: spiffe://example.org/a }
  - { id: b, keys: [{ method: sshsig, publicKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAv3litxJdneUBB0SUCDCtRmMS1uHyWjI325OD2CtaVu" }] }
  - { id: c, keys: [{ method: webauthn, credentialId: AQID, publicKey: pAEBAycgBiFYIPHF-NVmlxdGlUWzqTlPlLnthCxQrwsUT72WdQWQ8JX5 }], alsoRequestsAs: ["spiffe://example.org/c/**"] }
groups: { people: [a, b, c] }
governance: { approvals: 2, of: people, within: 1d }
lifecycle: [{ id: keys, methods: [Admin.CreateKey], keys: ["q/**"], quorum: { approvals: 1, of: people, within: 1h } }]
`;
const CONFIG = `version: 1
profile: development
trust_domain: example.org
trust_bundle: pki/bundle.pem
broker: { certificate: pki/broker.pem, key: pki/broker.key, dns_name: lastmile.example.org }
listen: { workloads: 127.0.0.1:7443, gateways: 2, control: "[::1]:7444" }
administrators: ["spiffe://example.org/operator/alice"]
policy: policy.yaml
state: state
audit: { directory: audit, origin: example.org/lastmile, checkpoint_interval: 1s, refusal_quota: 1MiB }
tokens:
  - { name: first, module: /usr/lib/m.so, label: first, pin: { command: [/bin/pin] }, environment: { A: b } }
`;

const NOW = Date.parse('2026-11-23T23:00:00Z');
const OPEN = Date.parse('2026-12-01T22:00:00Z');
const QUESTIONS: readonly KeyUseQuestion[] = (['sign', 'sign-jwt', 'sign-certificate'] as const).map(
  (operation) => ({
    spiffeId: 'spiffe://example.org/w',
    operation,
    key: 'k',
    algorithm: 'ES256',
    circumstances: {
      now: OPEN,
      clockDoubtMs: 1,
      bytes: 5,
      content: 'typed',
      version: 0,
      typed: {
        type: 'jwt',
        facts: { aud: ['https://a'], seq: 5n, sub: 's', iss: 'https://i', lifetime: 5n },
      },
      evidence: ['x509-svid'],
      peerAddress: '',
    },
  }),
);

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Refused or accepted, but never thrown out of, and every issue stands somewhere. */
function feed(bytes: Uint8Array): void {
  const located = (issues: readonly SourceIssue[]): void => {
    expect(issues.length).toBeLessThanOrEqual(60);
    for (const issue of issues) {
      expect(issue.line).toBeGreaterThanOrEqual(1);
      expect(issue.column).toBeGreaterThanOrEqual(1);
      expect(issue.message.length).toBeLessThan(1000);
      expect(issue.message).not.toMatch(/[\p{Cc}]/u);
    }
  };
  const loaded = loadPolicy(bytes, { administrators: ['spiffe://example.org/operator/alice'], now: NOW });
  located(loaded.issues);
  located(loaded.warnings);
  // What is accepted compiles, and decides.
  if (loaded.issues.length > 0) expect(loaded.rules).toEqual([]);
  else {
    const set = compileLoadedPolicy(loaded, 'h');
    for (const question of QUESTIONS) expect(['allow', 'deny']).toContain(set.explain(question).effect);
  }
  try {
    parseConfig(bytes, { file: 'lastmile.yaml' });
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    located((error as ConfigError).issues);
    expect((error as ConfigError).issues.length).toBeGreaterThan(0);
  }
}

const token = fc.constantFrom(
  ...[
    '[',
    ']',
    '{',
    '}',
    ': ',
    ', ',
    '- ',
    '? ',
    '&a ',
    '*a',
    '!!js ',
    '"',
    "'",
    '|\n',
    '>\n',
    '#',
    '%',
    '---\n',
    '...\n',
  ],
  ...[
    '\n',
    '\n  ',
    '\t',
    '\u0000',
    '\u00a0',
    '\u2028',
    '~',
    '.inf',
    '0x',
    '1e999',
    '99999999999999999999',
    '<<: ',
    '__proto__: ',
  ],
  ...[
    'version: 1\n',
    'rules:\n',
    'tokens: ',
    'id: a',
    'spiffe://',
    '**',
    '\ud800',
    '{{',
    'constructor: ',
    'toString',
  ],
);

describe('policy and configuration files', () => {
  it('the samples are accepted', () => {
    expect(checkPolicy(utf8(POLICY)).issues).toEqual([]);
    expect(checkPolicy(utf8(DYNAMIC_POLICY), { now: NOW }).issues).toEqual([]);
    // Otherwise what is fuzzed would end at the first window.
    expect(compileLoadedPolicy(loadPolicy(utf8(DYNAMIC_POLICY)), 'h').decide(QUESTIONS[1]!).rule).toBe(
      'typed',
    );
    expect(parseConfig(utf8(CONFIG), { file: 'lastmile.yaml' }).tokens).toHaveLength(1);
  });

  it('survive any bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), feed), { numRuns: 500 });
  });

  it('survive any pile of YAML', () => {
    fc.assert(
      fc.property(fc.array(token, { maxLength: 60 }), (tokens) => feed(utf8(tokens.join('')))),
      { numRuns: 1500 },
    );
  });

  it.each([POLICY, DYNAMIC_POLICY, CONFIG])('survive a good file with a piece replaced (%#)', (good) => {
    const piece = fc.oneof(token, fc.string({ maxLength: 8 }));
    fc.assert(
      fc.property(fc.nat(good.length), fc.nat(12), piece, (at, length, by) => {
        feed(utf8(good.slice(0, at) + by + good.slice(at + length)));
      }),
      { numRuns: 1500 },
    );
  });

  it.each([POLICY, DYNAMIC_POLICY, CONFIG])(
    'survive a good file with any value in any place (%#)',
    (good) => {
      const value = fc.json({ maxDepth: 2 });
      const places = [...good.matchAll(/(?<=: |- |\[)[^\n,\]}]+/g)].map(({ index, 0: { length } }) => ({
        index,
        length,
      }));
      fc.assert(
        fc.property(fc.constantFrom(...places), value, ({ index, length }, by) => {
          feed(utf8(good.slice(0, index) + by + good.slice(index + length)));
        }),
        { numRuns: 1000 },
      );
    },
  );

  // Each would take minutes, or the stack, if anything in it grew faster than the text. The runner's limit judges.
  const laughs = Array.from(
    { length: 20 },
    (_, i) => `a${i}: &a${i} [${`*a${i - 1}, `.repeat(i === 0 ? 0 : 10)}]`,
  ).join('\n');
  it.each([
    ['billion laughs', laughs],
    ['flow sequences', '['.repeat(1_000_000)],
    ['flow mappings', '{a: '.repeat(250_000)],
    ['block sequences on a line', '- '.repeat(500_000)],
    ['explicit keys', '? '.repeat(500_000)],
    ['indented mappings', Array.from({ length: 1400 }, (_, i) => `${' '.repeat(i)}a:`).join('\n')],
    ['closing brackets', ']}'.repeat(500_000)],
    ['quotes', '"'.repeat(200_000)],
    ['the same name again and again', 'a: 1\n'.repeat(50_000)],
    ['many names', Array.from({ length: 40_000 }, (_, i) => `n${i}: 1`).join('\n')],
    ['a long name', `${'n'.repeat(1_000_000)}: 1`],
    ['a long number', `version: ${'9'.repeat(1_000_000)}`],
    ['a long plain text', `version: ${'x '.repeat(500_000)}`],
    ['a long quoted text', `version: "${'\\n'.repeat(500_000)}"`],
    ['a long comment', `version: 1 #${'#'.repeat(1_000_000)}`],
    ['empty lines', '\n'.repeat(200_000)],
    ['spaces', ' '.repeat(1_000_000)],
    ['block texts', '|\n'.repeat(200_000)],
    ['wide patterns', POLICY.replace('/ns/*/sa/**', '/**/a'.repeat(400))],
    [
      'many roles and rules that overlap nearly',
      JSON.stringify({
        version: 1,
        roles: Array.from({ length: 200 }, (_, i) => ({
          id: `o${i}`,
          members: [`spiffe://e.org/**/r${i}`],
          allow: { methods: ['Admin.*'] },
        })),
        rules: Array.from({ length: 4000 }, (_, i) => ({
          id: `r${i}`,
          workloads: [`spiffe://e.org/**/a/**/w${i}`],
          keys: ['k'],
          operations: ['sign'],
        })),
      }),
    ],
  ])('%s take time by their length', (_, text) => feed(utf8(text)), 15_000);

  const rule = (more: object): string =>
    JSON.stringify({
      version: 1,
      rules: [{ id: 'a', workloads: ['spiffe://e.org/w'], keys: ['k'], operations: ['sign'], ...more }],
    });
  it.each([
    ['a window of all dates', { windows: [{ zone: 'UTC', dates: ['1970-01-01..9999-12-31'], days: 'mon' }] }],
    [
      'many windows',
      { windows: Array.from({ length: 32 }, () => ({ zone: 'UTC', dates: Array(512).fill('02-29') })) },
    ],
    ['a deep condition', { when: `${'('.repeat(2000)}true${')'.repeat(2000)}` }],
    ['a wide condition', { when: `true${' && true'.repeat(500)}` }],
    ['a condition of loops', { when: `${'[1].all(x, '.repeat(200)}true${')'.repeat(200)}` }],
    ['a condition of nots', { when: `${'!'.repeat(4000)}true` }],
    ['a condition of lists', { when: `${'['.repeat(2000)}${']'.repeat(2000)} == []` }],
    ['a condition with a large pattern', { when: `"a".matches("${'(a?){100}'.repeat(50)}")` }],
    ['a condition with a huge number', { when: `${'9'.repeat(4000)} > 1` }],
    ['a huge limit', { limits: [{ max: 9_007_199_254_740_991, per: '366d', by: 'key' }] }],
  ])('a rule with %s', (_, more) => feed(utf8(rule(more))), 5000);

  it.each(['utf16le', 'latin1'] as const)('%s is not read as something else', (encoding) => {
    const bytes = new Uint8Array(Buffer.from(POLICY.replace('auditors', 'auditörs'), encoding));
    expect(checkPolicy(bytes).issues.length).toBeGreaterThan(0);
    feed(bytes);
  });
});

describe('names', () => {
  const text = fc.oneof(
    fc.string({ maxLength: 40 }),
    fc
      .array(
        fc.constantFrom(
          'spiffe://',
          'a.org',
          '/',
          '*',
          '**',
          '.',
          '..',
          '%2f',
          'A',
          'ß',
          ' ',
          '\n',
          '?',
          '#',
          '@',
          ':',
        ),
        { maxLength: 12 },
      )
      .map((parts) => parts.join('')),
  );

  it('a SPIFFE ID is parsed whole or refused by name', () => {
    fc.assert(
      fc.property(text, (id) => {
        try {
          const parsed = parseSpiffeId(id);
          expect(['spiffe:/', parsed.trustDomain, ...parsed.segments].join('/')).toBe(id);
          expect(id).toMatch(/^spiffe:\/\/[a-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/);
        } catch (error) {
          expect(error).toBeInstanceOf(SpiffeIdError);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it.each([parseSpiffeIdPattern, parseKeyPattern])(
    'a pattern is parsed whole or refused by name (%#)',
    (parse) => {
      fc.assert(
        fc.property(text, (pattern) => {
          try {
            expect(parse(pattern).segments.join('/')).toBe(pattern.replace(/^spiffe:\/\//, ''));
          } catch (error) {
            expect(error).toBeInstanceOf(PatternError);
          }
        }),
        { numRuns: 3000 },
      );
    },
  );
});
