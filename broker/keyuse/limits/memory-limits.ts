import { RateLimiterRes } from 'rate-limiter-flexible';
import type { Limit } from '../../../policy/decision.ts';
import { Failure } from '../failure.ts';
import { FixedWindowCounter, FixedWindowLimiter } from './fixed-window.ts';
import type { Charge, Consumption, LimitCounters } from './limits.ts';
import { SmoothWindow, type UsageSpan } from './smooth-window.ts';

/** Budgets for life. What a method returned from survives a crash. */
export interface Budgets {
  used(counter: string, subject: string): number | undefined;
  subjects(counter: string): number;
  /** All or none; negative amounts give back. */
  add(uses: readonly { readonly counter: string; readonly subject: string; readonly amount: number }[]): void;
}

/** What earlier lives of this broker consumed. */
export interface UsageHistory {
  /** Of the last `perMs`, oldest first. @throws when it cannot be read */
  usage(counter: string, subject: string, perMs: number, nowMs: number): readonly UsageSpan[];
}

export interface MemoryLimitsOptions {
  readonly budgets: Budgets;
  /** Left out: nothing was consumed before `startedMs`. */
  readonly history?: UsageHistory | undefined;
  /** The time of `consume` at which this life began. */
  readonly startedMs: number;
  /** Subjects that one limit counts at a time; 65,536. */
  readonly maxSubjectsPerLimit?: number | undefined;
  /** Subjects of all limits together; 262,144. */
  readonly maxSubjects?: number | undefined;
  /** Something could not be given back: it stays used. */
  readonly onError?: ((message: string, cause: unknown) => void) | undefined;
}

type Counter = { readonly family: string } & (
  | { readonly kind: 'smooth'; readonly smooth: SmoothWindow }
  | { readonly kind: 'fixed'; readonly fixed: FixedWindowCounter }
);

/** What does not depend on the request, made once for a limit of a policy. */
interface Plan {
  readonly family: string;
  readonly burst: number | undefined;
  readonly limiter: FixedWindowLimiter | undefined;
}

/** One charge with its counter. `before`: what the same request takes from the same counter ahead of it. */
interface Step {
  readonly charge: Charge;
  readonly plan: Plan;
  readonly counter: Counter | undefined;
  readonly before: number;
}

const NOTHING: Consumption = { ok: true, giveBack: () => undefined };
// How long to wait before all counters are looked through again for idle ones, when there were none.
const FULL_FOR_MS = 1000;

/**
 * The counters of one broker. Everything of a request is checked and counted in one turn of the event loop, so that
 * no other request comes between; only a request with a `fixed` limit gets its answer as a promise.
 *
 * A limit is counted under its id, length and kind: who changes `max` keeps the count, who changes `per` or `window`
 * starts a new one. Counters that are as full as new ones are dropped. When too many are in use, new subjects are
 * refused (BUSY) rather than not counted; no limit can use up the places of all the others.
 */
