/**
 * Where a call into the module runs. A pool thread lets other calls run beside it, and the hand-over there and back
 * costs as much processor time as an ECDSA signature. A module that does the cryptography itself
 * (`transport.kind: 'in process'`) has calls that are shorter than that: those run on the worker's own thread.
 *
 * By measurement, for each object, because nothing else knows: an RSA signature of the same module takes twenty times
 * as long, and a module whose files lie on a slow disk is no quick one. A module with a device behind it never gets
 * here: a call that hangs would keep the worker from answering those that do not.
 */
export type Placement = 'thread' | 'inline';

/** Call and answer. Below it, another thread has nothing to win; a scheduler's tick is far above. */
const QUICK_MS = 0.1;
/** One slow call may be the machine's; as many in a row are the key's. */
const SLOW_IN_A_ROW = 4;
/** Calls on threads before the next is tried inline. Doubled with each that is slow again. */
const FIRST_PAUSE = 1024;
const LONGEST_PAUSE = 1 << 16;

export interface CallPlacement {
  /** Runs `call`, and tells it where. */
  place(call: (placement: Placement) => void): void;
}

export const ON_THREADS: CallPlacement = { place: (call) => call('thread') };

export class MeasuredPlacement implements CallPlacement {
  readonly #now: () => number;
  #slow = 0;
  #pause = FIRST_PAUSE;
  #pausesFor = 0;

  /** `now`: milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  place(call: (placement: Placement) => void): void {
    if (this.#pausesFor > 0) {
      this.#pausesFor -= 1;
      call('thread');
      return;
    }
    const from = this.#now();
    call('inline');
    this.#took(this.#now() - from);
  }

  #took(milliseconds: number): void {
    if (milliseconds <= QUICK_MS) {
      this.#slow = 0;
      this.#pause = FIRST_PAUSE;
      return;
    }
    this.#slow += 1;
    if (this.#slow < SLOW_IN_A_ROW) return;
    // The next trial is one call, not another four.
    this.#slow = SLOW_IN_A_ROW - 1;
    this.#pausesFor = this.#pause;
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
  }
}
