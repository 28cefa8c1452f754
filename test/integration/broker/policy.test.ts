import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LastmileClient, SigningStream } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import {
  BILLING,
  entries,
  operator,
  PAYMENTS,
  refusal,
  status,
  untilStatus,
  workload,
} from '../../fakes/instance-clients.ts';

/**
 * A changed policy is in force as soon as it was read, without a restart; one with a mistake is refused whole.
 *
 * The policy file is a link to a file elsewhere, as a mounted configuration often is. The broker watches the directory
 * of the link: a change of the file behind it is not seen before somebody says so.
 */

const message = Buffer.from('a message');
const SIGN = { key: 'payments/jwt', algorithm: 'ES256', message };

let instance: RunningInstance;
let admin: OperatorClient;
let billing: LastmileClient;
let payments: LastmileClient;
/** As `lastmile init` wrote it. */
let original: string;
let link: string;
let behind: string;

beforeAll(async () => {
  instance = await startInstance({
    prepare: async (directory) => {
      link = join(directory, 'policy.yaml');
      behind = join(directory, '..', 'mounted-policy.yaml');
      await rename(link, behind);
      await symlink(behind, link);
      original = await readFile(behind, 'utf8');
    },
  });
  admin = await operator(instance);
  billing = await workload(instance, 'billing');
  payments = await workload(instance, 'payments');
});

afterAll(async () => {
  billing?.close();
  payments?.close();
  admin?.close();
  await instance?.stop();
});

function allowing(id: string, who: string): string {
  return `${original}
  - id: ${id}
    workloads: ["${who}"]
    keys: [payments/jwt]
    operations: [sign]
`;
}

function denying(id: string, who: string): string {
  return `${allowing(id, who)}    effect: deny
`;
}

function hashOf(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

async function newestPolicyEntry() {
  const [entry] = await entries(admin, { kind: 'policy', limit: 1 });
  return entry;
}

describe('Admin.ReloadPolicy', () => {
  it('takes a good file: in force for the next request, and on record with both hashes', async () => {
    const { policyHash: before } = await status(admin);
    expect(before).toBe(hashOf(original));
    expect(await refusal(billing.sign(SIGN))).toMatchObject({ reason: 'POLICY_DENIED' });

    const text = allowing('billing-signs-too', BILLING);
    await writeFile(behind, text);
    const { policyHash } = await admin.admin('ReloadPolicy', {});
    expect(policyHash).toBe(hashOf(text));
    const { log } = await billing.sign(SIGN);

    expect(await newestPolicyEntry()).toMatchObject({
      subject: 'lastmile',
      operation: 'activate',
      decision: 'allow',
      detail: { before, after: policyHash },
    });
    const { entry } = await admin.audit('GetEntry', { leafIndex: log.leafIndex });
    expect(JSON.parse(Buffer.from(entry!.entry).toString())).toMatchObject({
      rule: 'billing-signs-too',
      policy: policyHash,
    });
    expect(await status(admin)).toMatchObject({ policyHash, policyRefusal: '' });
  });

  it('refuses a file with a mistake whole: nothing of it counts, and its line is told', async () => {
    const { policyHash } = await status(admin);
    // A rule that is right and takes something away, then one that is not.
    const wrong = `${denying('billing-no-more', BILLING)}  - id: misspelt
    workloads: ["${PAYMENTS}"]
    kyes: [payments/jwt]
    operations: [sign]
`;
    const line = wrong.split('\n').findIndex((text) => text.includes('kyes')) + 1;
    await writeFile(behind, wrong);
    const refused = await refusal(admin.admin('ReloadPolicy', {}));
    expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'REQUEST_INVALID' });
    for (const text of [refused.message, (await status(admin)).policyRefusal]) {
      expect(text).toContain(`policy.yaml:${line}:5`);
      expect(text).toContain('kyes');
      expect(text).toContain('keys');
    }
    expect(await status(admin)).toMatchObject({
      policyHash,
      state: 'serving',
      warnings: expect.arrayContaining([expect.stringContaining('the policy file is not in force')]),
    });
    await billing.sign(SIGN);
    const entry = await newestPolicyEntry();
    expect(entry).toMatchObject({
      operation: 'activate',
      decision: 'deny',
      performed: 'no',
      detail: { offered: hashOf(wrong) },
    });
    expect(entry!.detail!.why).toContain(`policy.yaml:${line}:5`);
    const [call] = await entries(admin, { kind: 'method', operation: 'Admin.ReloadPolicy', limit: 1 });
    expect(call).toMatchObject({ decision: 'allow', reason: 'REQUEST_INVALID', performed: 'no' });
  });
});

