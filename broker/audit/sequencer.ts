// Longer than most: the one place where the parts of the log meet. What can be told apart from its state is in the files
// that it imports; splitting the rest would share that state between files.
import { type Batch, BatchBuilder, type Waiter } from './batch.ts';
import { type Clock, systemClock } from './clock.ts';
import { type Appended, AuditError, type AuditLog, type EntryDraft } from './entry.ts';
import { parseEntry } from './entry-format.ts';
import { LogIndex } from './log-index.ts';
import { type AuditLimits, type AuditLogOptions, type AuditStatus, DEFAULT_LIMITS } from './options.ts';
import { type CheckpointSigner, INCOMING, Publisher, type SignedCheckpoint } from './publisher.ts';
import {
  type EntryFilter,
  type EntryPage,
  type LoggedEntry,
  queryEntries,
  readEntriesFrom,
} from './query.ts';
import { catchUp, type Recovered, recover } from './recovery.ts';
import { RefusalCounter } from './refusals.ts';
import { SEGMENTS } from './segment.ts';
import { SegmentWriter } from './segment-writer.ts';
import type { Storage } from './storage.ts';
import { TlogError } from './tlog/hash.ts';
import { consistencyProof, inclusionProof } from './tlog/proof.ts';
import { nodesFromTiles, TILE_WIDTH } from './tlog/tile.ts';
import { formatTlogProof } from './tlog/tlog-proof.ts';
import { TreeEdge } from './tlog/tree-edge.ts';

// A quarter of a million entries: a second or two, of which no turn of the event loop has more than one bundle.
const MAX_BUNDLES_PER_PAGE = 1000;
// Entries indexed before the event loop gets a turn: about a millisecond.
const ROWS_PER_TURN = 2048;

/** Who speaks in the entries that the log writes about itself. */
export const LOG_SUBJECT = 'lastmile';

/**
 * Opens the log, or makes a new one in an empty directory.
 *
 * Resolves also when the log is inconsistent or cannot be written: `failure` says so, `append` rejects, and what can be
 * read can be read.
 *
 * @throws AuditError when the directory cannot be read, or another broker has the log open
 */
export async function openAuditLog(options: AuditLogOptions): Promise<Sequencer> {
  let index: LogIndex;
  try {
    index = new LogIndex(options.indexPath);
  } catch (cause) {
    throw new AuditError(
      'AUDIT_UNAVAILABLE',
      'the index of the audit log cannot be opened: is another broker using it?',
      cause,
    );
  }
  try {
    const { recovered, heads } = await prepare(options, index);
    const log = new Sequencer(options, index, recovered, heads, undefined);
    await log.announce(recovered);
    return log;
  } catch (cause) {
    if (cause instanceof TlogError) {
      const failure = new AuditError(
        'AUDIT_INCONSISTENT',
        `the audit log is inconsistent: ${cause.message}`,
        cause,
      );
      return new Sequencer(options, index, NOTHING, new Map(), failure);
    }
    index.close();
    throw new AuditError('AUDIT_UNAVAILABLE', 'the audit log cannot be opened', cause);
  }
}

const NOTHING: Recovered = {
  published: { edge: new TreeEdge(), bundle: new Uint8Array(0), checkpoint: undefined, partials: [] },
  batches: [],
  segments: [],
  nextGeneration: 1,
  tornBytes: 0,
  lastEntry: undefined,
};

function verifierKeysOf({ verifierKeys, signer }: AuditLogOptions): readonly string[] {
  return verifierKeys ?? (signer === undefined ? [] : [signer.verifierKey]);
}

async function prepare(options: AuditLogOptions, index: LogIndex) {
  const { storage, origin, signedTree } = options;
  for (const directory of [SEGMENTS, INCOMING]) await storage.makeDirectory(directory);
  await storage.syncDirectory('.');
  const recovered = await recover({ storage, origin, signedTree, verifierKeys: verifierKeysOf(options) });
  return { recovered, heads: await catchUp(index, recovered, storage) };
}

