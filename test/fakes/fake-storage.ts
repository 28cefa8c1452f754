import { type AppendFile, type DurableFile, type Storage, StorageError } from '../../broker/audit/storage.ts';

export type StepKind =
  | 'create'
  | 'append'
  | 'sync'
  | 'close'
  | 'rename'
  | 'remove'
  | 'makeDirectory'
  | 'syncDirectory';

export interface Step {
  /** From 0, over everything that changes the storage. */
  readonly index: number;
  readonly kind: StepKind;
  readonly path: string;
}

/**
 * What becomes of a step: `refuse`: nothing happens and it fails; `half`: it happens by half where that is possible and
 * fails; `report-failed`: it happens and fails; `no-space`: like refuse; `crash-before`, `crash-after`: the power goes.
 */
export type Fault = 'refuse' | 'half' | 'report-failed' | 'no-space' | 'crash-before' | 'crash-after';

/**
 * What is found after the power came back: only what was promised; everything; the first half of each file's unsynced
 * bytes; the second half, where the file had reserved room for them.
 */
export type Survival = 'promised' | 'all' | 'torn' | 'scattered';

const RESERVED_BYTES = 100;

class File {
  bytes: Buffer = Buffer.alloc(0);
  durable: Buffer = Buffer.alloc(0);
  /** After a failed write or sync: whoever syncs it again is told off. */
  isSpoiled = false;
  /** Zero bytes that stand behind its end, for what is still to come. */
  reserved = 0;
  get isSynced(): boolean {
    return this.bytes.equals(this.durable);
  }
}

class Directory {
  entries = new Map<string, File | Directory>();
  durable = new Map<string, File | Directory>();
}

/**
 * Storage that keeps, over a crash, exactly what the contract of `Storage` promises, and fails on demand.
 *
 * It also polices its caller: syncing or appending to a file after a failure, renaming a file that was not synced,
 * changing a published tile. What it finds is thrown and kept in `misuse`, which a test checks at its end.
 */
export class FakeStorage implements Storage {
  #root = new Directory();
  readonly steps: Step[] = [];
  readonly misuse: string[] = [];
  /** Decides the fate of each step. */
  fault: (step: Step) => Fault | undefined = () => undefined;
  /** Bytes that all files together may have. */
  capacity = Number.POSITIVE_INFINITY;
  #held: Promise<void> | undefined;
  #onHeldSync: (() => void) | undefined;
  #isDead = false;
  #die: () => void = () => undefined;
  /** Resolves when the power goes. */
  readonly crashed: Promise<void> = new Promise((resolve) => {
    this.#die = resolve;
  });

  /** The storage as the next process finds it. The old one answers nothing any more. */
  afterCrash(survival: Survival): FakeStorage {
    this.#isDead = true;
    const next = new FakeStorage();
    next.#root = surviving(this.#root, survival);
    return next;
  }

