import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compilePolicy } from '../../../policy/compile.ts';
import type { Circumstances, KeyUseQuestion, PolicySet } from '../../../policy/decision.ts';
import { loadPolicy } from '../../../policy/load.ts';
import { NAIVE_CALENDARS, NAIVE_CONDITIONS, type NaiveRule, naiveExplanation } from './naive-policy.ts';

// Around the changes of daylight saving of these zones, the calendar above, and the times of the windows below.
const ZONES = ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata', 'UTC'];
const DATES = [
  '2026-03-08',
  '2026-03-29',
  '2026-04-05',
  '2026-10-04',
  '2026-10-25',
  '2026-10-26',
  '2026-11-01',
];
const TIMES = ['00:00', '01:00', '01:30', '02:00', '02:30', '03:00', '08:00', '22:00'];

const window = fc
  .record(
    {
      days: fc.constantFrom('mon-sun', 'mon-fri', 'sat-mon', 'sun'),
      from: fc.constantFrom(...TIMES),
      to: fc.constantFrom(...TIMES.slice(1), '24:00'),
      zone: fc.constantFrom(...ZONES),
      dates: fc.subarray([...DATES, '10-25', '2026-10-24..2026-10-26'], { minLength: 1 }),
      except: fc.constant(['freeze']),
    },
    { requiredKeys: ['days', 'from', 'to', 'zone'] },
  )
  .filter(({ from, to }) => from !== to);

const instant = fc
  .tuple(
    fc.constantFrom(...DATES),
    fc.integer({ min: -2, max: 96 }),
    fc.constantFrom(-1001, -1000, -500, -1, 0, 1, 500, 1000),
  )
  .map(([date, halfHours, ms]) => Date.parse(date) + halfHours * 1_800_000 + ms);
const timestamp = instant.map((ms) => new Date(ms).toISOString());
const condition = fc.constantFrom(...Object.keys(NAIVE_CONDITIONS));

const names = {
  workloads: fc.subarray(['spiffe://x.org/a', 'spiffe://x.org/b'], { minLength: 1 }),
  keys: fc.subarray(['k', 'l'], { minLength: 1 }),
  operations: fc.subarray(['sign', 'verify'], { minLength: 1 }),
};
const times = {
  windows: fc.array(window, { minLength: 1, maxLength: 3 }),
  'not-before': timestamp,
  'not-after': timestamp,
  when: condition,
};
const required = ['workloads', 'keys', 'operations'] as const;
const denyRule = fc.record(
  { effect: fc.constant('deny' as const), ...names, ...times },
  { requiredKeys: ['effect', ...required] },
);
const allowRule = fc.record(
  {
    ...names,
    ...times,
    evidence: fc.constant({ has: ['x509-svid'] }),
    limits: fc.constant([{ max: 5, per: '1s', by: 'workload' }]),
  },
  { requiredKeys: [...required] },
);
const observingRule = fc
  .tuple(allowRule, instant)
  .map(([rule, at]) => ({ ...rule, mode: 'observe', until: new Date(at + 3 * 86_400_000).toISOString() }));

const isRight = (rule: { 'not-before'?: string; 'not-after'?: string }): boolean =>
  rule['not-before'] === undefined ||
  rule['not-after'] === undefined ||
  rule['not-before'] < rule['not-after'];
const rulesOf = (maxLength: number): fc.Arbitrary<NaiveRule[]> =>
  fc
    .array(
      fc
        .oneof(
          { weight: 4, arbitrary: allowRule as fc.Arbitrary<Omit<NaiveRule, 'id'>> },
          { weight: 2, arbitrary: denyRule as fc.Arbitrary<Omit<NaiveRule, 'id'>> },
          { weight: 1, arbitrary: observingRule as fc.Arbitrary<Omit<NaiveRule, 'id'>> },
        )
        .filter(isRight),
      { maxLength },
    )
    .map((rules) => rules.map((rule, i) => ({ id: `r${(i * 7) % 10}-${i}`, ...rule })));

const circumstances: fc.Arbitrary<Circumstances> = fc.record({
  now: instant,
  clockDoubtMs: fc.constantFrom(0, 1, 500, 1000, 1001, Number.POSITIVE_INFINITY),
  bytes: fc.constantFrom(0, 20, 100, 200),
  content: fc.constantFrom('digest' as const, 'message' as const),
  version: fc.constant(0),
  evidence: fc.subarray(['x509-svid']),
  peerAddress: fc.constantFrom('10.0.0.7', '192.0.2.1', ''),
});
const question: fc.Arbitrary<KeyUseQuestion> = fc.record({
  spiffeId: fc.constantFrom('spiffe://x.org/a', 'spiffe://x.org/b'),
  operation: fc.constantFrom('sign' as const, 'verify' as const),
  key: fc.constantFrom('k', 'l'),
  algorithm: fc.constant('ES256'),
  circumstances: fc.option(circumstances, { nil: undefined, freq: 10 }),
});
const questions = fc.array(question, { minLength: 1, maxLength: 12 });

const bytes = (rules: readonly NaiveRule[]): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ version: 1, calendars: NAIVE_CALENDARS, rules }));
const compiled = (rules: readonly NaiveRule[]): PolicySet => compilePolicy(bytes(rules), { hash: 'h' });
const isAllowed = (set: PolicySet, asked: KeyUseQuestion): boolean => set.decide(asked).effect === 'allow';

