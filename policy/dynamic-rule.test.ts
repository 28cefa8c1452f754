import { describe, expect, it } from 'vitest';
import { explainText } from './check.ts';
import { compilePolicy } from './compile.ts';
import type { Circumstances, Decision, KeyUseQuestion, PolicySet } from './decision.ts';

const W = 'spiffe://example.org/w';
const OK = `workloads: ["${W}"], keys: [k], operations: [sign]`;
const JWT = `workloads: ["${W}"], keys: [k], operations: [sign-jwt]`;
const NOON = Date.parse('2026-11-23T12:00:00Z');
const DAY = 86_400_000;

function policySet(...rules: string[]): PolicySet {
  const text = [
    'version: 1',
    'calendars: {freeze: ["2026-12-24..2027-01-06"]}',
    'rules:',
    ...rules.map((rule) => `  - ${rule}`),
  ];
  return compilePolicy(new TextEncoder().encode(text.join('\n')), { hash: 'h' });
}
const circumstances = (given: Partial<Circumstances> = {}): Circumstances => ({
  now: NOON,
  clockDoubtMs: 0,
  bytes: 32,
  content: 'message',
  version: 0,
  evidence: ['x509-svid'],
  peerAddress: '10.0.0.7',
  ...given,
});
const asked = (
  given: Partial<Circumstances> = {},
  operation: KeyUseQuestion['operation'] = 'sign',
): KeyUseQuestion => ({
  spiffeId: W,
  operation,
  key: 'k',
  algorithm: 'ES256',
  circumstances: circumstances(given),
});
const jwt = (facts: NonNullable<Circumstances['typed']>['facts']): KeyUseQuestion =>
  asked({ content: 'typed', typed: { type: 'jwt', facts } }, 'sign-jwt');
const names = (decision: Decision): readonly string[] | undefined =>
  decision.alternatives?.map(({ rule }) => rule);

describe('windows of an allow rule', () => {
  const set = policySet(
    `{id: a, ${OK}, windows: [{days: mon-fri, from: "08:00", to: "18:00", zone: UTC, except: [freeze]}]}`,
  );
  it('open and close it', () => {
    expect(set.decide(asked()).rule).toBe('a');
    expect(set.decide(asked({ now: NOON + 6 * 3_600_000 })).effect).toBe('deny');
    expect(set.decide(asked({ now: Date.parse('2026-12-24T12:00:00Z') })).effect).toBe('deny');
  });

  it('fail closed without a time, and beyond the doubt that the policy allows', () => {
    expect(set.decide({ ...asked(), circumstances: undefined }).effect).toBe('deny');
    expect(set.decide(asked({ clockDoubtMs: 1000 })).effect).toBe('allow');
    for (const clockDoubtMs of [1001, Number.POSITIVE_INFINITY, Number.NaN]) {
      expect(set.decide(asked({ clockDoubtMs })).effect).toBe('deny');
    }
  });

  it('are asked about again before the operation leaves', () => {
    const [allowance] = set.decide(asked()).alternatives ?? [];
    expect(allowance?.isOpenAt(NOON + 1000, 0)).toBe(true);
    expect(allowance?.isOpenAt(NOON + 6 * 3_600_000, 0)).toBe(false);
    expect(allowance?.isOpenAt(NOON, 1001)).toBe(false);
  });

  it('are explained', () => {
    const closed = set.explain(asked({ now: NOON + 6 * 3_600_000 }));
    expect(closed.considered).toEqual([
      {
        rule: 'a',
        effect: 'allow',
        matched: false,
        missing: ['window mon-fri 08:00-18:00 UTC except freeze is closed at 2026-11-23T18:00:00.000Z'],
      },
    ]);
    expect(explainText(closed)).toContain('does not match: window mon-fri');
    expect(set.explain(asked({ clockDoubtMs: 5000 })).considered[0]?.missing).toEqual([
      'the clock is in doubt by 5000 ms, more than 1000 ms',
    ]);
    expect(set.explain({ ...asked(), circumstances: undefined }).considered[0]?.missing).toEqual([
      'the time is not known',
    ]);
  });
});

