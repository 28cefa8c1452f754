import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Limit } from '../../../policy/decision.ts';
import { BudgetRows } from '../../state/budget-rows.ts';
import { StateStore } from '../../state/state-store.ts';
import { MemoryLimits } from './memory-limits.ts';
import { type LoggedUsage, UsageIndex, type UsageLog } from './usage-index.ts';

const START = Date.parse('2026-03-01T12:00:00.000Z');
const DAY = 86_400_000;

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'lastmile-usage-'));
  file = join(directory, 'limits.db');
});
afterEach(() => rmSync(directory, { recursive: true }));

/** A log in memory. */
class FakeLog implements UsageLog {
  origin = 'example.org/log';
  readonly entries: LoggedUsage[] = [];
  readonly reads: number[] = [];

  get size(): number {
    return this.entries.length;
  }

  append(timeMs: number, amount = 1, perMs: number | 'life' = DAY, subject = 'a'): LoggedUsage {
    const entry = {
      leafIndex: this.entries.length,
      timeMs,
      charges:
        amount === 0 ? [] : [{ counter: 'r', subject, amount, perMs: perMs === 'life' ? undefined : perMs }],
    };
    this.entries.push(entry);
    return entry;
  }

  firstLeafSince(timeMs: number): number {
    const first = this.entries.findIndex((entry) => entry.timeMs >= timeMs);
    return first === -1 ? this.entries.length : first;
  }

  async *read(fromLeaf: number): AsyncGenerator<LoggedUsage> {
    this.reads.push(fromLeaf);
    yield* this.entries.slice(fromLeaf);
  }
}

async function used(index: UsageIndex, now: number, perMs = DAY): Promise<number> {
  return index.usage('r', 'a', perMs, now).reduce((sum, { amount }) => sum + amount, 0);
}

