import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { LastmileError } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import { entries, operator, PAYMENTS, refusal, untilStatus } from '../../fakes/instance-clients.ts';
import {
  approve,
  type InstancePerson,
  lastmile,
  lastmileJson,
  makePerson,
  OPERATOR,
  reject,
} from '../../fakes/instance-people.ts';

/**
 * Who may change the rules, in a whole broker: two people of three, of whom one is the operator who proposes. The tests
 * go on from each other: what is in force after one is where the next begins.
 */
let instance: RunningInstance;
let admin: OperatorClient;
let alice: InstancePerson;
let bob: InstancePerson;
/** The operator, who is an approver as well. */
let proposer: InstancePerson;
/** The policy in force. */
let current: string;

interface Proposed {
  readonly policyHash: string;
  readonly approval: string;
  readonly approved: boolean;
  readonly differences: readonly string[];
}

beforeAll(async () => {
  instance = await startInstance({
    prepare: async (directory) => {
      alice = await makePerson(directory, 'alice');
      bob = await makePerson(directory, 'bob');
      proposer = await makePerson(directory, OPERATOR.id, OPERATOR.spiffeId);
      await appendFile(
        join(directory, 'policy.yaml'),
        `
approvers:
${alice.block}${bob.block}${proposer.block}
groups:
  security: [alice, bob, operator]
governance: { approvals: 2, of: security, within: 1h, methods: [jws] }
lifecycle:
  - id: vault-keys
    methods: [Admin.CreateKey]
    keys: ["vault/**"]
    quorum: { approvals: 1, of: security, within: 1h }
`,
      );
    },
  });
  current = await readFile(file('policy.yaml'), 'utf8');
});
afterAll(() => instance?.stop());
beforeEach(async () => {
  admin = await operator(instance);
});
afterEach(() => admin.close());

const file = (name: string): string => join(instance.directory, name);
/** Another policy: it says one thing more about a key. */
const withRule = (id: string, policy = current): string =>
  policy.replace(
    '\nrules:\n',
    `\nrules:\n  - { id: ${id}, workloads: ["${PAYMENTS}"], keys: ["${id}/**"], operations: [sign] }\n`,
  );

async function propose(text: string): Promise<Proposed> {
  await writeFile(file('next.yaml'), text);
  return lastmileJson(instance, ['policy', 'propose', file('next.yaml'), '--reason', 'CHG-7']);
}

const activate = (hash: string) =>
  admin.admin('ActivatePolicy', { policyHash: hash, reason: 'CHG-7 is agreed' });
const inForce = async (): Promise<string> => (await admin.admin('GetStatus', {})).policyHash;

async function again(): Promise<void> {
  admin.close();
  await instance.end();
  instance = await instance.serveAgain();
  admin = await operator(instance);
}

describe('a changed file', () => {
  it('changes nothing by itself, also over a restart, and status says so', async () => {
    const before = await inForce();
    await writeFile(file('policy.yaml'), withRule('mallory'));
    await untilStatus(admin, ({ policyRefusal }) => policyRefusal.includes('governance'));
    expect(await inForce()).toBe(before);
    const reloaded = await lastmile(instance, ['policy', 'reload']);
    expect([reloaded.code, reloaded.err]).toEqual([1, expect.stringContaining('governance')]);
    await again();
    const status = await admin.admin('GetStatus', {});
    expect(status).toMatchObject({
      policyHash: before,
      policyRefusal: expect.stringContaining('governance'),
    });
    expect(status.warnings).toContainEqual(expect.stringContaining('policy file is not in force'));
    expect((await admin.admin('GetPolicy', { policyHash: '' })).content.toString('utf8')).toBe(current);
  });

  it('without governance in it changes nothing either', async () => {
    const before = await inForce();
    await writeFile(file('policy.yaml'), current.replace(/^governance:.*\n/m, ''));
    await again();
    expect(await inForce()).toBe(before);
    // By a file that says what is in force, all is well again.
    await writeFile(file('policy.yaml'), current);
    await untilStatus(admin, ({ policyRefusal }) => policyRefusal === '');
  });
});

