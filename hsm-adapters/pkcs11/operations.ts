import { type AdapterReason, ALGORITHMS, type Algorithm, type KeySpec, type Performed } from '../adapter.ts';
import type { WorkerFailure } from '../frames/worker-frames.ts';
import type { Profile } from '../profiles/profile.ts';
import { type CallPlacement, MeasuredPlacement, ON_THREADS } from './call-placement.ts';
import { type CallPhase, ckrName, ckrPerformed, ckrReason, isFatal } from './ckr.ts';
import { CkrError, type Cryptoki, type ObjectHandle, type SessionHandle } from './cryptoki.ts';
import { DecryptJob, EncryptJob, type Job, RandomJob, SignJob } from './jobs.ts';
import { GCM_IV_BYTES, GCM_TAG_BYTES, signingMechanism } from './mechanisms.ts';
import type { SessionPool } from './session-pool.ts';
import { RandomBroken, type TokenRandom } from './token-random.ts';

/**
 * Key use: from a request frame to its answer. Every request is answered exactly once.
 *
 * What can be refused without the token is refused before a session is asked for, and says `performed: no`. From
 * *Init to the end of the operation a session belongs to one request; a session that an operation failed on is
 * closed. The largest cost here is memory traffic: no promises, one closure for each call.
 */

/** A bound object: `ref` of the broker to what the token knows. */
export interface BoundObject {
  readonly handle: ObjectHandle;
  readonly spec: KeySpec;
  /** Usage flags of the private or secret object, as read when it was bound. */
  readonly usages: readonly string[];
  /** A small ciphertext that this key made or opened: tells a bad ciphertext from a bad token. */
  knownGood: Sealed | undefined;
  /** Where its calls run. */
  readonly placement: CallPlacement;
}

export interface Sealed {
  readonly iv: Uint8Array;
  readonly associatedData: Uint8Array;
  readonly sealed: Uint8Array;
}

/** What the pool lends: the session and buffers that are used by its holder alone. */
export class WorkerSession {
  readonly handle: SessionHandle;
  /** Results; not from Node's shared slab, because a pool thread writes into it. */
  readonly output: Buffer = Buffer.allocUnsafeSlow(OUTPUT_BYTES);
  /** DigestInfo and digest, for RS*. */
  readonly input: Buffer = Buffer.allocUnsafeSlow(128);

  constructor(handle: SessionHandle) {
    this.handle = handle;
  }
}

/** SoftHSM without its files finds no object; a proxy without its connection answers with codes of its own. */
const SUSPICIOUS: ReadonlySet<AdapterReason> = new Set([
  'TOKEN_UNREACHABLE',
  'KEY_MISSING_ON_TOKEN',
  'INVARIANT_BROKEN',
]);

const OUTPUT_BYTES = 2048;
const MAX_RANDOM_BYTES = 1 << 16;

export interface Replies {
  done(id: number, ...parts: readonly Uint8Array[]): void;
  failed(id: number, failure: WorkerFailure): void;
}

export interface Trouble {
  /** The whole token failed: nothing more can be done in this process. */
  gone(failure: WorkerFailure): void;
  /** An operation failed in a way that may be the token's end: look at it, and say `gone` if so. */
  suspect(failure: WorkerFailure): void;
  /** An operation went well. */
  fine(): void;
}

type Pool = SessionPool<WorkerSession>;

export class Operations {
  readonly cryptoki: Cryptoki;
  readonly pool: Pool;
  readonly profile: Profile;
  readonly replies: Replies;
  readonly trouble: Trouble;
  readonly random: TokenRandom;
  readonly #objects = new Map<number, BoundObject>();
  /** Requests whose session has not come yet: what Cancel can still stop. */
  readonly #waiting = new Map<number, Job>();

  constructor(parts: {
    readonly cryptoki: Cryptoki;
    readonly pool: Pool;
    readonly profile: Profile;
    readonly replies: Replies;
    readonly trouble: Trouble;
    readonly random: TokenRandom;
  }) {
    this.cryptoki = parts.cryptoki;
    this.pool = parts.pool;
    this.profile = parts.profile;
    this.replies = parts.replies;
    this.trouble = parts.trouble;
    this.random = parts.random;
  }

