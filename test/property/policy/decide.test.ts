import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compilePolicy } from '../../../policy/compile.ts';
import { type KeyUseQuestion, OPERATIONS, type PolicySet } from '../../../policy/decision.ts';
import { PolicyError } from '../../../policy/policy-error.ts';
import { OPERATION_ALGORITHMS, ROLE_METHODS } from '../../../policy/vocabulary.ts';
import { type NaiveRule, naiveDecision } from './naive-policy.ts';

// Few names, so that rules meet questions and each other often.
const names = ['a', 'b', 'lastmile'];
const wild = fc.constantFrom('a', 'b', '*', '**');
const segments = (min: number): fc.Arbitrary<string> =>
  fc
    .array(wild, { minLength: min, maxLength: 4 })
    .map((parts) => parts.filter((part, i) => part !== '**' || parts[i - 1] !== '**').join('/'));
const workloadPattern = fc
  .tuple(fc.constantFrom('x.org', 'y.org'), segments(1))
  .map(([td, path]) => `spiffe://${td}/${path}`);
const patterns = (one: fc.Arbitrary<string>): fc.Arbitrary<string[]> =>
  fc.array(one, { minLength: 1, maxLength: 3 });

const algorithm = fc.constantFrom('ES256', 'EdDSA', 'Ed25519', 'A256GCM', 'HS256');
const keyRule = fc.record(
  {
    effect: fc.constantFrom('allow' as const, 'deny' as const),
    workloads: patterns(workloadPattern),
    keys: patterns(segments(1)),
    operations: fc.subarray(
      OPERATIONS.filter((operation) => operation !== 'random'),
      { minLength: 1 },
    ),
    algorithms: fc.array(algorithm, { minLength: 1, maxLength: 3 }),
  },
  { requiredKeys: ['workloads', 'keys', 'operations'] },
);
const randomRule = fc.record(
  {
    effect: fc.constantFrom('allow' as const, 'deny' as const),
    workloads: patterns(workloadPattern),
    operations: fc.constant(['random']),
  },
  { requiredKeys: ['workloads', 'operations'] },
);
const rulesOf = (maxLength: number): fc.Arbitrary<NaiveRule[]> =>
  fc
    .array(fc.oneof({ weight: 5, arbitrary: keyRule }, { weight: 1, arbitrary: randomRule }), { maxLength })
    .map((rules) => rules.map((rule, i) => ({ id: `r${(i * 7) % 10}-${i}`, ...rule })));

const path = fc
  .array(fc.constantFrom(...names), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join('/'));
const question: fc.Arbitrary<KeyUseQuestion> = fc.record({
  spiffeId: fc.oneof(
    {
      weight: 9,
      arbitrary: fc
        .tuple(fc.constantFrom('x.org', 'y.org'), path)
        .map(([td, rest]) => `spiffe://${td}/${rest}`),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        '',
        'spiffe://x.org',
        'spiffe://x.org//a',
        'spiffe://x.org/a a',
        'http://x.org/a',
      ),
    },
  ),
  operation: fc.constantFrom(...OPERATIONS),
  key: fc.oneof(
    { weight: 8, arbitrary: path },
    { weight: 2, arbitrary: fc.constantFrom('', 'a/', '/a', 'a//b', 'a b') },
  ),
  algorithm: fc.oneof(algorithm, fc.constantFrom('', 'none', 'RS256')),
});
const questions = fc.array(question, { minLength: 1, maxLength: 20 });

// Every JSON text is YAML.
const bytes = (policy: object): Uint8Array => new TextEncoder().encode(JSON.stringify(policy));
const compiled = (rules: readonly NaiveRule[]): PolicySet =>
  compilePolicy(bytes({ version: 1, rules }), { hash: 'h' });
const isAllowed = (set: PolicySet, asked: KeyUseQuestion): boolean => set.decide(asked).effect === 'allow';