describe('SIGHUP', () => {
  it('reads the file again, whole or not at all, and the broker lives on', async () => {
    await writeFile(behind, 'version: 1\nrules: [');
    const kept = (await status(admin)).policyHash;
    process.kill(instance.pid, 'SIGHUP');
    await untilStatus(admin, ({ policyRefusal }) => policyRefusal.includes('policy.yaml:2'));
    expect((await status(admin)).policyHash).toBe(kept);
    await billing.sign(SIGN);

    await writeFile(behind, original);
    process.kill(instance.pid, 'SIGHUP');
    const now = await untilStatus(admin, ({ policyHash }) => policyHash === hashOf(original));
    expect(now.policyRefusal).toBe('');
    expect(now.warnings.join()).not.toContain('policy file');
    expect(now.processes.find(({ role }) => role === 'broker')!.pid).toBe(instance.pid);
    expect(await refusal(billing.sign(SIGN))).toMatchObject({ reason: 'POLICY_DENIED' });
  });
});

describe('a file that changes', () => {
  let stream: SigningStream;
  beforeAll(async () => {
    stream = payments.signStream();
    await stream.sign(SIGN);
  });
  afterAll(() => stream?.end());

  /** As editors do it: readers see the old file or the new one. */
  async function replace(text: string): Promise<void> {
    await writeFile(`${link}.new`, text);
    await rename(`${link}.new`, link);
  }

  it('is read without being asked, and holds for open streams too', async () => {
    const text = denying('payments-no-more', PAYMENTS);
    await replace(text);
    await untilStatus(admin, ({ policyHash }) => policyHash === hashOf(text));
    for (const refused of await Promise.all([refusal(stream.sign(SIGN)), refusal(payments.sign(SIGN))]))
      expect(refused).toMatchObject({ code: 'PERMISSION_DENIED', reason: 'POLICY_DENIED', performed: 'no' });
    await replace(original);
    await untilStatus(admin, ({ policyHash }) => policyHash === hashOf(original));
    await stream.sign(SIGN);
  });

  it.each([
    ['is empty', ''],
    ['has a second rule of the same name', allowingTwice],
    [
      'names a key of the broker itself',
      () => allowing('own', PAYMENTS).replaceAll('keys: [payments/jwt]', 'keys: ["lastmile/**"]'),
    ],
    ['is of another version', () => original.replace('version: 1', 'version: 2')],
    ['puts a workload into a role', () => original.replace('members: [', `members: ["${PAYMENTS}", `)],
    ['is no YAML', () => `${original}\n\t}`],
    ['is not UTF-8', () => Buffer.concat([Buffer.from(original), Buffer.from([0x23, 0xff, 0xfe, 0x0a])])],
  ])('and %s is refused, and the old one stays', async (_name, make) => {
    const text = typeof make === 'string' ? make : make();
    await writeFile(`${link}.new`, text);
    await rename(`${link}.new`, link);
    const now = await untilStatus(admin, ({ policyRefusal }) => policyRefusal !== '');
    expect(now.policyRefusal).toContain('policy.yaml:');
    expect(now.policyHash).toBe(hashOf(original));
    await payments.sign(SIGN);
    await replace(original);
    await untilStatus(admin, ({ policyRefusal }) => policyRefusal === '');
  });

  function allowingTwice(): string {
    const once = allowing('twice', BILLING);
    return once + once.slice(original.length);
  }

  it('and is gone for a while changes nothing', async () => {
    await rm(link);
    const refused = await refusal(admin.admin('ReloadPolicy', {}));
    expect(refused).toMatchObject({ reason: 'REQUEST_INVALID' });
    await payments.sign(SIGN);
    await replace(original);
    await untilStatus(admin, ({ policyRefusal }) => policyRefusal === '');
  });
});

it('Admin.ExplainPolicy says of every rule why it counts or not', async () => {
  const explained = await admin.admin('ExplainPolicy', {
    workload: BILLING,
    key: 'payments/jwt',
    operation: 'sign',
    algorithm: 'ES256',
  });
  expect(explained).toMatchObject({ decision: 'deny', rule: '' });
  const rules = [
    ...readFileSync(link, 'utf8')
      .split('\nrules:')[1]!
      .matchAll(/^ {2}- id: (\S+)/gm),
  ].map(([, id]) => id);
  expect(explained.considered.map(({ rule }) => rule).sort()).toEqual(rules.sort());
  for (const { matched, missing } of explained.considered) {
    expect(matched).toBe(false);
    expect(missing.length).toBeGreaterThan(0);
  }
});
