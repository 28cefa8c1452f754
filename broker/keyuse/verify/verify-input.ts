/** JOSE names (RFC 7518, RFC 9864). PSS has a salt as long as the hash, and MGF1 of the same hash. */
export const SIGNATURE_ALGORITHMS = [
  'ES256',
  'ES384',
  'ES512',
  'Ed25519',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
] as const;
export type SignatureAlgorithm = (typeof SIGNATURE_ALGORITHMS)[number];

export interface VerifyInput {
  readonly algorithm: SignatureAlgorithm;
  /** SPKI, DER. Known by the object's identity: pass the same object for the same key, and never change its bytes. */
  readonly publicKey: Uint8Array;
  /** Whether `data` is the message, or the digest that the algorithm makes of it. Ed25519 knows messages only. */
  readonly content: 'message' | 'digest';
  readonly data: Uint8Array;
  /** ECDSA: r || s, each as long as the field. RSA: as long as the modulus. */
  readonly signature: Uint8Array;
}
