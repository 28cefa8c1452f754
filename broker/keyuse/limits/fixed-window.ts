import { RateLimiterRes } from 'rate-limiter-flexible';
import RateLimiterStoreAbstract from 'rate-limiter-flexible/lib/RateLimiterStoreAbstract.js';
import type { UsageSpan } from './smooth-window.ts';

/** One window of one subject, from its first use. */
export interface FixedWindow {
  consumed: number;
  readonly endMs: number;
}

/** What a call hands through the limiter to its store. */
interface Moment {
  readonly window: FixedWindow;
}

/**
 * Fixed windows from first use, by rate-limiter-flexible, over a store of ours.
 *
 * The package's memory store does not do: it follows the wall clock, so that a jump resets its windows, and ends them
 * by timers, which end windows of more than 24.8 days at once. Here the window is found by the caller, by the time
 * that it was given, and the limiter counts in it. The count is changed before `consume` returns; only the answer
 * comes as a promise.
 */
export class FixedWindowLimiter extends RateLimiterStoreAbstract {
  constructor(max: number, perMs: number) {
    super({ points: max, duration: perMs / 1000, keyPrefix: '' });
  }

  // Called by the base class.
  protected _upsert(
    _key: string,
    points: number,
    _ms: number,
    _force: boolean,
    moment: Moment,
  ): Promise<FixedWindow> {
    moment.window.consumed += points;
    return Promise.resolve(moment.window);
  }

  // Called by the base class.
  protected _getRateLimiterRes(_key: string, changed: number, window: FixedWindow): RateLimiterRes {
    const remaining = Math.max(0, this.points - window.consumed);
    return new RateLimiterRes(remaining, 0, window.consumed, window.consumed === changed);
  }

  consumeFrom(window: FixedWindow, amount: number): Promise<RateLimiterRes> {
    return this.consume('', amount, { window } satisfies Moment);
  }

  giveBackTo(window: FixedWindow, amount: number): Promise<RateLimiterRes> {
    return this.reward('', amount, { window } satisfies Moment);
  }
}

/** The windows of one subject, one after the other. */
export class FixedWindowCounter {
  readonly #perMs: number;
  #window: FixedWindow | undefined;

  /**
   * What an earlier life consumed within the last `perMs` is taken as one window from the first of it: where its
   * windows began is not known, and this errs on the side of the limit, for no longer than `perMs`.
   */
  constructor(perMs: number, history: readonly UsageSpan[] = [], nowMs = 0) {
    this.#perMs = perMs;
    if (history.length === 0) return;
    const firstMs = Math.min(nowMs, ...history.map(({ startMs }) => startMs));
    // A span that is partly older than a window may have its later part in this one.
    const startMs = Math.max(firstMs, Math.floor(nowMs) - perMs + 1);
    this.#window = {
      consumed: history.reduce((sum, { amount }) => sum + amount, 0),
      endMs: startMs + perMs,
    };
  }

  /** As `SmoothWindow.waitFor`. */
  waitFor(amount: number, max: number, nowMs: number): number | undefined {
    if (amount > max) return Number.POSITIVE_INFINITY;
    const window = this.#openAt(nowMs);
    if (window === undefined || window.consumed + amount <= max) return undefined;
    return Math.ceil(window.endMs - nowMs);
  }

  /** The window that a use at this moment counts in; a new one when the last is over. */
  windowAt(nowMs: number): FixedWindow {
    let window = this.#openAt(nowMs);
    if (window === undefined) {
      window = { consumed: 0, endMs: Math.ceil(nowMs) + this.#perMs };
      this.#window = window;
    }
    return window;
  }

  isIdle(nowMs: number): boolean {
    return this.#openAt(nowMs) === undefined;
  }

  #openAt(nowMs: number): FixedWindow | undefined {
    return this.#window !== undefined && nowMs < this.#window.endMs ? this.#window : undefined;
  }
}
