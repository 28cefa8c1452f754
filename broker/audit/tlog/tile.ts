import { combine, HASH_BYTES, isCount, TlogError } from './hash.ts';

/** Hashes in a full tile, entries in a full entry bundle (c2sp.org/tlog-tiles, height 8). */
export const TILE_WIDTH = 256;
export const MAX_ENTRY_BYTES = 65_535;

/** `level` 0 holds leaf hashes; `entries` is not a level of hashes but the entries themselves. */
export interface TileName {
  readonly level: number | 'entries';
  readonly index: number;
  /** 1 to 256; below 256 the tile is partial. */
  readonly width: number;
}

/** `tile/0/x001/x234/067`, `tile/entries/000.p/12`. */
export function tilePath(name: TileName): string {
  if (!isCount(name.index)) throw new TlogError('tile index out of range');
  if (!Number.isInteger(name.width) || name.width < 1 || name.width > TILE_WIDTH)
    throw new TlogError('tile width out of range');
  let rest = name.index;
  let path = String(rest % 1000).padStart(3, '0');
  while (rest >= 1000) {
    rest = Math.floor(rest / 1000);
    path = `x${String(rest % 1000).padStart(3, '0')}/${path}`;
  }
  return `tile/${name.level}/${path}${name.width === TILE_WIDTH ? '' : `.p/${name.width}`}`;
}

/** The inverse of tilePath: undefined for anything that tilePath would not have written. */
export function parseTilePath(path: string): TileName | undefined {
  const match =
    /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/.exec(path);
  if (match === null) return undefined;
  const [, level, index, width] = match;
  const name: TileName = {
    level: level === 'entries' ? 'entries' : Number(level),
    index: Number(index!.replaceAll('x', '').replaceAll('/', '')),
    width: width === undefined ? TILE_WIDTH : Number(width),
  };
  if (!isCount(name.index) || name.width > TILE_WIDTH || (typeof name.level === 'number' && name.level > 63))
    return undefined;
  return tilePath(name) === path ? name : undefined;
}

/** Width of tile `index` of `level` in a tree of `treeSize` leaves; 0: the tree has no such tile. */
export function tileWidth(treeSize: number, level: number, index: number): number {
  const nodes = Math.floor(treeSize / TILE_WIDTH ** level);
  return Math.max(0, Math.min(TILE_WIDTH, nodes - index * TILE_WIDTH));
}

/** Every tile of hashes and every entry bundle of a tree, lowest first. */
export function* tilesOf(treeSize: number): Generator<TileName> {
  for (const level of ['entries', 0, 1, 2, 3, 4, 5, 6] as const) {
    const height = level === 'entries' ? 0 : level;
    let width = tileWidth(treeSize, height, 0);
    for (let index = 0; width > 0; width = tileWidth(treeSize, height, ++index))
      yield { level, index, width };
  }
}

/** The hashes of a tile's bytes, without a copy. @throws TlogError when there are fewer than `width` */
export function splitTile(bytes: Uint8Array, width: number): Uint8Array[] {
  if (bytes.length % HASH_BYTES !== 0 || bytes.length < width * HASH_BYTES)
    throw new TlogError(`tile has ${bytes.length} bytes`);
  const hashes: Uint8Array[] = [];
  for (let i = 0; i < width; i++) hashes.push(bytes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
  return hashes;
}

/** The entries of an entry bundle: each preceded by its length (uint16, big-endian). */
export function splitBundle(bytes: Uint8Array): Uint8Array[] {
  const entries: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (at + 2 > bytes.length) throw new TlogError('entry bundle ends within a length');
    const end = at + 2 + bytes[at]! * 256 + bytes[at + 1]!;
    if (end > bytes.length) throw new TlogError('entry bundle ends within an entry');
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  if (entries.length > TILE_WIDTH) throw new TlogError('entry bundle has more than 256 entries');
  return entries;
}

/** Where each of the first `count` entries of a bundle ends: a narrower bundle is a prefix of a wider one. */
export function bundlePrefix(bytes: Uint8Array, count: number): Uint8Array {
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 2 > bytes.length) throw new TlogError('entry bundle is too short');
    at += 2 + bytes[at]! * 256 + bytes[at + 1]!;
  }
  if (at > bytes.length) throw new TlogError('entry bundle is too short');
  return bytes.subarray(0, at);
}

/** Reads the hashes of tile `index` of `level`: at least those that the tree in question has. */
export type ReadTile = (level: number, index: number) => Promise<Uint8Array>;

/** Reads the hash of the full subtree of 2^level leaves that is `index`-th of its level. */
export type ReadNode = (level: number, index: number) => Promise<Uint8Array>;

/** Nodes out of tiles. Tiles once read are kept: make one for each proof, not one for good. */
export function nodesFromTiles(readTile: ReadTile): ReadNode {
  const tiles = new Map<string, Promise<Uint8Array>>();
  return async (level, index) => {
    const tileLevel = Math.floor(level / 8);
    const span = 2 ** (level - tileLevel * 8);
    const first = index * span;
    const tileIndex = Math.floor(first / TILE_WIDTH);
    const key = `${tileLevel}/${tileIndex}`;
    const tile = tiles.get(key) ?? readTile(tileLevel, tileIndex);
    tiles.set(key, tile);
    const offset = first - tileIndex * TILE_WIDTH;
    return combine(splitTile(await tile, offset + span).slice(offset));
  };
}
