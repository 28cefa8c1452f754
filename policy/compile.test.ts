import { describe, expect, it } from 'vitest';
import { checkPolicy, explainText } from './check.ts';
import { compileLoadedPolicy, compilePolicy } from './compile.ts';
import type { KeyUseQuestion, MethodQuestion, PolicySet } from './decision.ts';
import { loadPolicy, type PolicyOptions } from './load.ts';
import { PolicyError } from './policy-error.ts';
import { formatSourceIssue } from './source-issue.ts';

const policyBytes = (text: string): Uint8Array => new TextEncoder().encode(text);

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

function refusals(text: string, options: PolicyOptions = {}): string[] {
  try {
    compilePolicy(policyBytes(text), { file: 'p.yaml', hash: '', ...options });
  } catch (error) {
    if (error instanceof PolicyError) return error.issues.map(formatSourceIssue);
    throw error;
  }
  return [];
}

const rules = (...lines: string[]): string =>
  `version: 1\nrules:\n${lines.map((line) => `  - ${line}\n`).join('')}`;
const OK = 'workloads: ["spiffe://example.org/w"], keys: [k], operations: [sign]';

describe('refused at load', () => {
  it.each([
    ['a version of another time', 'version: 2', 'p.yaml:1:10: `version` is the number 2 (expected 1)'],
    ['no version', 'rules: []', 'p.yaml:1:1: `version` is missing (expected 1)'],
    [
      'a name that is nearly known',
      'version: 1\nroels: []',
      'p.yaml:2:1: unknown name `roels` (did you mean `roles`?)',
    ],
    [
      'an effect that is none',
      rules(`{id: a, effect: permit, ${OK}}`),
      'p.yaml:3:21: `rules[0].effect` is `permit` (expected one of allow, deny)',
    ],
    [
      'an operation that is nearly known',
      rules('{id: a, workloads: ["spiffe://e.org/w"], keys: [k], operations: [sing]}'),
      'did you mean `sign`?',
    ],
    [
      'a wrong pattern',
      rules('{id: a, workloads: ["spiffe://*/w"], keys: [k], operations: [sign]}'),
      'p.yaml:3:25: `spiffe://*/w` has a wildcard in the trust domain',
    ],
    [
      'a reserved key',
      rules('{id: a, workloads: ["spiffe://e.org/w"], keys: [lastmile/log], operations: [sign]}'),
      'p.yaml:3:53: `lastmile/log` names keys under `lastmile/`',
    ],
    [
      'the same id twice',
      rules(`{id: a, ${OK}}`, `{id: a, ${OK}}`),
      'p.yaml:4:10: the id `a` is used by rules[0] already',
    ],
    [
      'the id of the administrators',
      rules(`{id: administrators, ${OK}}`),
      'p.yaml:3:10: the id `administrators` stands for',
    ],
    [
      'no keys',
      rules('{id: a, workloads: ["spiffe://e.org/w"], operations: [sign]}'),
      '`rules[0].keys` is missing',
    ],
    [
      'random with a key',
      rules('{id: a, workloads: ["spiffe://e.org/w"], keys: [k], operations: [random]}'),
      'without `keys`',
    ],
    [
      'random among others',
      rules('{id: a, workloads: ["spiffe://e.org/w"], keys: [k], operations: [sign, random]}'),
      'a rule of its own',
    ],
    ['no workloads', rules('{id: a, workloads: [], keys: [k], operations: [sign]}'), 'too small'],
    [
      'methods of key use in a role',
      'version: 1\nroles: [{id: a, members: ["spiffe://e.org/x"], allow: {methods: [KeyUse.Sign]}}]',
      'is `KeyUse.Sign`',
    ],
    [
      'a scope where none is obeyed',
      'version: 1\nroles: [{id: a, members: ["spiffe://e.org/x"], allow: {methods: [Audit.*, Admin.*], scope: {keys: [k]}}}]',
      'means nothing for `Admin.*`',
    ],
    [
      'an empty scope',
      'version: 1\nroles: [{id: a, members: ["spiffe://e.org/x"], allow: {methods: [Audit.*], scope: {}}}]',
      'an empty scope',
    ],
  ])('%s', (_, text, expected) => {
    const found = refusals(text);
    expect(found.join('\n')).toContain(expected);
  });

  it.each(['proof', 'raw'])('%s, which this version would not obey', (name) => {
    expect(refusals(rules(`{id: a, ${OK}, ${name}: []}`))).toEqual([
      expect.stringContaining(`\`${name}\` is not supported by this version`),
    ]);
  });

  it('everything wrong at once, in the order of the file', () => {
    const found = refusals(rules('{id: "", workload: x, keys: [k], operations: [sign]}', '{id: b}'));
    expect(found.length).toBeGreaterThanOrEqual(4);
    const lines = found.map((issue) => Number(issue.split(':')[1]));
    expect(lines).toEqual(lines.toSorted((a, b) => a - b));
  });
});

