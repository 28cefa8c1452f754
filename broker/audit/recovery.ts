import { type Batch, type EntryRow, rowOf, type SubjectHead } from './batch.ts';
import { parseEntry } from './entry-format.ts';
import type { LogIndex } from './log-index.ts';
import type { SignedTree } from './options.ts';
import {
  CHECKPOINT,
  INCOMING,
  type Published,
  partialsOf,
  type SignedCheckpoint,
  TREE_HEAD,
} from './publisher.ts';
import { readSegment, SEGMENTS, segmentGeneration } from './segment.ts';
import { readIfPresent, type Storage } from './storage.ts';
import { parseTreeHead, type TreeHead } from './tlog/checkpoint.ts';
import { equalHashes, HASH_BYTES, leafHash, TlogError } from './tlog/hash.ts';
import { parseNote, parseVerifierKey, verifyNote } from './tlog/note.ts';
import { treeRoot } from './tlog/proof.ts';
import { nodesFromTiles, splitBundle, TILE_WIDTH, tilePath, tileWidth } from './tlog/tile.ts';
import { TreeEdge } from './tlog/tree-edge.ts';

/** What is found on disk when the log is opened. */
export interface Recovered {
  readonly published: Published;
  /** Entries that are in segments only, in order. */
  readonly batches: readonly Batch[];
  readonly segments: readonly { readonly path: string; readonly endLeaf: number }[];
  readonly nextGeneration: number;
  /** Bytes at the ends of segments that were never acknowledged. */
  readonly tornBytes: number;
  /** The newest entry of all; undefined in an empty log. */
  readonly lastEntry: Uint8Array | undefined;
}

export interface RecoveryOptions {
  readonly storage: Storage;
  readonly origin: string;
  /** One of them must have signed the last checkpoint. */
  readonly verifierKeys: readonly string[];
  /** What the log must have as its beginning, whatever its files say of themselves. */
  readonly signedTree: SignedTree | undefined;
}

/**
 * Reads the state of the log and holds its parts against each other.
 *
 * @throws TlogError when entries that were acknowledged are missing or changed (`AUDIT_INCONSISTENT`)
 */
export async function recover({
  storage,
  origin,
  verifierKeys,
  signedTree,
}: RecoveryOptions): Promise<Recovered> {
  for (const name of await storage.list(INCOMING)) await storage.remove(`${INCOMING}/${name}`);
  const checkpoint = await readCheckpoint(storage, origin, verifierKeys);
  const headFile = await readIfPresent(storage, TREE_HEAD);
  // A checkpoint is signed only once its tree head is on disk: when that is gone, the checkpoint says as much.
  const head = headFile === undefined ? checkpoint?.head : parseTreeHead(Buffer.from(headFile).toString());
  if (head !== undefined && head.origin !== origin)
    throw new TlogError(`the log in this directory is ${head.origin}`);
  const treeSize = head?.treeSize ?? 0;
  if (checkpoint !== undefined && checkpoint.head.treeSize > treeSize) {
    throw new TlogError(`the log has ${treeSize} entries, its last checkpoint ${checkpoint.head.treeSize}`);
  }
  if (signedTree !== undefined && signedTree.treeSize > treeSize)
    throw new TlogError(`the log has ${treeSize} entries, ${signedTree.treeSize} were signed`);
  const { edge, bundle } = await readEdge(storage, treeSize);
  if (head !== undefined && !equalHashes(edge.root(), head.rootHash))
    throw new TlogError('the tiles are not those of the tree head');
  for (const signed of [checkpoint?.head, signedTree])
    if (signed !== undefined) await checkPrefix(storage, treeSize, edge, signed);

  const tail = await readTail(storage, treeSize);
  const lastPublished =
    splitBundle(bundle).at(-1) ?? (treeSize > 0 ? await lastEntryOf(storage, treeSize) : undefined);
  return {
    published: {
      edge,
      bundle,
      checkpoint: checkpoint && { note: checkpoint.note, treeSize: checkpoint.head.treeSize },
      partials: await leftoverPartials(storage, treeSize, checkpoint?.head.treeSize ?? 0),
    },
    batches: tail.batches,
    segments: tail.segments,
    nextGeneration: tail.nextGeneration,
    tornBytes: tail.tornBytes,
    lastEntry: tail.lastEntry ?? lastPublished,
  };
}

