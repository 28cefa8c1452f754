/**
 * Uses of approvals cost a sync each: under load those that come together share one, and of a large budget some are
 * taken in advance. Neither decides who may use what.
 *
 * `Gathering` owns what waits for the next sync. `Draws` owns what one transaction takes, until that is durable; what was
 * taken before and not used yet is the approval's own.
 */
import type { ApprovalStore } from '../state/approval-rows.ts';
import type { LiveApproval } from './live-approvals.ts';
import type { TellingOptions } from './telling.ts';

/** Between two syncs of uses, milliseconds: under load one of them serves many. */
const GATHER_MS = 3;
/** Of a large budget, so much at most is taken at once, and at most one in so many: what a crash can lose. */
const MAX_DRAW = 256;
const DRAW_SHARE = 200;

export class Gathering<T> {
  readonly #serve: (all: readonly T[]) => void;
  #waiting: T[] = [];
  /** `performance.now()` when the last ones were served. */
  #servedAt = Number.NEGATIVE_INFINITY;

  /** @param serve must not throw: nobody else tells those who wait */
  constructor(serve: (all: readonly T[]) => void) {
    this.#serve = serve;
  }

  /** Served in a later turn of the event loop, in the order in which they came. */
  add(one: T): void {
    if (this.#waiting.push(one) === 1) this.#serveSoon();
  }

  /** A sync stops everything for as long as it takes: at once when there was none just now, else with what comes. */
  #serveSoon(): void {
    const waitMs = this.#servedAt + GATHER_MS - performance.now();
    if (waitMs <= 0) setImmediate(() => this.#serveAll());
    else setTimeout(() => this.#serveAll(), waitMs);
  }

  #serveAll(): void {
    const all = this.#waiting;
    this.#waiting = [];
    this.#servedAt = performance.now();
    this.#serve(all);
  }
}

/** What will be drawn of an approval when one transaction is durable: what was before, less what it uses, in turn. */
interface Draw {
  readonly numbers: number[];
  readonly isLast: boolean;
  readonly used: number;
  readonly taken: number;
}

/**
 * The next use. `used-up`: there is none, and never will be. `set-back`: the row says less than it did while this broker
 * ran, so that somebody else has written it.
 */
export type Drawn = { readonly number: number; readonly isLast: boolean } | 'used-up' | 'set-back';

export class Draws {
  readonly #store: Pick<ApprovalStore, 'takeUses'>;
  readonly #byApproval = new Map<LiveApproval, Draw>();

  constructor(store: Pick<ApprovalStore, 'takeUses'>) {
    this.#store = store;
  }

  /** Inside the transaction. `uses` is the whole budget; each use of emergency access is taken by itself. */
  next(live: LiveApproval, uses: number, isEmergency: boolean): Drawn {
    // A copy: what this transaction uses stays drawn when it is not durable.
    let draw = this.#byApproval.get(live) ?? {
      numbers: [...live.drawn],
      isLast: live.isDrawnOut,
      used: live.used,
      taken: live.taken,
    };
    if (draw.numbers.length === 0) {
      const count = isEmergency ? 1 : Math.max(1, Math.min(MAX_DRAW, Math.floor(uses / DRAW_SHARE)));
      const taken = this.#store.takeUses(live.row.id, uses, count);
      if (taken === undefined) return 'used-up';
      const { numbers, used } = taken;
      if (used - numbers.length < draw.used || numbers[0]! <= draw.taken) return 'set-back';
      draw = { numbers: [...numbers], isLast: used >= uses, used, taken: numbers.at(-1)! };
    }
    this.#byApproval.set(live, draw);
    const number = draw.numbers.shift()!;
    return { number, isLast: draw.isLast && draw.numbers.length === 0 };
  }

  /** Once the transaction is durable. What was drawn of. */
  apply(): readonly LiveApproval[] {
    for (const [live, { numbers, isLast, used, taken }] of this.#byApproval) {
      live.drawn.splice(0, live.drawn.length, ...numbers);
      live.isDrawnOut = isLast;
      live.used = used;
      live.taken = taken;
    }
    return [...this.#byApproval.keys()];
  }
}

/** At an orderly end: what was taken in advance and not used is there again. What cannot be written stays used. */
export function returnDrawn(
  all: Iterable<LiveApproval>,
  { store, log }: { readonly store: Pick<ApprovalStore, 'giveUses'>; readonly log: TellingOptions['log'] },
): void {
  for (const live of all) {
    const unused = live.drawn.splice(0);
    if (unused.length === 0) continue;
    try {
      store.giveUses(live.row.id, unused.length);
    } catch (error) {
      // As after a kill: they stay used. What else ends with the broker does not wait for it.
      log('warn', 'unused uses of an approval could not be given back, and stay used', {
        approval: live.row.id,
        uses: unused.length,
        error: String(error),
      });
    }
  }
}
