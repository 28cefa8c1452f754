import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LastmileClient } from '../broker/client/client.ts';
import { Failure } from '../broker/keyuse/failure.ts';
import { ApprovalFixture, petition } from '../test/fakes/approval-fixture.ts';
import { operator, PAYMENTS, workload } from '../test/fakes/instance-clients.ts';
import { approver, KEY, startTreasury, type Treasury } from '../test/integration/approvals/treasury.ts';
import type { Row } from './targets.ts';

/**
 * What approvals cost. A whole broker with one of the same key use under a standing grant and one without, in turns, so
 * that the machine is the same for both; the time from an approver's last signature to the caller's; and approvals with
 * ten thousand of them open, without the network.
 */

const OPEN = 10_000;
const IN_FLIGHT = 64;
const SLICE_MS = 1000;
const ROUNDS = 5;
const RELEASES = 20;
const GRANT = 'bench/granted';
const FREE = 'bench/free';

const RULES = `
  - id: bench-grant
    workloads: ["${PAYMENTS}"]
    keys: ["${GRANT}"]
    operations: [sign]
    quorum: { approvals: 2, of: treasury, within: 4h, uses: 1000000, covers: rule }
  - id: bench-free
    workloads: ["${PAYMENTS}"]
    keys: ["${FREE}"]
    operations: [sign]
`;

export async function approvalRows(signal: AbortSignal): Promise<readonly Row[]> {
  return [...(await openRows(signal)), ...(await brokerRows(signal))];
}

async function brokerRows(signal: AbortSignal): Promise<readonly Row[]> {
  const treasury = await startTreasury((directory) => appendFile(join(directory, 'policy.yaml'), RULES));
  const client = await workload(treasury.instance, 'payments');
  try {
    const admin = await operator(treasury.instance);
    for (const key of [KEY, GRANT, FREE])
      await admin.admin('CreateKey', { key, purpose: 'sign', algorithms: ['ES256'] });
    admin.close();
    await approve(treasury, await asked(sign(client, GRANT, 'grant')));
    await slice(client, GRANT, signal);
    await slice(client, FREE, signal);
    const ratios: number[] = [];
    let granted = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const free = await slice(client, FREE, signal);
      granted = await slice(client, GRANT, signal);
      ratios.push(granted / ((free + (await slice(client, FREE, signal))) / 2));
    }
    return [
      { measure: 'grant_rps', value: granted, unit: '1/s' },
      { measure: 'grant_rps_vs_no_quorum', value: median(ratios), unit: 'ratio' },
      { measure: 'approve_to_release_ms_p50', value: await releaseMs(treasury, client, signal), unit: 'ms' },
    ];
  } finally {
    client.close();
    await treasury.instance.stop();
  }
}

function sign(client: LastmileClient, key: string, text: string, waitForApproval = false): Promise<unknown> {
  return client.sign({ key, algorithm: 'ES256', message: Buffer.from(text) }, { waitForApproval });
}

/** The approval that a refused request needs. */
async function asked(call: Promise<unknown>): Promise<string> {
  const error = (await call.catch((reason: unknown) => reason)) as { metadata?: { approval?: string } };
  const id = error.metadata?.approval;
  if (id === undefined) throw new Error(`no approval is needed: ${String(error)}`);
  return id;
}

/** By two people; resolves to when the second signature was handed in. */
async function approve(treasury: Treasury, id: string): Promise<number> {
  await using alice = await approver(treasury.instance, 'alice');
  await using bob = await approver(treasury.instance, 'bob');
  const document = (await alice.call('Get', { id })).approval!.act;
  const { signature } = treasury.ssh.sign(document) as { signature: string };
  await alice.call('Approve', { id, sshsig: signature });
  const jws = await treasury.signJws(document);
  const at = performance.now();
  await bob.call('Approve', { id, jws });
  return at;
}

async function releaseMs(treasury: Treasury, client: LastmileClient, signal: AbortSignal): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < RELEASES; i++) {
    signal.throwIfAborted();
    const id = await asked(sign(client, KEY, `release ${i}`));
    const released = sign(client, KEY, `release ${i}`, true).then(() => performance.now());
    const at = await approve(treasury, id);
    times.push((await released) - at);
  }
  return median(times);
}

/** Signatures a second. */
async function slice(client: LastmileClient, key: string, signal: AbortSignal): Promise<number> {
  const began = performance.now();
  const end = began + SLICE_MS;
  let done = 0;
  const lanes = Array.from({ length: IN_FLIGHT }, async (_, lane) => {
    while (performance.now() < end) {
      signal.throwIfAborted();
      await sign(client, key, `${lane}`);
      done++;
    }
  });
  await Promise.all(lanes);
  return (done * 1000) / (performance.now() - began);
}

/** With ten thousand open: to open one more, to list, and to use one. */
async function openRows(signal: AbortSignal): Promise<readonly Row[]> {
  const limits = {
    perRequesterAndRule: 2 * OPEN,
    perRule: 2 * OPEN,
    total: 2 * OPEN,
    askedPerHour: 2 * OPEN,
  };
  const fixture = await ApprovalFixture.start({ limits, notify: undefined });
  try {
    const take = async (text: string): Promise<string> => {
      const error = await fixture.service.take(petition(text)).catch((reason: unknown) => reason);
      if (error instanceof Failure) return error.metadata['approval'] ?? '';
      throw new Error('nobody had approved it');
    };
    for (let i = 0; i < OPEN; i++) {
      if (i % 1000 === 0) signal.throwIfAborted();
      await take(`open ${i}`);
    }
    const opened = await timed(50, (i) => take(`more ${i}`));
    const listed = await timed(20, () => Promise.resolve(fixture.service.list('alice')));
    const [alice, bob] = fixture.people;
    const used = await timed(50, async (i) => {
      const id = await take(`open ${i}`);
      const { document } = fixture.service.get(id, { approver: 'alice' })!;
      for (const person of [alice, bob])
        await fixture.service.approve(id, person.id, await person.sign(document), person.voter);
      await fixture.service.take(petition(`open ${i}`));
    });
    const restarted = await timed(1, () => fixture.restart());
    return [
      { measure: 'approval_open_ms_p50_10k', value: opened, unit: 'ms' },
      { measure: 'approval_list_ms_p50_10k', value: listed, unit: 'ms' },
      { measure: 'approval_two_votes_and_use_ms_p50_10k', value: used, unit: 'ms' },
      { measure: 'approval_restart_ms_10k', value: restarted, unit: 'ms' },
    ];
  } finally {
    fixture.close();
  }
}

async function timed(times: number, run: (i: number) => Promise<unknown>): Promise<number> {
  const took: number[] = [];
  for (let i = 0; i < times; i++) {
    const began = performance.now();
    await run(i);
    took.push(performance.now() - began);
  }
  return median(took);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