async function readCheckpoint(
  storage: Storage,
  origin: string,
  verifierKeys: readonly string[],
): Promise<(Pick<SignedCheckpoint, 'note'> & { readonly head: TreeHead }) | undefined> {
  const bytes = await readIfPresent(storage, CHECKPOINT);
  if (bytes === undefined) return undefined;
  const text = Buffer.from(bytes).toString();
  const note = parseNote(text);
  const head = parseTreeHead(note.text);
  if (head.origin !== origin) throw new TlogError(`the checkpoint in this directory is of ${head.origin}`);
  // A stranger's signature is none: the history below would be signed again, by the log's own key.
  try {
    verifyNote(note, verifierKeys.map(parseVerifierKey));
  } catch (cause) {
    if (!(cause instanceof TlogError)) throw cause;
    throw new TlogError(`the last checkpoint is not signed by a key of this log: ${cause.message}`, {
      cause,
    });
  }
  return { note: text, head };
}

async function readTileOf(
  storage: Storage,
  treeSize: number,
  level: number | 'entries',
  index: number,
): Promise<Uint8Array> {
  const width = tileWidth(treeSize, level === 'entries' ? 0 : level, index);
  const path = tilePath({ level, index, width });
  const bytes = await readIfPresent(storage, path);
  if (bytes === undefined) throw new TlogError(`${path} is missing`);
  return bytes;
}

async function readEdge(storage: Storage, treeSize: number): Promise<{ edge: TreeEdge; bundle: Uint8Array }> {
  const tiles: Uint8Array[] = [];
  for (let level = 0; treeSize >= TILE_WIDTH ** level; level++) {
    const nodes = Math.floor(treeSize / TILE_WIDTH ** level);
    if (nodes % TILE_WIDTH > 0)
      tiles[level] = await readTileOf(storage, treeSize, level, Math.floor(nodes / TILE_WIDTH));
  }
  const edge = TreeEdge.from(treeSize, tiles);
  if (treeSize % TILE_WIDTH === 0) return { edge, bundle: new Uint8Array(0) };
  const bundle = await readTileOf(storage, treeSize, 'entries', Math.floor(treeSize / TILE_WIDTH));
  const entries = splitBundle(bundle);
  const leaves = tiles[0]!;
  if (entries.length * HASH_BYTES !== leaves.length)
    throw new TlogError('the last entry bundle is not as wide as its tile');
  for (const [i, entry] of entries.entries()) {
    if (!equalHashes(leafHash(entry), leaves.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES))) {
      throw new TlogError(`entry ${treeSize - entries.length + i} is not the one that was logged`);
    }
  }
  return { edge, bundle };
}

async function checkPrefix(
  storage: Storage,
  treeSize: number,
  edge: TreeEdge,
  signed: SignedTree,
): Promise<void> {
  const read = nodesFromTiles(
    async (level, index) =>
      edge.unfinishedTile(level, index) ?? (await readTileOf(storage, treeSize, level, index)),
  );
  const root = await treeRoot(signed.treeSize, read);
  if (!equalHashes(root, signed.rootHash))
    throw new TlogError('the log does not begin with what its last checkpoint signed');
}

async function lastEntryOf(storage: Storage, treeSize: number): Promise<Uint8Array | undefined> {
  return splitBundle(await readTileOf(storage, treeSize, 'entries', Math.ceil(treeSize / TILE_WIDTH) - 1)).at(
    -1,
  );
}

async function leftoverPartials(storage: Storage, ...treeSizes: number[]): Promise<string[]> {
  const found = new Set<string>();
  for (const path of treeSizes.flatMap((size) => [...partialsOf(size)])) {
    const directory = path.slice(0, path.lastIndexOf('/'));
    for (const name of await storage.list(directory)) found.add(`${directory}/${name}`);
  }
  return [...found];
}

type Tail = Pick<Recovered, 'batches' | 'segments' | 'nextGeneration' | 'tornBytes' | 'lastEntry'>;

