import { execFileSync } from 'node:child_process';
import { constants } from 'node:fs';
import { mkdtemp, readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { canMount } from '../../test/fakes/mounting.ts';
import { FileStorage } from './file-storage.ts';

let directory: string;
let storage: FileStorage;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lastmile-storage-'));
  storage = new FileStorage(directory);
});
afterEach(() => rm(directory, { recursive: true }));

/** The flags with which this process has the file open, as proc(5) tells them. */
async function openFlags(name: string): Promise<number> {
  for (const fd of await readdir('/proc/self/fd')) {
    // One of them is the listing itself, closed by now.
    const target = await readlink(`/proc/self/fd/${fd}`).catch((error: NodeJS.ErrnoException) => error.code);
    if (target !== join(directory, name)) continue;
    const info = await readFile(`/proc/self/fdinfo/${fd}`, 'utf8');
    return Number.parseInt(/^flags:\s+(\d+)$/m.exec(info)![1]!, 8);
  }
  throw new Error(`${name} is not open`);
}

describe.each(['create', 'createDurable'] as const)('%s', (how) => {
  it('makes a file for its owner alone, and appends to it', async () => {
    const file = await storage[how]('one');
    await file.append(Buffer.from('first '));
    await file.append(Buffer.from('second'));
    await file.close();
    expect(Buffer.from(await storage.read('one')).toString()).toBe('first second');
    expect((await stat(join(directory, 'one'))).mode & 0o777).toBe(0o600);
  });

  it('rejects a name that is taken', async () => {
    await (await storage[how]('one')).close();
    await expect(storage[how]('one')).rejects.toMatchObject({ reason: 'exists' });
  });
});

describe.runIf(process.platform === 'linux')('a durable file', () => {
  it('is written through to the disk, and another one is not', async () => {
    const files = [await storage.createDurable('durable'), await storage.create('buffered')];
    expect((await openFlags('durable')) & constants.O_DSYNC).toBe(constants.O_DSYNC);
    expect((await openFlags('buffered')) & constants.O_DSYNC).toBe(0);
    for (const file of files) await file.close();
  });

  it('has zero bytes behind its end until it is closed, and then not', async () => {
    const file = await storage.createDurable('one');
    await file.append(Buffer.from('first '));
    const { size, blocks } = await stat(join(directory, 'one'));
    expect(size).toBeGreaterThan(100_000);
    // Zeros that are really there: a hole would be filled when it is written to.
    expect(blocks * 512).toBeGreaterThanOrEqual(size);
    await file.append(Buffer.from('second'));
    const read = Buffer.from(await storage.read('one'));
    expect(read.subarray(0, 12).toString()).toBe('first second');
    expect(read.subarray(12).every((byte) => byte === 0)).toBe(true);
    await file.close();
    expect((await stat(join(directory, 'one'))).size).toBe(12);
  });

  it('takes more than there is room for at once, again and again', async () => {
    const file = await storage.createDurable('one');
    const written: Buffer[] = [];
    for (const [i, bytes] of [10, 3_000_000, 500_000, 700_000, 1, 1 << 20].entries()) {
      written.push(Buffer.alloc(bytes, i + 1));
      await file.append(written[i]!);
      const so = Buffer.concat(written);
      const read = Buffer.from(await storage.read('one'));
      expect(read.subarray(0, so.length).equals(so)).toBe(true);
      expect(read.subarray(so.length).every((byte) => byte === 0)).toBe(true);
    }
    await file.close();
    expect(Buffer.concat(written).equals(Buffer.from(await storage.read('one')))).toBe(true);
  });
});

describe.runIf(process.platform === 'linux')('a durable file on a disk with little room', () => {
  it.skipIf(!canMount())(
    'goes on without a reserve, to the last byte (needs the right to mount)',
    async () => {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=0700', 'lastmile-test', directory]);
      try {
        const file = await storage.createDurable('one');
        await file.append(Buffer.from('first '));
        await file.append(Buffer.alloc(60_000, 1));
        await expect(file.append(Buffer.alloc(10_000, 2))).rejects.toMatchObject({ reason: 'no-space' });
        const read = Buffer.from(await storage.read('one'));
        expect(
          read.subarray(0, 60_006).equals(Buffer.concat([Buffer.from('first '), Buffer.alloc(60_000, 1)])),
        ).toBe(true);
        // What came of a failed append stays: whoever reads the file decides.
        await file.close();
        expect((await stat(join(directory, 'one'))).size).toBeGreaterThan(60_006);
      } finally {
        execFileSync('umount', [directory]);
      }
    },
  );
});
