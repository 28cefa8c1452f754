import { describe, expect, it } from 'vitest';
import { policyBytes } from '../test/fakes/rule-lines.ts';
import { checkPolicy, explainText } from './check.ts';
import { compileLoadedPolicy, compilePolicy } from './compile.ts';
import type { KeyUseQuestion, MethodQuestion, PolicySet } from './decision.ts';
import { loadPolicy, type PolicyOptions } from './load.ts';
import { PolicyError } from './policy-error.ts';

const policySet = (text: string, options: PolicyOptions = {}): PolicySet =>
  compilePolicy(policyBytes(text), { file: 'policy.yaml', hash: 'sha256:test', ...options });

const asks = (
  spiffeId: string,
  operation: KeyUseQuestion['operation'],
  key: string,
  algorithm = '',
): KeyUseQuestion => ({ spiffeId, operation, key, algorithm });

const API = 'spiffe://example.org/ns/payments/sa/api';
const ALICE = 'spiffe://example.org/operator/alice';
const BOB = 'spiffe://example.org/auditor/bob';

const policy = `
version: 1
roles:
  - id: auditors
    members: ["spiffe://example.org/auditor/*"]
    allow: { methods: [Audit.Query, Audit.GetEntry], scope: { trustDomains: [example.org], keys: ["payments/**"] } }
rules:
  - id: payments-sign
    workloads: ["spiffe://example.org/ns/payments/sa/*"]
    keys: ["payments/*"]
    operations: [sign, verify]
    algorithms: [ES256, EdDSA]
  - id: not-the-old-key
    effect: deny
    workloads: ["spiffe://example.org/**"]
    keys: ["payments/old"]
    operations: [sign]
  - id: everything-of-lab
    workloads: ["spiffe://example.org/lab"]
    keys: ["**"]
    operations: [sign, verify, encrypt, decrypt, mac, verify-mac, generate-data-key]
  - id: dice
    workloads: ["spiffe://example.org/ns/payments/sa/api"]
    operations: [random]
`;

describe('key use', () => {
  const set = policySet(policy);

  it.each([
    ['allows what a rule allows', asks(API, 'sign', 'payments/jwt', 'ES256'), 'allow', 'payments-sign'],
    ['reads EdDSA as Ed25519', asks(API, 'sign', 'payments/jwt', 'EdDSA'), 'allow', 'payments-sign'],
    ['denies another algorithm', asks(API, 'sign', 'payments/jwt', 'RS256'), 'deny', ''],
    ['denies when the algorithm is not said', asks(API, 'sign', 'payments/jwt'), 'deny', ''],
    ['denies another operation', asks(API, 'decrypt', 'payments/jwt', 'ES256'), 'deny', ''],
    ['denies another key', asks(API, 'sign', 'treasury/jwt', 'ES256'), 'deny', ''],
    [
      'denies another workload',
      asks('spiffe://example.org/ns/x/sa/api', 'sign', 'payments/jwt', 'ES256'),
      'deny',
      '',
    ],
    [
      'denies another trust domain',
      asks('spiffe://evil.org/ns/payments/sa/api', 'sign', 'payments/jwt', 'ES256'),
      'deny',
      '',
    ],
    ['lets an explicit deny win', asks(API, 'sign', 'payments/old', 'ES256'), 'deny', 'not-the-old-key'],
    [
      'leaves other operations to other rules',
      asks(API, 'verify', 'payments/old', 'ES256'),
      'allow',
      'payments-sign',
    ],
    ['allows random without a key', asks(API, 'random', ''), 'allow', 'dice'],
    ['denies random that names a key', asks(API, 'random', 'payments/jwt'), 'deny', ''],
    ['denies a use without a key', asks(API, 'sign', '', 'ES256'), 'deny', ''],
    [
      'never opens the keys that make authority, not even to **',
      asks('spiffe://example.org/lab', 'sign', 'lastmile/log', 'Ed25519'),
      'deny',
      '',
    ],
    ['nor their folder', asks('spiffe://example.org/lab', 'sign', 'lastmile', 'Ed25519'), 'deny', ''],
    ['denies what is not a key name', asks('spiffe://example.org/lab', 'sign', 'a//b', 'ES256'), 'deny', ''],
    [
      'denies what is not a SPIFFE ID',
      asks('spiffe://example.org/ns//sa/api', 'sign', 'payments/jwt', 'ES256'),
      'deny',
      '',
    ],
    [
      'denies a trust domain as a caller',
      asks('spiffe://example.org', 'sign', 'payments/jwt', 'ES256'),
      'deny',
      '',
    ],
    ['denies an unknown operation', asks(API, 'toString' as 'sign', 'payments/jwt', 'ES256'), 'deny', ''],
  ] as const)('%s', (_, question, effect, rule) => {
    // Twice: the second answer comes from the memo.
    for (let i = 0; i < 2; i++)
      expect(set.decide(question)).toEqual({ effect, rule, policyHash: 'sha256:test' });
    const explained = set.explain(question);
    expect([explained.effect, explained.rule]).toEqual([effect, rule]);
    expect(explained.considered.find((verdict) => verdict.rule === rule)?.matched ?? false).toBe(rule !== '');
    // A deny without a rule means that none matched.
    if (rule === '') expect(explained.considered.filter((verdict) => verdict.matched)).toEqual([]);
  });

  it('does not let a caller slip past a deny rule by not naming the algorithm', () => {
    const denies = policySet(`
version: 1
rules:
  - {id: a, workloads: ["spiffe://example.org/w"], keys: [k], operations: [sign]}
  - {id: d, effect: deny, workloads: ["spiffe://example.org/w"], keys: [k], operations: [sign], algorithms: [RS256]}
`);
    const w = 'spiffe://example.org/w';
    expect(denies.decide(asks(w, 'sign', 'k', 'ES256')).effect).toBe('allow');
    for (const algorithm of ['RS256', '', 'rs256', 'RS256 ']) {
      expect(denies.decide(asks(w, 'sign', 'k', algorithm)).rule).toBe('d');
    }
    expect(denies.usableOperations(w, 'k')).toEqual(['sign']);
  });

  it('explains what every rule lacked', () => {
    const { considered } = set.explain(asks(API, 'decrypt', 'treasury/x', 'RS256'));
    expect(considered.map((verdict) => verdict.rule)).toEqual([
      'payments-sign',
      'not-the-old-key',
      'everything-of-lab',
      'dice',
    ]);
    expect(considered[0]?.missing).toEqual([
      'key does not match',
      'operation decrypt is not among sign, verify',
      'algorithm RS256 is not among ES256, Ed25519',
    ]);
    const text = explainText(set.explain(asks(API, 'sign', 'payments/old', 'ES256')));
    expect(text).toContain('deny, by the rule not-the-old-key');
    expect(text).toMatch(/deny {2}not-the-old-key {2}matches\n {2}allow payments-sign {2}matches/);
  });

  it('tells which operations a caller has on a key, so that reads show nothing else', () => {
    expect(set.usableOperations(API, 'payments/jwt')).toEqual(['sign', 'verify']);
    expect(set.usableOperations(API, 'payments/old')).toEqual(['verify']);
    expect(set.usableOperations(API, 'treasury/jwt')).toEqual([]);
    expect(set.usableOperations('spiffe://example.org/lab', 'lastmile/log')).toEqual([]);
    expect(set.usableOperations(API, '')).toEqual(['random']);
    expect(set.usableOperations('nonsense', 'payments/jwt')).toEqual([]);
  });

  it('allows nothing by an empty policy', () => {
    const empty = policySet('version: 1');
    expect(empty.ruleCount).toBe(0);
    expect(empty.decide(asks(API, 'sign', 'a', 'ES256')).effect).toBe('deny');
    expect(empty.decideMethod({ spiffeId: ALICE, method: 'Admin.GetStatus' }).effect).toBe('deny');
    expect(explainText(empty.explain(asks(API, 'sign', 'a')))).toContain('the policy has no rules');
  });
});

