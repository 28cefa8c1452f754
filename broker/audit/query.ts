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

export interface EntryPage {
  readonly entries: readonly LoggedEntry[];
  /** `before` of the page after this one; undefined when the log was looked through to its beginning. */
  readonly continueBefore: number | undefined;
}

/** Durable entries, newest first. Looks into `maxBundles` bundles and no more: the rest is another page. */
export async function queryEntries(
  publisher: Publisher,
  index: LogIndex,
  filter: EntryFilter,
  signal?: AbortSignal,
  maxBundles: number = Number.POSITIVE_INFINITY,
): Promise<EntryPage> {
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
  let left = maxBundles;
  let next = lastLeaf + 1;
  for await (const bundle of candidates(index, filter, lastLeaf)) {
    if (found.length >= limit || left === 0) {
      const continueBefore = found.length >= limit ? found.at(-1)!.leafIndex : next;
      return { entries: found, continueBefore: continueBefore === 0 ? undefined : continueBefore };
    }
    signal?.throwIfAborted();
    take(bundle * TILE_WIDTH, await publisher.readEntries(bundle));
    left -= 1;
    next = bundle * TILE_WIDTH;
  }
  const isCut = found.length >= limit && found.at(-1)!.leafIndex > 0;
  return { entries: found, continueBefore: isCut ? found.at(-1)!.leafIndex : undefined };
}

/** Durable entries from a leaf index on, oldest first, up to those that were durable when it was called. */
export async function* readEntriesFrom(publisher: Publisher, fromLeaf: number): AsyncGenerator<LoggedEntry> {
  const tail = publisher.unpublishedEntries();
  for (let leaf = fromLeaf; leaf < tail.firstLeaf; ) {
    const bundle = Math.floor(leaf / TILE_WIDTH);
    const entries = await publisher.readEntries(bundle);
    for (; leaf < Math.min(tail.firstLeaf, bundle * TILE_WIDTH + entries.length); leaf++) {
      const bytes = entries[leaf % TILE_WIDTH]!;
      yield { leafIndex: leaf, bytes, entry: parseEntry(bytes) };
    }
    if (leaf < tail.firstLeaf && leaf < (bundle + 1) * TILE_WIDTH)
      throw new Error(`entry ${leaf} is missing from its bundle`);
  }
  for (const [i, bytes] of tail.entries.entries()) {
    const leafIndex = tail.firstLeaf + i;
    if (leafIndex >= fromLeaf) yield { leafIndex, bytes, entry: parseEntry(bytes) };
  }
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
