import type { Profile } from './profile.ts';

/**
 * AWS CloudHSM with the PKCS #11 library of Client SDK 5, from its user guide (docs.aws.amazon.com/cloudhsm: supported
 * mechanisms, key attributes, known issues, quotas, end-to-end encryption). Nobody has run this against a cluster.
 *
 * One token is one cluster: keys are the same on all its HSMs, and the library spreads the load itself.
 */
export const cloudhsm: Profile = {
  name: 'cloudhsm',
  module: 'AWS CloudHSM, Client SDK 5',
  tested: 'untested on hardware',
  software: false,
  unfit: undefined,
  transport: {
    kind: 'authenticated and encrypted',
    says: 'TLS to the HSM, which proves itself by the cluster’s certificate',
  },
  // A256GCM: the HSM makes the IV and writes it where the caller's was, after the caller has let go of it.
  lacks: ['Ed25519', 'A256GCM'],
  makes: ['ec', 'rsa', 'aes', 'hmac'],
  refinements: {},
  ambiguousRejections: { A256GCM: [], 'RSA-OAEP-256': ['CKR_GENERAL_ERROR', 'CKR_FUNCTION_FAILED'] },
  login: {
    pin: 'name and password of a crypto user, with a colon between: `name:password`',
    lockout: 'not stated: reckon with one try',
  },
  pinFlagsReliable: false,
  keyWrap: {
    // CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD and _NO_PAD.
    aesKwp: 0x8000_216f,
    aesKw: 0x8000_2109,
    oaepHashes: ['sha256', 'sha1'],
    wraps: ['ec', 'rsa', 'aes', 'hmac'],
    unwraps: ['ec', 'rsa', 'aes', 'hmac'],
    valueLenOnUnwrap: false,
    hidesUnwrappedLength: false,
  },
  // CKA_MODIFIABLE may only be left at its default: whoever has the PIN can change what a key may do.
  omits: [
    'CKA_COPYABLE',
    'CKA_MODIFIABLE',
    'CKA_SIGN_RECOVER',
    'CKA_VERIFY_RECOVER',
    'CKA_ALWAYS_AUTHENTICATE',
  ],
  crossedUsages: false,
  libraryParameters: undefined,
  sessions: {
    readOnly: false,
    limit: undefined,
    threads: 'safe',
    says: 'no number is stated; 900 clients of a cluster at once; MACs of at most 16,224 bytes',
  },
};
