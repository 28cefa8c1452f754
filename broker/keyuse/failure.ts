/**
 * The closed list of reasons that a caller of key use or administration can be told (README.md, "Errors").
 * `api/status.ts` alone turns them into gRPC codes; a test walks all of them.
 */
export const REASONS = [
  'SVID_MISSING',
  'SVID_INVALID',
  'SVID_EXPIRED',
  'SVID_NOT_YET_VALID',
  'SVID_UNTRUSTED',
  'SVID_FOREIGN_TRUST_DOMAIN',
  'CREDENTIAL_FROZEN',
  'POLICY_DENIED',
  'APPROVAL_REQUIRED',
  'RATE_LIMITED',
  'REQUEST_INVALID',
  'CIPHERTEXT_REJECTED',
  'BUSY',
  'KEY_UNUSABLE',
  'OPERATION_UNSUPPORTED',
  'TOKEN_UNREACHABLE',
  'TOKEN_LOGIN_BLOCKED',
  'AUDIT_UNAVAILABLE',
  'AUDIT_INCONSISTENT',
  'DEADLINE_EXCEEDED',
  'CANCELLED',
  'INTERNAL',
] as const;
export type Reason = (typeof REASONS)[number];

/**
 * Whether the key was used: `no`, `unknown`, or `yes` when the operation ran and its result is withheld
 * (it did not verify, or its entry could not be written).
 */
export type PerformedUse = 'no' | 'unknown' | 'yes';

export class Failure extends Error {
  override readonly name = 'Failure';
  readonly reason: Reason;
  readonly performed: PerformedUse;
  /** For ErrorInfo: only strings that the caller may see. */
  readonly metadata: Readonly<Record<string, string>>;

  constructor(
    reason: Reason,
    message: string,
    options: { performed?: PerformedUse; metadata?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.reason = reason;
    this.performed = options.performed ?? 'no';
    this.metadata = options.metadata ?? {};
  }
}
