import { constants, createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { SignatureAlgorithm, VerifyInput } from '../../broker/keyuse/verify/verify-input.ts';

/** Questions for whoever verifies signatures: by `node:crypto`, with a key in memory for each algorithm. */

interface Pair {
  readonly privateKey: KeyObject;
  readonly spki: Uint8Array;
}
const pairOf = (pair: { publicKey: KeyObject; privateKey: KeyObject }): Pair => ({
  privateKey: pair.privateKey,
  spki: new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' })),
});
export const ec = (namedCurve: string): Pair => pairOf(generateKeyPairSync('ec', { namedCurve }));
export const rsa = (modulusLength: number): Pair => pairOf(generateKeyPairSync('rsa', { modulusLength }));

export const rsa2048: Pair = rsa(2048);
export const PAIRS: Readonly<Record<SignatureAlgorithm, Pair>> = {
  ES256: ec('P-256'),
  ES384: ec('P-384'),
  ES512: ec('P-521'),
  Ed25519: pairOf(generateKeyPairSync('ed25519')),
  RS256: rsa2048,
  RS384: rsa2048,
  RS512: rsa2048,
  PS256: rsa2048,
  PS384: rsa2048,
  PS512: rsa2048,
};

const hashOf = (algorithm: SignatureAlgorithm): string => `sha${algorithm.slice(2)}`;

/** A good signature over the message. */
export function signed(
  algorithm: SignatureAlgorithm,
  message: Uint8Array,
  pair = PAIRS[algorithm],
): VerifyInput {
  const key = pair.privateKey;
  const hash = algorithm === 'Ed25519' ? null : hashOf(algorithm);
  const signature = algorithm.startsWith('PS')
    ? sign(hash, message, {
        key,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      })
    : sign(hash, message, { key, dsaEncoding: 'ieee-p1363' });
  return { algorithm, publicKey: pair.spki, content: 'message', data: message, signature };
}

/** The same signature, asked about with what its algorithm makes of the message. */
export const overDigest = (input: VerifyInput): VerifyInput => ({
  ...input,
  content: 'digest',
  data: createHash(hashOf(input.algorithm)).update(input.data).digest(),
});

export function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
}
