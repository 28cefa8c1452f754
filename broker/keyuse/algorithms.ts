import { constants, hash, publicEncrypt } from 'node:crypto';
import type { Algorithm, KeyPurpose } from '../../hsm-adapters/adapter.ts';

/** What the broker must know of an algorithm: which keys it fits, and how its input is made. */
export interface AlgorithmFacts {
  readonly purpose: KeyPurpose;
  /** Hash of the message, by node:crypto's name; undefined where the token takes the message itself. */
  readonly hash: 'sha256' | 'sha384' | 'sha512' | undefined;
  readonly digestBytes: number;
  /** The group order, for normalising ECDSA signatures; bytes of r and of s. */
  readonly curve: { readonly order: bigint; readonly bytes: number } | undefined;
}

// FIPS 186-5 (SP 800-186, section 3.2.1): orders of P-256, P-384, P-521.
const P256 = {
  order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  bytes: 32,
};
const P384 = {
  order: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  bytes: 48,
};
const P521 = {
  order:
    0x1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
  bytes: 66,
};

const sign = (
  h: 'sha256' | 'sha384' | 'sha512',
  bytes: number,
  curve?: AlgorithmFacts['curve'],
): AlgorithmFacts => ({
  purpose: 'sign',
  hash: h,
  digestBytes: bytes,
  curve,
});
const mac: AlgorithmFacts = { purpose: 'mac', hash: undefined, digestBytes: 0, curve: undefined };
const encrypt: AlgorithmFacts = { purpose: 'encrypt', hash: undefined, digestBytes: 0, curve: undefined };

export const FACTS: Readonly<Record<Algorithm, AlgorithmFacts>> = {
  ES256: sign('sha256', 32, P256),
  ES384: sign('sha384', 48, P384),
  ES512: sign('sha512', 64, P521),
  Ed25519: { purpose: 'sign', hash: undefined, digestBytes: 0, curve: undefined },
  RS256: sign('sha256', 32),
  RS384: sign('sha384', 48),
  RS512: sign('sha512', 64),
  PS256: sign('sha256', 32),
  PS384: sign('sha384', 48),
  PS512: sign('sha512', 64),
  HS256: mac,
  HS384: mac,
  HS512: mac,
  A256GCM: encrypt,
  'RSA-OAEP-256': encrypt,
};

/** `EdDSA` is the old name of Ed25519 (RFC 9864, section 3.2). */
export function parseAlgorithm(name: string): Algorithm | undefined {
  if (name === 'EdDSA') return 'Ed25519';
  return Object.hasOwn(FACTS, name) ? (name as Algorithm) : undefined;
}

export function sha256(bytes: Uint8Array): Buffer {
  return hash('sha256', bytes, 'buffer');
}

/** SHA-256 in base64url, as digests stand in entries. */
export function sha256Text(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'base64url');
}

/** r‖min(s, n−s): one digest for a signature, whichever of its two forms somebody presents later. */
export function normaliseEcdsa(signature: Uint8Array, curve: { order: bigint; bytes: number }): Uint8Array {
  const raw = Buffer.from(signature.buffer, signature.byteOffset, signature.byteLength);
  // The upper half of the order begins far above any s whose first byte is small: most need no arithmetic.
  if (curve.bytes !== 66 && raw[curve.bytes]! < 0x7f) return raw;
  const s = BigInt(`0x${raw.toString('hex', curve.bytes)}`);
  if (s <= curve.order >> 1n) return raw;
  const low = (curve.order - s).toString(16).padStart(curve.bytes * 2, '0');
  return Buffer.concat([raw.subarray(0, curve.bytes), Buffer.from(low, 'hex')]);
}

/** Ecdsa-Sig-Value (RFC 3279, section 2.2.3) of r‖s. */
export function ecdsaToDer(signature: Uint8Array): Buffer {
  const half = signature.length / 2;
  const body = Buffer.concat([derInteger(signature.subarray(0, half)), derInteger(signature.subarray(half))]);
  const header =
    body.length < 128 ? Buffer.from([0x30, body.length]) : Buffer.from([0x30, 0x81, body.length]);
  return Buffer.concat([header, body]);
}

function derInteger(value: Uint8Array): Buffer {
  let start = 0;
  while (start < value.length - 1 && value[start] === 0) start++;
  const digits = Buffer.from(value.subarray(start));
  const padded = digits[0]! >= 0x80 ? Buffer.concat([Buffer.from([0]), digits]) : digits;
  return Buffer.concat([Buffer.from([0x02, padded.length]), padded]);
}

/** The other way, strictly: minimal DER, nothing after it, numbers that fit. Undefined when it is not that. */
export function ecdsaFromDer(der: Uint8Array, bytes: number): Buffer | undefined {
  const raw = Buffer.alloc(bytes * 2);
  const input = Buffer.from(der.buffer, der.byteOffset, der.byteLength);
  let at = 0;
  if (input[at++] !== 0x30) return undefined;
  let length = input[at++];
  if (length === 0x81) {
    length = input[at++];
    if (length === undefined || length < 128) return undefined;
  } else if (length === undefined || length > 127) return undefined;
  if (at + length !== input.length) return undefined;
  for (let i = 0; i < 2; i++) {
    if (input[at] !== 0x02) return undefined;
    const size = input[at + 1];
    if (size === undefined || size === 0 || size > bytes + 1 || at + 2 + size > input.length)
      return undefined;
    let digits = input.subarray(at + 2, at + 2 + size);
    at += 2 + size;
    if (digits[0]! >= 0x80) return undefined;
    if (digits[0] === 0 && digits.length > 1) {
      if (digits[1]! < 0x80) return undefined;
      digits = digits.subarray(1);
    }
    if (digits.length > bytes) return undefined;
    digits.copy(raw, (i + 1) * bytes - digits.length);
  }
  return at === input.length ? raw : undefined;
}

/** RSA-OAEP-256 (RFC 7518, section 4.3): SHA-256, MGF1 with SHA-256, no label. `spki` is DER. */
export function encryptForPublicKey(spki: Uint8Array, plaintext: Uint8Array): Buffer {
  return publicEncrypt(
    {
      key: Buffer.from(spki),
      format: 'der',
      type: 'spki',
      padding: constants.RSA_PKCS1_OAEP_PADDING,
      oaepHash: 'sha256',
    },
    plaintext,
  );
}
