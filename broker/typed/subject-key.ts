import { createPublicKey, hash, type KeyObject } from 'node:crypto';
import { invalid } from './invalid.ts';

const MAX_SPKI_BYTES = 2048;
const CURVES: { readonly [openssl: string]: readonly [name: string, bits: number] } = {
  prime256v1: ['P-256', 256],
  secp384r1: ['P-384', 384],
  secp521r1: ['P-521', 521],
};

/** A public key that may be certified. */
export interface SubjectKey {
  readonly key: KeyObject;
  /** SubjectPublicKeyInfo: one encoding for one key. */
  readonly spki: Uint8Array;
  readonly type: 'RSA' | 'P-256' | 'P-384' | 'P-521' | 'Ed25519';
  readonly bits: number;
}

/**
 * At least RSA 2048 (exponent 65537 or more), P-256 or Ed25519, in its one DER encoding: another encoding of a key
 * would be another certificate for what only looks like another key.
 *
 * @throws Failure REQUEST_INVALID
 */
export function subjectKey(spki: Uint8Array): SubjectKey {
  if (spki.length > MAX_SPKI_BYTES) throw invalid('public key is over 2048 bytes');
  let key: KeyObject;
  let exported: Buffer;
  try {
    key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
    // By way of its numbers: OpenSSL would give explicit curve parameters back as they came (RFC 5480, section 2.1.1).
    const numbers = createPublicKey({ key: key.export({ format: 'jwk' }), format: 'jwk' });
    exported = numbers.export({ format: 'der', type: 'spki' });
  } catch (cause) {
    throw invalid('public key is not a SubjectPublicKeyInfo that can be read', cause);
  }
  if (!exported.equals(spki)) throw invalid('public key is not in the usual DER encoding');
  return { key, spki: exported, ...strengthOf(key) };
}

function strengthOf(key: KeyObject): Pick<SubjectKey, 'type' | 'bits'> {
  const { modulusLength = 0, publicExponent = 0n, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'rsa':
      if (modulusLength < 2048 || modulusLength > 8192) {
        throw invalid(`RSA key has ${modulusLength} bits: 2048 to 8192 are certified`);
      }
      if (publicExponent < 65537n || publicExponent % 2n === 0n) {
        throw invalid('RSA key has a public exponent that is even or below 65537');
      }
      return { type: 'RSA', bits: modulusLength };
    case 'ec': {
      const curve = Object.hasOwn(CURVES, namedCurve) ? CURVES[namedCurve] : undefined;
      if (curve === undefined) throw invalid('EC key is not on P-256, P-384 or P-521');
      return { type: curve[0] as SubjectKey['type'], bits: curve[1] };
    }
    case 'ed25519':
      return { type: 'Ed25519', bits: 256 };
    default:
      throw invalid('public key is neither RSA, EC nor Ed25519');
  }
}

/** RFC 7093, section 2, method 1: the leftmost 160 bits of the SHA-256 of the key's bits. */
export function keyIdentifier(publicKeyBits: Uint8Array): Uint8Array {
  return hash('sha256', publicKeyBits, 'buffer').subarray(0, 20);
}