describe('a deny rule', () => {
  const window = policySet(
    `{id: a, ${OK}}`,
    `{id: no, effect: deny, ${OK}, windows: [{from: "13:00", to: "14:00", zone: UTC}]}`,
  );
  it('denies in its windows, and where they may be', () => {
    expect(window.decide(asked()).rule).toBe('a');
    expect(window.decide(asked({ now: NOON + 3_600_000 })).rule).toBe('no');
    expect(window.decide(asked({ now: NOON + 3_600_000 - 1, clockDoubtMs: 1 })).rule).toBe('no');
    expect(window.decide(asked({ clockDoubtMs: 1001 })).rule).toBe('no');
    expect(window.decide({ ...asked(), circumstances: undefined }).rule).toBe('no');
  });

  it('that begins meanwhile closes what was allowed', () => {
    const [allowance] = window.decide(asked()).alternatives ?? [];
    expect(allowance).toMatchObject({ rule: 'a', limits: [], guards: [] });
    expect(allowance?.isOpenAt(NOON + 1000, 0)).toBe(true);
    expect(allowance?.isOpenAt(NOON + 3_600_000, 0)).toBe(false);
  });

  it.each([
    ['true', 'no'],
    ['request.bytes > 100', 'a'],
    ['1 / 0 == 1', 'no'],
    ['request.bytes > 100 || connection.peerAddress == "10.0.0.7"', 'no'],
    ['dyn("text")', 'no'],
  ])('with the condition %s is decided by %s', (when, rule) => {
    const set = policySet(`{id: a, ${OK}}`, `{id: no, effect: deny, ${OK}, when: '${when}'}`);
    expect(set.decide(asked()).rule).toBe(rule);
    const verdict = set.explain(asked()).considered[1];
    expect(verdict).toMatchObject(
      rule === 'no' ? { matched: true, missing: [] } : { matched: false, missing: ['condition is false'] },
    );
    expect(set.decide({ ...asked(), circumstances: undefined }).rule).toBe('no');
  });

  it('wins by its id among deny rules, whether it has a condition or not', () => {
    const set = policySet(
      `{id: b, effect: deny, ${OK}}`,
      `{id: a, effect: deny, ${OK}, when: 'request.bytes < 100'}`,
      `{id: c, ${OK}}`,
    );
    expect(set.decide(asked()).rule).toBe('a');
    expect(set.decide(asked({ bytes: 200 })).rule).toBe('b');
  });
});

describe('a condition of an allow rule', () => {
  it.each([
    ['request.bytes < 100', 'allow', []],
    ['request.bytes > 100', 'deny', ['condition is false']],
    ['1 / 0 == 1', 'deny', ['condition failed: division by zero']],
    ['dyn(1)', 'deny', ['condition failed: the value is not true or false']],
  ])('%s: %s', (when, effect, missing) => {
    const set = policySet(`{id: a, ${OK}, when: '${when}'}`);
    expect(set.decide(asked()).effect).toBe(effect);
    expect(set.explain(asked()).considered[0]?.missing).toEqual(missing);
    expect(set.decide({ ...asked(), circumstances: undefined }).effect).toBe('deny');
  });

  it('that looks at the time is asked again before the operation leaves', () => {
    const set = policySet(`{id: a, ${OK}, when: 'now < timestamp("2026-11-23T12:00:01Z")'}`);
    const [allowance] = set.decide(asked()).alternatives ?? [];
    expect(allowance?.isOpenAt(NOON + 999, 0)).toBe(true);
    expect(allowance?.isOpenAt(NOON + 1000, 0)).toBe(false);
    expect(set.decide(asked({ clockDoubtMs: 1001 })).effect).toBe('deny');
  });

  it('is never evaluated with circumstances that are no numbers', () => {
    const set = policySet(`{id: a, ${OK}, when: 'true'}`);
    expect(set.decide(asked({ bytes: 0.5 })).effect).toBe('deny');
  });
});

describe('alternatives', () => {
  const limit = 'limits: [{max: 5, per: 1s, by: workload}]';
  it('come in the order of what they cost, then by id, whatever the order of the file', () => {
    const rules = [
      `{id: a-costs, ${OK}, ${limit}}`,
      `{id: c-free, ${OK}, when: 'true'}`,
      `{id: b-free, ${OK}, not-after: "2027-01-01T00:00:00Z"}`,
      `{id: d-closed, ${OK}, not-before: "2027-01-01T00:00:00Z"}`,
    ];
    for (const order of [rules, rules.toReversed()]) {
      expect(names(policySet(...order).decide(asked()))).toEqual(['b-free', 'c-free', 'a-costs']);
    }
  });

  it('are absent when a rule costs nothing and always holds', () => {
    expect(policySet(`{id: a, ${OK}, ${limit}}`, `{id: b, ${OK}}`).decide(asked())).toEqual({
      effect: 'allow',
      rule: 'b',
      policyHash: 'h',
    });
  });

  it('name what they count', () => {
    const set = policySet(
      `{id: a, ${OK}, limits: [{max: 5, per: 60s, by: workload, burst: 2}, {max: 9, per: life, by: key, unit: bytes, window: fixed}]}`,
    );
    expect(set.decide(asked()).alternatives?.[0]?.limits).toEqual([
      {
        id: 'a/workload/calls/1m/smooth',
        max: 5,
        perMs: 60_000,
        by: 'workload',
        unit: 'calls',
        window: 'smooth',
        burst: 2,
      },
      { id: 'a/key/bytes/life/fixed', max: 9, perMs: undefined, by: 'key', unit: 'bytes', window: 'fixed' },
    ]);
    // Limits need nothing of the request.
    expect(set.decide({ ...asked(), circumstances: undefined }).effect).toBe('allow');
  });
});

