import { ALGORITHMS, type Algorithm, type KeyPurpose, type KeySpec } from '../adapter.ts';
import { CKG, CKM } from './constants.ts';
import { type Mechanism, mechanism } from './cryptoki.ts';

/**
 * The closed table from algorithm to mechanism. A request only ever picks a row.
 *
 * ECDSA, RS and PS take a digest: only the raw mechanisms are everywhere, and the broker logs and verifies the
 * digest that it sends. For RS the DigestInfo of RFC 8017, 9.2 is put in front of it here.
 */
export type DataRule =
  | { readonly kind: 'digest'; readonly bytes: number; readonly prefix?: Buffer }
  | { readonly kind: 'message' };

export interface SigningMechanism {
  readonly algorithm: Algorithm;
  readonly mechanism: Mechanism;
  readonly data: DataRule;
  /** What `spec` must be for this algorithm; the module may crash on another key type. */
  fits(spec: KeySpec): boolean;
  /** Of the signature or MAC, at most. */
  outputBytes(spec: KeySpec): number;
}

/** DER of DigestInfo up to the digest: SEQUENCE { SEQUENCE { hash, NULL }, OCTET STRING }. */
const DIGEST_INFO = {
  sha256: Buffer.from('3031300d060960864801650304020105000420', 'hex'),
  sha384: Buffer.from('3041300d060960864801650304020205000430', 'hex'),
  sha512: Buffer.from('3051300d060960864801650304020305000440', 'hex'),
} as const;

const COORDINATE_BYTES = { 'P-256': 32, 'P-384': 48, 'P-521': 66 } as const;

function ecdsa(
  algorithm: Algorithm,
  curve: 'P-256' | 'P-384' | 'P-521',
  digestBytes: number,
): SigningMechanism {
  return {
    algorithm,
    mechanism: mechanism(CKM.ECDSA),
    data: { kind: 'digest', bytes: digestBytes },
    fits: (spec) => spec.type === 'ec' && spec.curve === curve,
    outputBytes: () => 2 * COORDINATE_BYTES[curve],
  };
}

const isRsa = (spec: KeySpec) => spec.type === 'rsa';
const modulusBytes = (spec: KeySpec) => (spec.type === 'rsa' ? Math.ceil(spec.modulusBits / 8) : 0);

function pkcs1(algorithm: Algorithm, prefix: Buffer, digestBytes: number): SigningMechanism {
  return {
    algorithm,
    mechanism: mechanism(CKM.RSA_PKCS),
    data: { kind: 'digest', bytes: digestBytes, prefix },
    fits: isRsa,
    outputBytes: modulusBytes,
  };
}

function pss(algorithm: Algorithm, hashAlg: number, mgf: number, digestBytes: number): SigningMechanism {
  return {
    algorithm,
    mechanism: mechanism(CKM.RSA_PKCS_PSS, { type: 'pss', hashAlg, mgf, saltLen: digestBytes }),
    data: { kind: 'digest', bytes: digestBytes },
    fits: isRsa,
    outputBytes: modulusBytes,
  };
}

function hmac(algorithm: Algorithm, type: number, hashBytes: 32 | 48 | 64): SigningMechanism {
  return {
    algorithm,
    mechanism: mechanism(type),
    data: { kind: 'message' },
    // RFC 7518, 3.2: a key at least as long as the hash; SoftHSM refuses shorter ones.
    fits: (spec) => spec.type === 'hmac' && spec.bytes >= hashBytes,
    outputBytes: () => hashBytes,
  };
}

const SIGNING: Readonly<Partial<Record<Algorithm, SigningMechanism>>> = {
  ES256: ecdsa('ES256', 'P-256', 32),
  ES384: ecdsa('ES384', 'P-384', 48),
  ES512: ecdsa('ES512', 'P-521', 64),
  Ed25519: {
    algorithm: 'Ed25519',
    mechanism: mechanism(CKM.EDDSA),
    data: { kind: 'message' },
    fits: (spec) => spec.type === 'ed25519',
    outputBytes: () => 64,
  },
  RS256: pkcs1('RS256', DIGEST_INFO.sha256, 32),
  RS384: pkcs1('RS384', DIGEST_INFO.sha384, 48),
  RS512: pkcs1('RS512', DIGEST_INFO.sha512, 64),
  PS256: pss('PS256', CKM.SHA256, CKG.MGF1_SHA256, 32),
  PS384: pss('PS384', CKM.SHA384, CKG.MGF1_SHA384, 48),
  PS512: pss('PS512', CKM.SHA512, CKG.MGF1_SHA512, 64),
  HS256: hmac('HS256', CKM.SHA256_HMAC, 32),
  HS384: hmac('HS384', CKM.SHA384_HMAC, 48),
  HS512: hmac('HS512', CKM.SHA512_HMAC, 64),
};

/** Undefined for what does not sign: A256GCM and RSA-OAEP-256. */
export function signingMechanism(algorithm: Algorithm): SigningMechanism | undefined {
  return SIGNING[algorithm];
}

/** MACs are made with the same call, but by a key of another purpose. */
export function purposeOf(algorithm: Algorithm): KeyPurpose {
  switch (algorithm) {
    case 'ES256':
    case 'ES384':
    case 'ES512':
    case 'Ed25519':
    case 'RS256':
    case 'RS384':
    case 'RS512':
    case 'PS256':
    case 'PS384':
    case 'PS512':
      return 'sign';
    case 'HS256':
    case 'HS384':
    case 'HS512':
      return 'mac';
    case 'A256GCM':
    case 'RSA-OAEP-256':
      return 'encrypt';
    default:
      return algorithm satisfies never;
  }
}

/** What a key of this shape and purpose can do, by the table; the module may do less of it. */
export function algorithmsOf(spec: KeySpec, purpose: KeyPurpose): readonly Algorithm[] {
  return ALGORITHMS.filter((algorithm) => {
    if (purposeOf(algorithm) !== purpose) return false;
    if (algorithm === 'A256GCM') return spec.type === 'aes';
    if (algorithm === 'RSA-OAEP-256') return spec.type === 'rsa';
    return signingMechanism(algorithm)?.fits(spec) === true;
  });
}

export const RSA_OAEP_256: Mechanism = mechanism(CKM.RSA_PKCS_OAEP, {
  type: 'oaep',
  hashAlg: CKM.SHA256,
  mgf: CKG.MGF1_SHA256,
});

/** For wrapped keys in transit only: SoftHSM 2.6.1 has no other hash. No data of a caller ever meets it. */
export const RSA_OAEP_SHA1: Mechanism = mechanism(CKM.RSA_PKCS_OAEP, {
  type: 'oaep',
  hashAlg: CKM.SHA_1,
  mgf: CKG.MGF1_SHA1,
});

/** The mechanism that a token must list to have the algorithm. */
export function mechanismType(algorithm: Algorithm): number {
  if (algorithm === 'A256GCM') return CKM.AES_GCM;
  if (algorithm === 'RSA-OAEP-256') return CKM.RSA_PKCS_OAEP;
  return signingMechanism(algorithm)!.mechanism.mechanism;
}

export const GCM_IV_BYTES = 12;
export const GCM_TAG_BYTES = 16;
