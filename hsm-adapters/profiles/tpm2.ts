import type { Profile } from './profile.ts';

/** tpm2-pkcs11 1.9 before a TPM 2.0. Keys do not leave the chip; it is slow, and wrong PINs lock all of it. */
export const tpm2: Profile = {
  name: 'tpm2',
  module: 'tpm2-pkcs11 1.9.0',
  tested: 'run',
  software: false,
  unfit: undefined,
  transport: { kind: 'local', says: 'the TPM of this machine, through its resource manager' },
  // RS*: the module signs them by decrypting, and so with keys that may do both. PS*: not with a digest. ES512: it
  // makes keys, and fails to sign with them.
  lacks: [
    'ES512',
    'Ed25519',
    'RS256',
    'RS384',
    'RS512',
    'PS256',
    'PS384',
    'PS512',
    'HS256',
    'HS384',
    'HS512',
    'A256GCM',
  ],
  makes: ['ec', 'rsa'],
  refinements: {},
  ambiguousRejections: { A256GCM: [], 'RSA-OAEP-256': ['CKR_GENERAL_ERROR', 'CKR_FUNCTION_FAILED'] },
  login: {
    pin: 'the user PIN',
    lockout: 'the third failure locks the TPM for everybody, until time or its owner resets it',
  },
  pinFlagsReliable: false,
  keyWrap: {
    aesKwp: undefined,
    aesKw: undefined,
    oaepHashes: [],
    wraps: [],
    unwraps: [],
    valueLenOnUnwrap: false,
    hidesUnwrappedLength: false,
  },
  omits: [],
  crossedUsages: true,
  libraryParameters: undefined,
  sessions: {
    readOnly: true,
    limit: 1024,
    threads: 'serialised',
    says: 'one command at a time; more sessions only queue',
  },
};
