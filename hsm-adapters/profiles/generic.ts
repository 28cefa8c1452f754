import type { Profile } from './profile.ts';

/** A module that nobody has written a profile for: the standard taken at its word, nothing assumed beyond it. */
export const generic: Profile = {
  name: 'generic',
  module: 'any module of PKCS#11 2.40 or later',
  tested: 'unknown module',
  software: false,
  unfit: undefined,
  transport: { kind: 'unknown', says: 'how the module reaches its keys is not known' },
  lacks: [],
  makes: ['ec', 'ed25519', 'rsa', 'aes', 'hmac'],
  refinements: {},
  // The standard has better codes for it, and modules that answer so all the same. For a GCM tag none is known to.
  ambiguousRejections: { A256GCM: [], 'RSA-OAEP-256': ['CKR_GENERAL_ERROR', 'CKR_FUNCTION_FAILED'] },
  login: { pin: 'the user PIN', lockout: 'not known: reckon with one try' },
  pinFlagsReliable: false,
  keyWrap: {
    aesKwp: 0x210b,
    aesKw: 0x2109,
    oaepHashes: ['sha256', 'sha1'],
    wraps: ['ec', 'ed25519', 'rsa', 'aes', 'hmac'],
    unwraps: ['ec', 'ed25519', 'rsa', 'aes', 'hmac'],
    valueLenOnUnwrap: false,
    hidesUnwrappedLength: false,
  },
  omits: [],
  crossedUsages: false,
  libraryParameters: undefined,
  sessions: {
    readOnly: true,
    limit: undefined,
    threads: 'unknown',
    says: 'what the token itself states is kept to',
  },
};
