import type { Profile } from './profile.ts';

/**
 * Entrust nShield, from its public documentation (nshielddocs.entrust.com: the PKCS #11 library's mechanisms, slots and
 * environment variables). Nobody has run this against a module.
 *
 * One token is one Operator Card Set or softcard. HSMs of one Security World have the same keys: it is the world that
 * replicates them, not key wrapping.
 */
export const nshield: Profile = {
  name: 'nshield',
  module: 'Entrust nShield, Security World 13',
  tested: 'untested on hardware',
  software: false,
  unfit: undefined,
  transport: {
    kind: 'authenticated and encrypted',
    says: 'the hardserver of this machine, and from there an encrypted channel to enrolled HSMs',
  },
  // HS*: over keys of types of the vendor's own, which are not generic secrets.
  lacks: ['HS256', 'HS384', 'HS512'],
  makes: ['ec', 'ed25519', 'rsa', 'aes'],
  refinements: {},
  ambiguousRejections: {
    A256GCM: ['CKR_GENERAL_ERROR', 'CKR_FUNCTION_FAILED'],
    'RSA-OAEP-256': ['CKR_GENERAL_ERROR', 'CKR_FUNCTION_FAILED'],
  },
  login: {
    pin: 'the passphrase of the softcard or Operator Card Set; with `preload`, it is not checked',
    lockout: 'not stated: reckon with one try',
  },
  pinFlagsReliable: false,
  keyWrap: {
    aesKwp: 0x210b,
    aesKw: undefined,
    oaepHashes: ['sha256', 'sha1'],
    wraps: [],
    unwraps: ['ec', 'rsa', 'aes'],
    valueLenOnUnwrap: false,
    hidesUnwrappedLength: false,
  },
  omits: [],
  crossedUsages: false,
  libraryParameters: undefined,
  sessions: {
    readOnly: true,
    limit: undefined,
    threads: 'safe',
    says: 'no number is stated; keys of other processes are seen with CKNFAST_ASSUME_SINGLE_PROCESS=0',
  },
};
