import type { ServiceError } from '@grpc/grpc-js';
// Not from the package's main file: the command line loads this long before it needs a connection, if ever.
import { Status as grpcStatus } from '@grpc/grpc-js/build/src/constants.js';
import { codec } from '../proto/codec.ts';
import type { ErrorInfo, ErrorInfo__Output } from '../proto/gen/google/rpc/ErrorInfo.ts';
import type { Status, Status__Output } from '../proto/gen/google/rpc/Status.ts';

/** Why the broker refused or failed: the closed list of the public contract (README.md, "Errors"). */
export const BROKER_REASONS = [
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
export type BrokerReason = (typeof BROKER_REASONS)[number];

/** What only this side of the connection can find out. */
export const CLIENT_REASONS = [
  /** No connection could be made; nothing was sent. */
  'BROKER_UNREACHABLE',
  /** The server is not the broker that was named: another SPIFFE ID, or a chain outside the trust bundle. */
  'BROKER_UNTRUSTED',
  /** The connection broke after the request was sent: whether the key was used is not known. */
  'CONNECTION_LOST',
  /** The server does not speak what this client speaks. */
  'PROTOCOL_MISMATCH',
  /** The client was closed. */
  'CLIENT_CLOSED',
] as const;
export type ClientReason = (typeof CLIENT_REASONS)[number];

export type LastmileReason = BrokerReason | ClientReason;

/** Name of a gRPC status code, such as `PERMISSION_DENIED`. */
export type GrpcCode = Exclude<keyof typeof grpcStatus, 'OK' | number>;

/**
 * Whether the key was used. `unknown`: it may have been, and only the identical request may be tried again.
 * `yes`: it was, and the result was withheld.
 */
export type Performed = 'no' | 'unknown' | 'yes';

/** The only error that calls of this client reject with. */
export class LastmileError extends Error {
  override readonly name: string = 'LastmileError';
  readonly reason: LastmileReason;
  /**
   * The gRPC status code's name, not its number: gRPC servers copy an integer `code` of any error that a handler
   * throws onto the wire as their own answer.
   */
  readonly code: GrpcCode;
  readonly performed: Performed;
  /** What ErrorInfo carried beside the reason: `retry_after`, `approval`. */
  readonly metadata: Readonly<Record<string, string>>;

  constructor(
    reason: LastmileReason,
    message: string,
    options: {
      code?: GrpcCode;
      performed: Performed;
      metadata?: Readonly<Record<string, string>>;
      cause?: unknown;
    },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.reason = reason;
    this.code = options.code ?? 'UNAVAILABLE';
    this.performed = options.performed;
    this.metadata = options.metadata ?? {};
  }
}

const TRANSIENT: ReadonlySet<LastmileReason> = new Set([
  'BUSY',
  'TOKEN_UNREACHABLE',
  'AUDIT_UNAVAILABLE',
  'BROKER_UNREACHABLE',
]);

/** True when the very same call may be made again: it provably did not run, and time alone may cure it. */
export function isRetryable(error: unknown): error is LastmileError {
  return error instanceof LastmileError && error.performed === 'no' && TRANSIENT.has(error.reason);
}

const RETRY_AFTER = /^(\d{1,9}(?:\.\d{1,9})?)s$/;

/** Milliseconds after which a limit of the policy has room again; undefined: not refused by one, or used up for good. */
export function retryAfterMs(error: unknown): number | undefined {
  if (!(error instanceof LastmileError) || error.reason !== 'RATE_LIMITED' || error.performed !== 'no')
    return undefined;
  const [, seconds] = RETRY_AFTER.exec(error.metadata['retry_after'] ?? '') ?? [];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

const statusCodec = codec<Status, Status__Output>('google.rpc.Status');
const errorInfoCodec = codec<ErrorInfo, ErrorInfo__Output>('google.rpc.ErrorInfo');
const ERROR_INFO = 'google.rpc.ErrorInfo';
const brokerReasons: ReadonlySet<string> = new Set(BROKER_REASONS);

function codeName(code: number): GrpcCode {
  const name = grpcStatus[code];
  return name === undefined || name === 'OK' ? 'UNKNOWN' : (name as GrpcCode);
}

/** What the broker itself said about a failure: `google.rpc.Status` with an ErrorInfo of domain `lastmile`. */
export function fromStatus(status: Status__Output, cause?: unknown): LastmileError {
  const code = codeName(status.code);
  for (const detail of status.details) {
    if (!detail.type_url.endsWith(`/${ERROR_INFO}`)) continue;
    const info = errorInfoCodec.decode(detail.value);
    if (info.domain !== 'lastmile') continue;
    // A missing or new value of `performed` is read as the worse of what it may mean: no retry.
    const { performed: said, ...metadata } = info.metadata;
    const performed: Performed = said === 'no' || said === 'yes' ? said : 'unknown';
    if (!brokerReasons.has(info.reason)) {
      return new LastmileError('INTERNAL', status.message, {
        code,
        performed,
        metadata: { ...metadata, reason: info.reason },
        cause,
      });
    }
    return new LastmileError(info.reason as BrokerReason, status.message, {
      code,
      performed,
      metadata,
      cause,
    });
  }
  return withoutDetails(code, status.message, cause);
}

/** @param error what grpc-js reports of a call that was handed to a connection */
export function fromServiceError(error: ServiceError): LastmileError {
  const [bytes] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (bytes !== undefined && typeof bytes !== 'string') {
    try {
      return fromStatus(statusCodec.decode(bytes), error);
    } catch (cause) {
      return new LastmileError('INTERNAL', `${error.details} (its details cannot be read)`, {
        code: codeName(error.code),
        performed: 'unknown',
        cause,
      });
    }
  }
  return withoutDetails(codeName(error.code), error.details, error);
}

/** grpc-js speaks these itself; the broker never answers without details. */
function withoutDetails(code: GrpcCode, details: string, cause: unknown): LastmileError {
  switch (code) {
    case 'UNAVAILABLE': {
      // Two texts of grpc-js prove that the request was never processed: it had no connection to put it on, or
      // the server reset the stream with REFUSED_STREAM (RFC 9113, section 8.7).
      const unsent =
        details.startsWith('No connection established') || details === 'Stream refused by server';
      return unsent
        ? new LastmileError('BROKER_UNREACHABLE', details, { code, performed: 'no', cause })
        : new LastmileError('CONNECTION_LOST', `the connection to the broker broke: ${details}`, {
            code,
            performed: 'unknown',
            cause,
          });
    }
    case 'DEADLINE_EXCEEDED':
      return new LastmileError('DEADLINE_EXCEEDED', 'no answer before the deadline', {
        code,
        performed: 'unknown',
        cause,
      });
    case 'CANCELLED':
      return new LastmileError('CANCELLED', 'the call was cancelled', { code, performed: 'unknown', cause });
    case 'UNIMPLEMENTED':
      return new LastmileError('PROTOCOL_MISMATCH', 'the broker does not know this method', {
        code,
        performed: 'no',
        cause,
      });
    default:
      return new LastmileError('INTERNAL', details, { code, performed: 'unknown', cause });
  }
}
