import { availableParallelism } from 'node:os';
import { MAX_KEYS } from './batch.ts';
import { CheckCache, prepare } from './check.ts';
import { VerifierError } from './verifier-error.ts';
import { SIGNATURE_ALGORITHMS, type SignatureAlgorithm, type VerifyInput } from './verify-input.ts';
import { VerifyingThread } from './verifying-thread.ts';

export interface SignatureVerifierOptions {
  /** Default: 1, or 2 where there are at least 4 processors. */
  readonly threads?: number;
  /** Questions that may wait, over all threads. */
  readonly maxPending?: number;
  /** Octets of data and signatures that may wait, over all threads. */
  readonly maxPendingBytes?: number;
  /** Public keys that each thread remembers. */
  readonly maxKeys?: number;
  /**
   * A quick question that meets no other is answered on the caller's own thread. Default: false. There and back again
   * costs more than an ES256 verification, and while nothing else waits, nobody is kept waiting by it.
   */
  readonly isIdleInline?: boolean;
}

/** Under 0.1 ms each, with RSA keys up to 4096 bits and messages of a few KiB. */
const QUICK: ReadonlySet<SignatureAlgorithm> = new Set(
  SIGNATURE_ALGORITHMS.filter((algorithm) => algorithm !== 'ES384' && algorithm !== 'ES512'),
);
const QUICK_SIGNATURE_BYTES = 512;
const QUICK_DATA_BYTES = 4096;

function isQuick({ algorithm, content, data, signature }: VerifyInput): boolean {
  return (
    QUICK.has(algorithm) &&
    // Digests of ECDSA are verified by JavaScript.
    (content === 'message' || !algorithm.startsWith('ES')) &&
    signature.length <= QUICK_SIGNATURE_BYTES &&
    data.length <= QUICK_DATA_BYTES
  );
}

/**
 * Verifies signatures off the event loop, on threads of its own. Questions of one turn of the event loop go to a thread
 * in one posting and come back in one. With `isIdleInline` the first of a turn that is quick, with nothing pending, is
 * answered at once.
 *
 * Invariants:
 *   - a promise resolves to true only if the signature verified; no verdict is a rejection, never a verdict
 *   - a thread that dies rejects all it was asked and takes nothing more; another takes its place
 */
export class SignatureVerifier {
  readonly #threads: (VerifyingThread | undefined)[];
  readonly #maxPending: number;
  readonly #maxPendingBytes: number;
  readonly #maxKeys: number;
  readonly #isIdleInline: boolean;
  readonly #inline = new CheckCache();
  /** This turn of the event loop has had its question. */
  #hasAnswered = false;
  #isClosed = false;

  constructor(options: SignatureVerifierOptions = {}) {
    const threads = options.threads ?? (availableParallelism() >= 4 ? 2 : 1);
    this.#maxPending = options.maxPending ?? 16_384;
    this.#maxPendingBytes = options.maxPendingBytes ?? 64 * 1024 * 1024;
    this.#maxKeys = options.maxKeys ?? 4096;
    this.#isIdleInline = options.isIdleInline ?? false;
    for (const [name, value, most] of [
      ['threads', threads, 64],
      ['maxPending', this.#maxPending, Number.MAX_SAFE_INTEGER],
      ['maxPendingBytes', this.#maxPendingBytes, 2 ** 31],
      ['maxKeys', this.#maxKeys, MAX_KEYS],
    ] as const) {
      if (!Number.isSafeInteger(value) || value < 1 || value > most)
        throw new RangeError(`${name} is ${value}`);
    }
    this.#threads = Array.from({ length: threads }, () => undefined);
    for (const index of this.#threads.keys()) this.#start(index);
  }

  /**
   * False for a signature that does not verify, whatever is wrong with it, its length included. Rejects with
   * `VerifierError` where there is no verdict: the signature must then be withheld.
   */
  verify(input: VerifyInput): Promise<boolean> {
    if (this.#isClosed) return Promise.reject(new VerifierError('closed', 'verifier is closed'));
    let pending = 0;
    let pendingBytes = input.data.length + input.signature.length;
    let idlest = 0;
    for (const [index, thread] of this.#threads.entries()) {
      pending += thread?.pending ?? 0;
      pendingBytes += thread?.pendingBytes ?? 0;
      if ((thread?.pending ?? 0) < (this.#threads[idlest]?.pending ?? 0)) idlest = index;
    }
    if (pending >= this.#maxPending || pendingBytes > this.#maxPendingBytes) {
      return Promise.reject(new VerifierError('queue-full', 'too many signatures wait to be verified'));
    }
    if (this.#isIdleInline && pending === 0 && !this.#hasAnswered && isQuick(input))
      return this.#answer(input);
    return (this.#threads[idlest] ?? this.#start(idlest)).ask(input);
  }

  async #answer(input: VerifyInput): Promise<boolean> {
    this.#hasAnswered = true;
    setImmediate(() => {
      this.#hasAnswered = false;
    });
    try {
      return this.#inline.of(input.publicKey, input.algorithm)[input.content](input.data, input.signature);
    } catch (error) {
      throw error instanceof VerifierError
        ? error
        : new VerifierError('thread-lost', 'verification broke', error);
    }
  }

  /** Ends the threads; what is pending rejects with `closed`. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const error = new VerifierError('closed', 'verifier was closed');
    await Promise.all(this.#threads.map((thread) => thread?.end(error)));
  }

  #start(index: number): VerifyingThread {
    const thread = new VerifyingThread({
      maxKeys: this.#maxKeys,
      lost: (lost) => {
        this.#threads[index] = undefined;
        // One that never worked would fail again at once, and so on for ever: its successor waits to be asked.
        if (!this.#isClosed && lost.hasAnswered) this.#start(index);
      },
    });
    this.#threads[index] = thread;
    return thread;
  }
}

/** The same verdict on the caller's own thread, for proofs of keys and for tests. Throws what `verify` rejects with. */
export function verifyNow(input: VerifyInput): boolean {
  return prepare(input.publicKey, input.algorithm)[input.content](input.data, input.signature);
}
