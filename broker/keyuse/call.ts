import type { CancelSignal, OperationContext } from '../../hsm-adapters/adapter.ts';
import type { WorkloadIdentity } from '../identity/identity.ts';

/** Who asks, over which connection. Verified once, by the broker itself, when the connection opened. */
export interface Caller {
  readonly identity: WorkloadIdentity;
  /** `address:port`. */
  readonly peer: string;
}

/**
 * One request's time and life. It is its own signal and its own context: an AbortController for each of ten
 * thousand requests a second would cost as much as the decision.
 */
export class Call implements CancelSignal, OperationContext {
  /** `performance.now()`, milliseconds. */
  readonly deadline: number;
  readonly started: number = performance.now();
  /** The caller would rather wait for people to agree, within its deadline, than be told that they have to. */
  waitsForApproval = false;
  /** The caller asks for emergency access: a quorum of its own, loud in the log. */
  isEmergency = false;
  #isCancelled = false;
  readonly #listeners: (() => void)[] = [];

  constructor(deadline: number) {
    this.deadline = deadline;
  }

  get signal(): CancelSignal {
    return this;
  }

  get aborted(): boolean {
    return this.#isCancelled;
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.push(listener);
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    const at = this.#listeners.indexOf(listener);
    if (at >= 0) this.#listeners.splice(at, 1);
  }

  /** The caller has gone. */
  cancel(): void {
    if (this.#isCancelled) return;
    this.#isCancelled = true;
    for (const listener of this.#listeners.splice(0)) listener();
  }

  get elapsedMicros(): number {
    return Math.round((performance.now() - this.started) * 1000);
  }
}
