/**
 * What the broker knows of a token: everything else (PKCS#11, sessions, the worker process) is behind this.
 *
 * Bytes are Uint8Array. Times are milliseconds of `performance.now()` in the broker (a monotonic clock); only
 * durations cross the pipe. An `ObjectRef` is a number that the broker chooses and the worker maps to an
 * objectHandle; it lives as long as one login of one worker.
 */

/** One place changes it: the supervisor of that token. */
export type TokenState = 'starting' | 'ready' | 'degraded' | 'draining' | 'blocked' | 'down';

/** Why a token did not do what it was asked. The broker's `failure.ts` maps each to a public reason. */
export type AdapterReason =
  /** the data does not fit the mechanism */
  | 'REQUEST_INVALID'
  /** did not decrypt; never counts against the token */
  | 'CIPHERTEXT_REJECTED'
  /** catalog and token disagree about the key */
  | 'KEY_UNUSABLE'
  | 'KEY_MISSING_ON_TOKEN'
  /** PIN wrong, locked or expired, or an attempt is already spent; only an operator's unblock helps */
  | 'TOKEN_LOGIN_BLOCKED'
  | 'SESSION_LOST'
  | 'SESSION_LIMIT'
  | 'QUEUE_FULL'
  | 'TOKEN_UNREACHABLE'
  | 'OPERATION_UNSUPPORTED'
  /** a programming error of ours, or a code that no table lists */
  | 'INVARIANT_BROKEN'
  | 'DEADLINE_EXCEEDED'
  | 'CANCELLED';

/** `no`: provably did not run, may be tried anywhere. `unknown`: it may have. */
export type Performed = 'no' | 'unknown';

export class AdapterError extends Error {
  override readonly name = 'AdapterError';
  readonly reason: AdapterReason;
  readonly performed: Performed;
  /** CKR_ name, or hex for vendor codes. For the operator's log and the audit entry, never for a caller. */
  readonly ckr: string | undefined;

