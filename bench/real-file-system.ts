import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { percentile } from './statistics.ts';

/** statfs(2): file systems in memory, on which fsync costs nothing and means nothing. */
const IN_MEMORY: ReadonlySet<number> = new Set([0x01021994 /* tmpfs */, 0x858458f6 /* ramfs */]);

/** The first of the usual places that is on a disk. @throws Error when none is */
export function realFileSystem(): string {
  const places = [tmpdir(), '/var/tmp', process.cwd()];
  const found = places.find((place) => !IN_MEMORY.has(statfsSync(place).type));
  if (found === undefined)
    throw new Error(`all in memory: ${places.join(', ')}; set TMPDIR to a directory on a disk`);
  return found;
}

const WRITES = 200;

/** The median time of a small append and its fdatasync's stronger sister, in milliseconds: what one group commit waits for. */
export function fsyncMs(place: string): number {
  const directory = mkdtempSync(join(place, 'lastmile-fsync-'));
  try {
    const file = openSync(join(directory, 'log'), 'a');
    const block = Buffer.alloc(4096, 1);
    const times = Float64Array.from({ length: WRITES }, () => {
      const begun = performance.now();
      writeSync(file, block);
      fsyncSync(file);
      return performance.now() - begun;
    });
    closeSync(file);
    return percentile(times.sort(), 0.5);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