describe('in two halves', () => {
  it('decides the same after the first has come from another thread', () => {
    const loaded = structuredClone(loadPolicy(policyBytes(policy), { administrators: [ALICE] }));
    const set = compileLoadedPolicy(loaded, 'sha256:test');
    expect(set.decide(asks(API, 'sign', 'payments/jwt', 'ES256')).rule).toBe('payments-sign');
    expect(set.decideMethod({ spiffeId: ALICE, method: 'Admin.GetStatus' }).rule).toBe('administrators');
  });

  it('is refused when the first found anything wrong', () => {
    expect(() => compileLoadedPolicy(loadPolicy(policyBytes('version: 2')), '')).toThrow(PolicyError);
  });
});

describe('methods', () => {
  const set = policySet(policy, { administrators: [ALICE] });
  const may = (spiffeId: string, method: string): string =>
    set.decideMethod({ spiffeId, method } satisfies MethodQuestion).rule;

  it('gives administrators all of Admin and Audit, unscoped', () => {
    expect(may(ALICE, 'Admin.CreateKey')).toBe('administrators');
    expect(set.decideMethod({ spiffeId: ALICE, method: 'Audit.Query' })).toEqual({
      effect: 'allow',
      rule: 'administrators',
      policyHash: 'sha256:test',
      scope: undefined,
    });
  });

  it('gives a role what it names, with its scope', () => {
    expect(set.decideMethod({ spiffeId: BOB, method: 'Audit.Query' }).scope).toEqual({
      trustDomains: ['example.org'],
      keys: ['payments/**'],
    });
  });

  it.each([
    [BOB, 'Audit.ReadTile'],
    [BOB, 'Admin.GetStatus'],
    [API, 'Audit.Query'],
    [ALICE, 'KeyUse.Sign'],
    [ALICE, 'Admin.NoSuchMethod'],
    [ALICE, 'Admin.*'],
    [ALICE, ''],
    [`${ALICE}/x`, 'Admin.GetStatus'],
    ['spiffe://example.org', 'Admin.GetStatus'],
    ['', 'Admin.GetStatus'],
  ])('denies %s %s', (spiffeId, method) => {
    expect(may(spiffeId, method)).toBe('');
  });
});

describe('warnings', () => {
  it('sums up', () => {
    expect(checkPolicy(policyBytes(policy), { administrators: [ALICE] })).toEqual({
      issues: [],
      warnings: [],
      summary: { allowRules: 3, denyRules: 1, roles: 1 },
    });
  });
});
