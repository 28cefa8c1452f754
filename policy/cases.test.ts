import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadCases, runCases } from './cases.ts';
import { compilePolicy } from './compile.ts';
import type { KeyUseQuestion } from './decision.ts';
import type { ReplayedPolicy } from './replay-player.ts';
import { formatSourceIssue } from './source-issue.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

const POLICY = compilePolicy(
  bytes(`
version: 1
rules:
  - id: signs
    workloads: ["spiffe://example.org/ns/payments/sa/*"]
    keys: [payments/jwt]
    operations: [sign]
    algorithms: [ES256]
  - id: closed
    effect: deny
    workloads: ["spiffe://example.org/**"]
    keys: [payments/old]
    operations: [sign]
`),
  { hash: 'sha256:test' },
);

function run(
  text: string,
  policy: ReplayedPolicy = POLICY,
): { readonly failures: string[]; readonly passed: number } {
  const loaded = loadCases(bytes(text), 'cases.yaml');
  if (!loaded.ok) throw new Error(loaded.issues.map(formatSourceIssue).join('\n'));
  const { failures, passed } = runCases(loaded.cases, policy);
  return { failures: failures.map(({ issue }) => formatSourceIssue(issue)), passed };
}

function mistakes(text: string): string[] {
  const loaded = loadCases(bytes(text), 'cases.yaml');
  return loaded.ok ? [] : loaded.issues.map(formatSourceIssue);
}

const APPROVED = compilePolicy(
  bytes(`
version: 1
approvers:
  - id: anna
    keys: [{ method: jws, publicKey: '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}' }]
groups: { treasury: [anna] }
rules:
  - id: settles
    workloads: ["spiffe://example.org/ns/treasury/sa/settle"]
    keys: [treasury/settlement]
    operations: [sign]
    limits: [{ max: 1, per: 1s, by: rule }]
    quorum: { approvals: 1, of: treasury, within: 15m }
`),
  { hash: 'sha256:approved' },
);

describe('cases with approvals', () => {
  const settles = (more: string): string => `
version: 1
cases:
  - name: settles
    workload: spiffe://example.org/ns/treasury/sa/settle
    key: treasury/settlement
    operation: sign
    algorithm: ES256
${more}`;

  test('are pending until people have agreed, and use nothing up', () => {
    const text = settles(`    requests:
      - { expect: pending, rule: settles, times: 3 }
      - { expect: allow, approved: true, rule: settles }
      - { expect: deny, approved: true, rule: settles }
      - { expect: pending, after: 2s }
      - { expect: deny, content: digest, rule: "" }
`);
    expect(run(text, APPROVED)).toEqual({ failures: [], passed: 1 });
  });

  test('say what is waited for', () => {
    expect(run(settles('    expect: allow\n'), APPROVED).failures).toEqual([
      expect.stringContaining(
        'settles: expected allow, but it is pending by settles: needs 1 approval of treasury, within 15m',
      ),
    ]);
    expect(run(settles('    expect: pending\n    content: digest\n'), APPROVED).failures).toEqual([
      expect.stringContaining('a bare digest shows approvers nothing'),
    ]);
  });
});

