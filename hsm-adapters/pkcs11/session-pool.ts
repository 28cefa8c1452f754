import type { AdapterReason } from '../adapter.ts';

/**
 * A bounded set of sessions on one token, lent to one operation at a time.
 *
 * Login belongs to the process, not to a session (PKCS#11 v3.1, 5.6): the pool never calls C_Login or C_Logout,
 * and the anchor session that keeps the login alive is not in it.
 *
 * Invariants:
 *   - idle + lent <= limit
 *   - a session is lent to one borrower, from before *Init until the call that ends the operation has settled
 *   - a session whose operation failed is closed, never lent again
 *   - a borrower hears exactly once: `granted` or `refused`
 *
 * No promises and no timers on the way through: under load this runs tens of thousands of times a second.
 */
export interface Borrower<H> {
  /** On the clock given to the pool, in milliseconds. */
  readonly deadline: number;
  /** Ordinal of a session not to be lent, -1 for any. Ignored where the pool has only one. */
  readonly notSession: number;
  granted(session: PooledSession<H>): void;
  /** The operation did not begin. */
  refused(reason: Refusal, cause: unknown): void;
}

export type Refusal =
  | Extract<AdapterReason, 'QUEUE_FULL' | 'DEADLINE_EXCEEDED' | 'CANCELLED' | 'TOKEN_UNREACHABLE'>
  | 'NO_SESSION';

export interface PooledSession<H> {
  readonly handle: H;
  /** Small, and reused by the session that replaces this one. */
  readonly ordinal: number;
}

export interface SessionSource<H> {
  open(): H;
  close(handle: H): void;
  /** The token has no more sessions to give: the pool makes do with those it has. */
  isLimit(error: unknown): boolean;
}

export interface PoolOptions {
  readonly sessions: number;
  readonly maxQueued: number;
  readonly now: () => number;
  /** A session that could not be closed; nothing else depends on it. */
  readonly closeFailed: (error: unknown) => void;
}

export class SessionPool<H> {
  readonly #source: SessionSource<H>;
  readonly #options: PoolOptions;
  readonly #idle: PooledSession<H>[] = [];
  readonly #lent = new Set<PooledSession<H>>();
  readonly #freeOrdinals: number[];
  /** Waiting borrowers in order; `#head` is where they begin, so that taking one does not move the others. */
  #queue: (Borrower<H> | undefined)[] = [];
  #head = 0;
  #limit: number;
  #pumping = false;
  #closed = false;

  constructor(source: SessionSource<H>, options: PoolOptions) {
    if (!Number.isSafeInteger(options.sessions) || options.sessions < 1)
      throw new RangeError('a pool needs a session');
    this.#source = source;
    this.#options = options;
    this.#limit = options.sessions;
    this.#freeOrdinals = Array.from({ length: options.sessions }, (_, index) => options.sessions - 1 - index);
  }

  get lent(): number {
    return this.#lent.size;
  }

  get open(): number {
    return this.#idle.length + this.#lent.size;
  }

  get queued(): number {
    return this.#queue.length - this.#head;
  }

  get limit(): number {
    return this.#limit;
  }

