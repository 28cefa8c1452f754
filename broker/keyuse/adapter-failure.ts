import { AdapterError, type AdapterReason } from '../../hsm-adapters/adapter.ts';
import { Failure, type Reason } from './failure.ts';

/** What a caller is told of a token's trouble: a reason and one sentence, never a CKR name. */
const PUBLIC: Readonly<Record<AdapterReason, { reason: Reason; text: string }>> = {
  REQUEST_INVALID: {
    reason: 'REQUEST_INVALID',
    text: 'the token does not accept this input for this algorithm',
  },
  CIPHERTEXT_REJECTED: { reason: 'CIPHERTEXT_REJECTED', text: 'ciphertext rejected' },
  KEY_UNUSABLE: {
    reason: 'KEY_UNUSABLE',
    text: 'catalog and token disagree about the key: tell your operator',
  },
  KEY_MISSING_ON_TOKEN: { reason: 'KEY_UNUSABLE', text: 'the key is not on its token: tell your operator' },
  TOKEN_LOGIN_BLOCKED: {
    reason: 'TOKEN_LOGIN_BLOCKED',
    text: "the token's login is blocked: an operator must unblock it",
  },
  SESSION_LOST: { reason: 'TOKEN_UNREACHABLE', text: 'the token went away' },
  SESSION_LIMIT: { reason: 'BUSY', text: 'the token has no free session' },
  QUEUE_FULL: { reason: 'BUSY', text: 'too much work is waiting for the token' },
  TOKEN_UNREACHABLE: { reason: 'TOKEN_UNREACHABLE', text: 'no token that holds the key can be reached' },
  OPERATION_UNSUPPORTED: { reason: 'OPERATION_UNSUPPORTED', text: 'no token of the key can do this' },
  INVARIANT_BROKEN: { reason: 'INTERNAL', text: 'internal error' },
  DEADLINE_EXCEEDED: { reason: 'DEADLINE_EXCEEDED', text: 'the deadline passed' },
  CANCELLED: { reason: 'CANCELLED', text: 'the caller went away' },
};

export function toFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof AdapterError) {
    const { reason, text } = PUBLIC[error.reason];
    return new Failure(reason, text, { performed: error.performed, cause: error });
  }
  return new Failure('INTERNAL', 'internal error', { performed: 'unknown', cause: error });
}

/** Another session or token may do better, and the bytes are the same. */
export function isWorthAnotherAttempt(error: unknown): boolean {
  if (!(error instanceof AdapterError)) return false;
  switch (error.reason) {
    case 'TOKEN_UNREACHABLE':
    case 'SESSION_LOST':
    case 'SESSION_LIMIT':
    case 'QUEUE_FULL':
    case 'KEY_MISSING_ON_TOKEN':
      return true;
    default:
      return false;
  }
}
