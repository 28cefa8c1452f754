import type { VerifierErrorReason } from './verifier-error.ts';
import { SIGNATURE_ALGORITHMS, type SignatureAlgorithm, type VerifyInput } from './verify-input.ts';

/**
 * What goes between the broker's thread and a verifying thread: one buffer each way, transferred, not copied.
 *
 * Towards the thread, records of a 12-byte head and two runs of bytes, integers little-endian:
 *   kind u8 | algorithm u8 | key number u16 | first length u32 | second length u32 | first | second
 * `KEY` puts an SPKI (first) under a number, over whatever had it; the other kinds ask about data (first) and signature
 * (second) under the number's key. Records are taken in order, so a number means what the last `KEY` before it said.
 *
 * Back: one verdict octet for each question in order, then, for each that is an error, length u16 | UTF-8 text.
 */
export const MAX_KEYS = 0x1_0000;

const HEAD_BYTES = 12;
const KEY = 0;
const MESSAGE = 1;
const DIGEST = 2;

const INVALID = 0;
const VALID = 1;
const ERROR_REASONS = ['key-rejected', 'unsupported', 'thread-lost'] as const;
const FIRST_ERROR = 2;

export interface VerdictError {
  readonly reason: VerifierErrorReason & (typeof ERROR_REASONS)[number];
  readonly message: string;
}
export type Verdict = boolean | VerdictError;

/** Records gathered for one posting. Bytes are copied when added: the caller may reuse its buffers at once. */
export class BatchWriter {
  #bytes = new Uint8Array(2048);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  addKey(number: number, spki: Uint8Array): void {
    this.#add(KEY, 0, number, spki, new Uint8Array(0));
  }

  addQuestion(number: number, input: VerifyInput): void {
    const kind = input.content === 'message' ? MESSAGE : DIGEST;
    const algorithm = SIGNATURE_ALGORITHMS.indexOf(input.algorithm);
    this.#add(kind, algorithm, number, input.data, input.signature);
  }

  /** The records, to be transferred; the writer is used up. */
  take(): ArrayBuffer {
    return this.#bytes.buffer.transfer(this.#length);
  }

  #add(kind: number, algorithm: number, number: number, first: Uint8Array, second: Uint8Array): void {
    const start = this.#length;
    const end = start + HEAD_BYTES + first.length + second.length;
    if (end > this.#bytes.length) {
      this.#bytes = new Uint8Array(this.#bytes.buffer.transfer(Math.max(end, 2 * this.#bytes.length)));
      this.#view = new DataView(this.#bytes.buffer);
    }
    this.#view.setUint8(start, kind);
    this.#view.setUint8(start + 1, algorithm);
    this.#view.setUint16(start + 2, number, true);
    this.#view.setUint32(start + 4, first.length, true);
    this.#view.setUint32(start + 8, second.length, true);
    this.#bytes.set(first, start + HEAD_BYTES);
    this.#bytes.set(second, start + HEAD_BYTES + first.length);
    this.#length = end;
  }
}

export interface BatchReader {
  key(number: number, spki: Uint8Array): void;
  question(
    number: number,
    algorithm: SignatureAlgorithm,
    content: VerifyInput['content'],
    data: Uint8Array,
    signature: Uint8Array,
  ): void;
}

/** Reads records in order; the bytes handed out are views. Throws RangeError on anything that is no batch. */
export function readBatch(buffer: ArrayBuffer, reader: BatchReader): void {
  const view = new DataView(buffer);
  for (let at = 0; at < buffer.byteLength; ) {
    const kind = view.getUint8(at);
    const algorithm = SIGNATURE_ALGORITHMS[view.getUint8(at + 1)];
    const number = view.getUint16(at + 2, true);
    const first = new Uint8Array(buffer, at + HEAD_BYTES, view.getUint32(at + 4, true));
    const second = new Uint8Array(buffer, at + HEAD_BYTES + first.length, view.getUint32(at + 8, true));
    at += HEAD_BYTES + first.length + second.length;
    if (kind === KEY) reader.key(number, first);
    else if (algorithm === undefined || (kind !== MESSAGE && kind !== DIGEST)) {
      throw new RangeError('not a batch of questions');
    } else reader.question(number, algorithm, kind === MESSAGE ? 'message' : 'digest', first, second);
  }
}

export function writeVerdicts(verdicts: readonly Verdict[]): ArrayBuffer {
  const octets = new Uint8Array(verdicts.length);
  const texts: Buffer[] = [];
  verdicts.forEach((verdict, index) => {
    if (typeof verdict === 'boolean') {
      octets[index] = verdict ? VALID : INVALID;
      return;
    }
    octets[index] = FIRST_ERROR + ERROR_REASONS.indexOf(verdict.reason);
    const text = Buffer.from(verdict.message).subarray(0, 1024);
    const length = Buffer.alloc(2);
    length.writeUInt16LE(text.length);
    texts.push(length, text);
  });
  if (texts.length === 0) return octets.buffer;
  const all = new Uint8Array(octets.length + texts.reduce((sum, text) => sum + text.length, 0));
  all.set(octets);
  all.set(Buffer.concat(texts), octets.length);
  return all.buffer;
}

/** Throws RangeError unless `buffer` holds exactly `count` verdicts. */
export function readVerdicts(buffer: ArrayBuffer, count: number): Verdict[] {
  const bytes = Buffer.from(buffer);
  if (bytes.length < count) throw new RangeError(`${bytes.length} octets for ${count} verdicts`);
  const verdicts: Verdict[] = [];
  let at = count;
  for (let index = 0; index < count; index++) {
    const octet = bytes[index]!;
    if (octet === VALID || octet === INVALID) {
      verdicts.push(octet === VALID);
      continue;
    }
    const reason = ERROR_REASONS[octet - FIRST_ERROR];
    if (reason === undefined) throw new RangeError(`no such verdict: ${octet}`);
    const end = at + 2 + bytes.readUInt16LE(at);
    if (end > bytes.length) throw new RangeError('error text is cut short');
    verdicts.push({ reason, message: bytes.toString('utf8', at + 2, end) });
    at = end;
  }
  if (at !== bytes.length) throw new RangeError('octets beyond the last verdict');
  return verdicts;
}
