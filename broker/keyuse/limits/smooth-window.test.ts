import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EXACT_UP_TO, SmoothWindow } from './smooth-window.ts';

/** Some uses, all at once, and how long after the ones before them. */
interface Arrival {
  readonly gapMs: number;
  readonly uses: number;
  readonly amount: number;
}

/** The most that any interval of `perMs` sees: the slow and obvious way. */
function mostInAnInterval(log: readonly { at: number; amount: number }[], perMs: number): number {
  let most = 0;
  for (const first of log) {
    let sum = 0;
    // An interval without its end: what comes `perMs` later is in the next.
    for (const { at, amount } of log) if (at >= first.at && at - first.at < perMs) sum += amount;
    most = Math.max(most, sum);
  }
  return most;
}

function admitted(perMs: number, arrivals: readonly Arrival[], max: number) {
  const window = new SmoothWindow(perMs);
  const log: { at: number; amount: number }[] = [];
  let now = 1_700_000_000_000.25;
  for (const { gapMs, uses, amount } of arrivals) {
    now += gapMs;
    let sum = 0;
    for (let use = 0; use < uses && window.waitFor(amount, max, undefined, now) === undefined; use++) {
      window.consume(amount, max, undefined, now);
      sum += amount;
    }
    if (sum > 0) log.push({ at: now, amount: sum });
  }
  return log;
}

/** Gaps that matter: within a span, a span, a little less than the window, the window, any. */
const gap = (perMs: number) =>
  fc.oneof(
    fc.constantFrom(0, 1 / 64, 1 / 33, 1 / 32, 1 / 31, 0.5, 31 / 32, 32 / 33, 1).map((part) => part * perMs),
    fc.double({ min: 0, max: 1, noNaN: true }).map((less) => perMs - Math.min(less, perMs)),
    fc.double({ min: 0, max: 1, noNaN: true }).map((part) => part * perMs),
    fc.double({ min: 0, max: 3, noNaN: true }),
  );

const traffic = fc
  .record({ max: fc.integer({ min: 1, max: 3000 }), perMs: fc.integer({ min: 1, max: 1000 }) })
  .chain(({ max, perMs }) =>
    fc.record({
      max: fc.constant(max),
      perMs: fc.constant(perMs),
      arrivals: fc.array(
        fc.record({
          gapMs: gap(perMs),
          uses: fc.oneof(fc.constantFrom(1, max), fc.integer({ min: 1, max })),
          amount: fc.constantFrom(1, 1, 1, 0, 2, Math.ceil(max / 3)),
        }),
        { minLength: 10, maxLength: 60, size: 'max' },
      ),
    }),
  );

