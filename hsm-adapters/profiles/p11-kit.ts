import type { Profile } from './profile.ts';

/**
 * p11-kit 0.24: another module, reached through a socket. What it passes on is less than what the module behind it
 * can do; the rest is CKR_MECHANISM_INVALID.
 */
export const p11Kit: Profile = {
  name: 'p11-kit',
  module: 'p11-kit-client 0.24.1 before SoftHSM 2.6.1',
  tested: 'run',
  software: true,
  unfit: undefined,
  transport: {
    kind: 'unprotected',
    says: 'whoever can write to the socket of p11-kit is believed, and what passes is in the clear, the PIN too',
  },
  lacks: ['Ed25519', 'A256GCM', 'RSA-OAEP-256'],
  makes: ['ec', 'rsa', 'aes', 'hmac'],
  refinements: {},
  ambiguousRejections: { A256GCM: [], 'RSA-OAEP-256': [] },
  login: { pin: 'the user PIN of the token behind it', lockout: 'that of the token behind it' },
  pinFlagsReliable: true,
  keyWrap: {
    aesKwp: undefined,
    aesKw: undefined,
    oaepHashes: ['sha1'],
    wraps: [],
    unwraps: ['hmac'],
    valueLenOnUnwrap: false,
    hidesUnwrappedLength: true,
  },
  omits: [],
  crossedUsages: false,
  libraryParameters: undefined,
  sessions: {
    readOnly: true,
    limit: undefined,
    threads: 'serialised',
    says: 'one connection carries all sessions; requests are pipelined on it',
  },
};
