import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EMPTY_ROOT, leafHash, nodeHash } from '../../broker/audit/tlog/hash.ts';
import {
  consistencyProof,
  inclusionProof,
  treeRoot,
  verifyConsistency,
  verifyInclusion,
} from '../../broker/audit/tlog/proof.ts';
import {
  nodesFromTiles,
  parseTilePath,
  type ReadNode,
  tilePath,
  tilesOf,
  tileWidth,
} from '../../broker/audit/tlog/tile.ts';
import { TreeEdge } from '../../broker/audit/tlog/tree-edge.ts';

const leaves = Array.from({ length: 700 }, (_, i) => leafHash(Buffer.from(`leaf ${i}`)));

/** RFC 6962, section 2.1, word for word: what the fast code is held against. */
function slowRoot(hashes: readonly Uint8Array[]): Uint8Array {
  if (hashes.length === 0) return EMPTY_ROOT;
  if (hashes.length === 1) return hashes[0]!;
  let k = 1;
  while (k * 2 < hashes.length) k *= 2;
  return nodeHash(slowRoot(hashes.slice(0, k)), slowRoot(hashes.slice(k)));
}

/** Tiles of the tree over the first `size` leaves, as a publisher writes them. */
function publish(size: number): { edge: TreeEdge; files: Map<string, Uint8Array>; read: ReadNode } {
  const edge = new TreeEdge();
  const files = new Map<string, Uint8Array>();
  for (const leaf of leaves.slice(0, size))
    edge.append(leaf, (tile) => files.set(tilePath(tile), tile.bytes));
  for (const tile of edge.partialTiles()) files.set(tilePath(tile), tile.bytes);
  const read = nodesFromTiles(async (level, index) => {
    const bytes = files.get(tilePath({ level, index, width: tileWidth(size, level, index) }));
    if (bytes === undefined) throw new Error(`no tile ${level}/${index}`);
    return bytes;
  });
  return { edge, files, read };
}

describe('a tree of any size', () => {
  it('has the root of RFC 6962, from its edge and from its tiles, and exactly the tiles of tlog-tiles', async () => {
    for (const size of [0, 1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, 700]) {
      const { edge, files, read } = publish(size);
      const expected = slowRoot(leaves.slice(0, size));
      expect(hex(edge.root())).toBe(hex(expected));
      expect(hex(await treeRoot(size, read))).toBe(hex(expected));
      const names = [...tilesOf(size)].filter((tile) => tile.level !== 'entries').map(tilePath);
      expect([...files.keys()].sort()).toEqual(names.sort());
    }
  });

  it('goes on from a copy of its edge as if it had never stopped', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(600), fc.nat(100), async (first, more) => {
        const { edge } = publish(first);
        const resumed = TreeEdge.from(first, edgeTiles(edge));
        const ignore = (): void => undefined;
        for (const leaf of leaves.slice(first, first + more)) resumed.append(leaf, ignore);
        expect(hex(resumed.root())).toBe(hex(publish(first + more).edge.root()));
      }),
      { numRuns: 30 },
    );
  });

  it('proves every leaf of every size up to 70, and nothing else', async () => {
    for (let size = 1; size <= 70; size++) {
      const { edge, read } = publish(size);
      const root = edge.root();
      for (let index = 0; index < size; index++) {
        const proof = await inclusionProof(index, size, read);
        expect(verifyInclusion(index, size, leaves[index]!, root, proof)).toBe(true);
        expect(verifyInclusion(index, size, leaves[index + 1]!, root, proof)).toBe(false);
        if (size > 1)
          expect(verifyInclusion((index + 1) % size, size, leaves[index]!, root, proof)).toBe(false);
      }
    }
  });

  it('proves every pair of sizes up to 40, and refuses every flipped bit of such a proof', async () => {
    for (let to = 1; to <= 40; to++) {
      const { edge, read } = publish(to);
      for (let from = 0; from <= to; from++) {
        const proof = await consistencyProof(from, to, read);
        const fromRoot = slowRoot(leaves.slice(0, from));
        expect(verifyConsistency(from, to, fromRoot, edge.root(), proof)).toBe(true);
        for (const [i, hash] of proof.entries()) {
          const flipped = proof.with(i, hash.with(from % 32, hash[from % 32]! ^ 1));
          expect(verifyConsistency(from, to, fromRoot, edge.root(), flipped)).toBe(false);
        }
      }
    }
  });

  it('proves leaves and earlier sizes across tiles', async () => {
    const { edge, read } = publish(700);
    await fc.assert(
      fc.asyncProperty(fc.nat(699), fc.integer({ min: 1, max: 700 }), async (index, from) => {
        const proof = await inclusionProof(index, 700, read);
        expect(verifyInclusion(index, 700, leaves[index]!, edge.root(), proof)).toBe(true);
        const consistency = await consistencyProof(from, 700, read);
        expect(verifyConsistency(from, 700, slowRoot(leaves.slice(0, from)), edge.root(), consistency)).toBe(
          true,
        );
      }),
      { numRuns: 60 },
    );
  });
});

describe('tile paths', () => {
  it('are those of the specification, and no other text is one', () => {
    expect(tilePath({ level: 0, index: 1234067, width: 256 })).toBe('tile/0/x001/x234/067');
    expect(tilePath({ level: 'entries', index: 0, width: 12 })).toBe('tile/entries/000.p/12');
    for (const path of [
      'tile/0/0',
      'tile/0/x000/001',
      'tile/0/000.p/256',
      'tile/0/000.p/0',
      'tile/64/000',
      'tile/00/000',
      '/tile/0/000',
      'tile/0/../x',
    ]) {
      expect(parseTilePath(path)).toBeUndefined();
    }
  });

  it('are read back as what they were written for', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 6 }),
        fc.maxSafeNat(),
        fc.integer({ min: 1, max: 256 }),
        (level, index, width) => {
          expect(parseTilePath(tilePath({ level, index, width }))).toEqual({ level, index, width });
        },
      ),
    );
  });
});

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function edgeTiles(edge: TreeEdge): (Uint8Array | undefined)[] {
  const tiles: (Uint8Array | undefined)[] = [];
  for (const tile of edge.partialTiles()) tiles[tile.level] = tile.bytes;
  return tiles;
}
