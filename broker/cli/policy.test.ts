import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CommandLine } from '../../test/fakes/command-line.ts';
import { refusal } from '../../test/fakes/fake-broker.ts';

let shell: CommandLine;
beforeAll(async () => {
  shell = await CommandLine.start();
});
afterAll(() => shell.stop());
beforeEach(() => shell.forgetWhatWas());

describe('policy', () => {
  const RIGHT = `version: 1
rules:
  - id: payments-signs
    workloads: ["spiffe://example.org/ns/payments/sa/*"]
    keys: ["payments/jwt"]
    operations: [sign]
`;

  it('check says right, or where not', async () => {
    writeFileSync(shell.path('policy.yaml'), RIGHT);
    expect(await shell.run(['policy', 'check', 'policy.yaml'])).toMatchObject({
      code: 0,
      out: 'policy.yaml: right: 1 allow rules, 0 deny rules, 0 roles\n',
    });
    writeFileSync(shell.path('policy.yaml'), RIGHT.replace('[sign]', '[sing]'));
    const wrong = await shell.run(['policy', 'check', 'policy.yaml']);
    expect([wrong.code, wrong.out]).toEqual([1, '']);
    expect(wrong.err).toMatch(/^policy\.yaml:6:18: .*sing/);
    expect(wrong.err).toContain('error: policy.yaml is refused whole: 1 to correct\n');
  });

  it('explain decides by a file, without a broker', async () => {
    writeFileSync(shell.path('policy.yaml'), RIGHT);
    const argv = [
      'policy',
      'explain',
      '--policy',
      'policy.yaml',
      '--operation',
      'sign',
      '--key',
      'payments/jwt',
      '--algorithm',
      'ES256',
      '--workload',
    ];
    const allowed = await shell.run([...argv, 'spiffe://example.org/ns/payments/sa/api']);
    expect(allowed.out).toMatch(/^allow, by the rule payments-signs\n/);
    const denied = await shell.run([...argv, 'spiffe://example.org/ns/billing/sa/x', '--json']);
    expect([denied.code, JSON.parse(denied.out)]).toMatchObject([0, { effect: 'deny', rule: '' }]);
  });

  it('explain asks the broker for the policy in force', async () => {
    shell.answers('ExplainPolicy', {
      decision: 'deny',
      rule: 'no-billing',
      policyHash: 'sha256:11',
      considered: [{ rule: 'no-billing', matched: true, missing: [], effect: 'deny' }],
    });
    const run = await shell.run([
      'policy',
      'explain',
      '--workload',
      'spiffe://example.org/x',
      '--operation',
      'random',
    ]);
    expect(run.out).toBe('deny, by the rule no-billing\npolicy sha256:11\n  deny  no-billing  matches\n');
    expect(shell.seen).toMatchObject({ workload: 'spiffe://example.org/x', operation: 'random', key: '' });
  });

  it('explain tells of people who have to agree', async () => {
    shell.answers('ExplainPolicy', {
      decision: 'pending',
      rule: 'settles',
      policyHash: 'sha256:11',
      considered: [
        { rule: 'settles', matched: true, missing: ['needs 2 approvals of treasury'], effect: 'allow' },
      ],
    });
    const run = await shell.run([
      ...['policy', 'explain', '--workload', 'spiffe://example.org/x', '--operation', 'random'],
    ]);
    expect(run.out).toContain('pending, by the rule settles: needs 2 approvals of treasury\n');
  });

  it('reload says the hash in force, or why not', async () => {
    shell.answers('ReloadPolicy', {
      policyHash: 'sha256:22',
      log: { origin: 'example.org/log', leafIndex: 7 },
    });
    expect((await shell.run(['policy', 'reload'])).out).toBe('policy:    sha256:22\nlog entry: 7\n');
    shell.broker.answers.set('ReloadPolicy', () => {
      throw refusal('REQUEST_INVALID', 'no', 'policy.yaml:3:1: unknown key');
    });
    expect((await shell.run(['policy', 'reload'])).err).toContain('policy.yaml:3:1: unknown key');
  });
});
