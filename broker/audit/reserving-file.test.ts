import { beforeEach, describe, expect, it } from 'vitest';
import { type Handle, ReservingFile } from './reserving-file.ts';

/** A file in memory whose writes can be held back, shortened or refused. */
class FakeHandle implements Handle {
  bytes = Buffer.alloc(0);
  readonly writes: { readonly position: number; readonly length: number }[] = [];
  isOpen = true;
  /** What becomes of a write: a system error's code, or how many of its bytes are written. */
  fate: (write: { position: number; length: number }) => string | number | undefined = () => undefined;
  held: Promise<void> | undefined;

  async write(
    bytes: Uint8Array,
    offset: number,
    length: number,
    position: number | null,
  ): Promise<{ bytesWritten: number }> {
    const write = { position: position!, length };
    this.writes.push(write);
    const fate = this.fate(write);
    if (isZeros(bytes)) await this.held;
    if (typeof fate === 'string') throw Object.assign(new Error(fate), { code: fate });
    const bytesWritten = fate ?? length;
    const end = write.position + bytesWritten;
    if (end > this.bytes.length)
      this.bytes = Buffer.concat([this.bytes, Buffer.alloc(end - this.bytes.length)]);
    this.bytes.set(bytes.subarray(offset, offset + bytesWritten), write.position);
    return { bytesWritten };
  }

  async truncate(length: number): Promise<void> {
    this.bytes = this.bytes.subarray(0, length);
  }

  async close(): Promise<void> {
    this.isOpen = false;
  }
}

const isZeros = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);
const ones = (length: number): Buffer => Buffer.alloc(length, 1);
const MIB = 1 << 20;

let handle: FakeHandle;
let file: ReservingFile;
beforeEach(() => {
  handle = new FakeHandle();
  file = new ReservingFile(handle, 'segment');
});

describe('the reserve', () => {
  it('is on disk before the first append', async () => {
    await file.append(ones(100));
    expect(handle.writes).toEqual([
      { position: 0, length: MIB },
      { position: 0, length: 100 },
    ]);
  });

  it('is made anew while appends that fit in go on, and the first that does not waits for it', async () => {
    await file.append(ones(100));
    let release = (): void => undefined;
    handle.held = new Promise((resolve) => {
      release = resolve;
    });
    await file.append(ones(MIB / 2));
    await file.append(ones(MIB / 4));
    const late = file.append(ones(MIB / 2));
    expect(handle.writes.at(-1)).toEqual({ position: 100 + MIB / 2, length: MIB / 4 });
    release();
    await late;
    expect(handle.writes.slice(2)).toEqual([
      { position: 100, length: MIB / 2 },
      { position: MIB, length: MIB },
      { position: 100 + MIB / 2, length: MIB / 4 },
      { position: 100 + (3 * MIB) / 4, length: MIB / 2 },
    ]);
    await file.close();
    expect(handle.bytes.equals(ones(100 + (5 * MIB) / 4))).toBe(true);
  });

  it('never writes over what was appended, however much that was', async () => {
    for (const length of [3 * MIB + 7, 100, MIB - 1, MIB, 5]) await file.append(ones(length));
    await file.close();
    expect(handle.bytes.equals(ones(5 * MIB + 111))).toBe(true);
  });

  it('is done without where the disk has no room for it', async () => {
    handle.fate = ({ length }) => (length === MIB ? 'ENOSPC' : undefined);
    await file.append(ones(100));
    await file.append(ones(200));
    await file.close();
    expect(handle.bytes.equals(ones(300))).toBe(true);
    expect(handle.writes.filter(({ length }) => length === MIB)).toHaveLength(1);
  });
});

describe('a write that fails', () => {
  it('is the last one: the file is neither appended to again nor cut', async () => {
    await file.append(ones(100));
    handle.fate = () => 'EIO';
    await expect(file.append(ones(50))).rejects.toMatchObject({ name: 'StorageError', reason: 'failed' });
    handle.fate = () => undefined;
    const before = handle.writes.length;
    await expect(file.append(ones(50))).rejects.toMatchObject({ reason: 'failed' });
    await file.close();
    expect(handle.writes).toHaveLength(before);
    expect(handle.bytes).toHaveLength(MIB);
    expect(handle.isOpen).toBe(false);
  });

  it('of the reserve, is told by the next append', async () => {
    handle.fate = ({ position }) => (position === MIB ? 'EIO' : undefined);
    await file.append(ones(MIB - 10));
    // The write that fails beside it has had its turn by then.
    await new Promise((resolve) => setImmediate(resolve));
    await expect(file.append(ones(1))).rejects.toMatchObject({ reason: 'failed', message: 'segment: EIO' });
    await file.close();
    expect(handle.isOpen).toBe(false);
  });

  it('by half, is gone on with; the next write says why', async () => {
    handle.fate = ({ position, length }) => (position === 0 && length === 100 ? 60 : undefined);
    await file.append(ones(100));
    await file.close();
    expect(handle.bytes.equals(ones(100))).toBe(true);
  });
});
