import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LastmileClient } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, runLastmile, startInstance } from '../../fakes/instance.ts';
import { entries, operator, PAYMENTS, refusal, status, workload } from '../../fakes/instance-clients.ts';

const message = Buffer.from('a message');
const sign = { key: 'payments/jwt', algorithm: 'ES256', message };

let instance: RunningInstance;
let admin: OperatorClient;
let payments: LastmileClient;
let file: string;
let original: string;

beforeAll(async () => {
  instance = await startInstance();
  admin = await operator(instance);
  payments = await workload(instance, 'payments');
  file = join(instance.directory, 'policy.yaml');
  original = await readFile(file, 'utf8');
});

afterAll(async () => {
  payments?.close();
  admin?.close();
  await instance?.stop();
});

const lastmile = (...args: string[]): Promise<string> =>
  runLastmile(['policy', ...args, '--instance', instance.directory]);
const hashInForce = async (): Promise<string> => (await status(admin)).policyHash;

describe('versions of the policy', () => {
  it('come and go, are all kept, and one comes back by its hash', async () => {
    const first = await hashInForce();
    expect(await payments.sign(sign)).toMatchObject({ version: 1 });

    const closed = `${original}
  - id: nobody-signs-now
    effect: deny
    workloads: [${PAYMENTS}]
    keys: [payments/jwt]
    operations: [sign]
`;
    await writeFile(file, closed);
    await admin.admin('ReloadPolicy', {});
    const second = await hashInForce();
    expect(second).not.toBe(first);
    expect(await refusal(payments.sign(sign))).toMatchObject({ reason: 'POLICY_DENIED' });

    // What was in force then can be shown, to the byte.
    expect(await lastmile('show', '--hash', first)).toBe(original);
    expect(await lastmile('show')).toBe(closed);

    await lastmile('activate', '--hash', first, '--reason', 'INC-12');
    expect(await hashInForce()).toBe(first);
    expect(await readFile(file, 'utf8')).toBe(original);
    expect(await payments.sign(sign)).toMatchObject({ version: 1 });

    const { activations } = JSON.parse(await lastmile('history', '--json')) as {
      activations: { policyHash: string; before: string; by: string; differences: string[] }[];
    };
    expect(activations).toMatchObject([
      { policyHash: first, before: second, by: 'spiffe://example.org/human/operator' },
      { policyHash: second, before: first, by: '' },
      { policyHash: first, before: '', by: '' },
    ]);
    expect(activations[1]?.differences).toContain(
      `${PAYMENTS} loses sign with payments/jwt (ES256): denied by nobody-signs-now`,
    );
    const recorded = await entries(admin, { kind: 'policy' });
    expect(recorded[0]).toMatchObject({ decision: 'allow', detail: { before: second, after: first } });
  });

  it('are files for the broker alone', async () => {
    const directory = join(instance.directory, 'state', 'policies');
    const names = await readdir(directory);
    expect(names).toHaveLength(2);
    for (const name of names) expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600);
  });

  it('that were never in force cannot be activated', async () => {
    const unknown = { policyHash: `sha256:${'0'.repeat(64)}`, reason: 'try' };
    expect(await refusal(admin.admin('ActivatePolicy', unknown))).toMatchObject({
      reason: 'REQUEST_INVALID',
    });
    const outside = { policyHash: '../lastmile', reason: 'try' };
    expect(await refusal(admin.admin('ActivatePolicy', outside))).toMatchObject({
      reason: 'REQUEST_INVALID',
    });
    expect(await refusal(admin.admin('GetPolicy', { policyHash: '../lastmile' }))).toMatchObject({
      reason: 'REQUEST_INVALID',
    });
  });

  it('are the business of nobody without the role', async () => {
    const auditor = await operator(instance, 'auditor');
    try {
      for (const method of ['GetPolicy', 'ListPolicies', 'ActivatePolicy'] as const) {
        expect(await refusal(auditor.admin(method, {}))).toMatchObject({ reason: 'POLICY_DENIED' });
      }
    } finally {
      auditor.close();
    }
  });
});

describe('the log', () => {
  it('rehearses a policy on what really happened', async () => {
    const stricter = join(instance.directory, 'stricter.yaml');
    await writeFile(
      stricter,
      original.replace('operations: [sign, verify]\n    algorithms: [ES256]', 'operations: [verify]'),
    );
    const report = JSON.parse(await lastmile('simulate', stricter, '--json')) as Record<string, unknown>;
    // Two signatures of the test before would be refused; the refusal stays one.
    expect(report).toMatchObject({ nowDenied: 2, nowAllowed: 0, stillDenied: 1, cannotReplay: 0 });
    expect(report.flips).toMatchObject([
      { change: 'now denied', workload: PAYMENTS, key: 'payments/jwt', operation: 'sign', requests: 2 },
    ]);
    const [flip] = report.flips as { entries: number[] }[];
    const signatures = (
      await entries(admin, { kind: 'key-use', decision: 'allow', key: 'payments/jwt' })
    ).map(({ leaf }) => leaf);
    expect(flip?.entries).toEqual(signatures.toReversed());
  });

  it('suggests a policy that is right and allows what was seen, online and from the files', async () => {
    const suggested = await lastmile('suggest');
    expect(suggested).toContain(`- "${PAYMENTS}"`);
    const place = join(instance.directory, 'suggested.yaml');
    await writeFile(place, suggested);
    await runLastmile(['policy', 'check', place]);
    const offline = ['--directory', join(instance.directory, 'audit')];
    const report = JSON.parse(await lastmile('simulate', place, ...offline, '--json')) as object;
    // The signature that a deny rule refused for a while would be allowed: the rules' names cannot tell.
    expect(report).toMatchObject({ nowDenied: 0, nowAllowed: 1, stillAllowed: 2, cannotReplay: 0 });
    expect(suggested).toContain('was also refused sign ES256 with payments/jwt, 1 times');
  });
});
