import { combine, EMPTY_ROOT, HASH_BYTES, TlogError } from './hash.ts';
import { TILE_WIDTH, tileWidth } from './tile.ts';

export interface HashTile {
  readonly level: number;
  readonly index: number;
  readonly width: number;
  readonly bytes: Uint8Array;
}

/**
 * The right edge of a tree: of every level the tile that is not full yet. Enough to go on appending and to
 * know the root, without the rest of the tree.
 */
export class TreeEdge {
  #size = 0;
  /** Of each level, the hashes of its unfinished tile; capacity 256 hashes. */
  readonly #levels: Uint8Array[] = [];
  readonly #widths: number[] = [];

  get size(): number {
    return this.#size;
  }

  /** The edge of a tree of `size` leaves; `tiles[level]` has the bytes of that level's unfinished tile. */
  static from(size: number, tiles: readonly (Uint8Array | undefined)[]): TreeEdge {
    const edge = new TreeEdge();
    edge.#size = size;
    for (let level = 0; size >= TILE_WIDTH ** level; level++) {
      const width = Math.floor(size / TILE_WIDTH ** level) % TILE_WIDTH;
      const bytes = new Uint8Array(TILE_WIDTH * HASH_BYTES);
      if (width > 0) {
        const tile = tiles[level];
        if (tile === undefined || tile.length < width * HASH_BYTES)
          throw new TlogError(`level ${level} of the edge is missing`);
        bytes.set(tile.subarray(0, width * HASH_BYTES));
      }
      edge.#levels.push(bytes);
      edge.#widths.push(width);
    }
    return edge;
  }

  clone(): TreeEdge {
    return TreeEdge.from(this.#size, this.#levels);
  }

  /** Appends a leaf hash and hands every tile that became full to `onFullTile`. */
  append(leaf: Uint8Array, onFullTile: (tile: HashTile) => void): void {
    this.#size++;
    this.#push(0, leaf, onFullTile);
  }

  #push(level: number, hash: Uint8Array, onFullTile: (tile: HashTile) => void): void {
    if (level === this.#levels.length) {
      this.#levels.push(new Uint8Array(TILE_WIDTH * HASH_BYTES));
      this.#widths.push(0);
    }
    const bytes = this.#levels[level]!;
    const width = this.#widths[level]!;
    bytes.set(hash, width * HASH_BYTES);
    if (width + 1 < TILE_WIDTH) {
      this.#widths[level] = width + 1;
      return;
    }
    this.#widths[level] = 0;
    const index = Math.floor(this.#size / TILE_WIDTH ** (level + 1)) - 1;
    onFullTile({ level, index, width: TILE_WIDTH, bytes: bytes.slice() });
    this.#push(level + 1, combine(hashesIn(bytes, TILE_WIDTH)), onFullTile);
  }

  /** The unfinished tiles, as they are published for this tree size. */
  partialTiles(): HashTile[] {
    const tiles: HashTile[] = [];
    for (const [level, width] of this.#widths.entries()) {
      if (width === 0) continue;
      const index = Math.floor(this.#size / TILE_WIDTH ** (level + 1));
      tiles.push({ level, index, width, bytes: this.#levels[level]!.slice(0, width * HASH_BYTES) });
    }
    return tiles;
  }

  /** Bytes of that tile if it is the unfinished one of its level. */
  unfinishedTile(level: number, index: number): Uint8Array | undefined {
    const width = this.#widths[level];
    if (width === undefined || tileWidth(this.#size, level, index) !== width || width === 0) return undefined;
    return this.#levels[level]!.slice(0, width * HASH_BYTES);
  }

  root(): Uint8Array {
    let root: Uint8Array | undefined;
    for (const [level, width] of this.#widths.entries()) {
      const hashes = hashesIn(this.#levels[level]!, width);
      if (root !== undefined) hashes.push(root);
      if (hashes.length > 0) root = combine(hashes);
    }
    return root === undefined ? EMPTY_ROOT : root.slice();
  }
}

function hashesIn(bytes: Uint8Array, count: number): Uint8Array[] {
  const hashes: Uint8Array[] = [];
  for (let i = 0; i < count; i++) hashes.push(bytes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
  return hashes;
}
