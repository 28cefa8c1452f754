import { type Entry, parseEntry } from './entry-format.ts';
import type { IndexFilter, LogIndex } from './log-index.ts';
import type { Publisher } from './publisher.ts';
import { TILE_WIDTH } from './tlog/tile.ts';

export interface EntryFilter extends IndexFilter {
  /** 1 to 1000; 50 when left out. */
  readonly limit?: number | undefined;
  /** Only entries before this leaf index. */
  readonly before?: number | undefined;
  /** What the asker may see: others are passed over as if they were not there. */
  readonly isVisible?: ((entry: Entry) => boolean) | undefined;
}

export interface LoggedEntry {
  readonly leafIndex: number;
  /** Exactly as logged. */
  readonly bytes: Uint8Array;
  readonly entry: Entry;
}

export const DEFAULT_LIMIT = 50;
export const MAX_LIMIT = 1000;
const BUNDLES_PER_QUESTION = 64;

/** Durable entries, newest first. */
export async function queryEntries(
  publisher: Publisher,
  index: LogIndex,
  filter: EntryFilter,
  signal?: AbortSignal,
): Promise<LoggedEntry[]> {
  const limit = Math.min(MAX_LIMIT, Math.max(1, filter.limit ?? DEFAULT_LIMIT));
  const before = filter.before ?? Number.POSITIVE_INFINITY;
  const found: LoggedEntry[] = [];
  const take = (firstLeaf: number, entries: readonly Uint8Array[]): void => {
    for (let i = entries.length - 1; i >= 0 && found.length < limit; i--) {
      const leafIndex = firstLeaf + i;
      // Publishing goes on meanwhile: an entry seen in memory may be met again in its bundle.
      if (leafIndex >= before || (found.length > 0 && leafIndex >= found.at(-1)!.leafIndex)) continue;
      const bytes = entries[i]!;
      const entry = parseEntry(bytes);
      if (matches(entry, filter) && filter.isVisible?.(entry) !== false)
        found.push({ leafIndex, bytes, entry });
    }
  };

  const { firstLeaf, entries } = publisher.unpublishedEntries();
  take(firstLeaf, entries);
  const lastLeaf = Math.min(firstLeaf, before) - 1;
  for await (const bundle of candidates(index, filter, lastLeaf)) {
    if (found.length >= limit) break;
    signal?.throwIfAborted();
    take(bundle * TILE_WIDTH, await publisher.readEntries(bundle));
  }
  return found;
}

/** Bundles to look into, newest first: those that the index does not cover, then those it names. */
async function* candidates(index: LogIndex, filter: IndexFilter, lastLeaf: number): AsyncGenerator<number> {
  let next = Math.floor(lastLeaf / TILE_WIDTH);
  const indexed = Math.floor(index.size / TILE_WIDTH);
  for (; next >= indexed && next >= 0; next--) yield next;
  while (next >= 0) {
    const bundles = index.bundles(filter, next, BUNDLES_PER_QUESTION);
    yield* bundles;
    next = (bundles.at(-1) ?? 0) - 1;
  }
}

function matches(entry: Entry, filter: EntryFilter): boolean {
  return (
    (filter.workload === undefined || entry.subject === filter.workload) &&
    (filter.key === undefined || entry.key === filter.key) &&
    (filter.decision === undefined || entry.decision === filter.decision) &&
    (filter.operation === undefined || entry.operation === filter.operation) &&
    (filter.kind === undefined || entry.kind === filter.kind) &&
    (filter.since === undefined || entry.time >= filter.since) &&
    (filter.until === undefined || entry.time < filter.until)
  );
}