  /** Holds every sync back until `release`; `reached` resolves once one waits. */
  holdSyncs(): { reached: Promise<void>; release: () => void } {
    let release: () => void = () => undefined;
    this.#held = new Promise((resolve) => {
      release = () => {
        this.#held = undefined;
        resolve();
      };
    });
    const reached = new Promise<void>((resolve) => {
      this.#onHeldSync = resolve;
    });
    return { reached, release };
  }

  /** Every file, for a test that looks at or changes what is on disk. */
  files(): Map<string, Buffer> {
    const found = new Map<string, Buffer>();
    const walk = (directory: Directory, prefix: string): void => {
      for (const [name, node] of directory.entries) {
        if (node instanceof File) found.set(prefix + name, node.bytes);
        else walk(node, `${prefix}${name}/`);
      }
    };
    walk(this.#root, '');
    return found;
  }

  /** Changes a file behind everybody's back; undefined takes it away. */
  tamper(path: string, change: (bytes: Buffer) => Buffer | undefined): void {
    const [directory, name] = this.#parent(path);
    const file = directory.entries.get(name);
    if (!(file instanceof File)) throw new Error(`no file ${path} to tamper with`);
    const changed = change(Buffer.from(file.bytes));
    if (changed === undefined) {
      directory.entries.delete(name);
      directory.durable.delete(name);
    } else {
      file.bytes = changed;
      file.durable = changed;
    }
  }

  async create(path: string): Promise<AppendFile> {
    const file = new File();
    await this.#step('create', path, () => {
      const [directory, name] = this.#parent(path);
      if (directory.entries.has(name)) throw new StorageError('exists', path);
      directory.entries.set(name, file);
    });
    return new FakeFile(this, file, path);
  }

  /** From now until it is closed. */
  reserve(path: string, bytes: number): void {
    const file = this.#find(path);
    if (file instanceof File) file.reserved = bytes;
  }

  /** Write and sync are two steps here as well: what the kernel does within one call can break between them. */
  async createDurable(path: string): Promise<DurableFile> {
    const file = await this.create(path);
    this.reserve(path, RESERVED_BYTES);
    return {
      append: async (bytes) => {
        await file.append(bytes);
        await file.sync();
      },
      close: async () => {
        await file.close();
        this.reserve(path, 0);
      },
    };
  }

  async read(path: string): Promise<Uint8Array> {
    await this.#alive();
    const node = this.#find(path);
    if (!(node instanceof File)) throw new StorageError('not-found', path);
    return Buffer.concat([node.bytes, Buffer.alloc(node.reserved)]);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#step('rename', to, () => {
      const [source, fromName] = this.#parent(from);
      const [target, toName] = this.#parent(to);
      const file = source.entries.get(fromName);
      if (!(file instanceof File)) throw new StorageError('not-found', from);
      if (!file.isSynced || file.isSpoiled)
        this.#tellOff(`${from} was renamed to ${to} before it was synced`);
      const old = target.entries.get(toName);
      if (to.startsWith('tile/') && old instanceof File && !old.bytes.equals(file.bytes))
        this.#tellOff(`${to} changed`);
      source.entries.delete(fromName);
      target.entries.set(toName, file);
    });
  }

  async remove(path: string): Promise<void> {
    await this.#step('remove', path, () => {
      const [directory, name] = this.#parent(path);
      directory.entries.delete(name);
    });
  }

  async makeDirectory(path: string): Promise<void> {
    await this.#step('makeDirectory', path, () => {
      const [directory, name] = this.#parent(path);
      if (!directory.entries.has(name)) directory.entries.set(name, new Directory());
    });
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#hold();
    await this.#step('syncDirectory', path, () => {
      const node = path === '.' ? this.#root : this.#find(path);
      if (!(node instanceof Directory)) throw new StorageError('not-found', path);
      node.durable = new Map(node.entries);
    });
  }

  async list(path: string): Promise<string[]> {
    await this.#alive();
    const node = this.#find(path);
    return node instanceof Directory ? [...node.entries.keys()] : [];
  }

  async freeBytes(): Promise<number> {
    await this.#alive();
    return this.capacity - this.#usedBytes();
  }

  async appendTo(file: File, path: string, bytes: Uint8Array): Promise<void> {
    if (file.isSpoiled) this.#tellOff(`${path} was appended to after it failed`);
    const whole = Buffer.concat([file.bytes, bytes]);
    await this.#step(
      'append',
      path,
      () => {
        if (this.#usedBytes() + bytes.length > this.capacity) {
          file.isSpoiled = true;
          throw new StorageError('no-space', path);
        }
        file.bytes = whole;
      },
      () => {
        file.bytes = whole.subarray(0, whole.length - (bytes.length >> 1));
      },
      file,
    );
  }

  async sync(file: File, path: string): Promise<void> {
    if (file.isSpoiled) this.#tellOff(`${path} was synced after it failed`);
    await this.#hold();
    await this.#step(
      'sync',
      path,
      () => {
        file.durable = file.bytes;
      },
      () => {
        file.durable = file.bytes.subarray(0, (file.durable.length + file.bytes.length) >> 1);
      },
      file,
    );
  }

  async closeFile(path: string): Promise<void> {
    await this.#step('close', path, () => undefined);
  }

  async #step(
    kind: StepKind,
    path: string,
    effect: () => void,
    half: () => void = () => undefined,
    file?: File,
  ): Promise<void> {
    await this.#alive();
    const step: Step = { index: this.steps.length, kind, path };
    this.steps.push(step);
    const fault = this.fault(step);
    // The answer comes later than the call, as it does from a disk.
    await new Promise((resolve) => setImmediate(resolve));
    await this.#alive();
    if (fault === undefined) return effect();
    if (fault === 'crash-before' || fault === 'crash-after') {
      if (fault === 'crash-after') effect();
      this.#isDead = true;
      this.#die();
      return await this.#alive();
    }
    if (fault === 'report-failed') effect();
    if (fault === 'half') half();
    if (file !== undefined) file.isSpoiled = true;
    throw new StorageError(fault === 'no-space' ? 'no-space' : 'failed', `${path}: ${kind}: ${fault}`);
  }

  /** A dead machine does not answer. */
  async #alive(): Promise<void> {
    if (this.#isDead) await new Promise(() => undefined);
  }

  async #hold(): Promise<void> {
    if (this.#held === undefined) return;
    this.#onHeldSync?.();
    await this.#held;
  }

  #tellOff(message: string): never {
    this.misuse.push(message);
    throw new Error(`misuse of storage: ${message}`);
  }

  #usedBytes(): number {
    let sum = 0;
    for (const bytes of this.files().values()) sum += bytes.length;
    return sum;
  }

  #find(path: string): File | Directory | undefined {
    let node: File | Directory | undefined = this.#root;
    for (const name of path.split('/')) node = node instanceof Directory ? node.entries.get(name) : undefined;
    return node;
  }

  #parent(path: string): [Directory, string] {
    const at = path.lastIndexOf('/');
    const directory = at < 0 ? this.#root : this.#find(path.slice(0, at));
    if (!(directory instanceof Directory)) throw new StorageError('not-found', path);
    return [directory, path.slice(at + 1)];
  }
}