  constructor(
    reason: AdapterReason,
    message: string,
    options: { performed: Performed; ckr?: string | undefined; cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.reason = reason;
    this.performed = options.performed;
    this.ckr = options.ckr;
  }
}

/** JOSE names (RFC 7518, RFC 9864). What a worker can be asked for; the module may have fewer. */
export const ALGORITHMS = [
  'ES256',
  'ES384',
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
  'RSA-OAEP-256',
] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

/** What an object is made for. One purpose, one usage flag pair. */
export type KeyPurpose = 'sign' | 'encrypt' | 'mac';

/** The shape of the key material; fixes template and mechanisms. */
export type KeySpec =
  | { readonly type: 'ec'; readonly curve: 'P-256' | 'P-384' | 'P-521' }
  | { readonly type: 'ed25519' }
  | { readonly type: 'rsa'; readonly modulusBits: number }
  | { readonly type: 'aes'; readonly bytes: 32 }
  | { readonly type: 'hmac'; readonly bytes: 32 | 48 | 64 };

/** The key that an algorithm needs. RSA: `modulusBits` of the caller's choice. */
export function specFor(algorithm: Algorithm, modulusBits: number): KeySpec {
  switch (algorithm) {
    case 'ES256':
      return { type: 'ec', curve: 'P-256' };
    case 'ES384':
      return { type: 'ec', curve: 'P-384' };
    case 'ES512':
      return { type: 'ec', curve: 'P-521' };
    case 'Ed25519':
      return { type: 'ed25519' };
    case 'RS256':
    case 'RS384':
    case 'RS512':
    case 'PS256':
    case 'PS384':
    case 'PS512':
    case 'RSA-OAEP-256':
      return { type: 'rsa', modulusBits };
    case 'HS256':
      return { type: 'hmac', bytes: 32 };
    case 'HS384':
      return { type: 'hmac', bytes: 48 };
    case 'HS512':
      return { type: 'hmac', bytes: 64 };
    case 'A256GCM':
      return { type: 'aes', bytes: 32 };
    default:
      return algorithm satisfies never;
  }
}

export type ObjectRef = number;

export interface TokenInfo {
  readonly serial: string;
  readonly label: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly firmware: string;
  readonly hardware: string;
  /** The key material lives in the worker's memory (SoftHSM, NSS). Shown in `status` and in entries. */
  readonly software: boolean;
  /** CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED. */
  readonly pinCountLow: boolean;
  readonly pinFinalTry: boolean;
  readonly pinLocked: boolean;
  /** Sessions the worker may hold: the configured number, or what the token grants if that is less. */
  readonly sessions: number;
  /** Algorithms whose mechanism the token lists. Whether they work is found by doing them. */
  readonly algorithms: readonly Algorithm[];
  /** SHA-256 of the module file, hex: part of the software generation. */
  readonly moduleSha256: string;
}

/** What an operation needs of an AbortSignal; a hot path may bring something lighter. */
export interface CancelSignal {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

export interface OperationContext {
  /** On the broker's monotonic clock; the call rejects with DEADLINE_EXCEEDED no later. */
  readonly deadline: number;
  /** Aborted when the caller has gone: work not yet started is not done. */
  readonly signal?: CancelSignal | undefined;
}

export interface SignOperation {
  readonly object: ObjectRef;
  readonly algorithm: Algorithm;
  /** The digest for ECDSA, RS and PS; the message for Ed25519 and HMAC. */
  readonly data: Uint8Array;
}

export interface EncryptResult {
  /** 12 bytes. */
  readonly iv: Uint8Array;
  /** Ciphertext and 16-byte tag. */
  readonly sealed: Uint8Array;
  /** Which of the worker's sessions did it, for `notSession` of the decryption that checks it. */
  readonly session: number;
}

export interface DecryptOperation {
  readonly object: ObjectRef;
  readonly algorithm: 'A256GCM' | 'RSA-OAEP-256';
  /** A256GCM: 12 bytes. RSA-OAEP-256: empty. */
  readonly iv: Uint8Array;
  readonly sealed: Uint8Array;
  readonly associatedData: Uint8Array;
  /** Use another session than this one, where there is another. */
  readonly notSession?: number | undefined;
}

/** Attributes as read back from the object; what differs from the template is not bound. */
export interface ObjectAttributes {
  readonly ckaId: string;
  readonly label: string;
  readonly spec: KeySpec;
  /** CKA_* usage flags that are true: sign, verify, encrypt, decrypt, wrap, unwrap, derive, sign-recover, verify-recover. */
  readonly usages: readonly string[];
  readonly sensitive: boolean;
  readonly extractable: boolean;
  readonly neverExtractable: boolean;
  readonly alwaysSensitive: boolean;
  readonly local: boolean;
  readonly modifiable: boolean;
  readonly copyable: boolean;
  readonly alwaysAuthenticate: boolean;
  /** SubjectPublicKeyInfo, DER, of the key pair; empty for secret keys. Claimed by the token: proven by use. */
  readonly publicKey: Uint8Array;
}

export interface ObjectQuery {
  /** Exactly one of the two. */
  readonly ckaId?: string | undefined;
  readonly label?: string | undefined;
  readonly kind: 'private' | 'secret';
}

export interface NewObject {
  /** CKA_ID in hex, 16 random bytes chosen by the broker. */
  readonly ckaId: string;
  readonly label: string;
  readonly spec: KeySpec;
  readonly purpose: KeyPurpose;
}

/** What a source token hands over for one destination. Nothing in it is in the clear. */
export interface WrappedReplica {
  readonly wrappedKek: Uint8Array;
  readonly wrappedKey: Uint8Array;
}

export interface WrappedImport {
  readonly object: NewObject;
  readonly blob: Uint8Array;
  readonly unwrappingKeyId: string;
  readonly mechanism: 'rsa-oaep-sha1' | 'rsa-oaep-sha256' | 'aes-kw' | 'aes-kwp';
  /**
   * SubjectPublicKeyInfo, DER, of a private key. Needed for EC and Ed25519: a token does not show the point of a
   * private object. A false one is found out when the key is proven by use.
   */
  readonly publicKey?: Uint8Array | undefined;
}

/** Key administration on one token; calls are serialised by the worker (object creation races in SoftHSM). */
export interface TokenAdministration {
  /** Finds one object and maps it to `ref`. KEY_MISSING_ON_TOKEN when none; KEY_UNUSABLE with the candidates when several. */
  bind(ref: ObjectRef, query: ObjectQuery): Promise<ObjectAttributes>;
  release(ref: ObjectRef): void;
  /** Makes a key on the token, never extractable. Resolves to what was read back. */
  generate(object: NewObject): Promise<ObjectAttributes>;
  /** A transport RSA pair of session objects on a destination; resolves to its public key (SPKI DER) and an id for `receiveReplica`. */
  openReplicaTransport(): Promise<{ readonly transport: number; readonly publicKey: Uint8Array }>;
  /**
   * On the source: makes an extractable *session* key, unwraps it into a non-extractable token object here, and
   * wraps it for each destination under a one-time key that travels wrapped to the destination's RSA key. Every
   * session object is destroyed before this resolves.
   */
  generateReplicated(
    object: NewObject,
    destinations: readonly Uint8Array[],
  ): Promise<{ readonly attributes: ObjectAttributes; readonly replicas: readonly WrappedReplica[] }>;
  /** On a destination. Closes the transport, whatever happens. */
  receiveReplica(transport: number, object: NewObject, replica: WrappedReplica): Promise<ObjectAttributes>;
  closeReplicaTransport(transport: number): Promise<void>;
  importWrapped(request: WrappedImport): Promise<ObjectAttributes>;
  /** Removes an object that a failed creation left behind. Resolves when it is gone. */
  destroy(query: ObjectQuery): Promise<void>;
}

export interface TokenAdapter {
  /** The name in lastmile.yaml. */
  readonly name: string;
  readonly state: TokenState;
  /** Known once the worker has reached the token, kept across restarts of the worker. */
  readonly info: TokenInfo | undefined;
  /** What an operator should do, in words; undefined when nothing. */
  readonly advice: string | undefined;
  /** Operations handed to the worker and not answered. */
  readonly inFlight: number;
  /** How many the worker runs at once: its sessions. */
  readonly capacity: number;
  /** Changes with every login: references bound under another value are void. */
  readonly loginGeneration: number;
  readonly worker: { readonly pid: number; readonly uid: number; readonly restarts: number } | undefined;
  readonly administration: TokenAdministration;