describe('a proposed policy', () => {
  it('comes into force when two others than its proposer agree, and for nothing else', async () => {
    const before = await inForce();
    const [next, other] = [withRule('wanted'), withRule('unwanted')];
    const proposed = await propose(next);
    expect(proposed.approved).toBe(false);
    expect(proposed.differences).toContainEqual(`${PAYMENTS} gains sign with wanted/**, by wanted`);
    const rival = await propose(other);
    expect(rival.approval).not.toBe(proposed.approval);

    // It is theirs to see what changes; and whoever proposes it does not count.
    const shown = await lastmile(instance, ['approvals', 'show', proposed.approval, '--as', 'alice']);
    expect(shown.out).toContain(proposed.policyHash);
    expect(shown.out).toContain('wanted');
    const own = await approve(instance, proposer, proposed.approval);
    expect([own.code, own.err]).toEqual([1, expect.stringContaining('POLICY_DENIED')]);

    const pending = await refusal(activate(proposed.policyHash));
    expect(pending).toMatchObject({
      reason: 'APPROVAL_REQUIRED',
      metadata: { approval: proposed.approval },
    });
    expect(await approve(instance, alice, proposed.approval)).toMatchObject({ code: 0 });
    const twice = await approve(instance, alice, proposed.approval);
    expect([twice.code, twice.err]).toEqual([1, expect.stringContaining('another person is needed')]);
    expect((await refusal(activate(proposed.policyHash))).metadata['approval']).toBe(proposed.approval);

    // The vote on record is one over this act: for the rival it is nobody's.
    const [vote] = await entries(admin, {
      kind: 'approval',
      operation: 'Approvals.Approve',
      decision: 'allow',
    });
    const { signature = '' } = (vote?.detail?.['signature'] ?? {}) as { readonly signature?: string };
    expect(signature.split('.')).toHaveLength(3);
    await writeFile(file('vote.jws'), signature);
    const replayed = await lastmile(instance, [
      ...['approvals', 'approve', rival.approval, '--as', 'bob'],
      ...['--approver', 'alice', '--signature', file('vote.jws')],
    ]);
    expect([replayed.code, replayed.err]).toEqual([1, expect.stringContaining('over this very act')]);

    expect(await approve(instance, bob, proposed.approval)).toMatchObject({ code: 0 });
    const unknown = await refusal(activate(`sha256:${'ab'.repeat(32)}`));
    expect(unknown.reason).toBe('REQUEST_INVALID');
    expect((await refusal(activate(rival.policyHash))).metadata['approval']).toBe(rival.approval);
    expect(await inForce()).toBe(before);

    const done = await lastmileJson<{ policyHash: string }>(instance, [
      ...['policy', 'activate', '--hash', proposed.policyHash, '--reason', 'CHG-7 is agreed'],
    ]);
    expect(done.policyHash).toBe(proposed.policyHash);
    expect(await readFile(file('policy.yaml'), 'utf8')).toBe(next);
    current = next;

    const votes = await entries(admin, {
      kind: 'approval',
      operation: 'Approvals.Approve',
      decision: 'allow',
    });
    const [activation] = await entries(admin, { kind: 'policy', operation: 'activate', decision: 'allow' });
    expect(activation?.detail).toMatchObject({
      before,
      after: proposed.policyHash,
      by: OPERATOR.spiffeId,
      governed: true,
      approval: { id: proposed.approval, use: 1, votes: votes.map(({ leaf }) => leaf).reverse() },
    });
    expect(votes).toHaveLength(2);
    await again();
    expect(await inForce()).toBe(proposed.policyHash);
  });

  it('that was approved from another policy has to be approved anew, and used ones serve once', async () => {
    const [used] = await entries(admin, { kind: 'policy', operation: 'activate', decision: 'allow' });
    const { before = '', approval } = (used?.detail ?? {}) as {
      before?: string;
      approval?: { readonly id: string };
    };
    expect(approval?.id).toMatch(/^[0-9a-f]{32}$/);
    // Back to what was: that is a change, too, and the old agreement was to the way there.
    const back = await refusal(activate(before));
    expect(back.reason).toBe('APPROVAL_REQUIRED');
    expect(back.metadata['approval']).not.toBe(approval?.id);

    const rival = await propose(withRule('unwanted'));
    const stale = await lastmileJson<readonly { id: string; act: string }[]>(instance, [
      ...['approvals', 'list', '--as', 'alice'],
    ]);
    const from = stale.filter(({ act }) => act.includes(`in force: ${before}`)).map(({ id }) => id);
    expect(from).toHaveLength(1);
    expect(from).not.toContain(rival.approval);
    // People may still agree to it, and it changes nothing.
    for (const person of [alice, bob]) await approve(instance, person, from[0] ?? '');
    const still: LastmileError = await refusal(activate(rival.policyHash));
    expect(still.metadata['approval']).toBe(rival.approval);
  });
});

