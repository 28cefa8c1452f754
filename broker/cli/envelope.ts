import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import type { ByteSource } from './byte-source.ts';

/**
 * `lastmile-envelope-v1`: a file of any size under a data key of its own, made and wrapped by a key on a token
 * (GenerateDataKey) and used here.
 *
 * ```
 * header   "lastmile-envelope-v1\n"           21 bytes
 *          length of the wrapped key          4 bytes, big-endian, 1 to 65,536
 *          wrapped key                        what GenerateDataKey returned
 * frames   AES-256-GCM ciphertext ‖ 16-byte tag; 65,536 bytes of plaintext each but the last, which has 0 to 65,536
 * ```
 *
 * Nonce of frame i: 7 zero bytes ‖ i as 4 bytes, big-endian ‖ 1 for the last frame, else 0. Associated data of each
 * frame: SHA-256 of the header. The data key encrypts this one file, so no nonce repeats. The wrapped key was made
 * with the associated data "lastmile-envelope-v1" ‖ 0x00 ‖ the caller's own.
 *
 * Hence a frame that is changed, moved, repeated, left out or taken from another file does not open, and neither does
 * a file that ends early: its last frame was not sealed as one. Proven by envelope.test.ts.
 */
export const ENVELOPE_MAGIC: Buffer = Buffer.from('lastmile-envelope-v1\n', 'ascii');
export const FRAME_BYTES = 65_536;
export const DATA_KEY_BYTES = 32;
const TAG_BYTES = 16;
const MAX_WRAPPED_BYTES = 65_536;
const MAX_FRAMES = 2 ** 32;

/** The file is not what was encrypted, or not all of it. */
export class EnvelopeError extends Error {
  override readonly name: string = 'EnvelopeError';
}

/** What GenerateDataKey and Decrypt are given as associated data: no other use of the key makes or opens it. */
export function wrappingAssociatedData(callers: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from('lastmile-envelope-v1\0', 'ascii'), callers]);
}

/** @param dataKey 32 bytes that encrypt nothing else, ever */
export async function* sealEnvelope(
  dataKey: Uint8Array,
  wrapped: Uint8Array,
  plaintext: ByteSource,
): AsyncGenerator<Buffer> {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(wrapped.length);
  const header = Buffer.concat([ENVELOPE_MAGIC, length, wrapped]);
  yield header;
  const bound = digestOf(header);
  for (let index = 0; ; index++) {
    const piece = await plaintext.read(FRAME_BYTES);
    const isLast = (await plaintext.peek(1)).length === 0;
    const cipher = createCipheriv('aes-256-gcm', dataKey, nonce(index, isLast), { authTagLength: TAG_BYTES });
    cipher.setAAD(bound);
    yield Buffer.concat([cipher.update(piece), cipher.final(), cipher.getAuthTag()]);
    if (isLast) return;
  }
}

/**
 * Yields plaintext frame by frame, each verified. That the file is whole is known when the generator ends and not
 * before: whoever uses the first frames of one that then throws has used a beginning.
 *
 * @param unwrap Decrypt, for the wrapped key of the header
 * @throws EnvelopeError
 */
export async function* openEnvelope(
  source: ByteSource,
  unwrap: (wrapped: Uint8Array) => Promise<Uint8Array>,
): AsyncGenerator<Buffer> {
  const magic = await source.read(ENVELOPE_MAGIC.length);
  if (!magic.equals(ENVELOPE_MAGIC)) throw new EnvelopeError('not a lastmile-envelope-v1');
  const length = await source.read(4);
  const wrappedBytes = length.length === 4 ? length.readUInt32BE() : 0;
  if (wrappedBytes < 1 || wrappedBytes > MAX_WRAPPED_BYTES) throw new EnvelopeError('the header is damaged');
  const wrapped = await source.read(wrappedBytes);
  if (wrapped.length !== wrappedBytes) throw new EnvelopeError('the file ends within its header');
  const bound = digestOf(Buffer.concat([magic, length, wrapped]));
  const dataKey = await unwrap(wrapped);
  try {
    if (dataKey.length !== DATA_KEY_BYTES) throw new EnvelopeError('the wrapped key is not one of 32 bytes');
    for (let index = 0; ; index++) {
      const frame = await source.read(FRAME_BYTES + TAG_BYTES);
      const isLast = (await source.peek(1)).length === 0;
      if (frame.length < TAG_BYTES) throw new EnvelopeError('the file is truncated');
      yield openFrame(dataKey, bound, frame, index, isLast);
      if (isLast) return;
    }
  } finally {
    dataKey.fill(0);
  }
}

function openFrame(
  dataKey: Uint8Array,
  bound: Buffer,
  frame: Buffer,
  index: number,
  isLast: boolean,
): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', dataKey, nonce(index, isLast), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(bound);
  decipher.setAuthTag(frame.subarray(frame.length - TAG_BYTES));
  const plaintext = decipher.update(frame.subarray(0, frame.length - TAG_BYTES));
  try {
    decipher.final();
  } catch (cause) {
    const where = isLast ? 'is damaged, or was cut off' : 'is damaged';
    throw new EnvelopeError(`the file ${where} at its frame ${index}`, { cause });
  }
  return plaintext;
}

function nonce(index: number, isLast: boolean): Buffer {
  if (index >= MAX_FRAMES) throw new EnvelopeError('more than 2^32 frames (256 TiB)');
  const bytes = Buffer.alloc(12);
  bytes.writeUInt32BE(index, 7);
  bytes[11] = isLast ? 1 : 0;
  return bytes;
}

function digestOf(header: Buffer): Buffer {
  return createHash('sha256').update(header).digest();
}