async function readTail(storage: Storage, treeSize: number): Promise<Tail> {
  const names = (await storage.list(SEGMENTS))
    .map((name) => ({ path: `${SEGMENTS}/${name}`, generation: segmentGeneration(name) }))
    .filter((segment): segment is { path: string; generation: number } => segment.generation !== undefined)
    .sort((a, b) => a.generation - b.generation);
  const entries: Uint8Array[] = [];
  const batches: Batch[] = [];
  let tornBytes = 0;
  for (const { path } of names) {
    const segment = readSegment(await storage.read(path));
    tornBytes += segment.tornBytes;
    for (const { firstLeaf, entries: found } of segment.batches) {
      const next = treeSize + entries.length;
      if (firstLeaf > next) throw new TlogError(`entries ${next} to ${firstLeaf - 1} are missing`);
      const known = entries.slice(
        Math.max(0, firstLeaf - treeSize),
        Math.max(0, firstLeaf - treeSize) + found.length,
      );
      const skip = Math.max(0, treeSize - firstLeaf);
      // A batch that was written twice, after a failure, is the same both times.
      for (const [i, entry] of known.entries()) {
        const again = found[i + skip];
        if (again !== undefined && !equalHashes(again, entry))
          throw new TlogError(`${path} disagrees with an earlier segment`);
      }
      const fresh = found.slice(next - firstLeaf);
      if (fresh.length === 0) continue;
      entries.push(...fresh);
      batches.push(batchOf(next, fresh));
    }
  }
  const endLeaf = treeSize + entries.length;
  return {
    batches,
    segments: names.map(({ path }) => ({ path, endLeaf })),
    nextGeneration: (names.at(-1)?.generation ?? 0) + 1,
    tornBytes,
    lastEntry: entries.at(-1),
  };
}

function batchOf(firstLeaf: number, entries: readonly Uint8Array[]): Batch {
  const rows = entries.map((bytes, i): EntryRow => rowAt(firstLeaf + i, bytes));
  const parts = entries.flatMap((bytes) => [Uint8Array.of(bytes.length >> 8, bytes.length & 255), bytes]);
  return { firstLeaf, body: Buffer.concat(parts), rows, waiters: [] };
}

function rowAt(leaf: number, bytes: Uint8Array): EntryRow {
  const entry = parseEntry(bytes);
  if (entry.leaf !== leaf) throw new TlogError(`entry ${leaf} says that it is entry ${entry.leaf}`);
  return rowOf(entry, Buffer.from(leafHash(bytes)).toString('base64url'));
}

/**
 * Brings the index up to what is published, and returns every subject's head as of the last recovered entry.
 *
 * @throws TlogError when the index knows of entries that the log has not, or has otherwise: they were acknowledged
 */
export async function catchUp(
  index: LogIndex,
  { published, batches }: Recovered,
  storage: Storage,
): Promise<Map<string, SubjectHead>> {
  const { edge } = published;
  const end = batches.reduce((sum, { rows }) => sum + rows.length, edge.size);
  if (index.size > end) throw new TlogError(`the log has ${end} entries, its index ${index.size}`);
  const logged = index.size === 0 ? undefined : await leafHashAt(index.size - 1, { edge, batches, storage });
  // An index that was deleted is built again. One that knows another entry has seen what was logged there before.
  if (logged !== undefined && logged !== index.lastHash)
    throw new TlogError(`entry ${index.size - 1} is not the one that its index knows`);
  if (index.size > edge.size) index.clear();
  while (index.size < edge.size) {
    const bundle = Math.floor(index.size / TILE_WIDTH);
    const bytes = await readTileOf(storage, edge.size, 'entries', bundle);
    const rows = splitBundle(bytes).map((entry, i) => rowAt(bundle * TILE_WIDTH + i, entry));
    const expected = tileWidth(edge.size, 0, bundle);
    if (rows.length !== expected)
      throw new TlogError(`entry bundle ${bundle} has ${rows.length} entries instead of ${expected}`);
    index.add(rows.slice(index.size - bundle * TILE_WIDTH));
  }
  const heads = index.heads();
  for (const { rows } of batches)
    for (const { subject, seq, hash } of rows) heads.set(subject, { seq, prev: hash });
  return heads;
}

/** Leaf hash of an entry, base64url, wherever it is by now: in a tile, or in a segment only. */
async function leafHashAt(
  leaf: number,
  {
    edge,
    batches,
    storage,
  }: { readonly edge: TreeEdge; readonly batches: readonly Batch[]; readonly storage: Storage },
): Promise<string> {
  if (leaf >= edge.size) {
    const batch = batches.findLast(({ firstLeaf }) => firstLeaf <= leaf);
    return batch!.rows[leaf - batch!.firstLeaf]!.hash;
  }
  const tileIndex = Math.floor(leaf / TILE_WIDTH);
  const tile = edge.unfinishedTile(0, tileIndex) ?? (await readTileOf(storage, edge.size, 0, tileIndex));
  const at = (leaf % TILE_WIDTH) * HASH_BYTES;
  return Buffer.from(tile.subarray(at, at + HASH_BYTES)).toString('base64url');
}
