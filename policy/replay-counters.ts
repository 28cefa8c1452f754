/**
 * Limits and guards for replays: no store, no clock, one request after the other. The plainest counters that are
 * exact; the broker's own are built for speed and for surviving a crash.
 */
import type { Guard, Limit } from './decision.ts';
import { limitSubject } from './limit-subject.ts';

/** What of a request limits look at. */
export interface CountedRequest {
  readonly spiffeId: string;
  readonly key: string;
  readonly bytes: number;
  /** Milliseconds of the Unix epoch. A time before that of an earlier request is taken for that one's. */
  readonly now: number;
}

export type Taken =
  | { readonly ok: true; giveBack(): void }
  | { readonly ok: false; readonly limit: Limit; readonly retryAfterMs: number | undefined };

export interface ReplayLimitsOptions {
  /**
   * Steps that a window is counted in. Left out: every millisecond on its own, which is exact and keeps one number
   * for each request in the window. With steps, memory is bounded by them, and what was used comes back up to one step
   * later than it could.
   */
  readonly steps?: number | undefined;
}

export class ReplayLimits {
  readonly #steps: number;
  readonly #counters = new Map<string, Counter>();
  #now = Number.NEGATIVE_INFINITY;

  constructor({ steps = Number.POSITIVE_INFINITY }: ReplayLimitsOptions = {}) {
    this.#steps = steps;
  }

  /** Takes from all of the limits, or from none. */
  take(limits: readonly Limit[], request: CountedRequest): Taken {
    this.#now = Math.max(this.#now, request.now);
    const now = this.#now;
    const charges = limits.flatMap((limit) => {
      const amount = limit.unit === 'bytes' ? request.bytes : 1;
      const charge = { limit, counter: this.#counter(limit, request), amount, max: limit.max };
      if (limit.burst === undefined || limit.perMs === undefined) return [charge];
      const bucket = this.#bucket(limit, limit.max / limit.perMs, request);
      return [charge, { limit, counter: bucket, amount, max: limit.burst }];
    });
    for (const { limit, counter, amount, max } of charges) {
      const waitMs = counter.waitFor(amount, max, now);
      if (waitMs !== 0) return { ok: false, limit, retryAfterMs: waitMs };
    }
    for (const { counter, amount } of charges) counter.add(amount, now);
    return {
      ok: true,
      giveBack: () => {
        for (const { counter, amount } of charges) counter.add(-amount, now);
      },
    };
  }

  #counter(limit: Limit, request: CountedRequest): Counter {
    const { perMs } = limit;
    return this.#named(limit, request, 'window', () =>
      perMs === undefined
        ? new SlidingCounter(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY)
        : limit.window === 'fixed'
          ? new FixedCounter(perMs)
          : new SlidingCounter(perMs, Math.max(1, Math.floor(perMs / this.#steps))),
    );
  }

  #bucket(limit: Limit, perMs: number, request: CountedRequest): Counter {
    return this.#named(limit, request, 'burst', () => new Bucket(perMs));
  }

  #named(limit: Limit, request: CountedRequest, what: string, make: () => Counter): Counter {
    const name = JSON.stringify([
      limit.id,
      limitSubject(limit.by, request.spiffeId, request.key),
      what,
      limit.window,
      limit.perMs ?? null,
    ]);
    let counter = this.#counters.get(name);
    if (counter === undefined) {
      counter = make();
      this.#counters.set(name, counter);
    }
    return counter;
  }
}

interface Counter {
  /** Milliseconds until `amount` fits; 0: now; undefined: never. */
  waitFor(amount: number, max: number, now: number): number | undefined;
  add(amount: number, now: number): void;
}

interface Step {
  /** Of the newest request in it. */
  time: number;
  amount: number;
}

/** What was used in the last `perMs` milliseconds, whenever one looks. */
class SlidingCounter implements Counter {
  readonly #perMs: number;
  readonly #stepMs: number;
  #steps: Step[] = [];
  #head = 0;
  #total = 0;

  constructor(perMs: number, stepMs: number) {
    this.#perMs = perMs;
    this.#stepMs = stepMs;
  }

