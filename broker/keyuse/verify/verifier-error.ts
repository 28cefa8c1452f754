/**
 * Why no verdict was reached. A signature that does not verify is no error, it is `false`; whoever gets one of these
 * knows nothing about the signature and must withhold it.
 *
 * - `key-rejected`: the public key is malformed, too weak, or of another kind than the algorithm.
 * - `unsupported`: the algorithm has no such mode (Ed25519 over a digest).
 * - `queue-full`: too much is waiting already; nothing was queued.
 * - `thread-lost`: the verifying thread died, broke over this question, or answered what makes no sense.
 * - `closed`: the verifier was closed.
 */
export type VerifierErrorReason = 'key-rejected' | 'unsupported' | 'queue-full' | 'thread-lost' | 'closed';

export class VerifierError extends Error {
  override readonly name = 'VerifierError';
  readonly reason: VerifierErrorReason;

  constructor(reason: VerifierErrorReason, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.reason = reason;
  }
}
