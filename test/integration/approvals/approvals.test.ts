import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Act, actDigest, actDocument, type VoteSignature } from '../../../broker/approvals/act.ts';
import { verifyVote } from '../../../broker/approvals/vote-signature.ts';
import type { LastmileClient } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import type { ApproverKey } from '../../../policy/quorum.ts';
import { runLastmile } from '../../fakes/instance.ts';
import { entries, operator, PAYMENTS, refusal, workload } from '../../fakes/instance-clients.ts';
import { passkeyAssertion } from '../../fakes/passkey.ts';
import { approver, idOf, KEY, PAGES, RULE, startTreasury, type Treasury, writeProfiles } from './treasury.ts';

/**
 * A settlement service asks for two of three: one approves with ssh-keygen, one with a key in a file, one with a
 * passkey. Then everybody who should not get anything tries.
 */
let treasury: Treasury;
let client: LastmileClient;
let admin: OperatorClient;

beforeAll(async () => {
  treasury = await startTreasury();
  await connectAll();
  for (const key of [KEY, 'treasury/batch'])
    await admin.admin('CreateKey', { key, purpose: 'sign', algorithms: ['ES256'] });
});
afterAll(async () => {
  close();
  await treasury?.instance.stop();
});

async function connectAll(): Promise<void> {
  client = await workload(treasury.instance, 'payments');
  admin = await operator(treasury.instance);
}

function close(): void {
  client?.close();
  admin?.close();
}

/** Another broker on the same instance; what happens to its files between is `meanwhile`'s. */
async function restart(
  signal: NodeJS.Signals = 'SIGTERM',
  meanwhile: () => void = () => undefined,
): Promise<void> {
  close();
  await treasury.instance.end(signal);
  meanwhile();
  treasury = { ...treasury, instance: await treasury.instance.serveAgain() };
  await writeProfiles(treasury.instance);
  await connectAll();
}

const lastmile = (name: string, ...args: string[]): Promise<string> =>
  runLastmile(['approvals', ...args, '--as', name, '--instance', treasury.instance.directory]);

const sign = (text: string, key = KEY, options = {}) =>
  client.sign({ key, algorithm: 'ES256', message: Buffer.from(text) }, options);

/** Asks, and says which approval is needed. */
async function ask(text: string, key = KEY): Promise<string> {
  const error = await refusal(sign(text, key));
  expect(error).toMatchObject({ reason: 'APPROVAL_REQUIRED', performed: 'no' });
  return error.metadata['approval']!;
}

const byAlice = (id: string) =>
  lastmile(
    'alice',
    'approve',
    id,
    '--yes',
    '--ssh-key',
    join(treasury.instance.directory, 'approvers', 'alice'),
  );
const byBob = (id: string) =>
  lastmile(
    'bob',
    'approve',
    id,
    '--yes',
    '--jws-key',
    join(treasury.instance.directory, 'approvers', 'bob.pem'),
  );

async function documentOf(name: string, id: string): Promise<string> {
  await using approvers = await approver(treasury.instance, name);
  return (await approvers.call('Get', { id })).approval!.act;
}

async function byCarol(id: string): Promise<string> {
  const challenge = actDigest(await documentOf('carol', id));
  const webauthn = passkeyAssertion(treasury.passkey, {
    challenge,
    rpId: PAGES.id,
    origin: PAGES.origin,
    counter: 1,
  });
  await using approvers = await approver(treasury.instance, 'carol');
  return (await approvers.call('Approve', { id, webauthn })).approval!.state;
}