describe('the index of what was consumed', () => {
  it('reads only what it does not know from the log', async () => {
    const log = new FakeLog();
    for (let i = 0; i < 10; i++) log.append(START + i);
    const first = new UsageIndex(file);
    expect(await first.catchUp(log, START + 100)).toMatchObject({ rebuilt: 'it was new', counted: 10 });
    first.record(log.append(START + 200, 5));
    first.close(log.size, START + 200);
    // Written while nobody had it open.
    log.append(START + 300, 7);
    const second = new UsageIndex(file);
    expect(await second.catchUp(log, START + 400)).toEqual({ rebuilt: undefined, fromLeaf: 11, counted: 1 });
    expect(await used(second, START + 400)).toBe(22);
    second.close(log.size, START + 400);
  });

  it('is built again when it is damaged, cut, ahead of the log, or of another one', async () => {
    const log = new FakeLog();
    for (let i = 0; i < 300; i++) log.append(START + i * 1000, 1, DAY, `s${i}`);
    const rebuilt = async (): Promise<string | undefined> => {
      const index = new UsageIndex(file);
      const { rebuilt: why } = await index.catchUp(log, START + DAY / 2);
      expect(index.usage('r', 's250', DAY, START + DAY / 2)).toHaveLength(log.size > 250 ? 1 : 0);
      expect([...index.usage('r', 's7', DAY, START + DAY / 2)].map(({ amount }) => amount)).toEqual([1]);
      index.close(log.size, START + DAY / 2);
      return why;
    };
    expect(await rebuilt()).toBe('it was new');
    expect(await rebuilt()).toBeUndefined();
    writeFileSync(file, 'not a database, and not a short one either'.repeat(400));
    expect(await rebuilt()).toBe('it was damaged');
    truncateSync(file, 8192);
    expect(await rebuilt()).toBe('it was damaged');
    log.entries.length = 200;
    expect(await rebuilt()).toBe('it was ahead of the log');
    log.origin = 'example.org/other';
    expect(await rebuilt()).toBe('it belongs to another log');
    rmSync(file);
    expect(await rebuilt()).toBe('it was new');
  });

  it('waits with entries that may still be on their way to it', async () => {
    const log = new FakeLog();
    const index = new UsageIndex(file);
    await index.catchUp(log, START);
    const late = log.append(START);
    const early = log.append(START);
    index.record(early);
    // Both are durable, and only one is known.
    index.flush(log.size, START);
    index.record(late);
    index.flush(log.size, START);
    expect(index.size).toBe(2);
    expect(await used(index, START)).toBe(2);
    index.close(log.size, START);
  });

  it('counts each entry once, whatever was flushed before a crash', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            fc.record({ kind: fc.constant('use' as const), amount: fc.integer({ min: 0, max: 3 }) }),
            fc.record({ kind: fc.constantFrom('flush' as const, 'crash' as const, 'restart' as const) }),
          ),
          { maxLength: 40 },
        ),
        async (steps) => {
          rmSync(file, { force: true });
          const log = new FakeLog();
          let index = new UsageIndex(file);
          await index.catchUp(log, START);
          let now = START;
          let expected = 0;
          for (const step of steps) {
            now += 1000;
            if (step.kind === 'use') {
              index.record(log.append(now, step.amount));
              expected += step.amount;
            } else if (step.kind === 'flush') index.flush(log.size, now);
            else {
              // A crash loses what is in memory: nothing of the log is told before it ends.
              index.close(step.kind === 'crash' ? index.size : log.size, now);
              index = new UsageIndex(file);
              await index.catchUp(log, now);
            }
          }
          index.close(log.size, now);
          index = new UsageIndex(file);
          await index.catchUp(log, now);
          expect(await used(index, now)).toBe(expected);
          index.close(log.size, now);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('reads no further back than windows reach when told so, and everything for budgets', async () => {
    const log = new FakeLog();
    for (let i = 0; i < 100; i++) log.append(START + i * DAY, 1, i % 2 === 0 ? 2 * DAY : 'life');
    const short = new UsageIndex(file);
    const now = START + 99.5 * DAY;
    expect(await short.catchUp(log, now, { reachBackMs: 2 * DAY })).toMatchObject({
      fromLeaf: 98,
      counted: 2,
    });
    expect(await used(short, now, 2 * DAY)).toBe(1);
    short.close(log.size, now);
    rmSync(file);
    const whole = new UsageIndex(file);
    await whole.catchUp(log, now);
    expect([...whole.budgetTotals()]).toEqual([{ counter: 'r', subject: 'a', amount: 50 }]);
    whole.close(log.size, now);
  });

  it('forgets what no window reaches, and keeps a bounded number of rows', async () => {
    const log = new FakeLog();
    const index = new UsageIndex(':memory:');
    await index.catchUp(log, START);
    for (let i = 0; i < 10_000; i++) index.record(log.append(START + i * 60_000));
    const now = START + 10_000 * 60_000;
    index.flush(log.size, now);
    index.flush(log.size, now);
    index.prune(now);
    const spans = index.usage('r', 'a', DAY, now);
    expect(spans.length).toBeLessThanOrEqual(66);
    expect(spans.reduce((sum, { amount }) => sum + amount, 0)).toBe(1439);
    index.prune(now + 2 * DAY);
    expect(index.usage('r', 'a', DAY, START)).toEqual([]);
  });

  it('takes what the clock of an earlier life put into the future as of now', async () => {
    const log = new FakeLog();
    log.append(START + 365 * DAY, 3);
    const index = new UsageIndex(':memory:');
    await index.catchUp(log, START);
    expect(index.usage('r', 'a', DAY, START)).toEqual([{ startMs: START, lastMs: START, amount: 3 }]);
    expect(await used(index, START + DAY)).toBe(0);
  });

  it('holds a bounded amount of what cannot be written, and leaves the rest to the next start', async () => {
    const log = new FakeLog();
    const index = new UsageIndex(file);
    await index.catchUp(log, START);
    for (let i = 0; i <= 200_000; i++) index.record(log.append(START));
    expect(index.isBehind).toBe(true);
    index.close(log.size, START);
    expect(index.size).toBe(0);
    const next = new UsageIndex(file);
    expect(await next.catchUp(log, START)).toMatchObject({ fromLeaf: 0, counted: 200_001 });
    expect(await used(next, START)).toBe(200_001);
    next.close(log.size, START);
  });

  it('does not lose what could not be written', async () => {
    const log = new FakeLog();
    const index = new UsageIndex(file);
    await index.catchUp(log, START);
    index.record({
      ...log.append(START),
      charges: [{ counter: 'r', subject: 'a', amount: 0.5, perMs: DAY }],
    });
    index.flush(log.size, START);
    expect(() => index.flush(log.size, START)).toThrow();
    expect(index.size).toBe(0);
    expect(() => index.close(log.size, START)).toThrow();
    const next = new UsageIndex(file);
    expect(await next.catchUp(log, START)).toMatchObject({ fromLeaf: 0, counted: 1 });
    expect(await used(next, START)).toBe(1);
    next.close(log.size, START);
  });
});

