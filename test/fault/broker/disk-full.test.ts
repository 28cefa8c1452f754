import { execFileSync } from 'node:child_process';
import { type KeyObject, randomBytes } from 'node:crypto';
import { closeSync, openSync, renameSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LastmileClient } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import {
  operator,
  refusal,
  type Status,
  status,
  untilStatus,
  workload,
} from '../../fakes/instance-clients.ts';
import { canMount } from '../../fakes/mounting.ts';
import { findings, KEY, keepPorts, Load, publicKeyOf, until, verifyAudit, wholeLog } from './harness.ts';

/** More than the log keeps free for allowed operations: refusals have room too while nothing else fills it. */
const SIZE = '80m';
const message = Buffer.from('a message');

let instance: RunningInstance;
let client: LastmileClient;
let asOperator: OperatorClient;
let publicKey: KeyObject;
let audit = '';
let isMounted = false;

/** A file system that is full, until `free`. */
function fill(): void {
  const file = openSync(join(audit, 'filler'), 'w');
  const block = randomBytes(1 << 20);
  try {
    for (;;) if (writeSync(file, block) === 0) return;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    closeSync(file);
  }
}

function free(): void {
  rmSync(join(audit, 'filler'));
}

const isStopped = ({ state, auditFailure }: Status): boolean =>
  state === 'not-serving' && auditFailure !== '';

describe.skipIf(!canMount())('a full disk (needs the right to mount)', () => {
  beforeAll(async () => {
    instance = await startInstance({
      prepare: async (directory) => {
        audit = join(directory, 'audit');
        renameSync(audit, `${audit}.made`);
        execFileSync('mkdir', ['-m', '700', audit]);
        execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${SIZE},mode=0700`, 'lastmile-test', audit]);
        isMounted = true;
        await cp(`${audit}.made`, audit, { recursive: true });
      },
    });
    keepPorts(instance);
    client = await workload(instance, 'payments', { maxAttempts: 1 });
    asOperator = await operator(instance);
    publicKey = await publicKeyOf(client);
  });

  afterAll(async () => {
    client?.close();
    asOperator?.close();
    await instance?.end();
    if (isMounted) execFileSync('umount', [audit]);
    await instance?.stop();
  });

  it('stops key use with AUDIT_UNAVAILABLE, releases nothing, and lets it go on when there is room', async () => {
    const { ciphertext } = await client.encrypt({ key: 'payments/data', plaintext: message });
    const load = new Load(client, 'full');
    await load.more(100);
    fill();
    expect(statfsSync(audit).bavail).toBe(0);
    const during = await untilStatus(asOperator, isStopped);
    expect(during.warnings.join()).toContain('key use is stopped');

    // What was signed already waits for its entry, and is given up: performed, and withheld.
    const held = load.held.length;
    await until('results that wait are given up', () => 'AUDIT_UNAVAILABLE yes' in load.reasons());
    for (const call of [
      () => client.sign({ key: KEY, algorithm: 'ES256', message }),
      () => client.encrypt({ key: 'payments/data', plaintext: message }),
      () => client.decrypt({ key: 'payments/data', ciphertext }),
      () => client.mac({ key: 'payments/webhook', message }),
      () => client.generateDataKey({ key: 'payments/data' }),
      () => client.generateRandom(16),
      // A refusal that nobody can record is not answered as one either.
      () => client.sign({ key: 'billing/invoices', algorithm: 'ES256', message }),
    ]) {
      expect(await refusal(call())).toMatchObject({
        code: 'UNAVAILABLE',
        reason: 'AUDIT_UNAVAILABLE',
        performed: 'no',
      });
    }
    expect(load.held.length).toBe(held);
    expect(Object.keys(load.reasons()).filter((name) => !name.startsWith('AUDIT_UNAVAILABLE '))).toEqual([]);

    free();
    await untilStatus(asOperator, ({ state, auditFailure }) => state === 'serving' && auditFailure === '');
    await load.more(200);
    await load.stop();
    expect(findings(load.held, publicKey, await wholeLog(asOperator))).toEqual([]);
    expect(JSON.parse(await verifyAudit(instance))).toMatchObject({
      isSound: true,
      isSignatureVerified: true,
    });
  });

  it('and a broker that is killed on it lose nothing that a client holds', async () => {
    const load = new Load(client, 'full and killed');
    await load.more(100);
    fill();
    await untilStatus(asOperator, isStopped);
    await instance.end('SIGKILL');
    free();
    instance = await instance.serveAgain();
    await load.more(100);
    await load.stop();
    expect((await status(asOperator)).state).toBe('serving');
    expect(findings(load.held, publicKey, await wholeLog(asOperator))).toEqual([]);
    expect(JSON.parse(await verifyAudit(instance))).toMatchObject({
      isSound: true,
      isSignatureVerified: true,
    });
  });
});
