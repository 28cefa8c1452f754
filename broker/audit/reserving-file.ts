import { type DurableFile, StorageError, type StorageReason } from './storage.ts';

/** What is used of a `FileHandle` that is open for writing. */
export interface Handle {
  write(
    bytes: Uint8Array,
    offset: number,
    length: number,
    position: number | null,
  ): Promise<{ readonly bytesWritten: number }>;
  datasync(): Promise<void>;
  truncate(length: number): Promise<void>;
  close(): Promise<void>;
}

const RESERVE_BYTES = 1 << 20;
const ZEROS = new Uint8Array(RESERVE_BYTES);

/**
 * A file that is written through to the disk, a little ahead of itself with zeros: where a block is on disk already, a
 * write is one write. Where it is new, the file's length and the block's place are written as well, through the file
 * system's journal, and a group commit takes half as long again.
 *
 * Owns both handles. The system tells of a page that did not reach the disk once for each of them (errseq_t): on one,
 * the sync of the zeros could take the error that an append beside it has to hear of.
 *
 * Appends come one after the other. After a crash the zeros stay.
 */
export class ReservingFile implements DurableFile {
  readonly #path: string;
  /** Each write through to the disk. */
  readonly #appends: Handle;
  readonly #zeros: Handle;
  /** Where the next append goes. */
  #end = 0;
  /** To here the file is on disk. */
  #reserved = 0;
  #isAppending = false;
  #reserving: Promise<void> | undefined;
  /** The disk has no room for what may never be needed. */
  #isTight = false;
  #failure: Error | undefined;

  /** @param appends opened with O_DSYNC @param zeros of the same file, opened without */
  constructor(path: string, appends: Handle, zeros: Handle) {
    this.#path = path;
    this.#appends = appends;
    this.#zeros = zeros;
  }

  async append(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const end = this.#end + bytes.length;
    this.#isAppending = true;
    try {
      if (end > this.#reserved) await this.#reserve();
      await told(this.#path, writeWhole(this.#appends, bytes, this.#end));
    } catch (error) {
      this.#fail(error);
      throw error;
    } finally {
      this.#isAppending = false;
    }
    this.#end = end;
    this.#reserved = Math.max(this.#reserved, end);
    // Beside the appends that still fit in; what goes wrong there is the next one's to tell.
    if (this.#reserved - end < RESERVE_BYTES / 2)
      this.#reserve().catch((error: unknown) => this.#fail(error));
  }

  /** What an append may have left that failed, or was not over, stays as it is. */
  async close(): Promise<void> {
    try {
      await this.#reserving;
      if (this.#failure === undefined && !this.#isAppending)
        await told(this.#path, this.#appends.truncate(this.#end));
    } finally {
      await told(this.#path, Promise.all([this.#appends.close(), this.#zeros.close()]));
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new StorageError('failed', this.#path, error);
  }

  #reserve(): Promise<void> {
    if (this.#isTight) return Promise.resolve();
    this.#reserving ??= this.#writeZeros().finally(() => {
      this.#reserving = undefined;
    });
    return this.#reserving;
  }

  async #writeZeros(): Promise<void> {
    try {
      await told(this.#path, writeWhole(this.#zeros, ZEROS, this.#reserved));
    } catch (error) {
      if (!(error instanceof StorageError && error.reason === 'no-space')) throw error;
      this.#isTight = true;
      return;
    }
    // Too little room that is found out only now is a page that was lost, and perhaps not one of these.
    await told(this.#path, this.#zeros.datasync());
    this.#reserved += ZEROS.length;
  }
}

/** At `position`, or at the file's end. */
export async function writeWhole(
  handle: Pick<Handle, 'write'>,
  bytes: Uint8Array,
  position: number | null,
): Promise<void> {
  // One write may be short without failing; the next then says why.
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await handle.write(
      bytes,
      at,
      bytes.length - at,
      position === null ? null : position + at,
    );
    at += bytesWritten;
  }
}

const REASONS: Readonly<Record<string, StorageReason>> = {
  ENOENT: 'not-found',
  EEXIST: 'exists',
  ENOSPC: 'no-space',
  EDQUOT: 'no-space',
};

/** @throws StorageError instead of what the system says */
export async function told<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
    throw new StorageError(REASONS[code] ?? 'failed', `${path}: ${code}`, cause);
  }
}