describe('decisions on key use', () => {
  it('are those of a naive evaluator, from the memo too, and explain says the same', () => {
    fc.assert(
      fc.property(rulesOf(8), questions, (rules, asked) => {
        const set = compiled(rules);
        for (const one of [...asked, ...asked]) {
          const { effect, rule } = set.decide(one);
          expect({ effect, rule }).toEqual(naiveDecision(rules, one));
          const explained = set.explain(one);
          expect([explained.effect, explained.rule]).toEqual([effect, rule]);
          expect(explained.considered).toHaveLength(rules.length);
          expect(explained.considered.some(({ matched }) => matched)).toBe(rule !== '');
        }
      }),
      { numRuns: 300 },
    );
  });

  it('do not depend on the order of rules or questions', () => {
    fc.assert(
      fc.property(rulesOf(8), questions, fc.infiniteStream(fc.nat()), (rules, asked, order) => {
        const keys = new Map(rules.map((rule) => [rule.id, order.next().value ?? 0]));
        const shuffled = rules.toSorted((a, b) => (keys.get(a.id) ?? 0) - (keys.get(b.id) ?? 0));
        const [one, other] = [compiled(rules), compiled(shuffled)];
        const answers = asked.map((q) => one.decide(q));
        expect(asked.toReversed().map((q) => other.decide(q))).toEqual(answers.toReversed());
      }),
      { numRuns: 200 },
    );
  });

  it('never widen when a deny rule is added', () => {
    fc.assert(
      fc.property(rulesOf(6), keyRule, questions, (rules, added, asked) => {
        const before = compiled(rules);
        const after = compiled([{ ...added, id: 'added', effect: 'deny' }, ...rules]);
        for (const one of asked) if (isAllowed(after, one)) expect(isAllowed(before, one)).toBe(true);
        for (const { spiffeId, key } of asked) {
          expect(before.usableOperations(spiffeId, key)).toEqual(
            expect.arrayContaining([...after.usableOperations(spiffeId, key)]),
          );
        }
      }),
      { numRuns: 200 },
    );
  });

  it('never widen when an allow rule is removed', () => {
    fc.assert(
      fc.property(rulesOf(6), fc.nat(5), questions, (rules, at, asked) => {
        const removed = rules[at];
        fc.pre(removed !== undefined && removed.effect !== 'deny');
        const before = compiled(rules);
        const after = compiled(rules.filter((rule) => rule !== removed));
        for (const one of asked) if (isAllowed(after, one)) expect(isAllowed(before, one)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it('agree with the operations that a caller is told of', () => {
    fc.assert(
      fc.property(rulesOf(6), question, (rules, { spiffeId, key }) => {
        const set = compiled(rules);
        const usable = OPERATIONS.filter((operation) =>
          (operation === 'random' ? [''] : OPERATION_ALGORITHMS[operation]).some((algorithm) =>
            isAllowed(set, { spiffeId, operation, key, algorithm }),
          ),
        );
        expect(set.usableOperations(spiffeId, key)).toEqual(usable);
      }),
      { numRuns: 200 },
    );
  });
});

describe('separation', () => {
  it('holds in every policy that is accepted: who may use a key may call no method', () => {
    let accepted = 0;
    const role = fc.record({
      members: patterns(workloadPattern),
      allow: fc.constant({ methods: ['Admin.*', 'Audit.*'] }),
    });
    const callers = fc.array(question, { minLength: 20, maxLength: 40 });
    fc.assert(
      fc.property(
        rulesOf(2),
        fc.array(role, { minLength: 1, maxLength: 2 }),
        callers,
        (rules, roles, asked) => {
          let set: PolicySet;
          try {
            const document = {
              version: 1,
              rules,
              roles: roles.map((one, i) => ({ id: `role${i}`, ...one })),
            };
            set = compilePolicy(bytes(document), { hash: 'h', administrators: ['spiffe://x.org/b/b'] });
          } catch (error) {
            expect(error).toBeInstanceOf(PolicyError);
            return;
          }
          accepted++;
          for (const one of asked) {
            const calls = ROLE_METHODS.some(
              (method) => set.decideMethod({ spiffeId: one.spiffeId, method }).effect === 'allow',
            );
            expect(calls && isAllowed(set, one)).toBe(false);
          }
        },
      ),
      { numRuns: 500 },
    );
    // Otherwise the property would be about nothing.
    expect(accepted).toBeGreaterThan(50);
  });
});

it('costs about the same with 10,000 rules as with 10', () => {
  const rules = (count: number): NaiveRule[] =>
    Array.from({ length: count }, (_, i) => ({
      id: `r${i}`,
      workloads: [`spiffe://x.org/ns/n${i}/sa/*`],
      keys: [`app${i}/**`],
      operations: ['sign', 'verify'],
    }));
  const micros = (act: () => void, times: number): number => {
    const start = performance.now();
    for (let i = 0; i < times; i++) act();
    return ((performance.now() - start) * 1000) / times;
  };
  const report: Record<string, number> = {};
  for (const count of [10, 10_000]) {
    let set = compiled([]);
    report[`load ${count}, ms`] = micros(() => (set = compiled(rules(count))), 1) / 1000;
    const asked = {
      spiffeId: 'spiffe://x.org/ns/n7/sa/s',
      operation: 'sign',
      key: 'app7/k',
      algorithm: 'ES256',
    } as const;
    expect(set.decide(asked)).toEqual({ effect: 'allow', rule: 'r7', policyHash: 'h' });
    report[`warm ${count}, µs`] = micros(() => set.decide(asked), 100_000);
    let fresh = 0;
    report[`cold ${count}, µs`] = micros(() => set.decide({ ...asked, key: `app7/k${fresh++}` }), 10_000);
    report[`unknown key ${count}, µs`] = micros(
      () => set.decide({ ...asked, key: `other/k${fresh++}` }),
      10_000,
    );
  }
  // Wall-clock of a shared machine: told, not judged.
  process.stdout.write(
    `policy decisions: ${JSON.stringify(report, (_, v) => (typeof v === 'number' ? Number(v.toFixed(2)) : v))}\n`,
  );
});
