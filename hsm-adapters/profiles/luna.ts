import type { Profile } from './profile.ts';

/**
 * Thales Luna Network HSM 7, from its public documentation (thalesdocs.com/gphsm/luna: partition roles and failed
 * logins, HA performance, mechanisms). Nobody has run this against an appliance.
 *
 * One token is one partition. An HA group of the client is one token too, and then fails over below Lastmile: two
 * partitions configured as two tokens show more, and are what is meant here.
 */
export const luna: Profile = {
  name: 'luna',
  module: 'Thales Luna Network HSM 7',
  tested: 'untested on hardware',
  software: false,
  unfit: undefined,
  transport: {
    kind: 'authenticated and encrypted',
    says: 'NTLS or STC: TLS with certificates of both sides, or a channel that ends in the partition',
  },
  // Ed25519: under numbers of the vendor's own. A256GCM: in FIPS mode the HSM makes the IV and appends it.
  lacks: ['Ed25519', 'A256GCM'],
  makes: ['ec', 'rsa', 'aes', 'hmac'],
  refinements: {},
  ambiguousRejections: { A256GCM: [], 'RSA-OAEP-256': ['CKR_GENERAL_ERROR', 'CKR_FUNCTION_FAILED'] },
  login: {
    pin: 'the password, or the challenge secret, of the partition’s Crypto Officer or Crypto User',
    lockout: 'ten in a row lock Crypto Officer and Crypto User, fewer where partition policy 20 says so',
  },
  pinFlagsReliable: false,
  keyWrap: {
    // CKM_AES_KWP and CKM_AES_KW of the vendor.
    aesKwp: 0x8000_0171,
    aesKw: 0x8000_0170,
    oaepHashes: ['sha256', 'sha1'],
    // A partition that clones keys does not wrap private ones, and cloning is the vendor's tool to use.
    wraps: ['aes', 'hmac'],
    unwraps: ['ec', 'rsa', 'aes', 'hmac'],
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
    says: 'an HSM is best used by about 30 threads at once',
  },
};