  sign(operation: SignOperation, context: OperationContext): Promise<Uint8Array>;
  /** AES-256-GCM. The IV is made in the worker: token random XOR the worker's CSPRNG. */
  encrypt(
    object: ObjectRef,
    plaintext: Uint8Array,
    associatedData: Uint8Array,
    context: OperationContext,
  ): Promise<EncryptResult>;
  decrypt(operation: DecryptOperation, context: OperationContext): Promise<Uint8Array>;
  /** Token random XOR the worker's CSPRNG. */
  random(bytes: number, context: OperationContext): Promise<Uint8Array>;

  /** Calls back after every change of `state` or `loginGeneration`. Returns how to stop. */
  watch(listener: (token: TokenAdapter) => void): () => void;
  /** The broker found that the token returned wrong bytes or broke a rule: it leaves service until `unblock`. */
  quarantine(finding: string): void;
  /** The operator says that the PIN is right now, or that a finding is dealt with. */
  unblock(): Promise<void>;
  /**
   * Gets no more work: it is `draining` whenever it would serve, over restarts of its worker, until `undrain`. What
   * it has is finished, and whoever asks it all the same (checkpoints, proofs of keys) is answered.
   */
  drain(): void;
  undrain(): void;
  close(): Promise<void>;
}

/**
 * Login attempts, durable before C_Login, and findings about tokens. Owned by the broker's state; a worker never writes.
 *
 * An attempt without an outcome (the worker or the machine died in between) counts as spent, unless the token's
 * own flags show that no wrong PIN was counted.
 */
export interface LoginLedger {
  /** Throws if the record cannot be made durable: then no login happens. */
  recordAttempt(tokenSerial: string, pinReference: string): void;
  recordOutcome(tokenSerial: string, pinReference: string, outcome: 'accepted' | 'rejected'): void;
  /** `spent`: an attempt was rejected, or has no outcome. */
  lookup(tokenSerial: string, pinReference: string): 'clear' | 'rejected' | 'unfinished';
  /** `tokens unblock`. */
  clear(tokenSerial: string): void;
  /** Why the token left service (`quarantine`, a broken rule): it stays out, over restarts. Throws if it is not durable. */
  recordFinding(tokenSerial: string, finding: string): void;
  finding(tokenSerial: string): string | undefined;
  /** `tokens unblock`, of a token that is out for this finding. */
  clearFinding(tokenSerial: string): void;
}

export type PinReference =
  | { readonly kind: 'file'; readonly path: string }
  /** systemd LoadCredential=: a file in $CREDENTIALS_DIRECTORY. */
  | { readonly kind: 'credential'; readonly name: string }
  /** Fixed argv, no shell; its standard output goes straight to the worker. */
  | { readonly kind: 'command'; readonly argv: readonly string[] };

export interface TokenConfig {
  readonly name: string;
  readonly module: string;
  readonly profile: string;
  /** Exactly one. */
  readonly serial?: string | undefined;
  readonly label?: string | undefined;
  readonly pin: PinReference;
  readonly sessions: number;
  /** Working directory of the worker: SoftHSM's configuration has relative paths. */
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Extra groups that the module needs kept (openCryptoki: pkcs11). */
  readonly groups: readonly string[];
  /** A call that takes longer means that the module hangs: the worker is killed and replaced. */
  readonly hangLimitMs: number;
}
