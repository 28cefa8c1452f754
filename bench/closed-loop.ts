/**
 * The one way in which everything here is measured: a fixed number of operations in flight, each followed by the
 * next as soon as it is done, for a fixed time. A ceiling and what is held against it differ in the operation only.
 */

export interface Sample {
  /** Operations that ended before the clock stopped. Those in flight then are awaited, but not counted. */
  readonly operations: number;
  readonly seconds: number;
  /** One for each counted operation, in the order in which they ended. */
  readonly latenciesMs: Float64Array;
  /** Failures by reason, over everything that was begun. */
  readonly failures: Readonly<Record<string, number>>;
}

/** Begins one operation and calls `done` once, not before it returns. `lane` is below the number in flight. */
export type Begin = (lane: number, done: (error?: unknown) => void) => void;

/** A lane whose operation fails waits so long: a broker that is away is not asked in a tight loop. */
const AFTER_FAILURE_MS = 5;

export function runClosedLoop(
  options: { readonly inFlight: number; readonly seconds: number },
  begin: Begin,
): Promise<Sample> {
  const { inFlight, seconds } = options;
  const latencies = new Latencies();
  const failures: Record<string, number> = {};
  const started = performance.now();
  const end = started + seconds * 1000;
  let live = 0;
  return new Promise((resolve) => {
    const next = (lane: number): void => {
      const begun = performance.now();
      if (begun >= end) {
        live -= 1;
        if (live === 0) {
          const latenciesMs = latencies.values();
          resolve({ operations: latenciesMs.length, seconds, latenciesMs, failures });
        }
        return;
      }
      begin(lane, (error) => {
        const now = performance.now();
        if (error === undefined) {
          if (now <= end) latencies.add(now - begun);
          next(lane);
          return;
        }
        const reason = reasonOf(error);
        failures[reason] = (failures[reason] ?? 0) + 1;
        setTimeout(next, AFTER_FAILURE_MS, lane);
      });
    };
    for (let lane = 0; lane < inFlight; lane += 1) {
      live += 1;
      next(lane);
    }
  });
}

/** For operations that are promises. */
export function promised(operation: (lane: number) => Promise<unknown>): Begin {
  return (lane, done) => {
    operation(lane).then(
      () => done(),
      (error: unknown) => done(error ?? new Error('rejected with nothing')),
    );
  };
}

function reasonOf(error: unknown): string {
  if (error instanceof Error && 'reason' in error && typeof error.reason === 'string') return error.reason;
  return error instanceof Error ? error.message : String(error);
}

/** Grows by doubling: an array of boxed numbers would be garbage to collect in the middle of a measurement. */
class Latencies {
  #values = new Float64Array(1 << 14);
  #length = 0;

  add(value: number): void {
    if (this.#length === this.#values.length) {
      const larger = new Float64Array(2 * this.#length);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#length] = value;
    this.#length += 1;
  }

  values(): Float64Array {
    return this.#values.slice(0, this.#length);
  }
}
