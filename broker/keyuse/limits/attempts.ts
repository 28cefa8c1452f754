import { SmoothWindow } from './smooth-window.ts';

export interface AttemptsOptions {
  /** Refusals by limits that one workload may cause in `perMs`; 1,000. */
  readonly max?: number | undefined;
  /** Milliseconds; 10,000. */
  readonly perMs?: number | undefined;
  /** Workloads that are remembered at a time; 65,536. */
  readonly maxWorkloads?: number | undefined;
}

/**
 * Limits refusals by limits, for each workload: whoever asks on and on to learn how much room a shared limit has, or
 * never waits as long as he is told, is refused before any limit is looked at, until his refusals are old enough.
 *
 * Refusals of that second kind do not count: they cost nothing and tell nothing, and a workload that never stops asking
 * still gets its turn. A workload that asks for a tenth more than 500 a second never gets here.
 *
 * When more workloads than can be remembered cause refusals, the one refused for the first time longest ago is
 * forgotten: what it asks for is still limited, only not twice.
 */
export class AttemptLimiter {
  readonly #max: number;
  readonly #perMs: number;
  readonly #maxWorkloads: number;
  readonly #workloads = new Map<string, SmoothWindow>();
  #latestMs = Number.NEGATIVE_INFINITY;

  constructor(options: AttemptsOptions = {}) {
    this.#max = options.max ?? 1000;
    this.#perMs = options.perMs ?? 10_000;
    this.#maxWorkloads = options.maxWorkloads ?? 65_536;
  }

  /** Workloads in memory. */
  get size(): number {
    return this.#workloads.size;
  }

  /** Counts one refusal. Milliseconds that the workload has to wait when that was the last one; undefined: it was not. */
  refused(spiffeId: string, nowMs: number): number | undefined {
    const now = this.#advance(nowMs);
    let refusals = this.#workloads.get(spiffeId);
    if (refusals === undefined) {
      this.#makeRoom(now);
      refusals = new SmoothWindow(this.#perMs);
      this.#workloads.set(spiffeId, refusals);
    }
    if (refusals.waitFor(1, this.#max, undefined, now) === undefined)
      refusals.consume(1, this.#max, undefined, now);
    return refusals.waitFor(1, this.#max, undefined, now);
  }

  /** Milliseconds that this workload has to wait before anything with a limit is looked at; undefined: none. */
  penalty(spiffeId: string, nowMs: number): number | undefined {
    return this.#workloads.get(spiffeId)?.waitFor(1, this.#max, undefined, this.#advance(nowMs));
  }

  #advance(nowMs: number): number {
    this.#latestMs = Math.max(this.#latestMs, nowMs);
    return this.#latestMs;
  }

  /** Drops the oldest two that are idle, or the oldest one when there is no place. */
  #makeRoom(nowMs: number): void {
    let looked = 0;
    for (const [spiffeId, refusals] of this.#workloads) {
      if (looked++ === 2) break;
      if (refusals.isIdle(nowMs)) this.#workloads.delete(spiffeId);
      // Still in use: to the end, so that the next two are looked at next time.
      else if (this.#workloads.size < this.#maxWorkloads) {
        this.#workloads.delete(spiffeId);
        this.#workloads.set(spiffeId, refusals);
      }
    }
    if (this.#workloads.size < this.#maxWorkloads) return;
    const oldest = this.#workloads.keys().next();
    if (oldest.done !== true) this.#workloads.delete(oldest.value);
  }
}
