import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FileStorage } from '../../../broker/audit/file-storage.ts';
import { openAuditLog } from '../../../broker/audit/sequencer.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import { makeLogSigner } from '../../fakes/log-signer.ts';

// What somebody can do who may write the broker's files, but has neither its memory nor its HSM.

let instance: RunningInstance;
let log: string;
let index: string;
let kept: string;

beforeAll(async () => {
  instance = await startInstance();
  expect(await instance.end()).toBe(0);
  [log, index] = [join(instance.directory, 'audit'), join(instance.directory, 'state', 'audit-index.db')];
  kept = `${log}-kept`;
  await cp(log, kept, { recursive: true });
});

afterAll(async () => {
  await rm(kept, { recursive: true, force: true });
  await rm(log, { recursive: true, force: true });
  await instance?.stop();
});

/** A log of the same name with another history, longer than the one that was there. */
async function rewrite(signer: ReturnType<typeof makeLogSigner> | undefined, origin: string): Promise<void> {
  await rm(log, { recursive: true, force: true });
  await cp(kept, log, { recursive: true });
  for (const name of ['checkpoint', 'treehead', 'segments', 'tile'])
    await rm(join(log, name), { recursive: true, force: true });
  const forged = await openAuditLog({ storage: new FileStorage(log), origin, indexPath: ':memory:', signer });
  const subject = 'spiffe://example.org/human/nobody';
  await Promise.all(
    Array.from({ length: 100 }, () =>
      forged.append({ kind: 'method', subject, operation: 'Admin.GetStatus', decision: 'allow' }),
    ),
  );
  await forged.close();
  for (const suffix of ['', '-wal', '-shm']) await rm(index + suffix, { force: true });
}

async function originOf(directory: string): Promise<string> {
  const head = await new FileStorage(directory).read('treehead');
  return Buffer.from(head).toString().split('\n')[0]!;
}

it.each([
  ['signed by another key', true],
  ['stripped of its checkpoint', false],
])('a history that was rewritten and %s is not taken up', async (_how, isSigned) => {
  const origin = await originOf(kept);
  await rewrite(isSigned ? makeLogSigner(origin) : undefined, origin);
  const outcome = await instance.serveAgain().then(
    (served) => {
      // Whatever this test finds, what it started is ended.
      instance = served;
      return 'it serves';
    },
    (error: Error) => error.message,
  );
  expect(outcome).toContain('the audit log is inconsistent');
});

it('the log as it was is, its index being rebuilt', async () => {
  await rm(log, { recursive: true, force: true });
  await cp(kept, log, { recursive: true });
  instance = await instance.serveAgain();
  expect(instance.output()).not.toContain('inconsistent');
});