describe('typed rules', () => {
  const set = policySet(
    `{id: t, ${JWT}, jwt: {issuers: ["https://i.example"], audiences: ["https://*.example"], claims: [scope], maxLifetime: 15m}}`,
    `{id: raw, workloads: ["${W}"], keys: ["**"], operations: [sign]}`,
  );
  const good = {
    iss: 'https://i.example',
    aud: ['https://b.example'],
    lifetime: 900n,
    scope: 'read',
    iat: 1n,
    header: { typ: 'JWT' },
  };
  it.each([
    ['all of it', good, []],
    ['another issuer', { ...good, iss: 'https://j.example' }, ['jwt `iss` is not among those of the rule']],
    ['no issuer', { aud: good.aud, lifetime: 1n }, ['jwt `iss` is missing']],
    [
      'one audience too many',
      { ...good, aud: ['https://b.example', 'evil'] },
      ['jwt `aud` has one that is not among those of the rule'],
    ],
    ['no audience', { ...good, aud: [] }, ['jwt `aud` is missing']],
    ['a claim more', { ...good, admin: true }, ['jwt has a claim that is not among `claims`']],
    ['too long', { ...good, lifetime: 901n }, ['jwt lifetime is over 15m']],
    ['no lifetime', { ...good, lifetime: 'short' }, ['jwt lifetime is over 15m']],
  ])('%s', (_, facts, missing) => {
    expect(set.decide(jwt(facts)).effect).toBe(missing.length === 0 ? 'allow' : 'deny');
    expect(set.explain(jwt(facts)).considered[0]?.missing).toEqual(missing);
  });

  it('hold for nothing that is not understood', () => {
    expect(set.decide(asked({}, 'sign-jwt')).effect).toBe('deny');
    expect(set.decide(asked({ typed: { type: 'dsse', facts: good } }, 'sign-jwt')).effect).toBe('deny');
  });

  it('take raw signing from the keys that they name', () => {
    expect(set.takesRawSigning('k')).toBe(false);
    expect(set.takesRawSigning('other')).toBe(true);
    expect(set.takesRawSigning('not//a name')).toBe(false);
    expect(policySet(`{id: no, effect: deny, ${JWT}}`).takesRawSigning('k')).toBe(true);
  });

  it('look into statements', () => {
    const dsse = policySet(
      `{id: t, workloads: ["${W}"], keys: [k], operations: [sign-dsse], dsse: {predicateTypes: ["https://slsa.dev/provenance/*"], subjects: ["pkg:*"]}}`,
    );
    const of = (facts: NonNullable<Circumstances['typed']>['facts']): string =>
      dsse.decide(asked({ typed: { type: 'dsse', facts } }, 'sign-dsse')).effect;
    const facts = { predicateType: 'https://slsa.dev/provenance/v1', subjects: [{ name: 'pkg:a' }] };
    expect(of(facts)).toBe('allow');
    expect(of({ ...facts, subjects: [{ name: 'pkg:a' }, { name: 'b' }] })).toBe('deny');
    expect(of({ ...facts, subjects: [{}] })).toBe('deny');
    expect(of({ ...facts, subjects: [] })).toBe('deny');
    expect(of({ payloadType: 'text/plain' })).toBe('deny');
  });
});

describe('guards', () => {
  const set = policySet(`{id: g, ${JWT}, guards: [{monotonic: request.jwt.seq}, {unique: request.jwt.sub}]}`);
  it('bring their values', () => {
    expect(set.decide(jwt({ seq: 7n, sub: 'x' })).alternatives?.[0]?.guards).toEqual([
      { id: 'g/monotonic/request.jwt.seq', kind: 'monotonic', value: 7n },
      { id: 'g/unique/request.jwt.sub', kind: 'unique', value: 'x' },
    ]);
  });
  it('hold only with a value', () => {
    expect(set.decide(jwt({ sub: 'x' })).effect).toBe('deny');
    expect(set.explain(jwt({ sub: 'x' })).considered[0]?.missing).toEqual([
      'guard monotonic failed: No such key: seq',
    ]);
    expect(set.decide({ ...jwt({}), circumstances: undefined }).effect).toBe('deny');
  });
});

