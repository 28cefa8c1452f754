/**
 * The few file operations the log is built on, and what each of them promises after a loss of power.
 *
 * - What `append` wrote survives only once `sync` of that file resolved; what the `append` of a file made by
 *   `createDurable` wrote survives once that `append` resolved.
 * - A name that `create`, `rename`, `makeDirectory` or `remove` made or took away survives only once `syncDirectory` of
 *   the directory that holds it resolved. `rename` is atomic: after a crash there is the old file or the new one.
 * - After a failed `append` or `sync` the file may hold any part of what was written, and a later `sync` of it may
 *   report success for pages that the kernel has already dropped. Such a file is never appended to or synced again.
 *
 * What `read` finds in a file made by `createDurable` may have zero bytes behind what was appended, until the file is
 * closed; after a crash, or a failed `append`, for good.
 *
 * Paths are relative to the log's directory, with `/`. `test/fakes/fake-storage.ts` is the same contract with
 * everything not promised taken away, and fails a caller that breaks the last rule.
 */
export interface Storage {
  /** A new empty file. Rejects with `exists` when the name is taken. */
  create(path: string): Promise<AppendFile>;
  /** Likewise. */
  createDurable(path: string): Promise<DurableFile>;
  /** Rejects with `not-found`. */
  read(path: string): Promise<Uint8Array>;
  /** Replaces what is at `to`. */
  rename(from: string, to: string): Promise<void>;
  /** Resolves also when there is nothing to remove. */
  remove(path: string): Promise<void>;
  /** Resolves also when it is there already. Its parent must be there. */
  makeDirectory(path: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
  /** Names in a directory; none when there is no such directory. */
  list(path: string): Promise<string[]>;
  /** Bytes that this process may still write. */
  freeBytes(): Promise<number>;
}

export interface DurableFile {
  append(bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

export interface AppendFile extends DurableFile {
  sync(): Promise<void>;
}

export type StorageReason = 'not-found' | 'exists' | 'no-space' | 'failed';

export class StorageError extends Error {
  override readonly name = 'StorageError';
  readonly reason: StorageReason;
  constructor(reason: StorageReason, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.reason = reason;
  }
}

/** The file's bytes, or undefined when there is none. */
export async function readIfPresent(storage: Storage, path: string): Promise<Uint8Array | undefined> {
  try {
    return await storage.read(path);
  } catch (error) {
    if (error instanceof StorageError && error.reason === 'not-found') return undefined;
    throw error;
  }
}
