/** A stretch of time and what was consumed in it. Whole milliseconds, both ends inclusive. */
export interface UsageSpan {
  readonly startMs: number;
  readonly lastMs: number;
  readonly amount: number;
}

interface Span {
  startMs: number;
  lastMs: number;
  amount: number;
}

/** What can be given back while it still counts. */
export interface Consumed {
  readonly span: UsageSpan;
  readonly amount: number;
}

/** Up to this `max` every use is remembered by itself, and no interval sees more than `max`. */
export const EXACT_UP_TO = 64;
const SPANS_PER_WINDOW = 32;
const SLACK = 20;
// A level is a sum of fractions: less than a billionth of one use is rounding.
const ROUNDING = 1e-9;

/**
 * Counts what was consumed in the last `perMs`, so that no interval of that length, wherever it starts, sees more
 * than 1.05 × `max`; `max` itself for a `max` of up to 64.
 *
 * It remembers spans: uses less than `perMs`/32 apart from the first of their span share one. Two conditions admit:
 *
 *   - spans that began within the last `perMs` hold at most `max`: a caller never gets more than `max` at once, and
 *     one who keeps an even pace of `max` in `perMs` is never refused;
 *   - these and the one span that is only partly older hold at most `max` + `max`/20. A span counts whole until its
 *     last use is `perMs` old, so every use of any interval of that length is in this sum when its last one is
 *     admitted: that is the bound above.
 *
 * With `burst`, a bucket of that size that drains at `max` in `perMs` has to have room as well.
 *
 * Times are whole milliseconds: a use is stamped with the next one and judged by the last one, which errs on the side
 * of the limit.
 */
export class SmoothWindow {
  readonly #perMs: number;
  readonly #spans: Span[] = [];
  #total = 0;
  /** Of the bucket: what has not drained at `#levelAtMs`. */
  #level = 0;
  #levelAtMs = 0;

  constructor(perMs: number, history: readonly UsageSpan[] = [], nowMs = 0) {
    this.#perMs = perMs;
    for (const { startMs, lastMs, amount } of history) {
      // What the clock of an earlier life put into the future counts as of now: it may not be held longer than `perMs`.
      this.#spans.push({ startMs: Math.min(startMs, nowMs), lastMs: Math.min(lastMs, nowMs), amount });
      this.#total += amount;
    }
    this.#spans.sort((a, b) => a.startMs - b.startMs || a.lastMs - b.lastMs);
  }

  /** Undefined: there is room. Otherwise milliseconds until there is, when nobody else consumes; Infinity: never. */
  waitFor(amount: number, max: number, burst: number | undefined, nowMs: number): number | undefined {
    if (amount > max || (burst !== undefined && amount > burst)) return Number.POSITIVE_INFINITY;
    const at = Math.floor(nowMs);
    this.#expire(at);
    const readyMs = Math.max(
      this.#windowReadyMs(amount, max),
      this.#bucketReadyMs(amount, max, burst, nowMs),
    );
    return readyMs <= at ? undefined : Math.ceil(readyMs - nowMs);
  }

  /** To be called only when `waitFor` found room. */
  consume(amount: number, max: number, burst: number | undefined, nowMs: number): Consumed {
    const stamp = Math.ceil(nowMs);
    const widthMs = max <= EXACT_UP_TO ? 1 : Math.max(1, Math.floor(this.#perMs / SPANS_PER_WINDOW));
    let span = this.#spans.at(-1);
    // Nothing consumed is nothing to remember, however often.
    if (amount === 0) return { span: { startMs: stamp, lastMs: stamp, amount }, amount };
    if (span !== undefined && stamp - span.startMs < widthMs) {
      span.lastMs = Math.max(span.lastMs, stamp);
      span.amount += amount;
    } else {
      span = { startMs: stamp, lastMs: stamp, amount };
      this.#spans.push(span);
    }
    this.#total += amount;
    if (burst !== undefined) {
      this.#drain(max, nowMs);
      this.#level += amount;
    }
    return { span, amount };
  }

  giveBack({ span, amount }: Consumed): void {
    const index = this.#spans.indexOf(span as Span);
    // Gone: it no longer counts, and what counts now is not to be made less.
    if (index === -1) return;
    const own = this.#spans[index]!;
    own.amount -= amount;
    this.#total -= amount;
    if (own.amount === 0) this.#spans.splice(index, 1);
    this.#level = Math.max(0, this.#level - amount);
  }

  /** As full as a new one. */
  isIdle(nowMs: number): boolean {
    this.#expire(Math.floor(nowMs));
    // A bucket drains within `perMs`, as it is never larger than `max`.
    return this.#spans.length === 0 && nowMs - this.#levelAtMs >= this.#perMs;
  }

  #expire(at: number): void {
    while (this.#spans.length > 0 && this.#spans[0]!.lastMs <= at - this.#perMs) {
      this.#total -= this.#spans.shift()!.amount;
    }
  }

  #windowReadyMs(amount: number, max: number): number {
    const cap = max <= EXACT_UP_TO ? max : max + Math.floor(max / SLACK);
    let readyMs = 0;
    let left = this.#total;
    for (const span of this.#spans) {
      if (left + amount > max) readyMs = Math.max(readyMs, span.startMs + this.#perMs);
      if (left + amount > cap) readyMs = Math.max(readyMs, span.lastMs + this.#perMs);
      if (left + amount <= max) break;
      left -= span.amount;
    }
    return readyMs;
  }

  #bucketReadyMs(amount: number, max: number, burst: number | undefined, nowMs: number): number {
    if (burst === undefined) return 0;
    this.#drain(max, nowMs);
    const excess = this.#level + amount - burst;
    return excess <= ROUNDING ? 0 : nowMs + Math.max(1, Math.ceil((excess * this.#perMs) / max));
  }

  #drain(max: number, nowMs: number): void {
    const elapsedMs = nowMs - this.#levelAtMs;
    this.#level = Math.max(0, this.#level - (elapsedMs * max) / this.#perMs);
    this.#levelAtMs = nowMs;
  }
}