describe('separation of key use and administration', () => {
  const both = (member: string, workload: string): string => `version: 1
roles: [{id: ops, members: ["${member}"], allow: {methods: [Admin.*]}}]
rules:
  - {id: use, workloads: ["${workload}"], keys: [k], operations: [sign]}
`;

  it.each([
    ['spiffe://example.org/a', 'spiffe://example.org/**'],
    ['spiffe://example.org/*/a', 'spiffe://example.org/b/*'],
    ['spiffe://example.org/**', 'spiffe://example.org/w'],
    ['spiffe://example.org/**/x', 'spiffe://example.org/a/**'],
  ])('refuses members %s beside workloads %s', (member, workload) => {
    expect(refusals(both(member, workload))[0]).toMatch(
      /^p\.yaml:4:27: .* of the role `ops`: no identity may both/,
    );
  });

  it('accepts patterns that share no identity', () => {
    expect(refusals(both('spiffe://example.org/human/*', 'spiffe://example.org/ns/**'))).toEqual([]);
    expect(refusals(both('spiffe://example.org/*/x', 'spiffe://example.org/*/y'))).toEqual([]);
    expect(refusals(both('spiffe://a.org/**', 'spiffe://b.org/**'))).toEqual([]);
  });

  it('counts the administrators of lastmile.yaml', () => {
    const text = rules('{id: use, workloads: ["spiffe://example.org/**"], keys: [k], operations: [sign]}');
    expect(refusals(text)).toEqual([]);
    expect(refusals(text, { administrators: [ALICE] })[0]).toContain(
      `also matches the administrator \`${ALICE}\``,
    );
    expect(refusals(text, { administrators: ['spiffe://example.org/**'] })[0]).toContain(
      'is not a SPIFFE ID',
    );
  });

  it('lets a deny rule cover everybody: it allows nothing', () => {
    const text = rules(
      '{id: no, effect: deny, workloads: ["spiffe://example.org/**"], keys: [k], operations: [sign]}',
    );
    expect(refusals(text, { administrators: [ALICE] })).toEqual([]);
  });

  it('refuses two scopes for one identity and method, and accepts equal or separate ones', () => {
    const twoScopes = (members: string, keys: string): string => `version: 1
roles:
  - {id: a, members: ["spiffe://example.org/a/*"], allow: {methods: [Audit.*], scope: {keys: [x]}}}
  - {id: b, members: ["${members}"], allow: {methods: [Audit.Query], scope: {keys: [${keys}]}}}
`;
    expect(refusals(twoScopes('spiffe://example.org/*/b', 'y'), { administrators: [ALICE] })[0]).toMatch(
      /^p\.yaml:4:.*different scopes/,
    );
    expect(refusals(twoScopes('spiffe://example.org/*/b', 'x'))).toEqual([]);
    expect(refusals(twoScopes('spiffe://example.org/b/*', 'y'))).toEqual([]);
  });
});

describe('warnings', () => {
  const warnings = (text: string, options: PolicyOptions = {}): string[] =>
    checkPolicy(policyBytes(text), { file: 'p.yaml', ...options }).warnings.map(formatSourceIssue);

  it('tells of rules that can never match', () => {
    expect(warnings(rules(`{id: a, ${OK}}`), { trustDomain: 'other.org' })[0]).toContain(
      'only workloads of `other.org` are served',
    );
    expect(warnings(rules(`{id: a, ${OK}, algorithms: [A256GCM]}`))[0]).toContain('never matches sign');
    expect(warnings(rules(`{id: a, ${OK}, algorithms: [A256GCM, ES256]}`))).toEqual([]);
  });

  it('tells of an allow rule that a deny rule makes void', () => {
    const deny =
      '{id: no, effect: deny, workloads: ["spiffe://example.org/*"], keys: ["**"], operations: [sign, verify]}';
    expect(warnings(rules(`{id: a, ${OK}}`, deny))[0]).toContain(
      'the rule `a` allows nothing: the rule `no` denies all of it',
    );
    expect(warnings(rules(`{id: a, ${OK.replace('[sign]', '[sign, mac]')}}`, deny))).toEqual([]);
  });

  it('sums up', () => {
    expect(checkPolicy(policyBytes(policy), { administrators: [ALICE] })).toEqual({
      issues: [],
      warnings: [],
      summary: { allowRules: 3, denyRules: 1, roles: 1 },
    });
  });
});
