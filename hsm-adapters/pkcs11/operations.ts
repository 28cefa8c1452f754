import { type AdapterReason, ALGORITHMS, type Algorithm, type KeySpec, type Performed } from '../adapter.ts';
import type { WorkerFailure } from '../frames/worker-frames.ts';
import type { Profile } from '../profiles/profile.ts';
import { type CallPhase, ckrName, ckrPerformed, ckrReason, isFatal } from './ckr.ts';
import {
  CkrError,
  type Cryptoki,
  CryptokiError,
  gcmMechanism,
  type Mechanism,
  type ObjectHandle,
  type SessionHandle,
} from './cryptoki.ts';
import {
  GCM_IV_BYTES,
  GCM_TAG_BYTES,
  RSA_OAEP_256,
  type SigningMechanism,
  signingMechanism,
} from './mechanisms.ts';
import type { Borrower, PooledSession, Refusal, SessionPool } from './session-pool.ts';
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
}

interface Sealed {
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

const OUTPUT_BYTES = 2048;
const MAX_KNOWN_GOOD_BYTES = 1024;
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
type Session = PooledSession<WorkerSession>;

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

  bind(ref: number, object: Omit<BoundObject, 'knownGood'>): void {
    this.#objects.set(ref, { ...object, knownGood: undefined });
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
        : message.iv.length === 0 && message.associatedData.length === 0 && message.sealed.length > 0;
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
    else if (error instanceof CkrError && isFatal(error.ckr))
      this.trouble.gone({ ...failure, reason: 'TOKEN_UNREACHABLE' });
    else if (failure.reason === 'TOKEN_UNREACHABLE' || failure.reason === 'KEY_MISSING_ON_TOKEN')
      this.trouble.suspect(failure);
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

abstract class Job implements Borrower<WorkerSession> {
  readonly operations: Operations;
  readonly id: number;
  readonly deadline: number;
  readonly notSession: number = -1;
  /** Left the queue, one way or the other. */
  settled = false;

  constructor(operations: Operations, id: number, deadline: number) {
    this.operations = operations;
    this.id = id;
    this.deadline = deadline;
  }

  granted(session: Session): void {
    this.settled = true;
    this.operations.began(this.id);
    try {
      this.begin(session);
    } catch (error) {
      // Nothing has used the key: whatever throws here came before the call that does.
      this.operations.pool.discard(session);
      this.operations.fail(this.id, error, 'before');
    }
  }

  refused(reason: Refusal, cause: unknown): void {
    this.settled = true;
    this.operations.began(this.id);
    if (reason === 'NO_SESSION') this.operations.fail(this.id, cause, 'before');
    else this.operations.replies.failed(this.id, { reason, performed: 'no', message: REFUSALS[reason] });
  }

  /** *Init, and the asynchronous call. Throws only before that call. */
  protected abstract begin(session: Session): void;

  protected end(session: Session): void {
    this.operations.trouble.fine();
    this.operations.pool.giveBack(session);
  }

  protected failed(session: Session, error: unknown): void {
    this.operations.pool.discard(session);
    this.operations.fail(this.id, error, 'run');
  }
}

const REFUSALS: Readonly<Record<Exclude<Refusal, 'NO_SESSION'>, string>> = {
  QUEUE_FULL: 'the queue for a session is full',
  DEADLINE_EXCEEDED: 'the deadline passed in the queue for a session',
  CANCELLED: 'cancelled in the queue for a session',
  TOKEN_UNREACHABLE: 'the worker is stopping',
};

class SignJob extends Job {
  readonly #object: BoundObject;
  readonly #row: SigningMechanism;
  readonly #data: Uint8Array;

  constructor(
    operations: Operations,
    id: number,
    deadline: number,
    object: BoundObject,
    row: SigningMechanism,
    data: Uint8Array,
  ) {
    super(operations, id, deadline);
    this.#object = object;
    this.#row = row;
    this.#data = data;
  }

  protected override begin(session: Session): void {
    const { cryptoki, replies } = this.operations;
    const { handle, output } = session.handle;
    const bytes = this.#row.outputBytes(this.#object.spec);
    const room = bytes <= output.length ? output : Buffer.allocUnsafeSlow(bytes);
    cryptoki.signInit(handle, this.#row.mechanism, this.#object.handle);
    cryptoki.sign(handle, this.#input(session.handle), room, (error, length) => {
      if (error !== undefined) this.failed(session, error);
      else if (length !== bytes)
        this.failed(session, new CryptokiError(`a signature of ${length} bytes, not ${bytes}`));
      else {
        replies.done(this.id, room.subarray(0, length));
        this.end(session);
      }
    });
  }

  #input(session: WorkerSession): Uint8Array {
    const rule = this.#row.data;
    if (rule.kind === 'message' || rule.prefix === undefined) return this.#data;
    rule.prefix.copy(session.input);
    session.input.set(this.#data, rule.prefix.length);
    return session.input.subarray(0, rule.prefix.length + this.#data.length);
  }
}

class EncryptJob extends Job {
  readonly #object: BoundObject;
  readonly #associatedData: Uint8Array;
  readonly #data: Uint8Array;

  constructor(
    operations: Operations,
    id: number,
    deadline: number,
    object: BoundObject,
    associatedData: Uint8Array,
    data: Uint8Array,
  ) {
    super(operations, id, deadline);
    this.#object = object;
    this.#associatedData = associatedData;
    this.#data = data;
  }

  protected override begin(session: Session): void {
    const { cryptoki, random, replies } = this.operations;
    const { handle, output } = session.handle;
    const iv = random.draw(handle, GCM_IV_BYTES);
    const bytes = this.#data.length + GCM_TAG_BYTES;
    const room = bytes <= output.length ? output : Buffer.allocUnsafeSlow(bytes);
    // The mechanism points into `iv` and the associated data: both are held by this job until it ends.
    cryptoki.encryptInit(handle, gcmMechanism(iv, this.#associatedData), this.#object.handle);
    cryptoki.encrypt(handle, this.#data, room, (error, length) => {
      if (error !== undefined) this.failed(session, error);
      else if (length !== bytes)
        this.failed(session, new CryptokiError(`a ciphertext of ${length} bytes, not ${bytes}`));
      else {
        const sealed = room.subarray(0, length);
        const ordinal = Buffer.from([session.ordinal >> 8, session.ordinal & 0xff]);
        replies.done(this.id, ordinal, iv, sealed);
        remember(this.#object, { iv, associatedData: this.#associatedData, sealed });
        this.end(session);
      }
    });
  }
}

class DecryptJob extends Job {
  readonly #object: BoundObject;
  readonly #algorithm: 'A256GCM' | 'RSA-OAEP-256';
  readonly #message: Sealed;
  override readonly notSession: number;

  constructor(
    operations: Operations,
    id: number,
    deadline: number,
    object: BoundObject,
    algorithm: 'A256GCM' | 'RSA-OAEP-256',
    notSession: number,
    message: Sealed,
  ) {
    super(operations, id, deadline);
    this.#object = object;
    this.#algorithm = algorithm;
    this.notSession = notSession;
    this.#message = message;
  }

  protected override begin(session: Session): void {
    const { replies } = this.operations;
    const isGcm = this.#algorithm === 'A256GCM';
    this.#open(session, this.#message, (error, plaintext) => {
      if (error !== undefined) this.#rejected(session, error);
      else if (isGcm && plaintext.length !== this.#message.sealed.length - GCM_TAG_BYTES) {
        plaintext.fill(0);
        this.failed(session, new CryptokiError(`a plaintext of ${plaintext.length} bytes`));
      } else {
        replies.done(this.id, plaintext);
        plaintext.fill(0);
        if (isGcm) remember(this.#object, this.#message);
        this.end(session);
      }
    });
  }

  #open(
    session: Session,
    message: Sealed,
    done: (error: Error | undefined, plaintext: Buffer) => void,
  ): void {
    const { cryptoki } = this.operations;
    const { handle, output } = session.handle;
    // SoftHSM wants room for the tag too, and leaves the operation active when there is none.
    const bytes = message.sealed.length;
    const room = bytes <= output.length ? output : Buffer.allocUnsafeSlow(bytes);
    const how: Mechanism =
      this.#algorithm === 'A256GCM' ? gcmMechanism(message.iv, message.associatedData) : RSA_OAEP_256;
    cryptoki.decryptInit(handle, how, this.#object.handle);
    cryptoki.decrypt(handle, message.sealed, room, (error, length) => done(error, room.subarray(0, length)));
  }

  /**
   * Some modules answer a bad tag and a dying token with one and the same code. The key's own known-good
   * ciphertext tells them apart: were every such answer held against the token, any client could take it down.
   */
  #rejected(session: Session, error: Error): void {
    const { knownGood } = this.#object;
    const ambiguous =
      error instanceof CkrError && this.operations.profile.ambiguousRejections.includes(ckrName(error.ckr));
    if (!ambiguous || knownGood === undefined || this.#algorithm !== 'A256GCM') {
      this.failed(session, error);
      return;
    }
    let fresh: Session;
    try {
      fresh = this.operations.pool.replace(session);
    } catch (cause) {
      this.operations.fail(this.id, cause, 'run');
      return;
    }
    try {
      this.#open(fresh, knownGood, (stillBad, plaintext) => {
        plaintext.fill(0);
        if (stillBad !== undefined) {
          this.failed(fresh, error);
          return;
        }
        const message = 'the ciphertext does not open';
        this.operations.replies.failed(this.id, {
          reason: 'CIPHERTEXT_REJECTED',
          performed: 'unknown',
          message,
          ckr: ckrName(error.ckr),
        });
        this.end(fresh);
      });
    } catch (cause) {
      this.operations.pool.discard(fresh);
      this.operations.fail(this.id, cause, 'run');
    }
  }
}

class RandomJob extends Job {
  readonly #bytes: number;

  constructor(operations: Operations, id: number, deadline: number, bytes: number) {
    super(operations, id, deadline);
    this.#bytes = bytes;
  }

  protected override begin(session: Session): void {
    const drawn = this.operations.random.draw(session.handle.handle, this.#bytes);
    this.operations.replies.done(this.id, drawn);
    drawn.fill(0);
    this.end(session);
  }
}

function remember(object: BoundObject, message: Sealed): void {
  if (object.knownGood !== undefined || message.sealed.length > MAX_KNOWN_GOOD_BYTES) return;
  if (message.associatedData.length > MAX_KNOWN_GOOD_BYTES) return;
  object.knownGood = {
    iv: Uint8Array.from(message.iv),
    associatedData: Uint8Array.from(message.associatedData),
    sealed: Uint8Array.from(message.sealed),
  };
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
