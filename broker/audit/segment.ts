import { hash } from 'node:crypto';
import { HASH_BYTES, TlogError } from './tlog/hash.ts';

/**
 * Segments are the write-ahead part of the log: files of batches, in the order in which they were acknowledged.
 * Once their entries are in published tiles they are removed.
 *
 *     batch = "LASTMLOG" · u32be bytes of body · u32be entries · u64be first leaf index · SHA-256 · body
 *     body  = (u16be length · entry)*, as in an entry bundle
 *
 * The hash is over the 24 bytes before it and the body. Every batch is on disk before the next one is written: what
 * does not check out at the end of a file was never acknowledged, and a batch that does after one that does not is
 * damage. Zeros may stand behind the last batch: room for the next.
 */
const MAGIC = Buffer.from('LASTMLOG');
const FIXED_BYTES = 24;
export const BATCH_HEADER_BYTES = FIXED_BYTES + HASH_BYTES;

export const SEGMENTS = 'segments';

/** `segments/0000000000001234-00000007`: first leaf index, and a generation that only grows. */
export function segmentPath(firstLeaf: number, generation: number): string {
  return `${SEGMENTS}/${String(firstLeaf).padStart(16, '0')}-${String(generation).padStart(8, '0')}`;
}

export function segmentGeneration(name: string): number | undefined {
  const match = /^\d{16}-(\d{8,})$/.exec(name);
  return match === null ? undefined : Number(match[1]);
}

export function encodeBatch(firstLeaf: number, entries: number, body: readonly Uint8Array[]): Buffer {
  const bodyBytes = body.reduce((sum, { length }) => sum + length, 0);
  const bytes = Buffer.allocUnsafeSlow(BATCH_HEADER_BYTES + bodyBytes);
  bytes.set(MAGIC, 0);
  bytes.writeUInt32BE(bodyBytes, 8);
  bytes.writeUInt32BE(entries, 12);
  bytes.writeBigUInt64BE(BigInt(firstLeaf), 16);
  let at = BATCH_HEADER_BYTES;
  for (const part of body) {
    bytes.set(part, at);
    at += part.length;
  }
  bytes.set(batchHash(bytes), FIXED_BYTES);
  return bytes;
}

// Hashing in place: the 32 bytes that will hold the hash are zero meanwhile.
function batchHash(batch: Buffer): Uint8Array {
  batch.fill(0, FIXED_BYTES, BATCH_HEADER_BYTES);
  return hash('sha256', batch, 'buffer');
}

export interface StoredBatch {
  readonly firstLeaf: number;
  readonly entries: readonly Uint8Array[];
}

export interface ReadSegment {
  readonly batches: readonly StoredBatch[];
  /** Bytes at the end that are no whole batch, without the zeros at their own end. */
  readonly tornBytes: number;
}

/** @throws TlogError when a batch that was synced is damaged */
export function readSegment(bytes: Uint8Array): ReadSegment {
  const file = Buffer.from(bytes);
  const batches: StoredBatch[] = [];
  let at = 0;
  for (;;) {
    const batch = batchAt(file, at);
    if (batch === undefined) break;
    batches.push(batch);
    at += batch.bytes;
  }
  for (let next = file.indexOf(MAGIC, at + 1); next >= 0; next = file.indexOf(MAGIC, next + 1)) {
    if (batchAt(file, next) !== undefined) throw new TlogError(`a batch before byte ${next} is damaged`);
  }
  let end = file.length;
  while (end > at && file[end - 1] === 0) end--;
  return { batches, tornBytes: end - at };
}

function batchAt(file: Buffer, at: number): (StoredBatch & { readonly bytes: number }) | undefined {
  if (file.length - at < BATCH_HEADER_BYTES || MAGIC.compare(file, at, at + MAGIC.length) !== 0)
    return undefined;
  const bodyBytes = file.readUInt32BE(at + 8);
  const bytes = BATCH_HEADER_BYTES + bodyBytes;
  if (file.length - at < bytes) return undefined;
  const batch = Buffer.from(file.subarray(at, at + bytes));
  const stated = Buffer.from(batch.subarray(FIXED_BYTES, BATCH_HEADER_BYTES));
  if (!stated.equals(batchHash(batch))) return undefined;
  const entries = splitEntries(batch.subarray(BATCH_HEADER_BYTES));
  if (entries.length !== batch.readUInt32BE(12)) throw new TlogError('a batch counts its entries wrongly');
  return { firstLeaf: Number(batch.readBigUInt64BE(16)), entries, bytes };
}

function splitEntries(body: Uint8Array): Uint8Array[] {
  const entries: Uint8Array[] = [];
  for (let at = 0; at < body.length; ) {
    const end = at + 2 + body[at]! * 256 + body[at + 1]!;
    if (end > body.length) throw new TlogError('a batch ends within an entry');
    entries.push(body.subarray(at + 2, end));
    at = end;
  }
  return entries;
}
