import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  privateDecrypt,
  privateEncrypt,
  publicEncrypt,
  randomBytes,
  sign,
} from 'node:crypto';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import type {
  Algorithm,
  DecryptOperation,
  KeySpec,
  SignOperation,
  WrappedReplica,
} from '../../hsm-adapters/adapter.ts';

/** What a key is made of: a private key, or the bytes of a secret one. */
export type Material = KeyObject | Buffer;

type HashName = 'sha256' | 'sha384' | 'sha512';

const CURVES = { ES256: p256, ES384: p384, ES512: p521 } as const;
/** DigestInfo without the digest (RFC 8017, section 9.2, note 1). */
const DIGEST_INFO: Readonly<Record<HashName, Buffer>> = {
  sha256: Buffer.from('3031300d060960864801650304020105000420', 'hex'),
  sha384: Buffer.from('3041300d060960864801650304020205000430', 'hex'),
  sha512: Buffer.from('3051300d060960864801650304020305000440', 'hex'),
};

/** Every bit of it the same but one. */
export function flipped(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  copy[copy.length >> 1]! ^= 1;
  return copy;
}

export function makeMaterial(spec: KeySpec): Material {
  switch (spec.type) {
    case 'ec':
      return generateKeyPairSync('ec', { namedCurve: spec.curve }).privateKey;
    case 'ed25519':
      return generateKeyPairSync('ed25519').privateKey;
    case 'rsa':
      return generateKeyPairSync('rsa', { modulusLength: spec.modulusBits }).privateKey;
    case 'aes':
    case 'hmac':
      return randomBytes(spec.bytes);
    default:
      return spec satisfies never;
  }
}

/** Bytes that a mechanism takes; undefined where it takes a message. */
export function inputBytes(algorithm: Algorithm): number | undefined {
  const size = /^(?:ES|RS|PS)(256|384|512)$/.exec(algorithm)?.[1];
  return size === undefined ? undefined : Number(size) / 8;
}

/** As a token does it: digests in, raw signatures out. */
export function signWith(material: Material, { algorithm, data }: SignOperation): Buffer {
  if (algorithm.startsWith('HS')) {
    return createHmac(hashOf(algorithm), material as Buffer)
      .update(data)
      .digest();
  }
  const key = material as KeyObject;
  switch (algorithm) {
    case 'ES256':
    case 'ES384':
    case 'ES512': {
      const { d } = key.export({ format: 'jwk' });
      const scalar = Buffer.from(d!, 'base64url');
      return Buffer.from(CURVES[algorithm].sign(data, scalar, { prehash: false, lowS: false }));
    }
    case 'Ed25519':
      return sign(null, data, key);
    case 'RS256':
    case 'RS384':
    case 'RS512':
      return privateEncrypt(
        { key, padding: constants.RSA_PKCS1_PADDING },
        Buffer.concat([DIGEST_INFO[hashOf(algorithm)], data]),
      );
    case 'PS256':
    case 'PS384':
    case 'PS512':
      return privateEncrypt(
        { key, padding: constants.RSA_NO_PADDING },
        pssEncoding(hashOf(algorithm), data, key.asymmetricKeyDetails!.modulusLength!),
      );
    default:
      throw new Error(`${algorithm} does not sign`);
  }
}

/** @throws when it does not decrypt */
export function openWith(
  material: Material,
  { algorithm, iv, sealed, associatedData }: DecryptOperation,
): Buffer {
  if (algorithm === 'RSA-OAEP-256') {
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    return privateDecrypt({ key: material as KeyObject, padding, oaepHash: 'sha256' }, sealed);
  }
  const decipher = createDecipheriv('aes-256-gcm', material as Buffer, iv, { authTagLength: 16 });
  decipher.setAAD(associatedData);
  decipher.setAuthTag(sealed.subarray(sealed.length - 16));
  return Buffer.concat([decipher.update(sealed.subarray(0, sealed.length - 16)), decipher.final()]);
}

export function sealWith(key: Buffer, iv: Buffer, plaintext: Uint8Array, associatedData: Uint8Array): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, iv);
  cipher.setAAD(associatedData);
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

// Made once: generating RSA keys is slow, and what travels between two fakes is nobody's secret.
let carrier: { readonly publicKey: KeyObject; readonly privateKey: KeyObject } | undefined;

export function transportPublicKey(): Buffer {
  carrier ??= generateKeyPairSync('rsa', { modulusLength: 2048 });
  return carrier.publicKey.export({ type: 'spki', format: 'der' });
}

export function wrapReplica(material: Material, destination: Uint8Array): WrappedReplica {
  const kek = randomBytes(32);
  const clear = Buffer.isBuffer(material)
    ? Buffer.concat([Buffer.from([0]), material])
    : Buffer.concat([Buffer.from([1]), material.export({ type: 'pkcs8', format: 'der' })]);
  return {
    wrappedKek: publicEncrypt({ key: Buffer.from(destination), format: 'der', type: 'spki' }, kek),
    wrappedKey: sealWith(kek, Buffer.alloc(12), clear, Buffer.alloc(0)),
  };
}

export function unwrapReplica({ wrappedKek, wrappedKey }: WrappedReplica): Material {
  const kek = privateDecrypt(carrier!.privateKey, wrappedKek);
  const clear = openWith(kek, {
    object: 0,
    algorithm: 'A256GCM',
    iv: Buffer.alloc(12),
    sealed: wrappedKey,
    associatedData: Buffer.alloc(0),
  });
  if (clear[0] === 0) return clear.subarray(1);
  return createPrivateKey({ key: clear.subarray(1), format: 'der', type: 'pkcs8' });
}

function hashOf(algorithm: Algorithm): HashName {
  return `sha${algorithm.slice(2)}` as HashName;
}

/** EMSA-PSS-ENCODE (RFC 8017, section 9.1.1) with a salt as long as the hash; the modulus has whole bytes. */
function pssEncoding(name: HashName, digest: Uint8Array, modulusBits: number): Buffer {
  const salt = randomBytes(digest.length);
  const h = hash(name, Buffer.concat([Buffer.alloc(8), digest, salt]), 'buffer');
  const db = Buffer.alloc(modulusBits / 8 - h.length - 1);
  db[db.length - salt.length - 1] = 1;
  salt.copy(db, db.length - salt.length);
  for (let at = 0, counter = 0; at < db.length; counter++) {
    const seed = Buffer.alloc(4);
    seed.writeUInt32BE(counter);
    for (const byte of hash(name, Buffer.concat([h, seed]), 'buffer')) {
      if (at < db.length) db[at++]! ^= byte;
    }
  }
  db[0]! &= 0x7f;
  return Buffer.concat([db, h, Buffer.from([0xbc])]);
}
