/**
 * What one entry of the log tells. `README.md` in this folder has every field, its bounds and an example.
 *
 * A caller of the log hands over a draft; the sequencer adds `v`, `leaf`, `time`, `salt`, `seq` and `prev` and
 * makes the canonical bytes (RFC 8785).
 */
export const ENTRY_VERSION = 1;

export type EntryKind =
  /** a decision on a key use, allowed or refused, and what came of it */
  | 'key-use'
  /** repeats of a refusal whose first has its own entry: how many, from when to when */
  | 'refusals'
  /** a call to Admin that changed or tried to change something, and calls to Audit */
  | 'method'
  /** digests of build, lockfile, Node, modules, configuration, policy; each token's serial, firmware, mode */
  | 'software-generation'
  /** a key on a token was proven by use, or failed to be */
  | 'key-proof'
  /** a policy was activated, or a changed file refused */
  | 'policy'
  /** a token changed state, was quarantined or unblocked; a login was attempted */
  | 'token'
  /** an approval was asked for, given, refused or withdrawn; uses of one are entries of what was done */
  | 'approval'
  | 'freeze'
  | 'unfreeze'
  /** the log about itself: opened, recovered, counts lost in a crash */
  | 'log';

/** A digest as it stands in an entry: `bytes` always; `sha256` (base64url) only for what may be digested. */
export interface DigestedContent {
  readonly kind:
    | 'message'
    | 'digest'
    | 'signature'
    | 'ciphertext'
    | 'plaintext'
    | 'mac'
    | 'random'
    | 'data-key';
  readonly bytes: number;
  readonly sha256?: string | undefined;
}

export interface Attempt {
  /** Token serial. */
  readonly token: string;
  readonly outcome: 'ok' | 'failed' | 'mismatch';
  /** CKR name, or hex. */
  readonly ckr?: string | undefined;
  readonly reason?: string | undefined;
  readonly performed: 'no' | 'unknown' | 'yes';
  readonly micros: number;
}

/** JSON that goes into an entry: no undefined, no non-finite number, no fraction. */
export type EntryValue =
  | string
  | number
  | boolean
  | readonly EntryValue[]
  | { readonly [name: string]: EntryValue | undefined };

export interface EntryDraft {
  readonly kind: EntryKind;
  /** SPIFFE ID of who acted; `lastmile` for the broker itself. Each has its own `seq` and `prev`. */
  readonly subject: string;
  /** SHA-256 of the leaf certificate, hex. */
  readonly credential?: string | undefined;
  /** Address and port of the peer. */
  readonly peer?: string | undefined;
  /** `sign`, or `Admin.CreateKey`. */
  readonly operation: string;
  readonly key?: string | undefined;
  readonly version?: number | undefined;
  readonly algorithm?: string | undefined;
  readonly decision: 'allow' | 'deny';
  readonly rule?: string | undefined;
  /** Policy hash. */
  readonly policy?: string | undefined;
  /** A `Reason` when something was refused or failed. */
  readonly reason?: string | undefined;
  readonly performed?: 'no' | 'unknown' | 'yes' | undefined;
  readonly input?: DigestedContent | undefined;
  readonly output?: DigestedContent | undefined;
  readonly attempts?: readonly Attempt[] | undefined;
  /** Leaf index of the software generation in force. */
  readonly generation?: number | undefined;
  readonly latencyMicros?: number | undefined;
  readonly traceId?: string | undefined;
  /** Everything the decision saw that is not above, so that it can be replayed. At most 4 KiB as JSON. */
  readonly inputs?: { readonly [name: string]: EntryValue } | undefined;
  /** What a kind has beside the common fields; bounded by the kind. */
  readonly detail?: { readonly [name: string]: EntryValue | undefined } | undefined;
}

export interface Appended {
  readonly leafIndex: number;
}

export type AuditReason = 'AUDIT_UNAVAILABLE' | 'AUDIT_INCONSISTENT';

export class AuditError extends Error {
  override readonly name = 'AuditError';
  readonly reason: AuditReason;
  constructor(reason: AuditReason, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.reason = reason;
  }
}

/** What key use and administration need of the log. */
export interface AuditLog {
  /** First line of checkpoints. */
  readonly origin: string;
  /** Durable entries. */
  readonly size: number;
  /** Undefined while entries can be written; otherwise why not. Key use stops meanwhile. */
  readonly failure: AuditError | undefined;
  /**
   * Makes the entry durable. Resolves to its leaf index once it is on disk: only then may a result be released.
   * Rejects with AuditError; then the result is withheld.
   */
  append(draft: EntryDraft): Promise<Appended>;
  /**
   * A refusal: the first of its kind (subject, key, operation, reason) is appended like any entry; repeats within
   * the window are counted, resolve at once, and become one `refusals` entry when the window closes.
   */
  appendRefusal(draft: EntryDraft): Promise<Appended | undefined>;
  /** True while this subject has used up its quota of log bytes: its connections are to be closed. */
  isOverQuota(subject: string): boolean;
}
