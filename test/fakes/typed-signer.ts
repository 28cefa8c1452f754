import { constants, createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import type { SigningKey, TypedRequest } from '../../broker/typed/typed-request.ts';

/** A key in memory in the place of a token's: signs what a typed request builds, as key use does. */
export interface TypedSigner {
  readonly key: SigningKey;
  readonly publicKey: KeyObject;
  sign(request: TypedRequest): Promise<Uint8Array>;
}

const CURVES: { readonly [algorithm: string]: string } = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };

export function typedSigner(algorithm: string): TypedSigner {
  const { publicKey, privateKey } = pairFor(algorithm);
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  const key: SigningKey = {
    algorithm,
    publicKey: spki,
    kid: createHash('sha256').update(spki).digest('base64url'),
    random: async (length) => randomBytes(length),
  };
  return {
    key,
    publicKey,
    sign: async (request) => {
      const { content, finish } = await request.build(key);
      return finish(signatureOf(algorithm, privateKey, content.bytes));
    },
  };
}

function pairFor(algorithm: string): { publicKey: KeyObject; privateKey: KeyObject } {
  const namedCurve = CURVES[algorithm];
  if (namedCurve !== undefined) return generateKeyPairSync('ec', { namedCurve });
  if (algorithm === 'Ed25519') return generateKeyPairSync('ed25519');
  return generateKeyPairSync('rsa', { modulusLength: 2048 });
}

function signatureOf(algorithm: string, key: KeyObject, message: Uint8Array): Uint8Array {
  if (algorithm === 'Ed25519') return sign(null, message, key);
  const padding = algorithm.startsWith('PS')
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    : {};
  return sign(`sha${algorithm.slice(2)}`, message, { key, dsaEncoding: 'ieee-p1363', ...padding });
}
