import {
  AdapterError,
  type AdapterReason,
  type CancelSignal,
  type OperationContext,
  type Performed,
} from '../adapter.ts';
import type { Timers } from '../frames/child-process.ts';
import { FrameError } from '../frames/frame-channel.ts';
import { type WorkerFailure, WorkerFrame } from '../frames/worker-frames.ts';

/** Turns the payload of Done or DoneJson into the result. A throw ends the worker. */
export type Decode<T> = (payload: Buffer) => T;

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: AdapterError) => void;
  readonly decode: Decode<unknown>;
  /** Done or DoneJson. */
  readonly answer: number;
  /** On the timers' clock; Infinity for none. */
  readonly deadline: number;
  /** Unanswered by then, the module hangs. Moved while key administration holds up the worker. */
  hangsAt: number;
  readonly signal: CancelSignal | undefined;
  onAbort: (() => void) | undefined;
  isAborted: boolean;
  /** The caller has its answer; the worker still owes one. */
  isSettled: boolean;
}

export interface RequestTableEvents {
  /** Tells the worker to leave a request undone if it has not begun. */
  cancel(id: number): void;
  /** A request went unanswered for longer than the module may take. Called once until `failAll`. */
  hangs(): void;
}

/**
 * What the worker was asked and has not answered. Owned by one token's supervisor.
 *
 * One timer serves all requests: it is set to the earliest instant that matters, and looks at the whole table when
 * it fires. A request that is answered in time costs no timer of its own, and the table is bounded by its owner.
 */
export class RequestTable {
  readonly #timers: Timers;
  readonly #events: RequestTableEvents;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #operations = 0;
  #administrations = 0;
  /** Meaningful while `#administrations` is not 0. */
  #administrationUntil = 0;
  #cancelTimer: (() => void) | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #isHanging = false;

  constructor(timers: Timers, events: RequestTableEvents) {
    this.#timers = timers;
    this.#events = events;
  }

  /** Key use that the worker has not answered. */
  get operations(): number {
    return this.#operations;
  }

  get administrations(): number {
    return this.#administrations;
  }

