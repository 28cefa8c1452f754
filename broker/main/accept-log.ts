import { cp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AuditError } from '../audit/entry.ts';
import { FileStorage } from '../audit/file-storage.ts';
import { openAuditLog, type Sequencer } from '../audit/sequencer.ts';
import { parseTreeHead } from '../audit/tlog/checkpoint.ts';
import { loadConfig } from '../config.ts';
import { KeyCatalog } from '../keyuse/key-catalog.ts';
import { PolicyRows } from '../state/policy-rows.ts';
import { SignedTreeMemory } from '../state/signed-tree-memory.ts';
import { StateStore } from '../state/state-store.ts';
import { lastInLog, policyDispute } from './policy-activations.ts';
import { verifierKeyOf } from './signed-log.ts';

/** The log cannot be gone on with, or need not be accepted. */
export class AcceptError extends Error {
  override readonly name = 'AcceptError';
}

export interface Accepted {
  /** Of the entry that records the decision. */
  readonly leafIndex: number;
  /** What the log was found to be: why it was not taken up. */
  readonly finding: string;
  /** By the log another policy is in force than by the state, whose word is given up; absent: they agree. */
  readonly policy?: string | undefined;
  /** The log as it was found, its index, and what the broker remembered of it. */
  readonly kept: string;
}

const INDEX_FILES = ['audit-index.db', 'audit-index.db-wal', 'audit-index.db-shm'];
const MAX_REASON_BYTES = 256;

/**
 * An operator's decision to go on with a log that is shorter than what the broker remembers to have signed, as after an older
 * backup was restored, or that knows of another policy in force than the state does. The broker must not run.
 *
 * It helps only where the files agree among themselves: tiles, tree head, and a checkpoint signed by a key of the log. What is
 * given up is what the broker remembered, and its index. Both are kept beside, with a copy of the log; whoever has a
 * checkpoint of the longer log still has the proof that entries are missing.
 *
 * Should it end half-way, the log is still inconsistent, and it can be called again.
 *
 * @throws AcceptError, AuditError, ConfigError
 */
export async function acceptLog(configPath: string, why: string, now: Date = new Date()): Promise<Accepted> {
  if (why.trim() === '' || Buffer.byteLength(why) > MAX_REASON_BYTES)
    throw new AcceptError(`say why, in at most ${MAX_REASON_BYTES} bytes`);
  const config = loadConfig(configPath);
  const { origin, directory, key } = config.audit;
  const store = new StateStore(join(config.state, 'state.db'));
  try {
    const remembered = new SignedTreeMemory(store, origin).last;
    const rows = new PolicyRows(store);
    const open = (signedTree: typeof remembered): Promise<Sequencer> =>
      openAuditLog({
        storage: new FileStorage(directory),
        origin,
        verifierKeys: new KeyCatalog(store)
          .versions(key)
          .flatMap(({ objects }) => objects.map((object) => verifierKeyOf(origin, object))),
        signedTree,
        indexPath: join(config.state, 'audit-index.db'),
      });
    const finding = await findingOf(await open(remembered), rows);
    if (finding === undefined)
      throw new AcceptError('the log is as it should be: there is nothing to accept');

    const kept = `${directory}.before-${now.toISOString().replaceAll(/[:.]/g, '-')}`;
    await cp(directory, kept, { recursive: true, errorOnExist: true, force: false });
    await writeFile(join(kept, 'remembered.json'), `${JSON.stringify(inWords(remembered), null, 2)}\n`, {
      mode: 0o600,
    });
    for (const name of INDEX_FILES) await moveIfPresent(join(config.state, name), join(kept, name));

    const log = await open(undefined);
    const still = log.failure;
    if (still !== undefined) {
      await log.close();
      for (const name of INDEX_FILES) {
        await rm(join(config.state, name), { force: true });
        await moveIfPresent(join(kept, name), join(config.state, name));
      }
      await rm(kept, { recursive: true });
      throw new AcceptError(
        `${still.message}: its files do not agree among themselves, so nothing can follow them. Restore a whole copy of the directory, or begin another log: a new audit.origin and audit.directory`,
      );
    }
    const logged = await lastInLog(log);
    const policy = policyDispute(logged, rows);
    const { leafIndex } = await log.append({
      kind: 'log',
      subject: 'lastmile',
      operation: 'log.accept',
      decision: 'allow',
      detail: { why, finding, remembered: inWords(remembered), policy },
    });
    await log.close();
    if (policy !== undefined) rows.settle(logged);
    const head = parseTreeHead(Buffer.from(await new FileStorage(directory).read('treehead')).toString());
    store.forgetSignedTree(origin);
    store.putSignedTree(origin, head.treeSize, Buffer.from(head.rootHash).toString('base64'));
    return { leafIndex, finding, ...(policy === undefined ? {} : { policy }), kept };
  } finally {
    store.close();
  }
}

/** Closes it, too. A log that cannot be opened for another reason is not a case for this. */
async function findingOf(log: Sequencer, rows: PolicyRows): Promise<string | undefined> {
  const { failure } = log;
  const dispute = failure === undefined ? policyDispute(await lastInLog(log), rows) : undefined;
  await log.close();
  if (failure !== undefined && failure.reason !== 'AUDIT_INCONSISTENT')
    throw new AuditError(failure.reason, failure.message, failure);
  return failure?.message ?? dispute;
}

function inWords(tree: SignedTreeMemory['last']): { treeSize: number; rootHash: string } {
  if (tree === undefined) return { treeSize: 0, rootHash: '' };
  return { treeSize: tree.treeSize, rootHash: Buffer.from(tree.rootHash).toString('base64') };
}

async function moveIfPresent(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return;
    // The log is on a disk of its own.
    if (code !== 'EXDEV') throw error;
    await cp(from, to);
    await rm(from);
  }
}
