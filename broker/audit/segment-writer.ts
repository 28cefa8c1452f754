import type { Batch } from './batch.ts';
import { type Clock, sleep } from './clock.ts';
import { encodeBatch, SEGMENTS, segmentPath } from './segment.ts';
import { type DurableFile, type Storage, StorageError } from './storage.ts';

const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 1000;

export interface SegmentWriterOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  /** Larger than that of any segment there is. */
  readonly firstGeneration: number;
  /** A new segment is begun when the current one has more bytes. */
  readonly segmentBytes: number;
  /** So long without progress, and those who wait are sent away. */
  readonly giveUpMs: number;
  /** What was added since the last call. */
  readonly take: () => Batch | undefined;
  /** What a write has to wait for before it may go on; undefined: nothing. */
  readonly room: () => Promise<void> | undefined;
  /** These, and all before them, are on disk. */
  readonly onDurable: (batches: readonly Batch[]) => void;
  /** Writing failed; it is tried again until it works. */
  readonly onFailure: (error: unknown) => void;
  /** There was no progress for `giveUpMs`: nobody should wait for what is `pending`. */
  readonly onGivingUp: (pending: readonly Batch[]) => void;
  readonly onWarning: (message: string, error: unknown) => void;
}

interface Segment {
  readonly path: string;
  /** One past its last acknowledged entry. */
  readonly endLeaf: number;
}

/**
 * Makes batches durable, all that wait with one write and one sync (group commit).
 *
 * A segment whose write or sync failed is never touched again: what it may hold is written again, from memory,
 * to a new one, which is synced, whose name is synced, and which is read back before anybody is told. Proven by
 * test/fault/audit.
 */
export class SegmentWriter {
  readonly #options: SegmentWriterOptions;
  #generation: number;
  #current: { readonly file: DurableFile; readonly path: string; bytes: number; endLeaf: number } | undefined;
  readonly #pending: Batch[] = [];
  #retired: Segment[] = [];
  #isScheduled = false;
  #running: Promise<void> | undefined;
  #isStopped = false;
  readonly #stopped = Promise.withResolvers<void>();
  #callOffWatch: (() => void) | undefined;

  constructor(options: SegmentWriterOptions) {
    this.#options = options;
    this.#generation = options.firstGeneration;
  }

  /** Entries found in segments of an earlier run: they are written again before anything else is acknowledged. */
  recover(batches: readonly Batch[], segments: readonly Segment[]): void {
    this.#pending.push(...batches);
    this.#retired.push(...segments);
  }

  /** Writes what there is, soon: everything of this turn of the event loop goes together. */
  kick(): void {
    if (this.#isScheduled || this.#running !== undefined || this.#isStopped) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#running ??= this.#run();
    });
  }

  /** Ends after the attempt under way; what is pending stays so. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#stopped.resolve();
    this.#callOffWatch?.();
    // A storage that does not answer does not keep the process.
    await Promise.race([this.#running, sleep(this.#options.clock, this.#options.giveUpMs)]);
    const { file } = this.#current ?? {};
    this.#current = undefined;
    if (file !== undefined) await this.#release(file);
  }

  /** Removes segments of which every entry is below `treeSize`, being published. */
  async removePublished(treeSize: number): Promise<void> {
    const removable = this.#retired.filter((segment) => segment.endLeaf <= treeSize);
    for (const { path } of removable) await this.#options.storage.remove(path);
    this.#retired = this.#retired.filter((segment) => !removable.includes(segment));
  }

  async #run(): Promise<void> {
    let retryMs = FIRST_RETRY_MS;
    while (!this.#isStopped) {
      const fresh = this.#options.take();
      if (fresh !== undefined) this.#pending.push(fresh);
      if (this.#pending.length === 0) break;
      const batches = [...this.#pending];
      this.#watch();
      const room = this.#options.room();
      if (room !== undefined) {
        await Promise.race([room, this.#stopped.promise]);
        continue;
      }
      try {
        await this.#write(batches);
      } catch (error) {
        this.#options.onFailure(error);
        await this.#abandonCurrent();
        await Promise.race([sleep(this.#options.clock, retryMs), this.#stopped.promise]);
        retryMs = Math.min(LAST_RETRY_MS, retryMs * 2);
        continue;
      }
      retryMs = FIRST_RETRY_MS;
      this.#callOffWatch?.();
      this.#callOffWatch = undefined;
      this.#pending.splice(0, batches.length);
      this.#options.onDurable(batches);
    }
    // Synchronous with the check above: a kick that comes now starts another run.
    this.#running = undefined;
  }

  async #write(batches: readonly Batch[]): Promise<void> {
    // One batch under one hash, whatever waits: after a loss of power a write is there or it is not, even if the disk
    // had begun with its end.
    const bytes = encodeBatch(
      batches[0]!.firstLeaf,
      batches.reduce((sum, { rows }) => sum + rows.length, 0),
      batches.map(({ body }) => body),
    );
    const last = batches.at(-1)!;
    const endLeaf = last.firstLeaf + last.rows.length;
    if (this.#current !== undefined && this.#current.bytes > this.#options.segmentBytes)
      await this.#abandonCurrent();
    if (this.#current === undefined) {
      await this.#begin(batches[0]!.firstLeaf, bytes, endLeaf);
      return;
    }
    await this.#current.file.append(bytes);
    this.#current.bytes += bytes.length;
    this.#current.endLeaf = endLeaf;
  }

  async #begin(firstLeaf: number, bytes: Buffer, endLeaf: number): Promise<void> {
    const { storage } = this.#options;
    const path = segmentPath(firstLeaf, this.#generation++);
    let file: DurableFile | undefined;
    try {
      file = await storage.createDurable(path);
      await file.append(bytes);
      await storage.syncDirectory(SEGMENTS);
      const read = await storage.read(path);
      if (!bytes.equals(read.subarray(0, bytes.length)))
        throw new Error(`${path} does not read back as it was written`);
    } catch (error) {
      if (error instanceof StorageError && error.reason === 'exists') throw error;
      // Nothing in it was acknowledged, and all of it is still in memory.
      if (file !== undefined) await this.#release(file);
      await this.#attempt(`cannot remove ${path}`, storage.remove(path));
      throw error;
    }
    this.#current = { file, path, bytes: bytes.length, endLeaf };
  }

  async #abandonCurrent(): Promise<void> {
    if (this.#current === undefined) return;
    const { file, path, endLeaf } = this.#current;
    this.#current = undefined;
    this.#retired.push({ path, endLeaf });
    await this.#release(file);
  }

  async #release(file: DurableFile): Promise<void> {
    await this.#attempt('cannot close a segment', file.close());
  }

  async #attempt(what: string, work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#options.onWarning(what, error);
    }
  }

  #watch(): void {
    this.#callOffWatch ??= this.#options.clock.after(this.#options.giveUpMs, () => {
      this.#options.onGivingUp(this.#pending);
    });
  }
}
