import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { ReservingFile, told, writeWhole } from './reserving-file.ts';
import { type AppendFile, type DurableFile, type Storage, StorageError } from './storage.ts';

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
      const at = this.#at(path);
      const appends = await told(path, open(at, O_WRONLY | O_CREAT | O_EXCL | O_DSYNC, 0o600));
      try {
        return new ReservingFile(path, appends, await told(path, open(at, O_WRONLY)));
      } catch (error) {
        await appends.close();
        throw error;
      }
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
