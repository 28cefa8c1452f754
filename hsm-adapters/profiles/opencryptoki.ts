import type { Profile } from './profile.ts';

/** openCryptoki 3.8 with its software token: RSA, HMAC and no more. Wrong PINs lock it. */
export const opencryptoki: Profile = {
  name: 'opencryptoki',
  module: 'openCryptoki 3.8.1, swtok',
  tested: 'run',
  software: true,
  unfit: undefined,
  transport: { kind: 'local', says: 'pkcsslotd on this machine, over shared memory of the group pkcs11' },
  lacks: ['ES256', 'ES384', 'ES512', 'Ed25519', 'A256GCM'],
  makes: ['rsa', 'hmac'],
  refinements: {},
  ambiguousRejections: { A256GCM: [], 'RSA-OAEP-256': ['CKR_FUNCTION_FAILED', 'CKR_GENERAL_ERROR'] },
  login: {
    pin: 'the user PIN, 4 to 8 bytes',
    lockout: 'the third wrong PIN locks it until the SO resets it',
  },
  pinFlagsReliable: true,
  keyWrap: {
    aesKwp: undefined,
    aesKw: undefined,
    oaepHashes: ['sha256', 'sha1'],
    wraps: [],
    // Keys that it unwraps come out extractable, whatever the template says.
    unwraps: [],
    valueLenOnUnwrap: false,
    hidesUnwrappedLength: false,
  },
  omits: ['CKA_COPYABLE', 'CKA_WRAP_WITH_TRUSTED'],
  crossedUsages: false,
  libraryParameters: undefined,
  sessions: {
    readOnly: true,
    limit: undefined,
    threads: 'safe',
    says: '5,000 were opened without meeting a limit',
  },
};