describe('two of three', () => {
  it('see the act, approve it each in their way, and the signature verifies with openssl', async () => {
    const id = await ask('pay 100 EUR to DE02 1203');
    expect(await lastmile('alice', 'list')).toContain(id);
    const shown = await lastmile('bob', 'show', id);
    for (const part of ['pay 100 EUR to DE02 1203', PAYMENTS, KEY, RULE, '0 of 2'])
      expect(shown).toContain(part);
    expect(await byAlice(id)).toContain('1 of 2');
    expect(await ask('pay 100 EUR to DE02 1203')).toBe(id);
    expect(await byBob(id)).toContain('the approval is approved');
    expect(await lastmile('payments', 'wait', id)).toBe('approved\n');
    const { signature, log } = await sign('pay 100 EUR to DE02 1203');

    const { directory } = treasury.instance;
    const { pem } = await client.getPublicKey({ key: KEY });
    writeFileSync(join(directory, 'key.pem'), pem);
    writeFileSync(join(directory, 'message'), 'pay 100 EUR to DE02 1203');
    writeFileSync(join(directory, 'signature'), der(signature));
    const said = execFileSync(
      'openssl',
      ['dgst', '-sha256', '-verify', 'key.pem', '-signature', 'signature', 'message'],
      {
        cwd: directory,
        encoding: 'utf8',
      },
    );
    expect(said).toContain('Verified OK');

    // Whoever has the log has everything that is needed to check both approvals again.
    const all = await entries(admin, { limit: 100 });
    const use = all.find(({ leaf }) => leaf === log.leafIndex)!;
    const cited = (use as unknown as { inputs: { approval: { id: string; votes: number[] } } }).inputs
      .approval;
    expect(cited.id).toBe(id);
    expect(cited.votes).toHaveLength(2);
    const people: string[] = [];
    for (const leaf of cited.votes) {
      const { detail } = all.find((entry) => entry.leaf === leaf)! as unknown as {
        detail: { act: Act; approver: string; key: ApproverKey; signature: VoteSignature };
      };
      expect(
        await verifyVote(detail.signature, detail.key, actDocument(detail.act), undefined),
      ).toBeDefined();
      expect(detail.act.content).toMatchObject({ text: 'pay 100 EUR to DE02 1203' });
      people.push(detail.approver);
    }
    expect(people).toEqual(['alice', 'bob']);
    const audited = await runLastmile(['audit', 'show', String(log.leafIndex), '--instance', directory]);
    expect(audited).toMatch(
      /approved by alice \(sshsig, entry \d+\): the signature verifies\napproved by bob \(jws, entry/,
    );
    // A replay is another request.
    expect(await ask('pay 100 EUR to DE02 1203')).not.toBe(id);
  });

  it('may approve with a passkey and with what was signed elsewhere, while the caller waits', async () => {
    const waiting = sign('pay 7', KEY, { waitForApproval: true });
    let id = '';
    await using approvers = await approver(treasury.instance, 'alice');
    waiting.catch(() => undefined);
    for (let cursor = 0; id === ''; ) {
      const changes = await approvers.call('Watch', { cursor });
      cursor = changes.cursor;
      id = changes.approvals.find(({ act, state }) => act.includes('"pay 7"') && state === 'open')?.id ?? '';
    }
    expect(await byCarol(id)).toBe('open');
    const { directory } = treasury.instance;
    const document = await lastmile('alice', 'show', id, '--signing-input');
    expect(document).toBe(await documentOf('alice', id));
    const made = treasury.ssh.sign(document) as { signature: string };
    writeFileSync(join(directory, 'made.sig'), made.signature);
    await lastmile('bob', 'approve', id, '--approver', 'alice', '--signature', join(directory, 'made.sig'));
    expect((await waiting).signature).toHaveLength(64);
  });

  it('say no, once and for all, and there is a pause', async () => {
    const id = await ask('pay 666 to Mallory');
    await byAlice(id);
    const waiting = refusal(sign('pay 666 to Mallory', KEY, { waitForApproval: true }));
    await lastmile('bob', 'reject', id, '--reason', 'not our account');
    expect((await waiting).message).toContain('not our account');
    await expect(byCarol(id)).rejects.toMatchObject({ message: expect.stringContaining('rejected already') });
    expect(await refusal(sign('pay 666 to Mallory'))).toMatchObject({ reason: 'RATE_LIMITED' });
    expect(await lastmile('carol', 'list', '--all')).toContain('rejected');
  });
});

describe('an attack', () => {
  // The pause after the rejection above is for that rule: what follows asks under one of its own.
  const attack = 'treasury/batch';

  it('by who is no approver, or by a workload for itself, sees and does nothing', async () => {
    const id = await ask('x', attack);
    for (const name of ['billing', 'operator', 'auditor']) {
      await using stranger = await approver(treasury.instance, name);
      const reasons = [
        stranger.call('List', { all: true }),
        stranger.call('Get', { id }),
        stranger.call('GetAttachment', { id }),
        stranger.call('Approve', { id, jws: 'a.b.c' }),
        stranger.call('Reject', { id, reason: 'no' }),
        stranger.call('Withdraw', { id }),
        stranger.call('Watch', { cursor: 0 }),
      ].map(async (call) => (await refusal(call)).reason);
      expect(new Set(await Promise.all(reasons))).toEqual(new Set(['POLICY_DENIED']));
    }
    await using requester = await approver(treasury.instance, 'payments');
    expect((await requester.call('Get', { id })).approval!.state).toBe('open');
    expect((await refusal(requester.call('Approve', { id, jws: 'a.b.c' }))).reason).toBe('POLICY_DENIED');
    expect((await refusal(requester.call('List', {}))).reason).toBe('POLICY_DENIED');
    expect((await refusal(requester.call('AcceptState', { reason: 'mine' }))).reason).toBe('POLICY_DENIED');
  });

  it('with a signature of another key, another act, another origin or another person does not count', async () => {
    const id = await ask('x', attack);
    const document = await documentOf('alice', id);
    await using alice = await approver(treasury.instance, 'alice');
    const { ssh, instance } = treasury;
    const other = new (ssh.constructor as new (directory: string, name: string) => typeof ssh)(
      join(instance.directory, 'approvers'),
      'mallory',
    );
    const origin = document.replace(/"origin":"[^"]*"/, '"origin":"another.example/broker"');
    for (const made of [
      other.sign(document),
      ssh.sign(origin),
      ssh.sign(document, 'file'),
      ssh.sign(document.slice(1)),
    ]) {
      const { signature } = made as { signature: string };
      expect((await refusal(alice.call('Approve', { id, sshsig: signature }))).reason).toBe('POLICY_DENIED');
    }
    const { signature } = ssh.sign(document) as { signature: string };
    expect((await refusal(alice.call('Approve', { id, approver: 'bob', sshsig: signature }))).reason).toBe(
      'POLICY_DENIED',
    );
    expect((await refusal(alice.call('Approve', { id, sshsig: 'garbage' }))).reason).toBe('REQUEST_INVALID');
    expect((await refusal(alice.call('Approve', { id: '../../etc', sshsig: signature }))).reason).toBe(
      'REQUEST_INVALID',
    );
    expect((await alice.call('Get', { id })).approval!.approvals).toBe(0);
  });

  it('by fifty at once uses exactly the budget', async () => {
    const id = await ask('x', attack);
    expect(await lastmile('bob', 'show', id)).toContain('ANY: a standing grant');
    await byBob(id);
    const all = await Promise.allSettled(Array.from({ length: 50 }, (_, i) => sign(`batch ${i}`, attack)));
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(10);
    const used = await entries(admin, { key: attack, decision: 'allow', limit: 100 });
    expect(used.filter(({ kind, performed }) => kind === 'key-use' && performed === 'yes')).toHaveLength(10);
    expect(await ask('one more', attack)).not.toBe(id);
  });

  it('by freezing time: an approver who is frozen or removed counts no more', async () => {
    const id = await ask('x', attack);
    await byBob(id);
    await admin.admin('Freeze', { kind: 'workload', subject: idOf('bob'), reason: 'INC-1' });
    expect(await ask('x', attack)).toBe(id);
    await admin.admin('Unfreeze', { kind: 'workload', subject: idOf('bob'), reason: 'INC-1' });
    const policy = join(treasury.instance.directory, 'policy.yaml');
    const before = readFileSync(policy, 'utf8');
    writeFileSync(policy, before.replace('treasury: [alice, bob, carol]', 'treasury: [alice, carol]'));
    await admin.admin('ReloadPolicy', {});
    expect(await ask('x', attack)).not.toBe(id);
    writeFileSync(policy, before.replace('uses: 10,', 'uses: 11,'));
    await admin.admin('ReloadPolicy', {});
    expect(await ask('x', attack)).not.toBe(id);
    writeFileSync(policy, before);
    await admin.admin('ReloadPolicy', {});
  });
});

describe('a broker that is killed', () => {
  it('knows what was approved, and forgets no use', async () => {
    const id = await ask('x', 'treasury/batch');
    await byAlice(id);
    await restart('SIGKILL');
    for (let i = 0; i < 4; i++) await sign(`batch ${i}`, 'treasury/batch');
    await restart('SIGKILL');
    const all = await Promise.allSettled(
      Array.from({ length: 10 }, (_, i) => sign(`batch ${i}`, 'treasury/batch')),
    );
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(6);
  });
});

describe('a state put back from an older copy', () => {
  it('stops what needs approvals and nothing else, until an operator decides', async () => {
    const state = join(treasury.instance.directory, 'state', 'state.db');
    const id = await ask('x', 'treasury/batch');
    await byAlice(id);
    await restart('SIGTERM', () => copyFileSync(state, `${state}.old`));
    for (let i = 0; i < 10; i++) await sign(`batch ${i}`, 'treasury/batch');
    await restart('SIGTERM', () => {
      for (const suffix of ['-wal', '-shm']) rmSync(`${state}${suffix}`, { force: true });
      copyFileSync(`${state}.old`, state);
    });
    expect(await refusal(sign('x', 'treasury/batch'))).toMatchObject({ reason: 'BUSY' });
    await client.sign({ key: 'payments/jwt', algorithm: 'ES256', message: Buffer.from('goes on') });
    const { directory } = treasury.instance;
    const said = await runLastmile([
      'approvals',
      'accept-state',
      '--reason',
      'restored, INC-2',
      '--instance',
      directory,
    ]);
    expect(said).toContain('void');
    expect(await ask('x', 'treasury/batch')).not.toBe(id);
  });
});

/** r‖s as openssl wants it. */
function der(raw: Uint8Array): Buffer {
  const number = (bytes: Uint8Array): Buffer => {
    let at = 0;
    while (at < bytes.length - 1 && bytes[at] === 0) at++;
    const rest = Buffer.from(bytes.subarray(at));
    const body = rest[0]! >= 0x80 ? Buffer.concat([Buffer.from([0]), rest]) : rest;
    return Buffer.concat([Buffer.from([2, body.length]), body]);
  };
  const body = Buffer.concat([number(raw.subarray(0, 32)), number(raw.subarray(32))]);
  return Buffer.concat([Buffer.from([0x30, body.length]), body]);
}