it('evidence must be there', () => {
  const set = policySet(`{id: a, ${OK}, evidence: {has: [x509-svid]}}`);
  expect(set.decide(asked()).effect).toBe('allow');
  expect(set.decide(asked({ evidence: [] })).effect).toBe('deny');
  expect(set.explain(asked({ evidence: [] })).considered[0]?.missing).toEqual([
    'evidence x509-svid is missing',
  ]);
});

describe('a rule on probation', () => {
  const until = new Date(NOON + 14 * DAY).toISOString();
  const rule = `{id: trial, ${OK}, mode: observe, until: "${until}", when: 'request.bytes < 10', limits: [{max: 5, per: 1s, by: key}]}`;
  const set = policySet(rule);

  it('refuses nothing, and says what it lacked and what is to be counted', () => {
    const decision = set.decide(asked());
    expect(decision).toMatchObject({ effect: 'allow', rule: 'trial' });
    expect(decision.alternatives?.[0]).toMatchObject({ rule: 'trial', limits: [] });
    expect(decision.observed).toEqual([
      { rule: 'trial', missing: ['condition is false'], limits: [expect.objectContaining({ max: 5 })] },
    ]);
    expect(set.explain(asked()).considered[0]).toMatchObject({
      matched: true,
      missing: ['observed only: condition is false'],
    });
    expect(set.decide(asked({ bytes: 5 })).observed?.[0]?.missing).toEqual([]);
    expect(set.observing).toEqual([{ rule: 'trial', until: NOON + 14 * DAY }]);
  });

  it('is enforced from its end on, further away than 14 days, and when nobody knows the time', () => {
    for (const given of [
      { now: NOON + 14 * DAY },
      { now: NOON + 14 * DAY - 1, clockDoubtMs: 1 },
      { now: NOON - 1 },
      { clockDoubtMs: 1001 },
      { now: Number.NaN },
    ]) {
      expect(set.decide(asked(given)).effect).toBe('deny');
    }
    expect(set.decide({ ...asked(), circumstances: undefined }).effect).toBe('deny');
    const [allowance] = set.decide(asked()).alternatives ?? [];
    expect([allowance?.isOpenAt(NOON + 14 * DAY - 1, 0), allowance?.isOpenAt(NOON + 14 * DAY, 0)]).toEqual([
      true,
      false,
    ]);
  });

  it('allows nothing to others, and nothing that is denied', () => {
    expect(set.decide({ ...asked(), spiffeId: `${W}/x` }).effect).toBe('deny');
    expect(set.decide({ ...asked(), key: 'other' }).effect).toBe('deny');
    expect(set.decide(asked({}, 'verify')).effect).toBe('deny');
    expect(policySet(rule, `{id: no, effect: deny, ${OK}}`).decide(asked()).rule).toBe('no');
  });

  it('comes last, and is recorded beside a rule that holds', () => {
    const both = policySet(rule, `{id: z, ${OK}}`);
    expect(names(both.decide(asked()))).toEqual(['z', 'trial']);
    expect(both.decide(asked())).toMatchObject({ rule: 'z', observed: [{ rule: 'trial' }] });
  });
});

it('reads show a key to whoever may use it at some time', () => {
  const set = policySet(
    `{id: a, ${OK}, not-after: "2020-01-01T00:00:00Z"}`,
    `{id: b, ${JWT}, when: 'false'}`,
    `{id: no, effect: deny, ${OK}, when: 'true'}`,
  );
  expect(set.usableOperations(W, 'k')).toEqual(['sign', 'sign-jwt']);
  expect(policySet(`{id: a, ${OK}}`, `{id: no, effect: deny, ${OK}}`).usableOperations(W, 'k')).toEqual([]);
});

it('weights are the smallest that match', () => {
  const text = `version: 1
weights:
  - {workloads: ["spiffe://example.org/ns/batch/**"], weight: 10}
  - {workloads: ["spiffe://example.org/**"], weight: 300}
`;
  const set = compilePolicy(new TextEncoder().encode(text), { hash: 'h' });
  expect(set.weight('spiffe://example.org/ns/batch/x')).toBe(10);
  expect(set.weight('spiffe://example.org/ns/web')).toBe(300);
  expect(set.weight('spiffe://other.org/ns/web')).toBe(100);
  expect(set.weight('nonsense')).toBe(100);
});
