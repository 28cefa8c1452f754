import type { Profile } from './profile.ts';

/** SoftHSM 2.6.1: no hardware, no lock-out. Keys are files, and live in the worker's memory while it runs. */
export const softhsm2: Profile = {
  name: 'softhsm2',
  module: 'SoftHSM 2.6.1',
  tested: 'run',
  software: true,
  unfit: undefined,
  transport: { kind: 'in process', says: 'keys are files beside the module' },
  // OAEP takes SHA-1 alone: anything else is CKR_ARGUMENTS_BAD.
  lacks: ['RSA-OAEP-256'],
  makes: ['ec', 'ed25519', 'rsa', 'aes', 'hmac'],
  refinements: {
    // Unwrapping with the wrong key, or of a blob that was tampered with.
    CKR_WRAPPED_KEY_INVALID: 'REQUEST_INVALID',
  },
  ambiguousRejections: { A256GCM: ['CKR_GENERAL_ERROR'], 'RSA-OAEP-256': ['CKR_GENERAL_ERROR'] },
  login: {
    pin: 'the user PIN, 4 to 255 bytes',
    lockout: 'none: wrong PINs set CKF_USER_PIN_COUNT_LOW and nothing else',
  },
  pinFlagsReliable: true,
  keyWrap: {
    // Called AES_KEY_WRAP_PAD there, but it is RFC 5649; 0x210b is CKR_MECHANISM_INVALID.
    aesKwp: 0x210a,
    aesKw: 0x2109,
    oaepHashes: ['sha1'],
    wraps: ['ec', 'rsa', 'aes', 'hmac'],
    unwraps: ['ec', 'rsa', 'aes', 'hmac'],
    valueLenOnUnwrap: false,
    hidesUnwrappedLength: true,
  },
  omits: [],
  crossedUsages: false,
  libraryParameters: undefined,
  sessions: {
    readOnly: true,
    limit: undefined,
    threads: 'safe',
    says: '20,000 were opened without meeting a limit',
  },
};