  bind(ref: number, object: Omit<BoundObject, 'knownGood' | 'placement'>): void {
    const computesHere = this.profile.transport.kind === 'in process';
    const placement = computesHere ? new MeasuredPlacement(() => performance.now()) : ON_THREADS;
    this.#objects.set(ref, { ...object, knownGood: undefined, placement });
  }

  release(ref: number): void {
    this.#objects.delete(ref);
  }

  sign(id: number, ref: number, algorithm: number, deadline: number, data: Uint8Array): void {
    const object = this.#object(id, ref);
    if (object === undefined) return;
    const name = ALGORITHMS[algorithm];
    const row = name === undefined ? undefined : signingMechanism(name);
    if (row === undefined) {
      this.#refuse(id, 'REQUEST_INVALID', `${name ?? `algorithm ${algorithm}`} does not sign`);
      return;
    }
    if (this.profile.lacks.includes(row.algorithm)) {
      this.#refuse(id, 'OPERATION_UNSUPPORTED', `${row.algorithm} on ${this.profile.name}`);
      return;
    }
    if (!row.fits(object.spec)) {
      this.#refuse(id, 'KEY_UNUSABLE', `${row.algorithm} with ${describeSpec(object.spec)}`);
      return;
    }
    if (!object.usages.includes('sign')) {
      this.#refuse(id, 'KEY_UNUSABLE', 'the key does not sign');
      return;
    }
    if (row.data.kind === 'digest' && data.length !== row.data.bytes) {
      this.#refuse(
        id,
        'REQUEST_INVALID',
        `a digest of ${data.length} bytes, ${row.algorithm} takes ${row.data.bytes}`,
      );
      return;
    }
    if (data.length === 0) {
      this.#refuse(id, 'REQUEST_INVALID', 'an empty message');
      return;
    }
    this.#start(new SignJob(this, id, deadline, object, row, data));
  }

  encrypt(id: number, ref: number, deadline: number, associatedData: Uint8Array, data: Uint8Array): void {
    const object = this.#object(id, ref);
    if (object === undefined) return;
    if (this.profile.lacks.includes('A256GCM')) {
      this.#refuse(id, 'OPERATION_UNSUPPORTED', `A256GCM on ${this.profile.name}`);
      return;
    }
    if (object.spec.type !== 'aes') {
      this.#refuse(id, 'KEY_UNUSABLE', `A256GCM with ${describeSpec(object.spec)}`);
      return;
    }
    if (!object.usages.includes('encrypt')) {
      this.#refuse(id, 'KEY_UNUSABLE', 'the key does not encrypt');
      return;
    }
    if (associatedData.length === 0) {
      this.#refuse(id, 'REQUEST_INVALID', 'no associated data');
      return;
    }
    if (data.length === 0) {
      this.#refuse(id, 'REQUEST_INVALID', 'an empty plaintext');
      return;
    }
    this.#start(new EncryptJob(this, id, deadline, object, associatedData, data));
  }

  decrypt(
    id: number,
    ref: number,
    algorithm: number,
    deadline: number,
    notSession: number,
    message: { readonly iv: Uint8Array; readonly associatedData: Uint8Array; readonly sealed: Uint8Array },
  ): void {
    const object = this.#object(id, ref);
    if (object === undefined) return;
    const name: Algorithm | undefined = ALGORITHMS[algorithm];
    if (name !== 'A256GCM' && name !== 'RSA-OAEP-256') {
      this.#refuse(id, 'REQUEST_INVALID', `${name ?? `algorithm ${algorithm}`} does not decrypt`);
      return;
    }
    if (this.profile.lacks.includes(name)) {
      this.#refuse(id, 'OPERATION_UNSUPPORTED', `${name} on ${this.profile.name}`);
      return;
    }
    if (object.spec.type !== (name === 'A256GCM' ? 'aes' : 'rsa')) {
      this.#refuse(id, 'KEY_UNUSABLE', `${name} with ${describeSpec(object.spec)}`);
      return;
    }
    if (!object.usages.includes('decrypt')) {
      this.#refuse(id, 'KEY_UNUSABLE', 'the key does not decrypt');
      return;
    }
    // What cannot be a ciphertext gets the answer of one that does not open.
    const plausible =
      name === 'A256GCM'
        ? message.iv.length === GCM_IV_BYTES &&
          message.sealed.length >= GCM_TAG_BYTES &&
          message.associatedData.length > 0
        : message.iv.length === 0 &&
          message.associatedData.length === 0 &&
          object.spec.type === 'rsa' &&
          message.sealed.length === object.spec.modulusBits / 8;
    if (!plausible) {
      this.#refuse(id, 'CIPHERTEXT_REJECTED', 'no ciphertext of this algorithm');
      return;
    }
    this.#start(new DecryptJob(this, id, deadline, object, name, notSession, message));
  }

  generateRandom(id: number, deadline: number, bytes: number): void {
    if (bytes < 1 || bytes > MAX_RANDOM_BYTES) {
      this.#refuse(id, 'REQUEST_INVALID', `random bytes: 1 to ${MAX_RANDOM_BYTES} at once`);
      return;
    }
    this.#start(new RandomJob(this, id, deadline, bytes));
  }

  /** Answers a request that waits; one that has begun is answered when it ends. */
  cancel(id: number): void {
    const job = this.#waiting.get(id);
    if (job !== undefined) this.pool.cancel(job);
  }

  /** For jobs. The request is no longer one that Cancel could stop. */
  began(id: number): void {
    this.#waiting.delete(id);
  }

  /** For jobs: one failure, told as the table and the profile have it. */
  failureOf(error: unknown, phase: CallPhase): WorkerFailure {
    if (error instanceof CkrError) {
      const name = ckrName(error.ckr);
      const reason = this.profile.refinements[name] ?? ckrReason(error.ckr);
      return { reason, performed: ckrPerformed(error.ckr, phase), message: error.message, ckr: name };
    }
    const performed: Performed = phase === 'before' ? 'no' : 'unknown';
    const message = error instanceof Error ? error.message : 'not an error';
    return { reason: 'INVARIANT_BROKEN', performed, message };
  }

  /** For jobs: answers the request, and lets the owner look at the token where the failure calls for it. */
  fail(id: number, error: unknown, phase: CallPhase): void {
    const failure = this.failureOf(error, phase);
    this.replies.failed(id, failure);
    if (error instanceof RandomBroken) this.trouble.gone(failure);
    else if (!(error instanceof CkrError)) return;
    else if (isFatal(error.ckr)) this.trouble.gone({ ...failure, reason: 'TOKEN_UNREACHABLE' });
    else if (SUSPICIOUS.has(failure.reason)) this.trouble.suspect(failure);
  }

  #object(id: number, ref: number): BoundObject | undefined {
    const object = this.#objects.get(ref);
    if (object === undefined)
      this.#refuse(id, 'KEY_MISSING_ON_TOKEN', `no object is bound to reference ${ref}`);
    return object;
  }

  #refuse(id: number, reason: AdapterReason, message: string): void {
    this.replies.failed(id, { reason, performed: 'no', message });
  }

  #start(job: Job): void {
    this.pool.borrow(job);
    if (!job.settled) this.#waiting.set(job.id, job);
  }
}

function describeSpec(spec: KeySpec): string {
  switch (spec.type) {
    case 'ec':
      return `a ${spec.curve} key`;
    case 'ed25519':
      return 'an Ed25519 key';
    case 'rsa':
      return `an RSA key of ${spec.modulusBits} bits`;
    case 'aes':
      return 'an AES key';
    case 'hmac':
      return `a MAC key of ${spec.bytes} bytes`;
    default:
      return spec satisfies never;
  }
}