  waitFor(amount: number, max: number, now: number): number | undefined {
    this.#forget(now);
    if (this.#total + amount <= max) return 0;
    if (amount > max) return undefined;
    let left = this.#total;
    for (let i = this.#head; i < this.#steps.length; i++) {
      const { time, amount: used } = this.#steps[i]!;
      left -= used;
      if (left + amount <= max) return Number.isFinite(this.#perMs) ? time + this.#perMs - now : undefined;
    }
    return undefined;
  }

  add(amount: number, now: number): void {
    this.#total += amount;
    const last = this.#steps.at(-1);
    if (last !== undefined && this.#head < this.#steps.length && this.#isSameStep(last.time, now)) {
      last.time = now;
      last.amount += amount;
    } else {
      this.#steps.push({ time: now, amount });
    }
  }

  #isSameStep(a: number, b: number): boolean {
    return (
      this.#stepMs === Number.POSITIVE_INFINITY ||
      Math.floor(a / this.#stepMs) === Math.floor(b / this.#stepMs)
    );
  }

  #forget(now: number): void {
    for (;;) {
      const oldest = this.#steps[this.#head];
      if (oldest === undefined || oldest.time > now - this.#perMs) break;
      this.#total -= oldest.amount;
      this.#head++;
    }
    if (this.#head > 1024 && this.#head * 2 > this.#steps.length) {
      this.#steps = this.#steps.slice(this.#head);
      this.#head = 0;
    }
  }
}

/** A window begins with the first use after the one before has ended. */
class FixedCounter implements Counter {
  readonly #perMs: number;
  #begin = Number.NEGATIVE_INFINITY;
  #total = 0;

  constructor(perMs: number) {
    this.#perMs = perMs;
  }

  waitFor(amount: number, max: number, now: number): number | undefined {
    if (amount > max) return undefined;
    const used = now < this.#begin + this.#perMs ? this.#total : 0;
    return used + amount <= max ? 0 : this.#begin + this.#perMs - now;
  }

  add(amount: number, now: number): void {
    if (now >= this.#begin + this.#perMs) {
      this.#begin = now;
      this.#total = 0;
    }
    this.#total += amount;
  }
}

/** What came at once and has not drained yet. */
class Bucket implements Counter {
  /** Per millisecond. */
  readonly #rate: number;
  #level = 0;
  #at = 0;

  constructor(rate: number) {
    this.#rate = rate;
  }

  waitFor(amount: number, max: number, now: number): number | undefined {
    if (amount > max) return undefined;
    this.#drain(now);
    return Math.max(0, Math.ceil((this.#level + amount - max) / this.#rate - ROUNDING));
  }

  add(amount: number, now: number): void {
    this.#drain(now);
    this.#level += amount;
  }

  #drain(now: number): void {
    this.#level = Math.max(0, this.#level - (now - this.#at) * this.#rate);
    this.#at = now;
  }
}

// A level is a sum of fractions.
const ROUNDING = 1e-6;

export type Reserved =
  | { readonly ok: true; release(): void }
  | { readonly ok: false; readonly guard: Guard; readonly message: string };

/** Values that guards have seen, by guard and key. */
export class ReplayGuards {
  readonly #maxValues: number;
  readonly #highest = new Map<string, bigint>();
  readonly #seen = new Map<string, Set<string>>();
  #values = 0;

  /** @param maxValues of all `unique` guards together; beyond, `isFull` and nothing more is remembered */
  constructor(maxValues: number = Number.POSITIVE_INFINITY) {
    this.#maxValues = maxValues;
  }

  /** Values were forgotten: a `unique` guard may have let a repeat pass. */
  get isFull(): boolean {
    return this.#values >= this.#maxValues;
  }

  /** Reserves for all of the guards, or for none. */
  reserve(guards: readonly Guard[], key: string): Reserved {
    for (const guard of guards) {
      const name = historyOf(guard, key);
      if (guard.kind === 'monotonic') {
        const highest = this.#highest.get(name);
        if (typeof guard.value !== 'bigint' || (highest !== undefined && guard.value <= highest)) {
          return {
            ok: false,
            guard,
            message: `${guard.value} is not above ${highest ?? 'what an integer is'}`,
          };
        }
      } else if (this.#seen.get(name)?.has(String(guard.value)) === true) {
        return { ok: false, guard, message: 'the value was used before' };
      }
    }
    const undo = guards.map((guard) => this.#note(guard, historyOf(guard, key)));
    return {
      ok: true,
      release: () => {
        for (const back of undo) back();
      },
    };
  }

  #note(guard: Guard, name: string): () => void {
    if (guard.kind === 'monotonic') {
      const before = this.#highest.get(name);
      this.#highest.set(name, BigInt(guard.value));
      return () => (before === undefined ? this.#highest.delete(name) : this.#highest.set(name, before));
    }
    let seen = this.#seen.get(name);
    if (seen === undefined) {
      seen = new Set();
      this.#seen.set(name, seen);
    }
    const value = String(guard.value);
    if (this.isFull) return () => undefined;
    seen.add(value);
    this.#values++;
    return () => {
      seen.delete(value);
      this.#values--;
    };
  }
}

function historyOf(guard: Guard, key: string): string {
  return JSON.stringify([guard.id, key]);
}
