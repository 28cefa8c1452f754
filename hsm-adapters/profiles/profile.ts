import type { AdapterReason, Algorithm } from '../adapter.ts';

/**
 * What differs between PKCS#11 modules. Data only, readable in the broker: nothing here loads a native add-on.
 */
export interface Profile {
  readonly name: string;
  /** The key material lives in the worker's memory: said wherever the token is named. */
  readonly software: boolean;
  /** Algorithms that do not work although the token lists their mechanism. */
  readonly lacks: readonly Algorithm[];
  /** Codes that mean something else here than in the table of `pkcs11/ckr.ts`, by CKR_ name. */
  readonly refinements: Readonly<Record<string, AdapterReason>>;
  /**
   * Codes with which the module answers a ciphertext that does not open, as it answers much else. They become
   * CIPHERTEXT_REJECTED once a known-good ciphertext still opens on that key.
   */
  readonly ambiguousRejections: Readonly<Record<'A256GCM' | 'RSA-OAEP-256', readonly string[]>>;
  /** CKF_USER_PIN_COUNT_LOW is set after a wrong PIN: without it, an attempt that ended in a crash was not counted. */
  readonly pinFlagsReliable: boolean;
  readonly keyWrap: {
    /** RFC 5649 (AES key wrap with padding): vendors disagree on its number. Undefined: not there. */
    readonly aesKwp: number | undefined;
    /** RFC 3394. */
    readonly aesKw: number | undefined;
    readonly oaepHashes: readonly ('sha1' | 'sha256')[];
    /** Key types that C_WrapKey takes. */
    readonly wraps: readonly ('ec' | 'ed25519' | 'rsa' | 'aes' | 'hmac')[];
    /** CKA_VALUE_LEN belongs into the template of an unwrapped secret key. */
    readonly valueLenOnUnwrap: boolean;
    /** CKA_VALUE_LEN of an unwrapped secret key reads 0: its length is taken from the blob, or found by trial. */
    readonly hidesUnwrappedLength: boolean;
  };
  /** CKA_COPYABLE is known to the module. */
  readonly copyable: boolean;
}