describe('decisions about moments and requests', () => {
  it('are those of a naive evaluator, and explain says the same', () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(rulesOf(6), questions, (rules, asked) => {
        const set = compiled(rules);
        for (const one of asked) {
          const expected = naiveExplanation(rules, one);
          const decision = set.decide(one);
          expect([decision.effect, decision.rule]).toEqual([expected.effect, expected.rule]);
          if (decision.alternatives !== undefined) {
            expect(decision.alternatives.map(({ rule }) => rule)).toEqual(expected.allowing);
          }
          expect((decision.observed ?? []).map(({ rule }) => rule).toSorted()).toEqual(
            expected.observed.toSorted(),
          );
          const explained = set.explain(one);
          expect([explained.effect, explained.rule]).toEqual([expected.effect, expected.rule]);
          expect(explained.considered.some(({ matched }) => matched)).toBe(expected.rule !== '');
          const kind = `${expected.effect} ${expected.rule === '' ? 'by default' : 'by a rule'}`;
          seen.set(kind, (seen.get(kind) ?? 0) + 1);
        }
      }),
      { numRuns: 400 },
    );
    // Otherwise the property would be about little.
    expect([...seen.keys()].toSorted()).toEqual(['allow by a rule', 'deny by a rule', 'deny by default']);
    for (const count of seen.values()) expect(count).toBeGreaterThan(50);
  });

  it('asked again at the same moment say the same, and at another what the rule says then', () => {
    fc.assert(
      fc.property(rulesOf(5), question, instant, (rules, asked, later) => {
        fc.pre(asked.circumstances !== undefined);
        const then = { ...asked, circumstances: { ...asked.circumstances, now: later, clockDoubtMs: 0 } };
        const again = naiveExplanation(rules, then);
        for (const { rule, isOpenAt } of compiled(rules).decide(asked).alternatives ?? []) {
          expect(isOpenAt(asked.circumstances.now, asked.circumstances.clockDoubtMs)).toBe(true);
          // What it must never say: open, where a decision would not name the rule.
          if (isOpenAt(later, 0) && !again.observed.includes(rule)) expect(again.allowing).toContain(rule);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('do not depend on the order of rules or questions', () => {
    fc.assert(
      fc.property(rulesOf(6), questions, (rules, asked) => {
        const [one, other] = [compiled(rules), compiled(rules.toReversed())];
        const told = (set: PolicySet, question: KeyUseQuestion) => {
          const { effect, rule, alternatives } = set.decide(question);
          return [effect, rule, alternatives?.map((alternative) => alternative.rule)];
        };
        const answers = asked.map((question) => told(one, question));
        expect(asked.toReversed().map((question) => told(other, question))).toEqual(answers.toReversed());
      }),
      { numRuns: 200 },
    );
  });

  it('never widen when a deny rule is added or an allow rule is removed', () => {
    fc.assert(
      fc.property(rulesOf(5), denyRule.filter(isRight), fc.nat(4), questions, (rules, added, at, asked) => {
        const before = compiled(rules);
        const denied = compiled([{ ...(added as Omit<NaiveRule, 'id'>), id: 'added' }, ...rules]);
        const removed = rules[at];
        const fewer = compiled(rules.filter((rule) => rule !== removed || rule.effect === 'deny'));
        for (const one of asked) {
          if (isAllowed(denied, one) || isAllowed(fewer, one)) expect(isAllowed(before, one)).toBe(true);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('never widen when a clock is more in doubt, but for rules on probation', () => {
    fc.assert(
      fc.property(rulesOf(5), question, fc.constantFrom(1, 500, 1000, 5000), (rules, asked, more) => {
        fc.pre(
          asked.circumstances !== undefined && !rules.some(({ when }) => when?.startsWith('now') === true),
        );
        const { circumstances } = asked;
        const set = compiled(rules);
        const doubted = {
          ...asked,
          circumstances: { ...circumstances, clockDoubtMs: circumstances.clockDoubtMs + more },
        };
        if (isAllowed(set, doubted)) expect(isAllowed(set, asked)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});

it('an unknown field is never ignored, wherever it stands', () => {
  const rule = {
    id: 'a',
    workloads: ['spiffe://x.org/a'],
    keys: ['k'],
    operations: ['sign-jwt'],
    windows: [{ zone: 'UTC' }],
    limits: [{ max: 5, per: '1s', by: 'key' }],
    guards: [{ monotonic: 'request.jwt.seq' }],
    evidence: { has: ['x509-svid'] },
    jwt: { issuers: ['a'] },
  };
  const document = {
    version: 1,
    clock: { maxDoubt: '1s' },
    weights: [{ workloads: ['spiffe://x.org/a'], weight: 5 }],
    certificateProfiles: [
      {
        id: 'p',
        issuer: 'self',
        validity: { max: '1d' },
        names: {},
        subject: {},
        keyUsage: [],
        ca: undefined,
      },
    ],
    roles: [
      { id: 'r', members: ['spiffe://x.org/o'], allow: { methods: ['Audit.*'], scope: { keys: ['k'] } } },
    ],
    rules: [rule],
  };
  const objects: Record<string, unknown>[] = [];
  const walk = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    if (!Array.isArray(value)) objects.push(value as Record<string, unknown>);
    for (const inner of Object.values(value)) walk(inner);
  };
  walk(document);
  const load = () => loadPolicy(new TextEncoder().encode(JSON.stringify(document))).issues;
  expect(load()).toEqual([]);
  expect(objects.length).toBeGreaterThan(12);
  for (const object of objects) {
    for (const name of ['surprise', 'quorum', 'constructor', 'Windows']) {
      object[name] = 1;
      expect(load().length).toBeGreaterThan(0);
      delete object[name];
    }
  }
  expect(load()).toEqual([]);
});
