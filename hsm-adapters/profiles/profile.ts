import type { AdapterReason, Algorithm, KeySpec } from '../adapter.ts';

/**
 * What differs between PKCS#11 modules. Data only, readable in the broker: nothing here loads a native add-on.
 *
 * A gap is declared, never discovered by a caller: what `lacks`, `makes` and `keyWrap` leave out is refused before
 * the token is asked, with OPERATION_UNSUPPORTED. For modules that can be run without hardware,
 * test/conformance/adapters proves both halves: what is declared missing is refused, everything else works.
 */
export interface Profile {
  readonly name: string;
  /** Whose module, and which version this was written for. */
  readonly module: string;
  /**
   * `run`: the conformance suite runs against the real module with every change. `untested on hardware`: written
   * from the vendor's public documentation, and nothing more.
   */
  readonly tested: 'run' | 'untested on hardware' | 'unknown module';
  /** The key material lives in the worker's memory: said wherever the token is named. */
  readonly software: boolean;
  /** Why no production key may live there, in words that follow the token's name; undefined when one may. */
  readonly unfit: string | undefined;
  /** The way from this process to the keys. */
  readonly transport: Transport;
  /** Algorithms that do not work, whether or not the token lists their mechanism. */
  readonly lacks: readonly Algorithm[];
  /** Key types that the module can make. Others can still be bound where their algorithms work. */
  readonly makes: readonly KeySpec['type'][];
  /** Codes that mean something else here than in the table of `pkcs11/ckr.ts`, by CKR_ name (hex for vendor's own). */
  readonly refinements: Readonly<Record<string, AdapterReason>>;
  /**
   * Codes with which the module answers a ciphertext that does not open, as it answers much else. They become
   * CIPHERTEXT_REJECTED once a known-good ciphertext still opens on that key.
   */
  readonly ambiguousRejections: Readonly<Record<'A256GCM' | 'RSA-OAEP-256', readonly string[]>>;
  readonly login: Login;
  /** CKF_USER_PIN_COUNT_LOW is set after a wrong PIN: without it, an attempt that ended in a crash was not counted. */
  readonly pinFlagsReliable: boolean;
  readonly keyWrap: {
    /** RFC 5649 (AES key wrap with padding): vendors disagree on its number. Undefined: not there. */
    readonly aesKwp: number | undefined;
    /** RFC 3394. */
    readonly aesKw: number | undefined;
    readonly oaepHashes: readonly ('sha1' | 'sha256')[];
    /** Key types that C_WrapKey takes, in a form that C_UnwrapKey of the same module takes back. */
    readonly wraps: readonly KeySpec['type'][];
    /** Key types that C_UnwrapKey takes from elsewhere: raw bytes of secret keys, PKCS #8 of private ones. */
    readonly unwraps: readonly KeySpec['type'][];
    /** CKA_VALUE_LEN belongs into the template of an unwrapped secret key. */
    readonly valueLenOnUnwrap: boolean;
    /** CKA_VALUE_LEN of an unwrapped secret key reads 0: its length is taken from the blob, or found by trial. */
    readonly hidesUnwrappedLength: boolean;
  };
  /**
   * Attributes that the module does not know, or does not keep for token objects. They are not set, and are told to
   * the broker at the value that a key made here would have: a gap that is declared here instead of shown on every key.
   */
  readonly omits: readonly OmittedAttribute[];
  /**
   * The token has one flag for CKA_SIGN and CKA_ENCRYPT and one for CKA_DECRYPT and CKA_VERIFY: public objects show
   * the wrong half of a pair, and only the private object's own two say anything.
   */
  readonly crossedUsages: boolean;
  /** The environment variable whose value is handed to C_Initialize as library parameters; undefined: none is. */
  readonly libraryParameters: string | undefined;
  readonly sessions: Sessions;
}

export type OmittedAttribute =
  | 'CKA_COPYABLE'
  | 'CKA_MODIFIABLE'
  | 'CKA_WRAP_WITH_TRUSTED'
  | 'CKA_SIGN_RECOVER'
  | 'CKA_VERIFY_RECOVER'
  | 'CKA_DERIVE'
  | 'CKA_ALWAYS_AUTHENTICATE'
  | 'CKA_LOCAL'
  | 'CKA_NEVER_EXTRACTABLE'
  | 'CKA_ALWAYS_SENSITIVE';

export interface Transport {
  /**
   * - `in process`: the module does the cryptography itself
   * - `local`: a device or daemon of this machine
   * - `authenticated and encrypted`: over a network, and each side proves who it is
   * - `unprotected`: neither; refused in production
   * - `unknown`: whoever configures it must know
   */
  readonly kind: 'in process' | 'local' | 'authenticated and encrypted' | 'unprotected' | 'unknown';
  readonly says: string;
}

export interface Login {
  /** What the PIN file holds. */
  readonly pin: string;
  /** What wrong PINs cost. */
  readonly lockout: string;
}

export interface Sessions {
  /** The module opens sessions that cannot write. Where it does not, every session is a read-write one. */
  readonly readOnly: boolean;
  /** Stated by the vendor, for one application; undefined: none is stated. */
  readonly limit: number | undefined;
  /** Calls on several sessions at once, from several threads of one process. */
  readonly threads: 'safe' | 'serialised' | 'unknown';
  readonly says: string;
}
