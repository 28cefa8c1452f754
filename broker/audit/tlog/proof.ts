import { EMPTY_ROOT, equalHashes, HASH_BYTES, isCount, nodeHash, splitPoint, TlogError } from './hash.ts';
import type { ReadNode } from './tile.ts';

/** Merkle tree hash of leaves `start` (a multiple of the subtree's span) to `end`. */
export async function rangeHash(start: number, end: number, read: ReadNode): Promise<Uint8Array> {
  const count = end - start;
  const level = Math.log2(count);
  if (Number.isInteger(level) && 2 ** level === count) return await read(level, start / count);
  const k = splitPoint(count);
  return nodeHash(await rangeHash(start, start + k, read), await rangeHash(start + k, end, read));
}

export async function treeRoot(treeSize: number, read: ReadNode): Promise<Uint8Array> {
  return treeSize === 0 ? EMPTY_ROOT : await rangeHash(0, treeSize, read);
}

/** Inclusion proof (RFC 6962, section 2.1.1), lowest hash first. */
export async function inclusionProof(
  leafIndex: number,
  treeSize: number,
  read: ReadNode,
): Promise<Uint8Array[]> {
  if (!isCount(leafIndex) || !isCount(treeSize) || leafIndex >= treeSize)
    throw new TlogError('leaf index is not in the tree');
  const proof: Uint8Array[] = [];
  let start = 0;
  let end = treeSize;
  while (end - start > 1) {
    const middle = start + splitPoint(end - start);
    if (leafIndex < middle) {
      proof.push(await rangeHash(middle, end, read));
      end = middle;
    } else {
      proof.push(await rangeHash(start, middle, read));
      start = middle;
    }
  }
  return proof.reverse();
}

/** Consistency proof (RFC 6962, section 2.1.2). Empty when the sizes are equal or `fromSize` is 0. */
export async function consistencyProof(
  fromSize: number,
  toSize: number,
  read: ReadNode,
): Promise<Uint8Array[]> {
  if (!isCount(fromSize) || !isCount(toSize) || fromSize > toSize)
    throw new TlogError('tree sizes are out of order');
  if (fromSize === 0 || fromSize === toSize) return [];
  const proof: Uint8Array[] = [];
  let start = 0;
  let end = toSize;
  while (fromSize < end) {
    const middle = start + splitPoint(end - start);
    if (fromSize <= middle) {
      proof.push(await rangeHash(middle, end, read));
      end = middle;
    } else {
      proof.push(await rangeHash(start, middle, read));
      start = middle;
    }
  }
  if (start > 0) proof.push(await rangeHash(start, end, read));
  return proof.reverse();
}

/** Whether the proof shows the leaf in the tree (RFC 9162, section 2.1.3.2). */
export function verifyInclusion(
  leafIndex: number,
  treeSize: number,
  leaf: Uint8Array,
  root: Uint8Array,
  proof: readonly Uint8Array[],
): boolean {
  if (!isCount(leafIndex) || !isCount(treeSize) || leafIndex >= treeSize) return false;
  if (!areHashes([leaf, root, ...proof])) return false;
  let fn = leafIndex;
  let sn = treeSize - 1;
  let r = leaf;
  for (const p of proof) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      r = nodeHash(p, r);
      while (fn % 2 === 0 && fn !== 0) {
        fn /= 2;
        sn = Math.floor(sn / 2);
      }
    } else {
      r = nodeHash(r, p);
    }
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  return sn === 0 && equalHashes(r, root);
}

/**
 * Whether the proof shows that the tree of `toSize` begins with the tree of `fromSize` (RFC 9162, section 2.1.4.2).
 * Every tree begins with the empty one: that takes an empty proof and the empty root.
 */
export function verifyConsistency(
  fromSize: number,
  toSize: number,
  fromRoot: Uint8Array,
  toRoot: Uint8Array,
  proof: readonly Uint8Array[],
): boolean {
  if (!isCount(fromSize) || !isCount(toSize) || fromSize > toSize) return false;
  if (!areHashes([fromRoot, toRoot, ...proof])) return false;
  if (fromSize === toSize) return proof.length === 0 && equalHashes(fromRoot, toRoot);
  if (fromSize === 0) return proof.length === 0 && equalHashes(fromRoot, EMPTY_ROOT);
  const isWholeSubtree = 2 ** Math.floor(Math.log2(fromSize)) === fromSize;
  const path = isWholeSubtree ? [fromRoot, ...proof] : [...proof];
  let fn = fromSize - 1;
  let sn = toSize - 1;
  while (fn % 2 === 1) {
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  const [first, ...rest] = path;
  if (first === undefined) return false;
  let fr = first;
  let sr = first;
  for (const c of rest) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      fr = nodeHash(c, fr);
      sr = nodeHash(c, sr);
      while (fn % 2 === 0 && fn !== 0) {
        fn /= 2;
        sn = Math.floor(sn / 2);
      }
    } else {
      sr = nodeHash(sr, c);
    }
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  return sn === 0 && equalHashes(fr, fromRoot) && equalHashes(sr, toRoot);
}

function areHashes(hashes: readonly Uint8Array[]): boolean {
  return hashes.every((hash) => hash.length === HASH_BYTES);
}