/**
 * The log: gives entries their order, makes them durable, has them published.
 *
 * Invariants, proven by test/fault/audit:
 *   - append resolves only after the entry survives a loss of power
 *   - an acknowledged entry is in the log after every crash, at the index that was told
 *   - a place in the log is given once
 */
export class Sequencer implements AuditLog {
  readonly origin: string;
  readonly #storage: Storage;
  readonly #clock: Clock;
  readonly #limits: AuditLimits;
  readonly #warn: (message: string, error: unknown) => void;
  readonly #index: LogIndex;
  readonly #builder: BatchBuilder;
  readonly #writer: SegmentWriter;
  readonly #publisher: Publisher;
  readonly #refusals: RefusalCounter;
  readonly #inconsistency: AuditError | undefined;
  #size: number;
  #failure: AuditError | undefined;
  #hasGivenUp = false;
  #isClosed = false;
  #isIndexing = true;
  #isSpaceLow = false;
  #hasSigner: boolean;
  #publishFailure: string | undefined;
  #callOffPublish: (() => void) | undefined;
  #fresh: Promise<void> | undefined;

  /** Use openAuditLog. */
  constructor(
    options: AuditLogOptions,
    index: LogIndex,
    recovered: Recovered,
    heads: ConstructorParameters<typeof BatchBuilder>[1],
    inconsistency: AuditError | undefined,
  ) {
    this.origin = options.origin;
    this.#storage = options.storage;
    this.#clock = options.clock ?? systemClock;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#warn = options.onWarning ?? (() => undefined);
    this.#index = index;
    this.#inconsistency = inconsistency;
    this.#hasSigner = options.signer !== undefined;
    const { published, batches, segments, nextGeneration } = recovered;
    this.#size = published.edge.size;
    this.#builder = new BatchBuilder(
      batches.reduce((sum, { rows }) => sum + rows.length, published.edge.size),
      heads,
    );
    this.#publisher = new Publisher(published, {
      storage: options.storage,
      origin: options.origin,
      onPublished: (rows, treeSize) => this.#published(rows, treeSize),
      onSigned: (tree) => options.onSigned?.(tree),
      onWarning: this.#warn,
    });
    this.#publisher.setSigner(options.signer);
    this.#writer = new SegmentWriter({
      storage: options.storage,
      clock: this.#clock,
      firstGeneration: nextGeneration,
      segmentBytes: this.#limits.segmentBytes,
      giveUpMs: this.#limits.giveUpMs,
      take: () => this.#builder.seal(),
      room: () =>
        this.#publisher.waitingBytes < this.#limits.maxUnpublishedBytes
          ? undefined
          : this.#publisher.whenTaken(),
      onDurable: (durable) => this.#acknowledge(durable),
      onFailure: (error) => this.#fail('the audit log cannot be written', error),
      onGivingUp: (pending) => this.#giveUp(pending),
      onWarning: this.#warn,
    });
    this.#writer.recover(batches, segments);
    this.#refusals = new RefusalCounter({
      limits: this.#limits,
      clock: this.#clock,
      append: (draft) => this.#append(draft),
      isSpaceLow: () => {
        // Publishing measures it again: without new entries nothing else would.
        if (this.#isSpaceLow) this.#schedulePublishing();
        return this.#isSpaceLow;
      },
      onWarning: this.#warn,
    });
  }

  get size(): number {
    return this.#size;
  }

  get failure(): AuditError | undefined {
    if (this.#inconsistency !== undefined) return this.#inconsistency;
    if (this.#isClosed) return new AuditError('AUDIT_UNAVAILABLE', 'the audit log is closed');
    return this.#failure;
  }

  get status(): AuditStatus {
    return {
      origin: this.origin,
      size: this.#size,
      treeSize: this.#publisher.treeSize,
      checkpointSize: this.#publisher.checkpoint?.treeSize ?? 0,
      failure: this.failure?.message,
      publishFailure: this.#publishFailure,
      hasSigner: this.#hasSigner,
      isWitnessed: false,
      unpublishedBytes: this.#publisher.waitingBytes,
      isSpaceLow: this.#isSpaceLow,
      refusalsCounted: this.#refusals.openCount,
    };
  }

  /**
   * See AuditLog. While writing fails, appends wait for it to work again, `giveUpMs` at most: an entry whose append was
   * rejected may still come into the log, and the operation it tells of has then had its result withheld.
   */
  append(draft: EntryDraft): Promise<Appended> {
    return this.#append(draft).appended;
  }

  async appendRefusal(draft: EntryDraft): Promise<Appended | undefined> {
    const failure = this.#refusal();
    if (failure !== undefined) throw failure;
    return await this.#refusals.appendRefusal(draft);
  }

  isOverQuota(subject: string): boolean {
    return this.#refusals.isOverQuota(subject);
  }

  /** The key may come, go and come back with its token. @throws TlogError when it is not this log's key */
  setSigner(signer: CheckpointSigner | undefined): void {
    this.#publisher.setSigner(signer);
    this.#hasSigner = signer !== undefined;
    if (this.#inconsistency === undefined && this.#publisher.hasWork) this.#schedulePublishing();
  }

  /** Publishes, and signs if there is a key, everything that is durable. */
  async publish(): Promise<void> {
    if (this.#inconsistency !== undefined) throw this.#inconsistency;
    this.#callOffPublish?.();
    this.#callOffPublish = undefined;
    try {
      await this.#publisher.publish();
      this.#publishFailure = undefined;
    } catch (cause) {
      this.#publishFailure = cause instanceof Error ? cause.message : String(cause);
      this.#warn('the audit log could not be published', cause);
      throw new AuditError('AUDIT_UNAVAILABLE', 'the audit log could not be published or signed', cause);
    } finally {
      await this.#measureSpace();
      if (this.#publisher.hasWork) this.#schedulePublishing();
    }
  }

  /**
   * The newest checkpoint; `fresh`: one that covers everything durable at the time of the call. Undefined when none was
   * ever signed.
   */
  async getCheckpoint({ fresh = false } = {}): Promise<SignedCheckpoint | undefined> {
    if (fresh && this.#size > 0) return await this.#checkpointCovering(this.#size);
    return this.#publisher.checkpoint;
  }

  /** The entry's exact bytes; undefined when there is no such entry (yet). */
  async getEntry(leafIndex: number): Promise<Uint8Array | undefined> {
    if (!Number.isSafeInteger(leafIndex) || leafIndex < 0 || leafIndex >= this.#size) return undefined;
    const unpublished = this.#publisher.unpublishedEntry(leafIndex);
    if (unpublished !== undefined) return unpublished;
    return (await this.#publisher.readEntries(Math.floor(leafIndex / TILE_WIDTH)))[leafIndex % TILE_WIDTH];
  }

  /** c2sp.org/tlog-proof@v1 for the entry, against a signed checkpoint; undefined when there is no such entry (yet). */
  async getReceipt(leafIndex: number): Promise<string | undefined> {
    if (!Number.isSafeInteger(leafIndex) || leafIndex < 0 || leafIndex >= this.#size) return undefined;
    const { note, treeSize } = await this.#checkpointCovering(leafIndex + 1);
    return formatTlogProof({ leafIndex, hashes: await this.#prove(leafIndex, treeSize), checkpoint: note });
  }

  /**
   * Inclusion of a leaf, or consistency with an earlier size, in the tree of `treeSize` (0: the newest checkpoint's, or
   * without one the newest published tree's). @throws TlogError when there is no such tree or leaf
   */
  async getProof(
    of: { readonly leafIndex: number } | { readonly fromSize: number },
    treeSize = 0,
  ): Promise<{ hashes: Uint8Array[]; treeSize: number }> {
    const size =
      treeSize === 0 ? (this.#publisher.checkpoint?.treeSize ?? this.#publisher.treeSize) : treeSize;
    if (size > this.#publisher.treeSize) throw new TlogError('the log has no published tree of that size');
    if ('leafIndex' in of) return { hashes: await this.#prove(of.leafIndex, size), treeSize: size };
    return { hashes: await consistencyProof(of.fromSize, size, this.#nodes()), treeSize: size };
  }

  /** A tile, an entry bundle, `checkpoint` or `treehead` by its path; undefined when there is no such file. */
  async readPublished(path: string): Promise<Uint8Array | undefined> {
    return await this.#publisher.readPublished(path);
  }

  /** SPIFFE IDs of all that entries are about, refused ones included. */
  workloads(): string[] {
    return [...this.#index.heads().keys()].filter((subject) => subject.startsWith('spiffe://'));
  }

  /** Durable entries, newest first. */
  async query(filter: EntryFilter, signal?: AbortSignal): Promise<LoggedEntry[]> {
    return [...(await queryEntries(this.#publisher, this.#index, filter, signal)).entries];
  }

  /** Likewise, for strangers: after so many bundles it ends, and says where to go on. */
  async queryPage(
    filter: EntryFilter,
    signal: AbortSignal,
    maxBundles: number = MAX_BUNDLES_PER_PAGE,
  ): Promise<EntryPage> {
    return await queryEntries(this.#publisher, this.#index, filter, signal, maxBundles);
  }

  /** Durable entries from a leaf index on, oldest first. @throws when a bundle cannot be read */
  read(fromLeaf: number): AsyncIterable<LoggedEntry> {
    return readEntriesFrom(this.#publisher, fromLeaf);
  }

  /** Counts become entries, everything is published, and the last entry says that the log was closed in order. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    try {
      if (this.failure === undefined) {
        await this.#refusals.close();
        await this.#append({ kind: 'log', subject: LOG_SUBJECT, operation: 'log.close', decision: 'allow' })
          .appended;
        await this.publish();
      }
    } catch (error) {
      this.#warn('the audit log was not closed in order', error);
    }
    this.#isClosed = true;
    this.#callOffPublish?.();
    await this.#writer.stop();
    this.#sendAway(this.#builder.takeWaiters(), this.failure!);
    this.#index.close();
  }

  /** The log's first entry about itself; also what makes recovered entries durable again. */
  async announce({ lastEntry, tornBytes, batches }: Recovered): Promise<void> {
    await this.#measureSpace();
    const last = lastEntry === undefined ? undefined : parseEntry(lastEntry);
    const wasClosed = last === undefined || (last.kind === 'log' && last.operation === 'log.close');
    const recovered = batches.reduce((sum, { rows }) => sum + rows.length, 0);
    const detail = {
      previous: last === undefined ? 'none' : wasClosed ? 'closed' : 'crashed',
      recoveredEntries: recovered,
      tornBytes,
      refusalCountsLost: !wasClosed,
    };
    try {
      await this.append({
        kind: 'log',
        subject: LOG_SUBJECT,
        operation: 'log.open',
        decision: 'allow',
        detail,
      });
    } catch (error) {
      this.#warn('the audit log is open and cannot be written', error);
    }
  }

  #append(draft: EntryDraft): { bytes: number; appended: Promise<Appended> } {
    const failure = this.#refusal();
    if (failure !== undefined) return { bytes: 0, appended: Promise.reject(failure) };
    let bytes = 0;
    const appended = new Promise<Appended>((resolve, reject) => {
      try {
        bytes = this.#builder.add(draft, this.#clock.now(), resolve, reject);
      } catch (cause) {
        reject(new AuditError('AUDIT_UNAVAILABLE', 'the entry cannot be written', cause));
      }
    });
    this.#writer.kick();
    return { bytes, appended };
  }

  /** Why nothing is accepted now; a failure that may pass is waited for, within bounds. */
  #refusal(): AuditError | undefined {
    const failure = this.failure;
    if (failure !== undefined && (failure !== this.#failure || this.#hasGivenUp)) return failure;
    if (this.#builder.bytes < this.#limits.maxPendingBytes) return undefined;
    return new AuditError('AUDIT_UNAVAILABLE', 'too many entries wait to be written');
  }

  #acknowledge(batches: readonly Batch[]): void {
    this.#failure = undefined;
    this.#hasGivenUp = false;
    for (const batch of batches) {
      this.#size = batch.firstLeaf + batch.rows.length;
      this.#publisher.add(batch);
      for (const { leafIndex, resolve } of batch.waiters.splice(0)) resolve({ leafIndex });
    }
    this.#schedulePublishing();
    if (this.#publisher.waitingBytes > this.#limits.maxUnpublishedBytes / 8) this.#publishSoon();
  }

  #fail(message: string, cause: unknown): void {
    if (this.#failure === undefined) this.#warn(message, cause);
    this.#failure = new AuditError('AUDIT_UNAVAILABLE', message, cause);
  }

  #giveUp(pending: readonly Batch[]): void {
    const cause =
      this.#publishFailure === undefined
        ? 'its storage does not answer'
        : `publishing fails: ${this.#publishFailure}`;
    this.#failure ??= new AuditError('AUDIT_UNAVAILABLE', `the audit log does not get written: ${cause}`);
    this.#hasGivenUp = true;
    for (const { waiters } of pending) this.#sendAway(waiters.splice(0), this.#failure);
    this.#sendAway(this.#builder.takeWaiters(), this.#failure);
  }

  #sendAway(waiters: readonly Waiter[], error: AuditError): void {
    for (const { reject } of waiters) reject(error);
  }

  async #published(rows: Parameters<LogIndex['add']>[0], treeSize: number): Promise<void> {
    try {
      for (let at = 0; at < rows.length && this.#isIndexing; at += ROWS_PER_TURN) {
        this.#index.add(rows.slice(at, at + ROWS_PER_TURN));
        await new Promise((resolve) => setImmediate(resolve));
      }
    } catch (error) {
      // The next start reads what is missing from the log; until then queries read those bundles themselves.
      this.#isIndexing = false;
      this.#warn('the index of the audit log cannot be written', error);
    }
    await this.#writer.removePublished(treeSize);
  }

  #schedulePublishing(): void {
    if (this.#isClosed) return;
    this.#callOffPublish ??= this.#clock.after(this.#limits.publishIntervalMs, () => {
      this.#callOffPublish = undefined;
      this.#publishSoon();
    });
  }

  #publishSoon(): void {
    // publish() has told of its failure, and has arranged for the next attempt.
    this.publish().catch(() => undefined);
  }

  async #checkpointCovering(size: number): Promise<SignedCheckpoint> {
    const known = this.#publisher.checkpoint;
    if (known !== undefined && known.treeSize >= size) return known;
    if (this.#inconsistency !== undefined) throw this.#inconsistency;
    this.#fresh ??= this.#publishAfterDelay();
    await this.#fresh;
    const signed = this.#publisher.checkpoint;
    if (signed !== undefined && signed.treeSize >= size) return signed;
    throw new AuditError(
      'AUDIT_UNAVAILABLE',
      'no checkpoint can be signed: the key of the log is not available',
    );
  }

  async #publishAfterDelay(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#clock.after(this.#limits.freshDelayMs, resolve);
    });
    this.#fresh = undefined;
    await this.publish();
  }

  async #prove(leafIndex: number, treeSize: number): Promise<Uint8Array[]> {
    return await inclusionProof(leafIndex, treeSize, this.#nodes());
  }

  #nodes() {
    return nodesFromTiles((level, index) => this.#publisher.readTile(level, index));
  }

  async #measureSpace(): Promise<void> {
    try {
      this.#isSpaceLow = (await this.#storage.freeBytes()) < this.#limits.reservedBytes;
    } catch (error) {
      this.#warn('the free space of the audit log is not known', error);
    }
  }
}
