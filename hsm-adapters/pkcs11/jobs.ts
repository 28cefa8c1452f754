import { ckrName } from './ckr.ts';
import { CkrError, CryptokiError, gcmMechanism, type Mechanism, type Settled } from './cryptoki.ts';
import { GCM_IV_BYTES, GCM_TAG_BYTES, RSA_OAEP_256, type SigningMechanism } from './mechanisms.ts';
import type { BoundObject, Operations, Sealed, WorkerSession } from './operations.ts';
import type { Borrower, PooledSession, Refusal } from './session-pool.ts';

const MAX_KNOWN_GOOD_BYTES = 1024;

type Session = PooledSession<WorkerSession>;

/**
 * One request, from its turn for a session to its answer. It holds every buffer that the module may be reading until
 * the call has settled.
 */
export abstract class Job implements Borrower<WorkerSession> {
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

  /** *Init, and the call that uses the key, wherever that runs. Throws only before that call. */
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

export class SignJob extends Job {
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
    const signed: Settled = (error, length) => {
      if (error !== undefined) this.failed(session, error);
      else if (length !== bytes)
        this.failed(session, new CryptokiError(`a signature of ${length} bytes, not ${bytes}`));
      else {
        replies.done(this.id, room.subarray(0, length));
        this.end(session);
      }
    };
    this.#object.placement.place((where) =>
      cryptoki.sign(handle, this.#input(session.handle), room, signed, where),
    );
  }

  #input(session: WorkerSession): Uint8Array {
    const rule = this.#row.data;
    if (rule.kind === 'message' || rule.prefix === undefined) return this.#data;
    rule.prefix.copy(session.input);
    session.input.set(this.#data, rule.prefix.length);
    return session.input.subarray(0, rule.prefix.length + this.#data.length);
  }
}

export class EncryptJob extends Job {
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
    const encrypted: Settled = (error, length) => {
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
    };
    this.#object.placement.place((where) => cryptoki.encrypt(handle, this.#data, room, encrypted, where));
  }
}

export class DecryptJob extends Job {
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
        remember(this.#object, this.#message);
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
    this.#object.placement.place((where) =>
      cryptoki.decrypt(
        handle,
        message.sealed,
        room,
        (error, length) => done(error, room.subarray(0, length)),
        where,
      ),
    );
  }

  /**
   * Some modules answer a bad ciphertext and a dying token with one and the same code. The key's own known-good
   * ciphertext tells them apart: were every such answer held against the token, any client could take it down. Others
   * call a bad ciphertext bad data: that must not read differently to whoever tries ciphertexts.
   */
  #rejected(session: Session, error: Error): void {
    const { knownGood } = this.#object;
    if (!(error instanceof CkrError)) {
      this.failed(session, error);
      return;
    }
    const name = ckrName(error.ckr);
    if (BAD_DATA.includes(name)) {
      this.operations.pool.discard(session);
      this.#reject(name);
      return;
    }
    const isAmbiguous = this.operations.profile.ambiguousRejections[this.#algorithm].includes(name);
    if (!isAmbiguous || knownGood === undefined) {
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
        this.#reject(name);
        this.end(fresh);
      });
    } catch (cause) {
      this.operations.pool.discard(fresh);
      this.operations.fail(this.id, cause, 'run');
    }
  }

  #reject(ckr: string): void {
    this.operations.replies.failed(this.id, {
      reason: 'CIPHERTEXT_REJECTED',
      performed: 'unknown',
      message: 'the ciphertext does not open',
      ckr,
    });
  }
}

/** About the input, and a decryption's only input is the ciphertext. */
const BAD_DATA: readonly string[] = ['CKR_DATA_INVALID', 'CKR_DATA_LEN_RANGE'];

export class RandomJob extends Job {
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