describe('cases', () => {
  test('pass where the policy decides as expected', () => {
    const text = `
version: 1
policy: policy.yaml
cases:
  - name: the API signs
    workload: spiffe://example.org/ns/payments/sa/api
    key: payments/jwt
    operation: sign
    algorithm: ES256
    expect: allow
    rule: signs
  - name: nobody signs with the old key
    workload: spiffe://example.org/ns/payments/sa/api
    key: payments/old
    operation: sign
    algorithm: ES256
    expect: deny
    rule: closed
  - name: nobody else signs
    workload: spiffe://example.org/ns/billing/sa/api
    key: payments/jwt
    operation: sign
    algorithm: ES256
    expect: deny
    rule: ""
`;
    expect(run(text)).toEqual({ failures: [], passed: 3 });
    expect(loadCases(bytes(text))).toMatchObject({ cases: { policy: 'policy.yaml' } });
  });

  test('fail at their line, with what the policy lacked', () => {
    const { failures } = run(`version: 1
cases:
  - name: signs with ES384
    workload: spiffe://example.org/ns/payments/sa/api
    key: payments/jwt
    operation: sign
    algorithm: ES384
    expect: allow
  - name: by another rule
    workload: spiffe://example.org/ns/payments/sa/api
    key: payments/jwt
    operation: sign
    algorithm: ES256
    expect: allow
    rule: other
`);
    expect(failures).toEqual([
      'cases.yaml:8:13: signs with ES384: expected allow, but it is deny: no rule allows it; nearest is signs: algorithm ES384 is not among ES256',
      'cases.yaml:15:11: by another rule: expected allow by other, but it is allow by signs',
    ]);
  });

  /** Three in a second, and what was asked. */
  const asked: KeyUseQuestion[] = [];
  const limited: ReplayedPolicy = {
    hash: 'sha256:limited',
    explain: (question) => POLICY.explain(question),
    usableOperations: () => [],
    takesRawSigning: () => true,
    decide: (question) => {
      asked.push(question);
      const limit = {
        id: 'few/calls',
        max: 3,
        perMs: 1000,
        by: 'workload',
        unit: 'calls',
        window: 'smooth',
      } as const;
      const allowance = { rule: 'few', limits: [limit], guards: [], isOpenAt: () => true };
      return { effect: 'allow', rule: 'few', policyHash: '', alternatives: [allowance] };
    },
  };

  test('count limits over the requests of one case, and of one only', () => {
    const one = `
    workload: spiffe://example.org/a
    key: k
    operation: sign
    at: 2026-11-21T08:00:00Z
    requests:
      - { times: 3, expect: allow, rule: few }
      - { times: 5, expect: deny, rule: few }
      - { after: 999ms, expect: deny }
      - { after: 1ms, times: 3, expect: allow }
      - { workload: spiffe://example.org/b, expect: allow }
      - { at: "2026-11-21T09:00:00+01:00", expect: deny }`;
    expect(run(`version: 1\ncases:\n  - name: one${one}\n  - name: two${one}\n`, limited)).toEqual({
      failures: [],
      passed: 2,
    });
  });

  test('name the time that failed', () => {
    const { failures } = run(
      `version: 1
cases:
  - name: five
    workload: spiffe://example.org/a
    key: k
    operation: sign
    times: 5
    expect: allow
`,
      limited,
    );
    expect(failures).toEqual([
      'cases.yaml:8:13: five (time 4 of 5): expected allow, but it is deny by few: the limit `few/calls` of 3 calls is used up for another 1000 ms',
    ]);
  });

  test('hand in everything that a decision can look at', () => {
    asked.length = 0;
    run(
      `version: 1
cases:
  - name: all
    workload: spiffe://example.org/a
    key: k
    operation: sign
    algorithm: EdDSA
    at: 2026-11-21T08:00:00Z
    doubt: 2s
    bytes: 7
    version: 3
    evidence: [x509-svid, tpm]
    peer: 10.1.2.3
    request: { jwt: { aud: [a], n: 7, share: 0.5, on: true, none: null } }
    expect: allow
`,
      limited,
    );
    expect(asked).toEqual([
      {
        spiffeId: 'spiffe://example.org/a',
        key: 'k',
        operation: 'sign',
        algorithm: 'EdDSA',
        circumstances: {
          now: Date.UTC(2026, 10, 21, 8),
          clockDoubtMs: 2000,
          bytes: 7,
          content: 'typed',
          version: 3,
          typed: { type: 'jwt', facts: { aud: ['a'], n: 7n, share: 0.5, on: true, none: null } },
          evidence: ['x509-svid', 'tpm'],
          peerAddress: '10.1.2.3',
        },
      },
    ]);
  });

  test('of the README are right', () => {
    const readme = readFileSync(new URL('./README.md', import.meta.url), 'utf8');
    const [, example = ''] = /### Cases\n\n```yaml\n([\s\S]*?)```/.exec(readme) ?? [];
    expect(example).not.toBe('');
    expect(mistakes(example)).toEqual([]);
  });

  const complete = 'workload: spiffe://example.org/a\n    key: k\n    operation: sign\n    ';
  test.each([
    ['', ':1:1: the file is empty'],
    ['version: 1\ncases: []\n', ':2:8: `cases` is too small'],
    ['version: 1\ncases:\n  - name: a\n    wrkload: x\n    expect: deny\n', ':4:5: unknown name `wrkload`'],
    [
      `version: 1\ncases:\n  - name: a\n    ${complete}at: soon\n    expect: deny\n`,
      ':7:9: `cases[0].at` must be a time',
    ],
    ['version: 1\ncases:\n  - name: a\n    expect: deny\n', ':3:5: `workload` is missing'],
    [`version: 1\ncases:\n  - name: a\n    ${complete}\n`, ':3:5: the case says neither'],
    [
      `version: 1\ncases:\n  - name: a\n    ${complete}expect: deny\n    requests: [{ expect: deny }]\n`,
      ':7:13: `expect` belongs to',
    ],
    [
      'version: 1\ncases:\n  - name: a\n    workload: example.org/a\n    key: k\n    operation: sign\n    expect: deny\n',
      ':4:15: `example.org/a` is not',
    ],
    [
      `version: 1\ncases:\n  - name: a\n    ${complete}expect: deny\n  - name: a\n    ${complete}expect: deny\n`,
      ':8:11: `a` is the name of a case already',
    ],
    [
      `version: 1\ncases:\n  - name: a\n    ${complete}request: { jwt: [1] }\n    expect: deny\n`,
      ':7:21: must be names and values',
    ],
  ])('with a mistake are refused at its place: %#', (text, message) => {
    expect(mistakes(text)[0]).toContain(`cases.yaml${message}`);
  });
});