class FakeFile implements AppendFile {
  readonly #storage: FakeStorage;
  readonly #file: File;
  readonly #path: string;

  constructor(storage: FakeStorage, file: File, path: string) {
    this.#storage = storage;
    this.#file = file;
    this.#path = path;
  }

  async append(bytes: Uint8Array): Promise<void> {
    await this.#storage.appendTo(this.#file, this.#path, Buffer.from(bytes));
  }

  async sync(): Promise<void> {
    await this.#storage.sync(this.#file, this.#path);
  }

  async close(): Promise<void> {
    await this.#storage.closeFile(this.#path);
  }
}

function surviving(directory: Directory, survival: Survival): Directory {
  const copy = new Directory();
  // With `torn`, names made it to disk although the bytes behind them did so only by half, and removals did not:
  // a common order of things.
  const names = {
    promised: directory.durable,
    all: directory.entries,
    torn: new Map([...directory.durable, ...directory.entries]),
    scattered: new Map([...directory.durable, ...directory.entries]),
  }[survival];
  for (const [name, node] of names) {
    if (node instanceof Directory) {
      copy.entries.set(name, surviving(node, survival));
    } else {
      const file = new File();
      const unsynced = node.bytes.length - node.durable.length;
      if (survival === 'promised') file.bytes = node.durable;
      else if (survival === 'all') file.bytes = node.bytes;
      else if (survival === 'scattered' && node.reserved > 0) {
        file.bytes = Buffer.from(node.bytes);
        file.bytes.fill(0, node.durable.length, node.durable.length + (unsynced >> 1));
      } else file.bytes = node.bytes.subarray(0, node.durable.length + (unsynced >> 1));
      file.durable = file.bytes;
      file.reserved = node.reserved;
      copy.entries.set(name, file);
    }
  }
  copy.durable = new Map(copy.entries);
  return copy;
}