export class MemoryLimits implements LimitCounters {
  readonly #o: MemoryLimitsOptions;
  readonly #maxSubjectsPerLimit: number;
  readonly #maxSubjects: number;
  readonly #plans = new WeakMap<Limit, Plan>();
  readonly #counters = new Map<string, Counter>();
  readonly #subjects = new Map<string, number>();
  #hand: MapIterator<[string, Counter]> = this.#counters.entries();
  #latestMs = Number.NEGATIVE_INFINITY;
  #fullUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: MemoryLimitsOptions) {
    this.#o = options;
    this.#maxSubjectsPerLimit = options.maxSubjectsPerLimit ?? 65_536;
    this.#maxSubjects = options.maxSubjects ?? 262_144;
  }

  /** Counters in memory. */
  get size(): number {
    return this.#counters.size;
  }

  consume(charges: readonly Charge[], nowMs: number): Consumption | Promise<Consumption> {
    if (charges.length === 0) return NOTHING;
    const now = this.#advance(nowMs);
    const steps = this.#steps(charges, now);
    const refusal = this.#refusal(steps, now);
    if (refusal !== undefined) return refusal;
    // First what can fail: when it does, nothing is counted.
    this.#addBudgets(steps, 1);
    const undo: (() => void)[] = [];
    const answers: Promise<RateLimiterRes>[] = [];
    for (const { charge, plan, counter } of steps) {
      if (counter === undefined) continue;
      const { limit, amount } = charge;
      if (counter.kind === 'smooth') {
        const consumed = counter.smooth.consume(amount, limit.max, plan.burst, now);
        undo.push(() => counter.smooth.giveBack(consumed));
      } else {
        const window = counter.fixed.windowAt(now);
        answers.push(plan.limiter!.consumeFrom(window, amount));
        undo.push(() => {
          plan.limiter!.giveBackTo(window, amount).catch((cause: unknown) => this.#notGivenBack(cause));
        });
      }
    }
    let isGivenBack = false;
    const giveBack = (): void => {
      if (isGivenBack) return;
      isGivenBack = true;
      for (const step of undo) step();
      try {
        this.#addBudgets(steps, -1);
      } catch (cause) {
        this.#notGivenBack(cause);
      }
    };
    return answers.length === 0 ? { ok: true, giveBack } : this.#answer(answers, steps, giveBack);
  }

  /** What `consume` would refuse with; consumes nothing. */
  refusal(charges: readonly Charge[], nowMs: number): (Consumption & { readonly ok: false }) | undefined {
    const now = this.#advance(nowMs);
    return this.#refusal(this.#steps(charges, now), now);
  }

  async #answer(
    answers: readonly Promise<RateLimiterRes>[],
    steps: readonly Step[],
    giveBack: () => void,
  ): Promise<Consumption> {
    const settled = await Promise.allSettled(answers);
    const failed = settled.find((answer) => answer.status === 'rejected');
    if (failed === undefined) return { ok: true, giveBack };
    giveBack();
    // There was room in the same turn of the event loop: the limiter and we disagree, and nobody can say who is right.
    const cause: unknown = failed.reason;
    throw new Failure('BUSY', 'the limits cannot be counted', {
      cause:
        cause instanceof RateLimiterRes
          ? new Error(`limiter of \`${steps[0]?.charge.limit.id}\` refused what fits: ${cause.toString()}`)
          : cause,
    });
  }

  /** Time never goes back, whatever a caller says. */
  #advance(nowMs: number): number {
    if (!Number.isFinite(nowMs)) throw new TypeError('limits need a finite time');
    this.#latestMs = Math.max(this.#latestMs, nowMs);
    this.#dropIdle(2);
    return this.#latestMs;
  }

  #steps(charges: readonly Charge[], nowMs: number): Step[] {
    // Room first: making it drops idle counters, and those of this request are idle until they are counted in.
    for (const { limit, subject } of charges) {
      const { family } = this.#plan(limit);
      if (limit.perMs !== undefined && !this.#counters.has(nameOf(family, subject)))
        this.#makeRoom(family, nowMs);
    }
    const steps: Step[] = [];
    for (const charge of charges) {
      if (!Number.isSafeInteger(charge.amount) || charge.amount < 0)
        throw new TypeError('an amount is a whole number');
      const plan = this.#plan(charge.limit);
      const counter = charge.limit.perMs === undefined ? undefined : this.#counter(charge, plan, nowMs);
      let before = 0;
      for (const other of steps) {
        if (other.plan.family === plan.family && other.charge.subject === charge.subject)
          before += other.charge.amount;
      }
      steps.push({ charge, plan, counter, before });
    }
    return steps;
  }

  #refusal(steps: readonly Step[], nowMs: number): (Consumption & { readonly ok: false }) | undefined {
    let longestMs = 0;
    let refusing: Limit | undefined;
    for (const step of steps) {
      const waitMs = this.#waitFor(step, nowMs);
      // The longest of all: who waits for it is admitted by every limit.
      if (waitMs !== undefined && (refusing === undefined || waitMs > longestMs)) {
        longestMs = waitMs;
        refusing = step.charge.limit;
      }
    }
    if (refusing === undefined) return undefined;
    return {
      ok: false,
      limit: refusing,
      retryAfterMs: longestMs === Number.POSITIVE_INFINITY ? undefined : longestMs,
    };
  }

  #waitFor({ charge, plan, counter, before }: Step, nowMs: number): number | undefined {
    const { limit, subject } = charge;
    const amount = before + charge.amount;
    if (counter === undefined)
      return this.#hasBudget(limit, subject, amount) ? undefined : Number.POSITIVE_INFINITY;
    return counter.kind === 'smooth'
      ? counter.smooth.waitFor(amount, limit.max, plan.burst, nowMs)
      : counter.fixed.waitFor(amount, limit.max, nowMs);
  }

  #hasBudget(limit: Limit, subject: string, amount: number): boolean {
    return this.#reading('budgets cannot be read', () => {
      const used = this.#o.budgets.used(limit.id, subject);
      if (used === undefined && this.#o.budgets.subjects(limit.id) >= this.#maxSubjectsPerLimit)
        throw tooMany();
      return (used ?? 0) + amount <= limit.max;
    });
  }

  #addBudgets(steps: readonly Step[], sign: 1 | -1): void {
    const uses = steps
      .filter(({ counter, charge }) => counter === undefined && charge.amount > 0)
      .map(({ charge }) => ({
        counter: charge.limit.id,
        subject: charge.subject,
        amount: sign * charge.amount,
      }));
    if (uses.length > 0) this.#reading('budgets cannot be written', () => this.#o.budgets.add(uses));
  }

  #plan(limit: Limit): Plan {
    let plan = this.#plans.get(limit);
    if (plan === undefined) {
      const { perMs, window, burst } = limit;
      if (!(limit.max >= 0) || (perMs !== undefined && !(perMs >= 1)))
        throw new TypeError(`limit \`${limit.id}\` has no usable numbers`);
      plan = {
        family: `${perMs ?? 'life'} ${window} ${limit.id}`,
        // A bucket as large as the window would say nothing that the window does not.
        burst: burst !== undefined && burst < limit.max ? burst : undefined,
        limiter:
          window === 'fixed' && perMs !== undefined ? new FixedWindowLimiter(limit.max, perMs) : undefined,
      };
      this.#plans.set(limit, plan);
    }
    return plan;
  }

  #counter({ limit, subject }: Charge, { family }: Plan, nowMs: number): Counter {
    const name = nameOf(family, subject);
    const known = this.#counters.get(name);
    if (known !== undefined) return known;
    const perMs = limit.perMs!;
    // Later, what this life consumed is all that there is, and it is in memory.
    const isRemembered = nowMs - this.#o.startedMs < perMs;
    const history = isRemembered
      ? this.#reading('limits cannot be read', () => this.#o.history?.usage(limit.id, subject, perMs, nowMs))
      : undefined;
    const counter: Counter =
      limit.window === 'smooth'
        ? { family, kind: 'smooth', smooth: new SmoothWindow(perMs, history, nowMs) }
        : { family, kind: 'fixed', fixed: new FixedWindowCounter(perMs, history, nowMs) };
    this.#counters.set(name, counter);
    this.#subjects.set(family, (this.#subjects.get(family) ?? 0) + 1);
    return counter;
  }

  #makeRoom(family: string, nowMs: number): void {
    if (this.#hasRoom(family)) return;
    if (nowMs >= this.#fullUntilMs) {
      this.#dropIdle(this.#counters.size + 1);
      if (this.#hasRoom(family)) return;
      // Looking through all of them for every new subject would be an attack of its own.
      this.#fullUntilMs = nowMs + FULL_FOR_MS;
    }
    throw tooMany();
  }

  #hasRoom(family: string): boolean {
    return (
      this.#counters.size < this.#maxSubjects && (this.#subjects.get(family) ?? 0) < this.#maxSubjectsPerLimit
    );
  }

  /** Looks at the next few counters, going round. */
  #dropIdle(count: number): void {
    for (let i = 0; i < count; i++) {
      const next = this.#hand.next();
      if (next.done === true) {
        this.#hand = this.#counters.entries();
        continue;
      }
      const [name, counter] = next.value;
      const isIdle =
        counter.kind === 'smooth'
          ? counter.smooth.isIdle(this.#latestMs)
          : counter.fixed.isIdle(this.#latestMs);
      if (!isIdle) continue;
      this.#counters.delete(name);
      const left = this.#subjects.get(counter.family)! - 1;
      if (left === 0) this.#subjects.delete(counter.family);
      else this.#subjects.set(counter.family, left);
    }
  }

  /** A limit that cannot be counted is not ignored. */
  #reading<T>(what: string, body: () => T): T {
    try {
      return body();
    } catch (cause) {
      throw cause instanceof Failure ? cause : new Failure('BUSY', what, { cause });
    }
  }

  #notGivenBack(cause: unknown): void {
    this.#o.onError?.('a limit could not be given back and stays used', cause);
  }
}

function nameOf(family: string, subject: string): string {
  return `${family}\n${subject}`;
}

function tooMany(): Failure {
  return new Failure('BUSY', 'too many callers are counted at once');
}
