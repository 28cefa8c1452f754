import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseTreeHead } from '../audit/tlog/checkpoint.ts';
import { TlogError } from '../audit/tlog/hash.ts';
import { parseNote } from '../audit/tlog/note.ts';
import { bundlePrefix, splitBundle, TILE_WIDTH, tilePath } from '../audit/tlog/tile.ts';
import type { ReadPublished } from '../audit/tlog/verify-log.ts';
import { LastmileError } from '../client/errors.ts';
import type { OperatorClient } from '../client/operator-client.ts';
import { type CliContext, CliError, EXIT } from './context.ts';

/** A log to read from its beginning to its end: of a broker, or a directory. */
export interface ReadableEntries {
  readonly read: ReadPublished;
  /** Published entries. */
  treeSize(): Promise<number>;
}

/** What the broker does not have, it calls an invalid request. */
export function publishedBy(client: OperatorClient): ReadableEntries {
  return {
    read: async (path) => {
      try {
        return (await client.audit('ReadTile', { path })).content;
      } catch (error) {
        if (error instanceof LastmileError && error.reason === 'REQUEST_INVALID') return undefined;
        throw error;
      }
    },
    // Signed anew, so that everything until now is published.
    treeSize: async () => sizeOf((await client.audit('GetCheckpoint', { fresh: true })).checkpoint),
  };
}

/** A copy of the log, or the directory of a broker. Nothing of it is verified: `audit verify` does that. */
export function publishedIn(context: CliContext, directory: string): ReadableEntries {
  const root = resolve(context.cwd, directory);
  const read: ReadPublished = async (path) => {
    try {
      return await readFile(join(root, path));
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'ENOENT') return undefined;
      throw new CliError(EXIT.usage, `cannot read ${join(directory, path)}: ${code}`, { cause });
    }
  };
  return {
    read,
    treeSize: async () => {
      const head = await read('treehead');
      if (head !== undefined) return parseTreeHead(Buffer.from(head).toString()).treeSize;
      const checkpoint = await read('checkpoint');
      if (checkpoint === undefined)
        throw new CliError(EXIT.usage, `${directory} is not the directory of a log`);
      return sizeOf(Buffer.from(checkpoint).toString());
    },
  };
}

function sizeOf(checkpoint: string): number {
  return parseTreeHead(parseNote(checkpoint).text).treeSize;
}

/** Entry bundles asked for before they are needed. */
const AHEAD = 4;
const ATTEMPTS = 3;

/**
 * The published entries from `since` on, parsed, oldest first. A few bundles of 256 entries are held at a time,
 * whatever the size of the log.
 *
 * @param since RFC 3339, UTC. Clocks go back now and then: the first bundle is found by halving and every entry is
 * compared, so that entries of such a moment may be missing, and none is too old.
 */
export async function* entriesSince(log: ReadableEntries, since: string): AsyncGenerator<unknown> {
  try {
    yield* readSince(log, since);
  } catch (error) {
    if (!(error instanceof TlogError)) throw error;
    throw new CliError(EXIT.unverified, `the log: ${error.message}`, { cause: error });
  }
}

async function* readSince(log: ReadableEntries, since: string): AsyncGenerator<unknown> {
  const { treeSize, last } = await newest(log);
  if (treeSize === 0) return;
  const bundles = Math.ceil(treeSize / TILE_WIDTH);
  const bundle = (index: number): Promise<readonly unknown[]> =>
    index === bundles - 1 ? Promise.resolve(last) : readBundle(log.read, index, TILE_WIDTH);
  const reading: Promise<readonly unknown[]>[] = [];
  let next = await firstBundle(bundle, bundles, since);
  try {
    while (next < bundles || reading.length > 0) {
      while (next < bundles && reading.length < AHEAD) reading.push(bundle(next++));
      for (const entry of await reading.shift()!) if (timeOf(entry) >= since) yield entry;
    }
  } finally {
    // Whoever stops early does not want to hear of what was asked for ahead.
    await Promise.allSettled(reading);
  }
}

/** The unfinished bundle goes when a wider one comes: it is read at once, and again if it has gone. */
async function newest(
  log: ReadableEntries,
): Promise<{ readonly treeSize: number; readonly last: readonly unknown[] }> {
  for (let attempt = 1; ; attempt++) {
    const treeSize = await log.treeSize();
    if (treeSize === 0) return { treeSize, last: [] };
    const index = Math.ceil(treeSize / TILE_WIDTH) - 1;
    try {
      return { treeSize, last: await readBundle(log.read, index, treeSize - index * TILE_WIDTH) };
    } catch (error) {
      if (!(error instanceof TlogError) || attempt >= ATTEMPTS) throw error;
    }
  }
}

async function firstBundle(
  bundle: (index: number) => Promise<readonly unknown[]>,
  bundles: number,
  since: string,
): Promise<number> {
  // The last bundle whose first entry is older, so that the wanted entries begin in it or after it.
  let low = 0;
  let high = bundles;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    const [first] = await bundle(middle);
    if (timeOf(first) < since) low = middle;
    else high = middle;
  }
  return low;
}

async function readBundle(read: ReadPublished, index: number, width: number): Promise<readonly unknown[]> {
  const exact = await read(tilePath({ level: 'entries', index, width }));
  const whole =
    exact ??
    (width === TILE_WIDTH ? undefined : await read(tilePath({ level: 'entries', index, width: TILE_WIDTH })));
  if (whole === undefined) throw new TlogError(`entry bundle ${index} is missing`);
  return splitBundle(exact ?? bundlePrefix(whole, width)).map((bytes, i) => {
    try {
      return JSON.parse(Buffer.from(bytes).toString()) as unknown;
    } catch (cause) {
      throw new CliError(EXIT.unverified, `entry ${index * TILE_WIDTH + i} is not JSON`, { cause });
    }
  });
}

function timeOf(entry: unknown): string {
  const time = (entry as { time?: unknown } | null)?.time;
  return typeof time === 'string' ? time : '';
}
