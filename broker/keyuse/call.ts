import type { WorkloadIdentity } from '../identity/identity.ts';

/** Who asks, over which connection. Verified once, by the broker itself, when the connection opened. */
export interface Caller {
  readonly identity: WorkloadIdentity;
  /** `address:port`. */
  readonly peer: string;
}

/** One request's time and life. */
export class Call {
  /** `performance.now()`, milliseconds. */
  readonly deadline: number;
  readonly started: number = performance.now();
  #controller: AbortController | undefined;
  #isCancelled = false;

  constructor(deadline: number) {
    this.deadline = deadline;
  }

  get isCancelled(): boolean {
    return this.#isCancelled;
  }

  /** Made on first use: most calls are answered before anybody listens. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isCancelled) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  /** The caller has gone. */
  cancel(): void {
    this.#isCancelled = true;
    this.#controller?.abort();
  }

  get elapsedMicros(): number {
    return Math.round((performance.now() - this.started) * 1000);
  }
}