describe('a smooth window', () => {
  it('never lets an interval of its length see more than 1.1 × max, wherever it starts', () => {
    fc.assert(
      fc.property(traffic, ({ max, perMs, arrivals }) => {
        const most = mostInAnInterval(admitted(perMs, arrivals, max), perMs);
        expect(most).toBeLessThanOrEqual(max <= EXACT_UP_TO ? max : 1.05 * max);
      }),
      { numRuns: 500 },
    );
  });

  it('holds against a caller who knows how it works', () => {
    // A span that begins with one use and ends with all others; then everything that there is room for.
    const worst = [0, 30, 970, 1, 28, 1].map((gapMs, i) => ({ gapMs, uses: i === 0 ? 1 : 1000, amount: 1 }));
    const most = mostInAnInterval(admitted(1000, worst, 1000), 1000);
    expect(most).toBeGreaterThan(1040);
    expect(most).toBeLessThanOrEqual(1050);
  });

  it.each([10, 64, 65, 100, 500, 1000, 10_000])('gives %d in each window to an even pace', (max) => {
    const perMs = 1000;
    const window = new SmoothWindow(perMs);
    const refused = [];
    for (let i = 0; i < 3 * max; i++) {
      const now = 1_700_000_000_000 + Math.ceil((i * perMs) / max);
      if (window.waitFor(1, max, undefined, now) === undefined) window.consume(1, max, undefined, now);
      else refused.push(i);
    }
    expect(refused).toEqual([]);
  });

  it('never gives more than max at once', () => {
    expect(admitted(1000, [{ gapMs: 0, uses: 2000, amount: 1 }], 1000)[0]?.amount).toBe(1000);
    // Nor after a span that is only partly older.
    const later = [0, 30, 975].map((gapMs) => ({ gapMs, uses: 2000, amount: 1 }));
    expect(admitted(1000, later, 1000).map(({ amount }) => amount)).toEqual([1000, 1000]);
    expect(admitted(1000, [{ gapMs: 0, uses: 1, amount: 0 }, ...later], 1000)).toHaveLength(2);
  });

  it('says to the millisecond when there is room', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 2, max: 1000 }),
        fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined }),
        fc.array(
          fc.record({
            gapMs: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 50, noNaN: true })),
            amount: fc.integer({ min: 1, max: 9 }),
          }),
          {
            minLength: 20,
            maxLength: 200,
            size: 'max',
          },
        ),
        (max, perMs, burst, arrivals) => {
          const window = new SmoothWindow(perMs);
          let now = 1_700_000_000_000;
          for (const { gapMs, amount } of arrivals) {
            now += gapMs;
            const wait = window.waitFor(amount, max, burst, now);
            if (wait === undefined) window.consume(amount, max, burst, now);
            else if (wait === Number.POSITIVE_INFINITY)
              expect(amount > max || amount > (burst ?? max)).toBe(true);
            else {
              expect(wait).toBeGreaterThan(0);
              if (wait > 1) expect(window.waitFor(amount, max, burst, now + wait - 1.001)).toBeDefined();
              expect(window.waitFor(amount, max, burst, now + wait)).toBeUndefined();
              // Time only went on.
              now += wait;
            }
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('lets no more than the burst come at once, and refills it evenly', () => {
    const window = new SmoothWindow(60_000);
    const start = 1_700_000_000_000;
    const burst = Array.from({ length: 50 }, () => ({ gapMs: 0, amount: 1 }));
    const take = (now: number): boolean => {
      if (window.waitFor(1, 60, 10, now) !== undefined) return false;
      window.consume(1, 60, 10, now);
      return true;
    };
    expect(burst.filter(() => take(start))).toHaveLength(10);
    expect(window.waitFor(1, 60, 10, start)).toBe(1000);
    expect(burst.filter(() => take(start + 3000))).toHaveLength(3);
  });

  it('keeps at most a few spans, however much comes', () => {
    const window = new SmoothWindow(30 * 86_400_000);
    const start = 1_700_000_000_000;
    for (let i = 0; i < 200_000; i++) window.consume(1, 1_000_000, undefined, start + i * 60_000);
    // Looked at from outside: giving back goes through all of them, and waiting too.
    const started = performance.now();
    for (let i = 0; i < 10_000; i++)
      window.waitFor(1_000_000, 1_000_000, undefined, start + 200_000 * 60_000);
    expect(performance.now() - started).toBeLessThan(2000);
    expect(window.isIdle(start + 200_000 * 60_000)).toBe(false);
    expect(window.isIdle(start + 200_000 * 60_000 + 31 * 86_400_000)).toBe(true);
  });

  it('gives back what still counts, and nothing that does not', () => {
    const window = new SmoothWindow(1000);
    const first = window.consume(1, 1, undefined, 10_000);
    window.giveBack(first);
    expect(window.waitFor(1, 1, undefined, 10_000)).toBeUndefined();
    const second = window.consume(1, 1, undefined, 10_000);
    expect(window.waitFor(1, 1, undefined, 11_000)).toBeUndefined();
    window.consume(1, 1, undefined, 11_000);
    window.giveBack(second);
    expect(window.waitFor(1, 1, undefined, 11_500)).toBe(500);
  });

  it('counts what an earlier life consumed, for no longer than its length', () => {
    const now = 1_700_000_000_000;
    const window = new SmoothWindow(
      1000,
      [
        { startMs: now - 600, lastMs: now - 500, amount: 3 },
        { startMs: now + 86_400_000, lastMs: now + 86_400_000, amount: 2 },
      ],
      now,
    );
    expect(window.waitFor(1, 5, undefined, now)).toBe(500);
    expect(window.waitFor(5, 5, undefined, now)).toBe(1000);
  });
});
