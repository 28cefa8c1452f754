import { createHmac, createPublicKey, verify } from 'node:crypto';
import { appendFile, copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { LastmileClient } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import {
  entries,
  operator,
  PAYMENTS,
  refusal,
  status,
  untilStatus,
  workload,
} from '../../fakes/instance-clients.ts';
import {
  approve,
  type InstancePerson,
  lastmile,
  lastmileJson,
  makePerson,
  reject,
} from '../../fakes/instance-people.ts';
import { type Received, type Receiver, startReceiver } from '../courier/receiver.ts';

/** Quorums and break-glass in a whole broker, and what people outside are told of them. */
let instance: RunningInstance;
let admin: OperatorClient;
let client: LastmileClient;
let chat: Receiver;
let alice: InstancePerson;
let bob: InstancePerson;

const SECRET = 'what only broker and receiver know';
const RULES = `
  - id: two-people
    workloads: ["${PAYMENTS}"]
    keys: [payments/settlement]
    operations: [sign]
    quorum: { approvals: 2, of: treasury, within: 15m }
  - id: break-glass
    workloads: ["${PAYMENTS}"]
    keys: [payments/settlement, payments/vault]
    operations: [sign]
    quorum: { approvals: 1, of: on-call, within: 10m, emergency: true }
  - id: payments-reads
    workloads: ["${PAYMENTS}"]
    keys: ["payments/*"]
    operations: [verify]
`;

beforeAll(async () => {
  chat = await startReceiver();
  instance = await startInstance({
    prepare: async (directory) => {
      alice = await makePerson(directory, 'alice');
      bob = await makePerson(directory, 'bob');
      await appendFile(
        join(directory, 'policy.yaml'),
        `${RULES}
approvers:
${alice.block}${bob.block}
groups:
  treasury: [alice, bob]
  on-call: [bob]
`,
      );
      await writeFile(join(directory, 'secrets', 'chat'), SECRET, { mode: 0o600 });
      await appendFile(
        join(directory, 'lastmile.yaml'),
        `
courier:
  destinations:
    - { name: chat, webhook: { url: "${chat.url}", secret: { file: secrets/chat } } }
`,
      );
    },
  });
  admin = await operator(instance);
  for (const key of ['payments/settlement', 'payments/vault'])
    await admin.admin('CreateKey', { key, purpose: 'sign', algorithms: ['ES256'] });
  admin.close();
});
afterAll(async () => {
  await instance?.stop();
  await chat?.stop();
});
beforeEach(async () => {
  admin = await operator(instance);
  client = await workload(instance, 'payments');
});
afterEach(() => {
  admin.close();
  client.close();
});

const input = (text: string, key = 'payments/settlement') => ({
  key,
  algorithm: 'ES256',
  message: Buffer.from(text),
});

async function verifies(text: string, signature: Uint8Array, key = 'payments/settlement') {
  const { pem } = await client.getPublicKey({ key });
  return verify(
    'sha256',
    Buffer.from(text),
    { key: createPublicKey(pem), dsaEncoding: 'ieee-p1363' },
    signature,
  );
}

/** As a receiver is told to by Standard Webhooks. */
function isSigned({ headers, body }: Received, secret: string): boolean {
  const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': given } = headers;
  const mac = createHmac('sha256', secret)
    .update(`${String(id)}.${String(at)}.${body}`)
    .digest('base64');
  return String(given).split(' ').includes(`v1,${mac}`);
}

const told = (type: string, approval: string) => (all: readonly Received[]) =>
  all.some(({ notice }) => notice.type === type && notice.data['approval'] === approval);

describe('a quorum', () => {
  it('is told to people outside, waited for at the command line, and cited in the log', async () => {
    await writeFile(join(instance.directory, 'order'), 'pay 100 to DE02');
    const out = join(instance.directory, 'order.sig');
    const signing = lastmile(instance, [
      ...['sign', 'payments/settlement', join(instance.directory, 'order'), '--algorithm', 'ES256'],
      ...['--as', 'payments', '--out', out, '--wait-for-approval', '5m'],
    ]);
    await chat.until((all) => all.some(({ notice }) => notice.type === 'approval.opened'));
    const opened = chat.received.find(({ notice }) => notice.type === 'approval.opened');
    if (opened === undefined) throw new Error('nobody was told');
    expect(isSigned(opened, SECRET)).toBe(true);
    expect(isSigned(opened, `${SECRET}.`)).toBe(false);
    expect(isSigned({ ...opened, body: opened.body.replace('treasury', 'on-call') }, SECRET)).toBe(false);
    const id = String(opened.notice.data['approval']);
    expect(opened.notice.data).toMatchObject({
      requester: PAYMENTS,
      operation: 'sign',
      key: 'payments/settlement',
      rule: 'two-people',
      approvals: 0,
      needed: 2,
      groups: 'treasury',
      emergency: false,
    });
    expect(opened.body).not.toContain('DE02');

    for (const person of [alice, bob]) expect(await approve(instance, person, id)).toMatchObject({ code: 0 });
    expect(await signing).toMatchObject({ code: 0, err: `waiting for the approval ${id}\n` });
    expect(await verifies('pay 100 to DE02', await readFile(out))).toBe(true);
    await chat.until(told('approval.approved', id));

    const votes = await entries(admin, {
      kind: 'approval',
      operation: 'Approvals.Approve',
      decision: 'allow',
    });
    const used = (await entries(admin, { workload: PAYMENTS, operation: 'sign', decision: 'allow' })).find(
      ({ rule }) => rule === 'two-people',
    );
    expect(JSON.stringify(used)).toContain(
      `"votes":[${votes
        .map(({ leaf }) => leaf)
        .sort((a, b) => a - b)
        .join()}]`,
    );
    expect(chat.received.some(({ notice }) => notice.type === 'emergency.used')).toBe(false);
  });
});

describe('a rule for emergencies', () => {
  it('holds only for who says that it is one, and is told', async () => {
    const calm = await refusal(client.sign(input('calm', 'payments/vault')));
    expect(calm.reason).toBe('APPROVAL_REQUIRED');
    expect(calm.message).toContain('emergency');
    expect(calm.metadata['approval']).toBeUndefined();

    const asked = await refusal(client.sign(input('fire', 'payments/vault'), { emergency: true }));
    const id = asked.metadata['approval'] ?? '';
    await chat.until(told('approval.opened', id));
    const shown = await lastmile(instance, ['approvals', 'show', id, '--as', 'bob']);
    expect(shown.out).toMatch(/emergency: +yes/);
    // Who is not on call cannot see it, let alone approve it.
    expect(await approve(instance, alice, id)).toMatchObject({ code: 1 });
    const waiting = client.sign(input('fire', 'payments/vault'), {
      emergency: true,
      waitForApproval: true,
      deadlineMs: 25_000,
    });
    expect(await approve(instance, bob, id)).toMatchObject({ code: 0 });
    expect(await verifies('fire', (await waiting).signature, 'payments/vault')).toBe(true);
    await chat.until(told('emergency.used', id));
    const notice = chat.received.find((one) => told('emergency.used', id)([one]));
    expect(notice && isSigned(notice, SECRET)).toBe(true);
    expect(notice?.notice.data).toMatchObject({ rule: 'break-glass', emergency: true, requester: PAYMENTS });
    expect(instance.output()).toContain('emergency access was used');
    const [entry] = await entries(admin, { key: 'payments/vault', operation: 'sign', decision: 'allow' });
    expect(JSON.stringify(entry)).toContain('"emergency":true');
  });

  it('is another request than that of calmer days, with votes of its own', async () => {
    const calm = await refusal(client.sign(input('one order')));
    const loud = await refusal(client.sign(input('one order'), { emergency: true }));
    expect(loud.metadata['approval']).not.toBe(calm.metadata['approval']);
    expect(await approve(instance, bob, calm.metadata['approval'] ?? '')).toMatchObject({ code: 0 });
    expect((await refusal(client.sign(input('one order'), { emergency: true }))).metadata['approval']).toBe(
      loud.metadata['approval'],
    );
    const rejected = refusal(client.sign(input('one order'), { waitForApproval: true, deadlineMs: 20_000 }));
    expect(await reject(instance, alice, calm.metadata['approval'] ?? '', 'never heard of it')).toMatchObject(
      { code: 0 },
    );
    expect(await rejected).toMatchObject({
      reason: 'APPROVAL_REQUIRED',
      message: expect.stringContaining('rejected: never heard of it'),
    });
    await chat.until(told('approval.rejected', calm.metadata['approval'] ?? ''));
    expect(chat.received.map(({ body }) => body).join()).not.toContain('never heard');
  });
});

describe('status', () => {
  it('says that approvals are stopped after an older state was put back, until an operator accepts it', async () => {
    const state = join(instance.directory, 'state', 'state.db');
    const processes = (await status(admin)).processes.map(({ role }) => role);
    expect(processes).toContain('courier');
    client.close();
    admin.close();
    await instance.end();
    await copyFile(state, join(instance.directory, 'older.db'));
    instance = await instance.serveAgain();
    admin = await operator(instance);
    client = await workload(instance, 'payments');
    expect((await status(admin)).warnings.join()).not.toContain('approvals are stopped');
    const lost = await refusal(client.sign(input('lost', 'payments/vault'), { emergency: true }));
    expect(lost.reason).toBe('APPROVAL_REQUIRED');
    client.close();
    admin.close();
    await instance.end();
    await copyFile(join(instance.directory, 'older.db'), state);
    instance = await instance.serveAgain();
    admin = await operator(instance);
    client = await workload(instance, 'payments', { maxAttempts: 1 });

    const { warnings } = await status(admin);
    expect(warnings).toContainEqual(expect.stringMatching(/^approvals are stopped: the log has an approval/));
    expect(instance.output()).toContain('approvals are stopped');
    expect((await refusal(client.sign(input('after', 'payments/vault'), { emergency: true }))).reason).toBe(
      'BUSY',
    );
    // What needs nobody goes on.
    expect((await client.sign(input('token', 'payments/jwt'))).version).toBe(1);
    const accepted = await lastmileJson<{ voided: number }>(instance, [
      ...['approvals', 'accept-state', '--reason', 'restored from a backup'],
    ]);
    expect(accepted.voided).toBeGreaterThan(0);
    await untilStatus(admin, (now) => !now.warnings.join().includes('approvals are stopped'));
    expect((await refusal(client.sign(input('after', 'payments/vault'), { emergency: true }))).reason).toBe(
      'APPROVAL_REQUIRED',
    );
  });
});
