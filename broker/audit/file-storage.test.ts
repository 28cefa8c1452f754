import { constants } from 'node:fs';
import { mkdtemp, readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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
});
