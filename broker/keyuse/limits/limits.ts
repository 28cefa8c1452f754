import type { Limit } from '../../../policy/decision.ts';

/** What one request takes from one limit. */
export interface Charge {
  readonly limit: Limit;
  /** Whom the limit counts: a SPIFFE ID, a key name, both joined by a space, a trust domain, or empty for the rule. */
  readonly subject: string;
  /** 1, or bytes. */
  readonly amount: number;
}

export type Consumption =
  | {
      readonly ok: true;
      /** To be called only when the operation provably did not run. At most once. */
      giveBack(): void;
    }
  | {
      readonly ok: false;
      readonly limit: Limit;
      /** Undefined: never (a budget for life, or an amount above the limit itself). */
      readonly retryAfterMs: number | undefined;
    };

/** The counters. A store shared by several brokers answers with a promise. */
export interface LimitCounters {
  /**
   * Checks all and consumes all, or consumes nothing. `nowMs` is monotonic time mapped to the epoch: it never goes
   * back, whatever the wall clock does.
   *
   * @throws Failure BUSY when the store is away: a limit that cannot be counted is not ignored
   */
  consume(charges: readonly Charge[], nowMs: number): Consumption | Promise<Consumption>;
}
