/**
 * How key use asks the verifier: what about, how many questions of callers may wait, and what it means when there is no
 * verdict.
 */
import type { Algorithm } from '../../hsm-adapters/adapter.ts';
import { FACTS } from './algorithms.ts';
import { Failure, type PerformedUse } from './failure.ts';
import type { Content } from './request-form.ts';
import { Refused, type Use } from './transaction.ts';
import type { VerifierError } from './verify/verifier-error.ts';

/** Verifications that callers asked for and that may wait: the verifier is there for signatures before their release. */
const MAX_VERIFICATIONS = 512;
const MAX_VERIFICATIONS_PER_WORKLOAD = 128;
const MAX_VERIFICATION_BYTES = 16 * 1024 * 1024;
/** A message up to this is hashed again by the verifier rather than verified by its digest. */
const MAX_COPIED_BYTES = 64 * 1024;

/** The key was used and there is no verdict on what came of it. */
export class VerifierWithheld extends Failure {
  constructor(failure: Failure) {
    super(failure.reason, failure.message, { performed: 'yes', cause: failure });
  }
}

/**
 * What the verifier is asked about: the message while it is short, as OpenSSL verifies ECDSA over messages alone and
 * digests take twenty times as long; the digest where the message would have to be copied and hashed again.
 */
export function verifiable(
  jose: Algorithm,
  { kind, bytes }: Content,
  digest: Uint8Array,
): { readonly content: 'message' | 'digest'; readonly data: Uint8Array } {
  const { hash, curve } = FACTS[jose];
  const isMessage =
    kind === 'message' && (hash === undefined || (curve !== undefined && bytes.length <= MAX_COPIED_BYTES));
  return isMessage ? { content: 'message', data: bytes } : { content: 'digest', data: digest };
}

/** What a caller is told when there is no verdict. */
export function verifierFailure(error: VerifierError, performed: PerformedUse): Failure {
  return error.reason === 'queue-full'
    ? new Failure('BUSY', 'too many signatures wait to be verified', { performed, cause: error })
    : new Failure('INTERNAL', 'internal error', { performed, cause: error });
}

/** How many verifications callers wait for, in all and each. Owns the counts; whoever is admitted gives its place back. */
export class VerificationRoom {
  readonly #byWorkload = new Map<string, number>();
  #count = 0;
  #bytes = 0;

  /** A place among those that wait; calling what is returned gives it back. @throws Refused BUSY, or when nobody waits for the answer */
  admit(use: Use, bytes: number): () => void {
    const { id } = use.caller.identity.spiffeId;
    const mine = this.#byWorkload.get(id) ?? 0;
    if (use.call.aborted) throw new Refused(use, new Failure('CANCELLED', 'the caller went away'));
    if (performance.now() >= use.call.deadline)
      throw new Refused(use, new Failure('DEADLINE_EXCEEDED', 'the deadline passed'));
    if (
      mine >= MAX_VERIFICATIONS_PER_WORKLOAD ||
      this.#count >= MAX_VERIFICATIONS ||
      this.#bytes + bytes > MAX_VERIFICATION_BYTES
    ) {
      throw new Refused(use, new Failure('BUSY', 'too many signatures wait to be verified'));
    }
    this.#byWorkload.set(id, mine + 1);
    this.#count++;
    this.#bytes += bytes;
    return () => {
      this.#count--;
      this.#bytes -= bytes;
      const left = (this.#byWorkload.get(id) ?? 1) - 1;
      if (left === 0) this.#byWorkload.delete(id);
      else this.#byWorkload.set(id, left);
    };
  }
}
