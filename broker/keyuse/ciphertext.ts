import type { Algorithm } from '../../hsm-adapters/adapter.ts';

/**
 * What Encrypt and GenerateDataKey return, format `lastmile-ct-v1`. Numbers are big-endian.
 *
 *     "LMc1" · u16 header length · header · body
 *     header: u8 algorithm (1 A256GCM, 2 RSA-OAEP-256) · u32 key version · key name (UTF-8, to the header's end)
 *     body:   A256GCM: 12-byte IV · ciphertext · 16-byte tag;  RSA-OAEP-256: the RSA block
 *
 * A ciphertext names its key and version, so decryption survives rotation. AES-GCM's associated data is
 * `lastmile-ct-v1` · u16 header length · header · the caller's: nothing of the header can be changed.
 */
export interface Ciphertext {
  readonly algorithm: 'A256GCM' | 'RSA-OAEP-256';
  readonly key: string;
  readonly version: number;
  readonly iv: Uint8Array;
  readonly sealed: Uint8Array;
}

const MAGIC = Buffer.from('LMc1');
const DOMAIN = Buffer.from('lastmile-ct-v1');
export const IV_BYTES = 12;
const TAG_BYTES = 16;

/** Header with its length: what stands in front, and what the associated data repeats. */
export function ciphertextHeader(algorithm: Algorithm, key: string, version: number): Buffer {
  const name = Buffer.from(key);
  const header = Buffer.alloc(2 + 5 + name.length);
  header.writeUInt16BE(5 + name.length, 0);
  header.writeUInt8(algorithm === 'A256GCM' ? 1 : 2, 2);
  header.writeUInt32BE(version, 3);
  name.copy(header, 7);
  return header;
}

export function associatedDataFor(header: Uint8Array, callers: Uint8Array): Buffer {
  return Buffer.concat([DOMAIN, header, callers]);
}

export function joinCiphertext(header: Uint8Array, iv: Uint8Array, sealed: Uint8Array): Buffer {
  return Buffer.concat([MAGIC, header, iv, sealed]);
}

/** Undefined for anything that is not exactly this format: the caller is told no more than that. */
export function parseCiphertext(
  bytes: Uint8Array,
): (Ciphertext & { readonly header: Uint8Array }) | undefined {
  const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (input.length < 11 || !input.subarray(0, 4).equals(MAGIC)) return undefined;
  const length = input.readUInt16BE(4);
  const body = 6 + length;
  if (length < 6 || length > 5 + 128 || input.length <= body) return undefined;
  const header = input.subarray(4, body);
  const kind = input[6];
  const version = input.readUInt32BE(7);
  const key = input.toString('utf8', 11, body);
  if (Buffer.byteLength(key) !== length - 5) return undefined;
  if (kind === 1) {
    if (input.length < body + IV_BYTES + TAG_BYTES + 1) return undefined;
    const iv = input.subarray(body, body + IV_BYTES);
    return { algorithm: 'A256GCM', key, version, iv, sealed: input.subarray(body + IV_BYTES), header };
  }
  if (kind === 2) {
    return {
      algorithm: 'RSA-OAEP-256',
      key,
      version,
      iv: input.subarray(0, 0),
      sealed: input.subarray(body),
      header,
    };
  }
  return undefined;
}
