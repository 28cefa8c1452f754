/**
 * What an entry says of a use: its attempts, and what its decision saw and took. The steps that write entries are
 * `KeyUse`'s; here is only what stands in them, and what a caller is told when one cannot be written.
 */
import { AdapterError, type TokenAdapter } from '../../hsm-adapters/adapter.ts';
import { encodeInputs } from '../../policy/replay-inputs.ts';
import {
  type Attempt,
  AuditError,
  type DigestedContent,
  type EntryDraft,
  type EntryValue,
} from '../audit/entry.ts';
import { Failure, type PerformedUse, type Reason } from './failure.ts';
import type { Spent } from './spending.ts';
import type { Permitted } from './transaction.ts';

/** What an entry has room for (broker/audit/README.md). */
const MAX_INPUTS_BYTES = 4096;

/** Reasons that are decisions against a request, not a lack of something to serve it with. */
export const DENIALS: ReadonlySet<Reason> = new Set<Reason>([
  'SVID_EXPIRED',
  'CREDENTIAL_FROZEN',
  'POLICY_DENIED',
  'RATE_LIMITED',
  'KEY_UNUSABLE',
  'REQUEST_INVALID',
]);

/** One try on one token. `started`: `performance.now()`. */
export function attempt(
  token: TokenAdapter,
  outcome: Attempt['outcome'],
  started: number,
  error?: unknown,
): Attempt {
  const micros = Math.round((performance.now() - started) * 1000);
  const serial = token.info?.serial ?? '';
  if (!(error instanceof AdapterError))
    return { token: serial, outcome, performed: outcome === 'failed' ? 'unknown' : 'yes', micros };
  return {
    token: serial,
    outcome,
    performed: error.performed,
    micros,
    reason: error.reason,
    ...(error.ckr === undefined ? {} : { ckr: error.ckr }),
  };
}

/** Whether an attempt that failed may have used the key. */
export function performedOf(attempts: readonly Attempt[]): PerformedUse {
  return attempts.every((made) => made.performed === 'no') ? 'no' : 'unknown';
}

/** What an earlier attempt may have done is not undone by a later one that did not run. */
export function withHistory(failure: Failure, attempts: readonly Attempt[]): Failure {
  const worst = attempts.some((earlier) => earlier.performed === 'yes')
    ? 'yes'
    : attempts.some((earlier) => earlier.performed === 'unknown')
      ? 'unknown'
      : 'no';
  const order = ['no', 'unknown', 'yes'];
  if (order.indexOf(worst) <= order.indexOf(failure.performed)) return failure;
  return new Failure(failure.reason, failure.message, {
    performed: worst,
    metadata: { ...failure.metadata },
    cause: failure,
  });
}

/** Of the very bytes that the entry names, so that the log alone tells what may be tried again. */
export function digestIn({ sha256 }: DigestedContent): Buffer {
  return Buffer.from(sha256 ?? '', 'base64url');
}

/** Everything the decision saw, what it took, and what rules on probation would have said. */
export function inputsOf({ circumstances }: Permitted, spent: Spent): NonNullable<EntryDraft['inputs']> {
  const { charges, guards, observed, approval } = spent;
  if (charges.length === 0 && guards.length === 0 && observed.length === 0 && approval === undefined) {
    return encodeInputs(circumstances);
  }
  const costs: { [name: string]: EntryValue } = {
    ...(charges.length === 0 ? {} : { charges }),
    ...(guards.length === 0 ? {} : { guards }),
    ...(approval === undefined ? {} : { approval: approval.record }),
  };
  const notes: EntryValue[] = observed
    .slice(0, 8)
    .map(({ rule, missing }) => [rule, (missing[0] ?? '').slice(0, 128)]);
  const all = {
    ...encodeInputs(circumstances),
    ...costs,
    ...(notes.length === 0 ? {} : { observed: notes }),
  };
  if (Buffer.byteLength(JSON.stringify(all)) <= MAX_INPUTS_BYTES) return all;
  // What was taken has to be counted again after a restart: everything else gives way to it.
  const least = { ...encodeInputs({ ...circumstances, typed: undefined }), ...costs };
  if (Buffer.byteLength(JSON.stringify(least)) <= MAX_INPUTS_BYTES) return least;
  return costs;
}

/** What a caller is told when its entry cannot be written: nothing is released. `performed`: whether the key was used. */
export function auditFailure(error: unknown, performed: Failure['performed']): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof AuditError) {
    return error.reason === 'AUDIT_INCONSISTENT'
      ? new Failure(
          'AUDIT_INCONSISTENT',
          'the audit log is inconsistent: nothing is signed until an operator decides',
          { performed, cause: error },
        )
      : new Failure('AUDIT_UNAVAILABLE', 'the audit log cannot be written, so nothing is released', {
          performed,
          cause: error,
        });
  }
  return new Failure('INTERNAL', 'internal error', { performed, cause: error });
}
