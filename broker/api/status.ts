import { Failure, type Reason } from '../keyuse/failure.ts';
import { codec } from '../proto/codec.ts';
import type { Status } from '../proto/gen/google/rpc/Status.ts';

/**
 * The only place that turns a reason into a gRPC code. UNAUTHENTICATED comes from identity alone,
 * PERMISSION_DENIED from policy alone; UNKNOWN would be a bug.
 */
const CODES: Readonly<Record<Reason, number>> = {
  SVID_MISSING: 16,
  SVID_INVALID: 16,
  SVID_EXPIRED: 16,
  SVID_NOT_YET_VALID: 16,
  SVID_UNTRUSTED: 16,
  SVID_FOREIGN_TRUST_DOMAIN: 16,
  CREDENTIAL_FROZEN: 16,
  POLICY_DENIED: 7,
  APPROVAL_REQUIRED: 9,
  RATE_LIMITED: 8,
  REQUEST_INVALID: 3,
  CIPHERTEXT_REJECTED: 3,
  BUSY: 8,
  KEY_UNUSABLE: 9,
  OPERATION_UNSUPPORTED: 12,
  TOKEN_UNREACHABLE: 14,
  TOKEN_LOGIN_BLOCKED: 9,
  AUDIT_UNAVAILABLE: 14,
  AUDIT_INCONSISTENT: 15,
  DEADLINE_EXCEEDED: 4,
  CANCELLED: 1,
  INTERNAL: 13,
};

export interface WireStatus {
  readonly code: number;
  readonly message: string;
  readonly details: readonly { readonly type_url: string; readonly value: Uint8Array }[];
}

/** grpc.health.v1 wants NOT_FOUND for a service that it does not know; nothing else here ever says so. */
export const NO_SUCH_SERVICE: WireStatus = { code: 5, message: 'there is no such service here', details: [] };

const statusCodec = codec<Status, object>('google.rpc.Status');
const errorInfo = codec<object, object>('google.rpc.ErrorInfo');

export function codeOf(reason: Reason): number {
  return CODES[reason];
}

/** google.rpc.Status with ErrorInfo{reason, domain: "lastmile", metadata: {performed, …}}. */
export function wireStatus(failure: Failure): WireStatus {
  // Whether a token was asked would tell what was wrong with a ciphertext: that is for the entry alone.
  const performed = failure.reason === 'CIPHERTEXT_REJECTED' ? 'unknown' : failure.performed;
  const value = errorInfo.encode({
    reason: failure.reason,
    domain: 'lastmile',
    metadata: { ...failure.metadata, performed },
  });
  return {
    code: CODES[failure.reason],
    message: failure.message,
    details: [{ type_url: 'type.googleapis.com/google.rpc.ErrorInfo', value }],
  };
}

export function encodeStatus(status: WireStatus): Buffer {
  return statusCodec.encode(status as unknown as Status);
}

/** Anything unforeseen: "internal error" for the caller, the cause for the operator's log. */
export function asFailure(error: unknown): Failure {
  return error instanceof Failure
    ? error
    : new Failure('INTERNAL', 'internal error', { performed: 'unknown', cause: error });
}