describe('keys under `lifecycle`', () => {
  const create = (key: string, more: readonly string[] = ['--algorithm', 'ES256']) =>
    lastmile(instance, ['keys', 'create', key, '--purpose', 'sign', ...more, '--json']);

  it('are made when people agree, exactly the one that was asked for', async () => {
    const refused = await create('vault/root');
    expect(refused.code).toBe(1);
    const { error } = JSON.parse(refused.err) as { error: { reason: string; approval: string } };
    expect(error.reason).toBe('APPROVAL_REQUIRED');
    expect(await approve(instance, proposer, error.approval)).toMatchObject({ code: 1 });
    expect(await approve(instance, alice, error.approval)).toMatchObject({ code: 0 });

    for (const [key, algorithm] of [
      ['vault/other', 'ES256'],
      ['vault/root', 'ES384'],
    ] as const) {
      const another = await create(key, ['--algorithm', algorithm]);
      expect(another.code).toBe(1);
      const other = (JSON.parse(another.err) as { error: { reason: string; approval: string } }).error;
      expect(other.reason).toBe('APPROVAL_REQUIRED');
      expect(other.approval).not.toBe(error.approval);
    }
    expect(
      (await admin.admin('ListKeyVersions', {})).keys.filter(({ key }) => key.startsWith('vault/')),
    ).toEqual([]);

    expect(await create('vault/root')).toMatchObject({ code: 0 });
    const made = (await admin.admin('ListKeyVersions', {})).keys.filter(({ key }) =>
      key.startsWith('vault/'),
    );
    expect(made.map(({ key, version, algorithms }) => [key, version, algorithms])).toEqual([
      ['vault/root', 1, ['ES256']],
    ]);
    const [entry] = await entries(admin, {
      key: 'vault/root',
      operation: 'Admin.CreateKey',
      decision: 'allow',
    });
    expect(entry).toMatchObject({
      performed: 'yes',
      detail: { approval: { id: error.approval, use: 1, votes: [expect.any(Number)] } },
    });
    // Keys of other names need nobody.
    expect(await create('open/key')).toMatchObject({ code: 0 });
  });
});

describe('governance itself', () => {
  it('is removed only by the governance in force, over a restart between two votes', async () => {
    const next = current.replace(/^governance:.*\n/m, '');
    const proposed = await propose(next);
    expect(proposed.differences).toContainEqual(expect.stringMatching(/governance/));
    expect(await approve(instance, alice, proposed.approval)).toMatchObject({ code: 0 });
    await again();
    expect((await refusal(activate(proposed.policyHash))).metadata['approval']).toBe(proposed.approval);
    expect(await approve(instance, bob, proposed.approval)).toMatchObject({ code: 0 });
    await activate(proposed.policyHash);
    expect(await readFile(file('policy.yaml'), 'utf8')).toBe(next);
    // From here on the file decides again; and it can be put back under governance by one who may write it.
    await writeFile(file('policy.yaml'), current);
    const governed = (await admin.admin('ListPolicies', { limit: 10 })).activations[1]?.policyHash;
    await untilStatus(admin, ({ policyHash }) => policyHash === governed);
    await writeFile(file('policy.yaml'), next);
    await untilStatus(admin, ({ policyRefusal }) => policyRefusal.includes('governance'));
  });

  it('takes a rejection as final', async () => {
    const proposed = await propose(withRule('rejected'));
    expect(await approve(instance, alice, proposed.approval)).toMatchObject({ code: 0 });
    expect(await reject(instance, bob, proposed.approval, 'not before the audit')).toMatchObject({ code: 0 });
    const late = await approve(instance, alice, proposed.approval);
    expect([late.code, late.err]).toEqual([1, expect.stringContaining('rejected')]);
    expect(['APPROVAL_REQUIRED', 'RATE_LIMITED']).toContain(
      (await refusal(activate(proposed.policyHash))).reason,
    );
    expect(await inForce()).not.toBe(proposed.policyHash);
    const [entry] = await entries(admin, { kind: 'approval', operation: 'Approvals.Reject' });
    expect(entry?.detail).toMatchObject({
      approval: proposed.approval,
      approver: 'bob',
      why: 'not before the audit',
    });
  });
});
