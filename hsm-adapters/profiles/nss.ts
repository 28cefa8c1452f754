import type { Profile } from './profile.ts';

/** NSS softokn 3.87: a software token of Firefox's making, with a database of its own. For development and tests. */
export const nss: Profile = {
  name: 'nss',
  module: 'NSS softokn 3.87',
  tested: 'run',
  software: true,
  unfit: 'NSS wraps keys that are not extractable, so that whoever may use one can take it away',
  transport: { kind: 'in process', says: 'keys are in a database beside the module' },
  lacks: ['Ed25519'],
  makes: ['ec', 'rsa', 'aes', 'hmac'],
  refinements: {},
  ambiguousRejections: { A256GCM: [], 'RSA-OAEP-256': ['CKR_ARGUMENTS_BAD'] },
  login: { pin: 'the password of the database', lockout: 'none' },
  pinFlagsReliable: false,
  keyWrap: {
    aesKwp: 0x210b,
    aesKw: 0x2109,
    oaepHashes: ['sha256', 'sha1'],
    // Unwrapped EC keys want an attribute of NSS's own; RSA keys come out with usages that nobody asked for.
    wraps: ['aes', 'hmac'],
    unwraps: ['aes', 'hmac'],
    valueLenOnUnwrap: false,
    hidesUnwrappedLength: false,
  },
  omits: ['CKA_COPYABLE', 'CKA_LOCAL'],
  crossedUsages: false,
  // Newer versions read this variable themselves; this one wants it in C_Initialize.
  libraryParameters: 'NSS_LIB_PARAMS',
  sessions: {
    readOnly: true,
    limit: undefined,
    threads: 'safe',
    says: '5,000 were opened without meeting a limit',
  },
};