  borrow(borrower: Borrower<H>): void {
    if (this.#closed) borrower.refused('TOKEN_UNREACHABLE', undefined);
    else if (this.queued >= this.#options.maxQueued) borrower.refused('QUEUE_FULL', undefined);
    else {
      this.#queue.push(borrower);
      this.#pump();
    }
  }

  /** True when the borrower was still waiting: it is refused, and nothing was done for it. */
  cancel(borrower: Borrower<H>): boolean {
    const at = this.#queue.indexOf(borrower, this.#head);
    if (at < 0) return false;
    this.#queue.splice(at, 1);
    borrower.refused('CANCELLED', undefined);
    return true;
  }

  /** The operation ended well: the session may serve the next. */
  giveBack(session: PooledSession<H>): void {
    this.#take(session);
    if (this.#closed || this.open >= this.#limit) this.#close(session);
    else this.#idle.push(session);
    this.#pump();
  }

  /** The operation failed: whatever state the session is in, nobody meets it again. */
  discard(session: PooledSession<H>): void {
    this.#take(session);
    this.#close(session);
    this.#pump();
  }

  /**
   * A fresh session for the same borrower in place of one that an operation failed on. Throws when none can be
   * opened; then the borrower holds nothing any more.
   */
  replace(session: PooledSession<H>): PooledSession<H> {
    this.#take(session);
    this.#close(session);
    let handle: H;
    try {
      handle = this.#source.open();
    } catch (error) {
      this.#pump();
      throw error;
    }
    const fresh = { handle, ordinal: this.#nextOrdinal(-1) };
    this.#lent.add(fresh);
    return fresh;
  }

  /** Refuses those whose deadline has passed while they waited. For a slow timer of the owner. */
  refuseExpired(): void {
    const now = this.#options.now();
    const expired: Borrower<H>[] = [];
    const waiting: Borrower<H>[] = [];
    for (let at = this.#head; at < this.#queue.length; at += 1) {
      const borrower = this.#queue[at];
      if (borrower === undefined) continue;
      (borrower.deadline <= now ? expired : waiting).push(borrower);
    }
    if (expired.length === 0) return;
    this.#queue = waiting;
    this.#head = 0;
    for (const borrower of expired) borrower.refused('DEADLINE_EXCEEDED', undefined);
  }

  /** Refuses all who wait and closes what is idle. What is lent is closed when it comes back. */
  close(): void {
    this.#closed = true;
    const waiting = this.#queue.slice(this.#head);
    this.#queue = [];
    this.#head = 0;
    for (const borrower of waiting) borrower?.refused('TOKEN_UNREACHABLE', undefined);
    for (const session of this.#idle.splice(0)) this.#close(session);
  }

  #take(session: PooledSession<H>): void {
    // A second return would put one session into two hands: stop before it does.
    if (!this.#lent.delete(session)) throw new Error(`session ${session.ordinal} is not lent`);
  }

  #close(session: PooledSession<H>): void {
    this.#freeOrdinals.push(session.ordinal);
    try {
      this.#source.close(session.handle);
    } catch (error) {
      this.#options.closeFailed(error);
    }
  }

  /**
   * Lends sessions until one side runs out. `granted` may fail at once and return its session: that only marks
   * the session free, and this loop, not a deeper call, goes on.
   */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      let at = this.#head;
      while (at < this.#queue.length) {
        const borrower = this.#queue[at]!;
        if (borrower.deadline <= this.#options.now()) {
          this.#unqueue(at);
          borrower.refused('DEADLINE_EXCEEDED', undefined);
          at = this.#head;
          continue;
        }
        const session = this.#find(borrower);
        if (session instanceof NoSession) {
          if (session.wait) {
            // This one waits for another session than those idle; somebody behind it may not.
            if (this.#idle.length === 0) return;
            at += 1;
            continue;
          }
          this.#unqueue(at);
          borrower.refused('NO_SESSION', session.cause);
          at = this.#head;
          continue;
        }
        this.#unqueue(at);
        this.#lent.add(session);
        borrower.granted(session);
        at = this.#head;
      }
    } finally {
      this.#pumping = false;
    }
  }

  #unqueue(at: number): void {
    if (at === this.#head) {
      this.#queue[at] = undefined;
      this.#head += 1;
      if (this.#head === this.#queue.length) {
        this.#queue.length = 0;
        this.#head = 0;
      } else if (this.#head >= 1024) {
        this.#queue.splice(0, this.#head);
        this.#head = 0;
      }
    } else this.#queue.splice(at, 1);
  }

  #find(borrower: Borrower<H>): PooledSession<H> | NoSession {
    const avoid = this.#limit > 1 ? borrower.notSession : -1;
    for (let at = this.#idle.length - 1; at >= 0; at -= 1) {
      if (this.#idle[at]!.ordinal === avoid) continue;
      if (at === this.#idle.length - 1) return this.#idle.pop()!;
      return this.#idle.splice(at, 1)[0]!;
    }
    if (this.open >= this.#limit) return WAIT;
    let handle: H;
    try {
      handle = this.#source.open();
    } catch (error) {
      if (this.#source.isLimit(error) && this.open > 0) {
        this.#limit = this.open;
        return WAIT;
      }
      return new NoSession(false, error);
    }
    return { handle, ordinal: this.#nextOrdinal(avoid) };
  }

  #nextOrdinal(avoid: number): number {
    const last = this.#freeOrdinals.length - 1;
    // Whoever must not get session n must not get a new session under that number either.
    const at = this.#freeOrdinals[last] === avoid && last > 0 ? last - 1 : last;
    return this.#freeOrdinals.splice(at, 1)[0]!;
  }
}

class NoSession {
  readonly wait: boolean;
  readonly cause: unknown;
  constructor(wait: boolean, cause: unknown) {
    this.wait = wait;
    this.cause = cause;
  }
}

const WAIT = new NoSession(true, undefined);
