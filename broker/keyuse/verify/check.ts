import { constants, createPublicKey, type KeyObject, publicDecrypt, verify } from 'node:crypto';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import { type HashName, isPkcs1Encoding, isPssEncoding } from './rsa-encoding.ts';
import { VerifierError } from './verifier-error.ts';
import type { SignatureAlgorithm, VerifyInput } from './verify-input.ts';

const HASH_BYTES = { sha256: 32, sha384: 48, sha512: 64 } as const satisfies Record<HashName, number>;

// `curve` is OpenSSL's name for it; noble verifies what node:crypto cannot, a digest made elsewhere.
const CURVES = {
  ES256: { curve: 'prime256v1', hash: 'sha256', fieldBytes: 32, raw: p256 },
  ES384: { curve: 'secp384r1', hash: 'sha384', fieldBytes: 48, raw: p384 },
  ES512: { curve: 'secp521r1', hash: 'sha512', fieldBytes: 66, raw: p521 },
} as const;

const RSA_HASH = {
  RS256: 'sha256',
  RS384: 'sha384',
  RS512: 'sha512',
  PS256: 'sha256',
  PS384: 'sha384',
  PS512: 'sha512',
} as const satisfies Partial<Record<SignatureAlgorithm, HashName>>;

const MIN_MODULUS_BITS = 2048;
/** OpenSSL refuses to compute with more. */
const MAX_MODULUS_BITS = 16_384;

/** Whether `signature` is one over `data`. Bytes and lengths, however wrong, make it false and never throw. */
export type Check = (data: Uint8Array, signature: Uint8Array) => boolean;

/** A public key made ready for one algorithm. */
export type Checks = Readonly<Record<VerifyInput['content'], Check>>;

/**
 * Makes an SPKI (DER, RFC 5280 section 4.1.2.7) ready for `algorithm`. Throws `VerifierError`: `key-rejected` for a key
 * that is malformed, followed by other bytes, of another kind or curve, or RSA under 2048 bits. The `digest` check of
 * Ed25519 throws `unsupported`: RFC 8032 has no such mode but a different algorithm (Ed25519ph).
 */
export function prepare(publicKey: Uint8Array, algorithm: SignatureAlgorithm): Checks {
  const key = parse(publicKey);
  switch (algorithm) {
    case 'ES256':
    case 'ES384':
    case 'ES512':
      return ecdsa(key, algorithm);
    case 'Ed25519':
      return ed25519(key);
    case 'RS256':
    case 'RS384':
    case 'RS512':
    case 'PS256':
    case 'PS384':
    case 'PS512':
      return rsa(key, algorithm);
    default:
      throw new VerifierError('unsupported', `no such algorithm: ${String(algorithm satisfies never)}`);
  }
}

/** Keys made ready, by the identity of their bytes' object, for as long as that object is in use elsewhere. */
export class CheckCache {
  readonly #keys = new WeakMap<Uint8Array, Map<SignatureAlgorithm, Checks>>();

  /** @throws VerifierError as `prepare` does */
  of(publicKey: Uint8Array, algorithm: SignatureAlgorithm): Checks {
    let ready = this.#keys.get(publicKey);
    if (ready === undefined) {
      ready = new Map();
      this.#keys.set(publicKey, ready);
    }
    let checks = ready.get(algorithm);
    if (checks === undefined) {
      checks = prepare(publicKey, algorithm);
      ready.set(algorithm, checks);
    }
    return checks;
  }
}

function parse(publicKey: Uint8Array): KeyObject {
  let key: KeyObject;
  let canonical: Buffer;
  try {
    // A view, so that the key's bytes are not copied.
    const der = Buffer.from(publicKey.buffer, publicKey.byteOffset, publicKey.byteLength);
    key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    canonical = key.export({ format: 'der', type: 'spki' });
  } catch (error) {
    throw new VerifierError('key-rejected', 'public key is not a well-formed SPKI', error);
  }
  // OpenSSL ignores what follows the structure.
  if (!canonical.equals(publicKey))
    throw new VerifierError('key-rejected', 'public key is not canonical DER');
  return key;
}

function ecdsa(key: KeyObject, algorithm: keyof typeof CURVES): Checks {
  const { curve, hash, fieldBytes, raw } = CURVES[algorithm];
  if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== curve) {
    throw new VerifierError('key-rejected', `${algorithm} needs a key on ${curve}`);
  }
  const options = { key, dsaEncoding: 'ieee-p1363' } as const;
  const { x, y } = key.export({ format: 'jwk' });
  const point = Buffer.concat([
    Buffer.from([0x04]),
    Buffer.from(x as string, 'base64url'),
    Buffer.from(y as string, 'base64url'),
  ]);
  return {
    message: (data, signature) =>
      signature.length === 2 * fieldBytes && verify(hash, data, options, signature),
    // Neither OpenSSL nor FIPS 186-5 asks for a low s, and tokens do not make one: both modes must agree.
    digest: (data, signature) =>
      signature.length === 2 * fieldBytes &&
      data.length === HASH_BYTES[hash] &&
      raw.verify(signature, data, point, { prehash: false, lowS: false, format: 'compact' }),
  };
}

function ed25519(key: KeyObject): Checks {
  if (key.asymmetricKeyType !== 'ed25519') {
    throw new VerifierError('key-rejected', 'Ed25519 needs an Ed25519 key');
  }
  return {
    message: (data, signature) => signature.length === 64 && verify(null, data, key, signature),
    digest: () => {
      throw new VerifierError('unsupported', 'Ed25519 signs messages, not digests');
    },
  };
}

function rsa(key: KeyObject, algorithm: keyof typeof RSA_HASH): Checks {
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  const exponent = key.asymmetricKeyDetails?.publicExponent ?? 0n;
  // 'rsa-pss' keys carry parameters of their own, which the token's key does not.
  if (key.asymmetricKeyType !== 'rsa') {
    throw new VerifierError('key-rejected', `${algorithm} needs an RSA key`);
  }
  if (bits < MIN_MODULUS_BITS || bits > MAX_MODULUS_BITS) {
    throw new VerifierError('key-rejected', `RSA modulus of ${bits} bits is out of range`);
  }
  // With an exponent of 1 the signature is the encoding itself: anyone could make one.
  if (exponent < 3n || exponent % 2n === 0n) {
    throw new VerifierError('key-rejected', 'RSA public exponent is not an odd number above 1');
  }
  const hash = RSA_HASH[algorithm];
  const isPss = algorithm.startsWith('PS');
  const modulus = Buffer.from(key.export({ format: 'jwk' }).n as string, 'base64url');
  const options = isPss
    ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: HASH_BYTES[hash] }
    : { key, padding: constants.RSA_PKCS1_PADDING };
  const rawOptions = { key, padding: constants.RSA_NO_PADDING };
  // RSAVP1 is defined below the modulus only (RFC 8017, section 5.2.2); OpenSSL would throw above it.
  const isInRange = (signature: Uint8Array) =>
    signature.length === modulus.length && Buffer.compare(signature, modulus) < 0;
  return {
    message: (data, signature) => isInRange(signature) && verify(hash, data, options, signature),
    digest: (data, signature) => {
      if (!isInRange(signature) || data.length !== HASH_BYTES[hash]) return false;
      const encoded = publicDecrypt(rawOptions, signature);
      return isPss ? isPssEncoding(encoded, bits - 1, data, hash) : isPkcs1Encoding(encoded, data, hash);
    },
  };
}
