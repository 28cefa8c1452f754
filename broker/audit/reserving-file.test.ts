import { beforeEach, describe, expect, it } from 'vitest';
import { type Handle, ReservingFile } from './reserving-file.ts';

/** Bytes of a file in memory that has several handles. */
class FakeFile {
  bytes = Buffer.alloc(0);
}

/** One whose writes and syncs can be held back, shortened or refused. */
class FakeHandle implements Handle {
  readonly #file: FakeFile;
  readonly writes: { readonly position: number; readonly length: number }[] = [];
  isOpen = true;
  /** What becomes of a write: a system error's code, or how many of its bytes are written. */
  fate: (write: { position: number; length: number }) => string | number | undefined = () => undefined;
  syncFate: () => string | undefined = () => undefined;
  held: Promise<void> | undefined;

  constructor(file: FakeFile) {
    this.#file = file;
  }

  async write(
    bytes: Uint8Array,
    offset: number,
    length: number,
    position: number | null,
  ): Promise<{ bytesWritten: number }> {
    const write = { position: position!, length };
    this.writes.push(write);
    const fate = this.fate(write);
    await this.held;
    if (typeof fate === 'string') throw systemError(fate);
    const bytesWritten = fate ?? length;
    const end = write.position + bytesWritten;
    const { bytes: before } = this.#file;
    if (end > before.length) this.#file.bytes = Buffer.concat([before, Buffer.alloc(end - before.length)]);
    this.#file.bytes.set(bytes.subarray(offset, offset + bytesWritten), write.position);
    return { bytesWritten };
  }

  async datasync(): Promise<void> {
    const fate = this.syncFate();
    if (fate !== undefined) throw systemError(fate);
  }

  async truncate(length: number): Promise<void> {
    this.#file.bytes = this.#file.bytes.subarray(0, length);
  }

  async close(): Promise<void> {
    this.isOpen = false;
  }
}

const systemError = (code: string): Error => Object.assign(new Error(code), { code });
const ones = (length: number): Buffer => Buffer.alloc(length, 1);
const MIB = 1 << 20;

function hold(handle: FakeHandle): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  handle.held = promise;
  return () => {
    handle.held = undefined;
    resolve();
  };
}

/** What goes on beside an append has had its turns. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
}

let disk: FakeFile;
let appends: FakeHandle;
let zeros: FakeHandle;
let file: ReservingFile;
beforeEach(() => {
  disk = new FakeFile();
  appends = new FakeHandle(disk);
  zeros = new FakeHandle(disk);
  file = new ReservingFile('segment', appends, zeros);
});

describe('the reserve', () => {
  it('is on disk before the first append', async () => {
    const release = hold(zeros);
    const first = file.append(ones(100));
    await settle();
    expect(appends.writes).toEqual([]);
    release();
    await first;
    expect(zeros.writes).toEqual([{ position: 0, length: MIB }]);
    expect(appends.writes).toEqual([{ position: 0, length: 100 }]);
  });

  it('is made anew while appends that fit in go on, and the first that does not waits for it', async () => {
    await file.append(ones(100));
    const release = hold(zeros);
    await file.append(ones(MIB / 2));
    await file.append(ones(MIB / 4));
    const late = file.append(ones(MIB / 2));
    await settle();
    expect(appends.writes.at(-1)).toEqual({ position: 100 + MIB / 2, length: MIB / 4 });
    release();
    await late;
    expect(appends.writes.at(-1)).toEqual({ position: 100 + (3 * MIB) / 4, length: MIB / 2 });
    expect(zeros.writes[1]).toEqual({ position: MIB, length: MIB });
    await file.close();
    expect(disk.bytes.equals(ones(100 + (5 * MIB) / 4))).toBe(true);
  });

  it('never writes over what was appended, however much that was', async () => {
    for (const length of [3 * MIB + 7, 100, MIB - 1, MIB, 5]) await file.append(ones(length));
    await file.close();
    expect(disk.bytes.equals(ones(5 * MIB + 111))).toBe(true);
  });

  it('is done without where the disk has no room for it', async () => {
    zeros.fate = () => 'ENOSPC';
    await file.append(ones(100));
    await file.append(ones(200));
    await file.close();
    expect(disk.bytes.equals(ones(300))).toBe(true);
    expect(zeros.writes).toHaveLength(1);
  });
});

describe('a write that fails', () => {
  it('is the last one: the file is neither appended to again nor cut', async () => {
    await file.append(ones(100));
    appends.fate = () => 'EIO';
    await expect(file.append(ones(50))).rejects.toMatchObject({ name: 'StorageError', reason: 'failed' });
    appends.fate = () => undefined;
    const before = appends.writes.length;
    await expect(file.append(ones(50))).rejects.toMatchObject({ reason: 'failed' });
    await file.close();
    expect(appends.writes).toHaveLength(before);
    expect(disk.bytes).toHaveLength(MIB);
    expect([appends.isOpen, zeros.isOpen]).toEqual([false, false]);
  });

  // Linux tells of a page that did not get to the disk once for each open file: the appends have one of their own.
  it.each(['EIO', 'ENOSPC', 'EDQUOT'])(
    'or a sync that fails, of the reserve (%s), is told by the next append',
    async (code) => {
      await file.append(ones(100));
      zeros.syncFate = () => code;
      await file.append(ones(MIB / 2));
      await settle();
      await expect(file.append(ones(1))).rejects.toMatchObject({ message: `segment: ${code}` });
      await file.close();
      expect(disk.bytes.length).toBe(2 * MIB);
      expect([appends.isOpen, zeros.isOpen]).toEqual([false, false]);
    },
  );

  it('by half, is gone on with; the next write says why', async () => {
    appends.fate = ({ length }) => (length === 100 ? 60 : undefined);
    await file.append(ones(100));
    await file.close();
    expect(appends.writes).toEqual([
      { position: 0, length: 100 },
      { position: 60, length: 40 },
    ]);
    expect(disk.bytes.equals(ones(100))).toBe(true);
  });
});

it('that is closed while a write is under way is not cut', async () => {
  await file.append(ones(100));
  const release = hold(appends);
  const late = file.append(ones(50));
  await file.close();
  release();
  await late;
  expect(disk.bytes.subarray(0, 150).equals(ones(150))).toBe(true);
});