  /**
   * Enters a key use; `send` puts the frame with that id on the pipe, and is not called when it is too late already.
   * Rejects with DEADLINE_EXCEEDED, CANCELLED, or what the worker answers.
   */
  operation<T>(
    context: OperationContext,
    hangLimitMs: number,
    decode: Decode<T>,
    send: (id: number, millisecondsLeft: number) => void,
  ): Promise<T> {
    const { deadline, signal } = context;
    const now = this.#timers.now();
    if (signal?.aborted === true) return Promise.reject(failed('CANCELLED', 'no'));
    const left = deadline - now;
    if (left <= 0) return Promise.reject(failed('DEADLINE_EXCEEDED', 'no'));
    return new Promise<T>((resolve, reject) => {
      const id = this.#takeId();
      const pending: Pending = {
        resolve: resolve as (result: unknown) => void,
        reject,
        decode,
        answer: WorkerFrame.Done,
        deadline,
        hangsAt:
          this.#administrations > 0
            ? Math.max(now + hangLimitMs, this.#administrationUntil)
            : now + hangLimitMs,
        signal,
        onAbort: undefined,
        isAborted: false,
        isSettled: false,
      };
      try {
        send(id, workerMilliseconds(left));
      } catch (cause) {
        if (!(cause instanceof FrameError)) throw cause;
        reject(new AdapterError('REQUEST_INVALID', cause.message, { performed: 'no', cause }));
        return;
      }
      this.#pending.set(id, pending);
      this.#operations += 1;
      if (signal !== undefined) {
        pending.onAbort = () => this.#abort(id, pending);
        signal.addEventListener('abort', pending.onAbort, { once: true });
      }
      this.#wakeBy(Math.min(deadline, pending.hangsAt));
    });
  }

  /** Enters an act of key administration: no deadline of a caller's, only the one after which the module hangs. */
  administration<T>(limitMs: number, decode: Decode<T>, send: (id: number) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const id = this.#takeId();
      const hangsAt = this.#timers.now() + limitMs;
      send(id);
      this.#pending.set(id, {
        resolve: resolve as (result: unknown) => void,
        reject,
        decode,
        answer: WorkerFrame.DoneJson,
        deadline: Number.POSITIVE_INFINITY,
        hangsAt,
        signal: undefined,
        onAbort: undefined,
        isAborted: false,
        isSettled: false,
      });
      this.#administrations += 1;
      this.#administrationUntil = hangsAt;
      // It runs on the worker's main thread: what waits behind it is slow, and does not hang before it does.
      for (const pending of this.#pending.values()) pending.hangsAt = Math.max(pending.hangsAt, hangsAt);
      this.#wakeBy(hangsAt);
    });
  }

  /** Done or DoneJson. Throws a FrameError when nobody asked for it. */
  done(type: number, id: number, payload: Buffer): void {
    const pending = this.#pending.get(id);
    if (pending === undefined || pending.answer !== type)
      throw new FrameError('token worker: an answer to no question');
    const result = pending.decode(payload);
    this.#remove(id, pending);
    if (pending.isSettled) return;
    if (pending.isAborted) this.#rejectWith(pending, failed('CANCELLED', 'unknown'));
    else {
      this.#settle(pending);
      pending.resolve(result);
    }
  }

  failed(id: number, failure: WorkerFailure): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) throw new FrameError('token worker: an answer to no question');
    this.#remove(id, pending);
    if (pending.isSettled) return;
    const { reason, performed, message, ckr } = failure;
    this.#rejectWith(
      pending,
      pending.isAborted && reason !== 'CANCELLED'
        ? new AdapterError('CANCELLED', message, { performed, ckr })
        : new AdapterError(reason, message, { performed, ckr }),
    );
  }

  /** The worker is gone: nothing of what it was asked will be answered, and any of it may have happened. */
  failAll(message: string): void {
    const all = [...this.#pending.values()];
    this.#pending.clear();
    this.#operations = 0;
    this.#administrations = 0;
    this.#isHanging = false;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    for (const pending of all) {
      if (pending.isSettled) continue;
      const reason = pending.isAborted ? 'CANCELLED' : 'TOKEN_UNREACHABLE';
      this.#rejectWith(pending, new AdapterError(reason, message, { performed: 'unknown' }));
    }
  }

  #takeId(): number {
    // Ids come round after 2^32 requests; one that is still waiting is passed over.
    while (this.#pending.has(this.#nextId)) this.#nextId = (this.#nextId + 1) >>> 0;
    const id = this.#nextId;
    this.#nextId = (id + 1) >>> 0;
    return id;
  }

  #abort(id: number, pending: Pending): void {
    pending.isAborted = true;
    this.#events.cancel(id);
  }

  #remove(id: number, pending: Pending): void {
    this.#pending.delete(id);
    if (pending.answer === WorkerFrame.Done) this.#operations -= 1;
    else this.#administrations -= 1;
  }

  #rejectWith(pending: Pending, error: AdapterError): void {
    this.#settle(pending);
    pending.reject(error);
  }

  #settle(pending: Pending): void {
    pending.isSettled = true;
    if (pending.onAbort !== undefined) pending.signal?.removeEventListener('abort', pending.onAbort);
  }

  #wakeBy(at: number): void {
    if (at >= this.#timerAt) return;
    this.#cancelTimer?.();
    this.#timerAt = at;
    this.#cancelTimer = this.#timers.after(Math.max(0, Math.ceil(at - this.#timers.now())), () =>
      this.#sweep(),
    );
  }

  #sweep(): void {
    this.#cancelTimer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = this.#timers.now();
    let next = Number.POSITIVE_INFINITY;
    let hangs = false;
    for (const [id, pending] of this.#pending) {
      if (!pending.isSettled && pending.deadline <= now) {
        this.#rejectWith(pending, failed(pending.isAborted ? 'CANCELLED' : 'DEADLINE_EXCEEDED', 'unknown'));
        if (!pending.isAborted) this.#events.cancel(id);
      }
      if (!pending.isSettled) next = Math.min(next, pending.deadline);
      if (pending.hangsAt <= now) hangs = true;
      else next = Math.min(next, pending.hangsAt);
    }
    if (next < Number.POSITIVE_INFINITY) this.#wakeBy(next);
    if (hangs && !this.#isHanging) {
      this.#isHanging = true;
      this.#events.hangs();
    }
  }
}

const MAX_MILLISECONDS = 0x7fffffff;

/** The worker is told a little less than there is: its word that nothing was done then arrives in time to be believed. */
function workerMilliseconds(left: number): number {
  return Math.min(MAX_MILLISECONDS, Math.max(1, Math.floor(left - Math.min(30, left / 5))));
}

const MESSAGES = {
  DEADLINE_EXCEEDED: 'the deadline passed',
  CANCELLED: 'cancelled',
} as const satisfies Partial<Record<AdapterReason, string>>;

function failed(reason: keyof typeof MESSAGES, performed: Performed): AdapterError {
  return new AdapterError(reason, MESSAGES[reason], { performed });
}