describe('limits and restarts', () => {
  const limit = (max: number, perMs: number | undefined, window: Limit['window']): Limit => ({
    id: 'r',
    max,
    perMs,
    by: 'workload',
    unit: 'calls',
    window,
  });

  it.each(['smooth', 'fixed'] as const)(
    'keep a %s quota over a crash, and no longer than it is',
    async (window) => {
      const log = new FakeLog();
      const ten = limit(10, DAY, window);
      let now = START;
      for (let life = 0; life < 5; life++) {
        const index = new UsageIndex(file);
        await index.catchUp(log, now);
        const budgets = new BudgetRows(new StateStore(':memory:'));
        const limits = new MemoryLimits({ budgets, history: index, startedMs: now });
        for (let i = 0; i < 3; i++) {
          now += 1000;
          const { ok } = await limits.consume([{ limit: ten, subject: 'a', amount: 1 }], now);
          expect(ok).toBe(log.size < 10);
          if (ok) index.record(log.append(now));
        }
        index.flush(log.size, now);
        // No orderly end: what was not flushed comes from the log.
        index.close(index.size, now);
      }
      const index = new UsageIndex(file);
      now = START + 1000 + DAY + (window === 'smooth' ? DAY / 60 : 0) + 20_000;
      await index.catchUp(log, now);
      const budgets = new BudgetRows(new StateStore(':memory:'));
      const limits = new MemoryLimits({ budgets, history: index, startedMs: now });
      expect((await limits.consume([{ limit: ten, subject: 'a', amount: 10 }], now)).ok).toBe(true);
      index.close(log.size, now);
    },
  );

  it('keep budgets over a crash between the token and the entry, and over the loss of their state', async () => {
    const ever = limit(3, undefined, 'fixed');
    const charges = [{ limit: ever, subject: 'a', amount: 1 }];
    const state = join(directory, 'state.db');
    const life = (): { limits: MemoryLimits; store: StateStore; rows: BudgetRows } => {
      const store = new StateStore(state);
      const rows = new BudgetRows(store);
      return { store, rows, limits: new MemoryLimits({ budgets: rows, startedMs: START }) };
    };
    const first = life();
    expect((await first.limits.consume(charges, START)).ok).toBe(true);
    first.store.close();
    const second = life();
    expect((await second.limits.consume(charges, START)).ok).toBe(true);
    expect((await second.limits.consume(charges, START)).ok).toBe(true);
    expect((await second.limits.consume(charges, START)).ok).toBe(false);
    second.store.close();
    rmSync(state);
    const log = new FakeLog();
    for (let i = 0; i < 3; i++) log.append(START, 1, 'life');
    const index = new UsageIndex(file);
    await index.catchUp(log, START + 1000 * DAY);
    const third = life();
    expect(third.rows.raise(index.budgetTotals())).toBe(1);
    expect(third.rows.raise(index.budgetTotals())).toBe(0);
    expect((await third.limits.consume(charges, START)).ok).toBe(false);
    third.store.close();
    index.close(log.size, START);
  });
});
