import { hash } from 'node:crypto';

/** Bytes of a SHA-256 hash. */
export const HASH_BYTES = 32;

/** What is wrong with bytes that claim to be part of a log. */
export class TlogError extends Error {
  override readonly name = 'TlogError';
}

/** Root of the empty tree (RFC 6962, section 2.1): SHA-256 of nothing. */
export const EMPTY_ROOT: Uint8Array = hash('sha256', new Uint8Array(0), 'buffer');

/** Leaf hash (RFC 6962, section 2.1): SHA-256 of 0x00 and the entry. */
export function leafHash(entry: Uint8Array): Uint8Array {
  const prefixed = new Uint8Array(entry.length + 1);
  prefixed.set(entry, 1);
  return hash('sha256', prefixed, 'buffer');
}

// One scratch block for all node hashes: it never leaves this module and nothing here awaits.
const node = new Uint8Array(1 + 2 * HASH_BYTES);
node[0] = 1;

/** Hash of an inner node (RFC 6962, section 2.1): SHA-256 of 0x01, left, right. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  node.set(left, 1);
  node.set(right, 1 + HASH_BYTES);
  return hash('sha256', node, 'buffer');
}

/**
 * Root over neighbouring subtrees of equal size, of which the last alone may be smaller.
 * @throws TlogError for an empty list
 */
export function combine(subtrees: readonly Uint8Array[]): Uint8Array {
  const [first] = subtrees;
  if (first === undefined) throw new TlogError('no subtree to combine');
  // Pairing level by level and carrying a lone last one up is RFC 6962's split at the largest power of two.
  let level = subtrees;
  while (level.length > 1) {
    const next: Uint8Array[] = [];
    for (let i = 0; i < level.length; i += 2) {
      const left = level[i]!;
      const right = level[i + 1];
      next.push(right === undefined ? left : nodeHash(left, right));
    }
    level = next;
  }
  return level[0]!;
}

export function equalHashes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Tree sizes and leaf indexes are numbers that are exact: whole, not negative, below 2^53. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Largest power of two smaller than `size`, for size ≥ 2 (`k` of RFC 6962, section 2.1). */
export function splitPoint(size: number): number {
  let k = 1;
  while (k * 2 < size) k *= 2;
  return k;
}

/** Base64 with padding, exactly as RFC 4648 section 4 writes it: no other spelling of the same bytes is taken. */
export function decodeBase64(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) throw new TlogError('not canonical base64');
  return bytes;
}

export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/** A decimal count without sign, leading zero or exponent. */
export function parseCount(text: string): number {
  const value = Number(text);
  if (!/^(0|[1-9][0-9]*)$/.test(text) || !isCount(value))
    throw new TlogError('not a decimal number below 2^53');
  return value;
}
