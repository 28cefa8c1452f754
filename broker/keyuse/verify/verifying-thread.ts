import { Worker } from 'node:worker_threads';
import { BatchWriter, readVerdicts } from './batch.ts';
import { VerifierError } from './verifier-error.ts';
import type { VerifyInput } from './verify-input.ts';

interface Question {
  readonly bytes: number;
  readonly resolve: (valid: boolean) => void;
  readonly reject: (error: VerifierError) => void;
}

/** Started from source or from a build, with the extension that this very file has. */
const ENTRY = new URL(
  import.meta.url.endsWith('.ts') ? './verifier-thread.ts' : './verifier-thread.js',
  import.meta.url,
);

/**
 * One verifying thread as the broker's thread sees it. It lives once: after `lost` was called, everything asked has been
 * rejected and nothing more may be asked.
 *
 * Keys are numbered by the identity of their bytes' object, at most `maxKeys` at a time; the one unused for longest
 * gives up its number first.
 */
export class VerifyingThread {
  readonly #worker: Worker;
  readonly #maxKeys: number;
  readonly #lost: (thread: VerifyingThread) => void;
  /** Least recently used first. */
  readonly #keyNumbers = new Map<Uint8Array, number>();
  #batch: BatchWriter | undefined;
  #gathered: Question[] = [];
  /** Batches posted and not answered, oldest first. */
  readonly #posted: Question[][] = [];
  #pending = 0;
  #pendingBytes = 0;
  #hasAnswered = false;
  #error: VerifierError | undefined;

  constructor(options: { readonly maxKeys: number; readonly lost: (thread: VerifyingThread) => void }) {
    this.#maxKeys = options.maxKeys;
    this.#lost = options.lost;
    this.#worker = new Worker(ENTRY, {
      name: 'signature-verifier',
      env: {},
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 },
    });
    this.#worker.on('message', (reply: unknown) => this.#take(reply));
    this.#worker.on('messageerror', (error) =>
      this.#fail('verifying thread sent what cannot be read', error),
    );
    this.#worker.on('error', (error) => this.#fail('verifying thread broke', error));
    this.#worker.on('exit', () => this.#fail('verifying thread ended'));
    // Idle threads do not keep a process alive.
    this.#worker.unref();
  }

  get pending(): number {
    return this.#pending;
  }

  /** Octets of data and signatures that wait. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Whether it ever worked: one that did not is not worth replacing before somebody asks. */
  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  ask(input: VerifyInput): Promise<boolean> {
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#batch === undefined) {
      this.#batch = new BatchWriter();
      setImmediate(() => this.#post());
    }
    this.#batch.addQuestion(this.#numberOf(input.publicKey, this.#batch), input);
    const bytes = input.data.length + input.signature.length;
    if (this.#pending === 0) this.#worker.ref();
    this.#pending += 1;
    this.#pendingBytes += bytes;
    return new Promise((resolve, reject) => this.#gathered.push({ bytes, resolve, reject }));
  }

  /** Ends the thread; what is pending rejects with `error`. */
  async end(error: VerifierError): Promise<void> {
    this.#rejectAll(error);
    await this.#worker.terminate();
  }

  #numberOf(publicKey: Uint8Array, batch: BatchWriter): number {
    const known = this.#keyNumbers.get(publicKey);
    if (known !== undefined) {
      this.#keyNumbers.delete(publicKey);
      this.#keyNumbers.set(publicKey, known);
      return known;
    }
    let number = this.#keyNumbers.size;
    if (number >= this.#maxKeys) {
      const [oldest, freed] = this.#keyNumbers.entries().next().value!;
      this.#keyNumbers.delete(oldest);
      number = freed;
    }
    batch.addKey(number, publicKey);
    this.#keyNumbers.set(publicKey, number);
    return number;
  }

  #post(): void {
    const batch = this.#batch;
    if (batch === undefined || this.#error !== undefined) return;
    this.#batch = undefined;
    this.#posted.push(this.#gathered);
    this.#gathered = [];
    const records = batch.take();
    this.#worker.postMessage(records, [records]);
  }

  #take(reply: unknown): void {
    if (this.#error !== undefined) return;
    const questions = this.#posted[0];
    try {
      if (questions === undefined || !(reply instanceof ArrayBuffer)) throw new RangeError('not a reply');
      const verdicts = readVerdicts(reply, questions.length);
      this.#posted.shift();
      this.#hasAnswered = true;
      questions.forEach((question, index) => {
        this.#pending -= 1;
        this.#pendingBytes -= question.bytes;
        const verdict = verdicts[index]!;
        if (typeof verdict === 'boolean') question.resolve(verdict);
        else question.reject(new VerifierError(verdict.reason, verdict.message));
      });
    } catch (error) {
      // Which answer belongs to which question is no longer known: none of them may be believed.
      this.#fail('verifying thread answered out of turn', error);
      return;
    }
    if (this.#pending === 0) this.#worker.unref();
  }

  #fail(message: string, cause?: unknown): void {
    if (this.#error !== undefined) return;
    this.#rejectAll(new VerifierError('thread-lost', message, cause));
    void this.#worker.terminate();
    this.#lost(this);
  }

  #rejectAll(error: VerifierError): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    for (const question of [...this.#posted.flat(), ...this.#gathered]) question.reject(error);
    this.#posted.length = 0;
    this.#gathered = [];
    this.#pending = 0;
    this.#pendingBytes = 0;
  }
}
