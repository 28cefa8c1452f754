import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type AppendFile,
  type DurableFile,
  type Storage,
  StorageError,
  type StorageReason,
} from './storage.ts';

/** The log's directory on a local file system. Files are 0600, directories 0700. */
export class FileStorage implements Storage {
  readonly #root: string;

  /** @param root exists and is this broker's own */
  constructor(root: string) {
    this.#root = root;
  }

  async create(path: string): Promise<AppendFile> {
    return await this.#create(path);
  }

  /**
   * O_DSYNC: a write returns when the bytes, and the length that is needed to read them back, are on disk. That is what
   * write and fdatasync do together, with one way to a thread and back instead of two: group commits wait for it.
   * Linux alone is known to keep that promise; macOS leaves the bytes in the drive, and needs what `sync` does there.
   */
  async createDurable(path: string): Promise<DurableFile> {
    if (process.platform === 'linux') {
      const { O_WRONLY, O_CREAT, O_EXCL, O_DSYNC } = constants;
      const flags = O_WRONLY | O_CREAT | O_EXCL | O_DSYNC;
      return new ReservingFile(await told(path, open(this.#at(path), flags, 0o600)), path);
    }
    const file = await this.#create(path);
    return {
      append: async (bytes) => {
        await file.append(bytes);
        await file.sync();
      },
      close: () => file.close(),
    };
  }

  async read(path: string): Promise<Uint8Array> {
    return await told(path, readFile(this.#at(path)));
  }

  async rename(from: string, to: string): Promise<void> {
    await told(to, rename(this.#at(from), this.#at(to)));
  }

  async remove(path: string): Promise<void> {
    await told(path, rm(this.#at(path), { force: true }));
  }

  async makeDirectory(path: string): Promise<void> {
    try {
      await told(path, mkdir(this.#at(path), 0o700));
    } catch (error) {
      if (!(error instanceof StorageError && error.reason === 'exists')) throw error;
    }
  }

  async syncDirectory(path: string): Promise<void> {
    const handle = await told(path, open(this.#at(path), 'r'));
    try {
      await told(path, handle.sync());
    } finally {
      await handle.close();
    }
  }

  async list(path: string): Promise<string[]> {
    try {
      return await told(path, readdir(this.#at(path)));
    } catch (error) {
      if (error instanceof StorageError && error.reason === 'not-found') return [];
      throw error;
    }
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await told('.', statfs(this.#root));
    return bavail * bsize;
  }

  async #create(path: string): Promise<OpenFile> {
    const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND } = constants;
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_APPEND;
    return new OpenFile(await told(path, open(this.#at(path), flags, 0o600)), path);
  }

  #at(path: string): string {
    return join(this.#root, path);
  }
}

class OpenFile implements AppendFile {
  readonly #handle: FileHandle;
  readonly #path: string;

  constructor(handle: FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
  }

  async append(bytes: Uint8Array): Promise<void> {
    await told(this.#path, writeWhole(this.#handle, bytes, null));
  }

  async sync(): Promise<void> {
    // The length of the file is metadata that is needed to read it back: fdatasync covers it.
    await told(this.#path, this.#handle.datasync());
  }

  async close(): Promise<void> {
    await told(this.#path, this.#handle.close());
  }
}

/**
 * A file that is written through to the disk, a little ahead of itself with zeros: where a block is on disk already, a
 * write is one write. Where it is new, the file's length and the block's place are written as well, through the file
 * system's journal, and a group commit takes half as long again.
 *
 * Owns the handle. After a crash the zeros stay.
 */
class ReservingFile implements DurableFile {
  readonly #handle: FileHandle;
  readonly #path: string;
  /** Where the next append goes. */
  #end = 0;
  /** To here the file is on disk. */
  #reserved = 0;
  #reserving: Promise<void> | undefined;
  /** The disk has no room for what may never be needed. */
  #isTight = false;
  #failure: Error | undefined;

  constructor(handle: FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
  }

  async append(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const end = this.#end + bytes.length;
    try {
      if (end > this.#reserved) await this.#reserve();
      await told(this.#path, writeWhole(this.#handle, bytes, this.#end));
    } catch (error) {
      this.#fail(error);
      throw error;
    }
    this.#end = end;
    this.#reserved = Math.max(this.#reserved, end);
    // Beside the appends that still fit in; what goes wrong there is the next one's to tell.
    if (this.#reserved - end < RESERVE_BYTES / 2)
      this.#reserve().catch((error: unknown) => this.#fail(error));
  }

  /** What a failed append may have left stays as it is. */
  async close(): Promise<void> {
    try {
      await this.#reserving;
      if (this.#failure === undefined) await told(this.#path, this.#handle.truncate(this.#end));
    } finally {
      await told(this.#path, this.#handle.close());
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
      await told(this.#path, writeWhole(this.#handle, ZEROS, this.#reserved));
      this.#reserved += ZEROS.length;
    } catch (error) {
      if (!(error instanceof StorageError && error.reason === 'no-space')) throw error;
      this.#isTight = true;
    }
  }
}

const RESERVE_BYTES = 1 << 20;
const ZEROS = new Uint8Array(RESERVE_BYTES);

/** At `position`, or at the file's end. */
async function writeWhole(handle: FileHandle, bytes: Uint8Array, position: number | null): Promise<void> {
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

async function told<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
    throw new StorageError(REASONS[code] ?? 'failed', `${path}: ${code}`, cause);
  }
}
