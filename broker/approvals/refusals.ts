/** How approvals refuse: what a caller is told, and what becomes of it when the state is away. Pure; owns nothing. */
import { AuditError } from '../audit/entry.ts';
import { Failure } from '../keyuse/failure.ts';
import type { ApprovalRow, ApprovalStore } from '../state/approval-rows.ts';
import type { LiveApproval } from './live-approvals.ts';

/** Why an approval was closed, as its row says it. */
export const CHANGED = 'the rule or the key has changed';
export const IS_OVER = 'its time is over';
export const SET_BACK = 'somebody else has set its uses back';
export const PUT_BACK = 'the state was put back';

/** The same for an approval that is not there and for somebody else's: neither is told from the other. */
const NO_SUCH = 'there is no such approval that you may see';
const MAX_REASON_BYTES = 500;

export function required(id: string, message: string): Failure {
  return new Failure('APPROVAL_REQUIRED', message, { metadata: { approval: id } });
}

/** To who waits for it, of an approval that is open no longer. @throws Failure BUSY when the state is away */
export function requiredOfClosed(id: string, store: Pick<ApprovalStore, 'find'>): Failure {
  const row = reachable(() => store.find(id));
  if (row === undefined) return required(id, 'there is no such approval');
  return required(
    id,
    row.reason === '' ? `the approval is ${row.state}` : `the approval is ${row.state}: ${row.reason}`,
  );
}

/** How far an approval is from what it takes. */
export function standing({ quorum, act }: LiveApproval, counting: readonly unknown[]): string {
  return `${counting.length} of ${quorum.approvals} approvals are there; until ${act.notAfter}`;
}

export function noSuch(): Failure {
  return new Failure('REQUEST_INVALID', NO_SUCH);
}

/** To who votes on it. */
export function closedAlready({ state, reason }: ApprovalRow): Failure {
  return new Failure(
    'REQUEST_INVALID',
    `the approval is ${state} already${reason === '' ? '' : `: ${reason}`}`,
  );
}

/** @throws Failure REQUEST_INVALID */
export function requireReason(reason: string): void {
  if (reason.trim() === '' || Buffer.byteLength(reason) > MAX_REASON_BYTES)
    throw new Failure('REQUEST_INVALID', 'a reason of at most 500 bytes is required: it goes into the log');
}

/** @throws Failure BUSY: nothing of it was written */
export function durably(store: Pick<ApprovalStore, 'transaction'>, body: () => void): void {
  try {
    store.transaction(body);
  } catch (cause) {
    throw asFailure(cause);
  }
}

/** Reads the state. @throws Failure BUSY */
export function reachable<T>(body: () => T): T {
  try {
    return body();
  } catch (cause) {
    throw away(cause);
  }
}

/** Of a transaction that was not durable: what was refused in it stays that. */
export function asFailure(cause: unknown): Failure {
  return cause instanceof Failure ? cause : away(cause);
}

/** What was thrown where an entry was to be written. */
export function unlogged(cause: unknown): unknown {
  if (!(cause instanceof AuditError)) return cause;
  return new Failure(cause.reason, 'the audit log cannot be written, so nothing is approved', { cause });
}

function away(cause: unknown): Failure {
  return new Failure('BUSY', 'the state of approvals cannot be reached now', { cause });
}
