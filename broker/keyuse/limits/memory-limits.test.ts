import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Limit } from '../../../policy/decision.ts';
import { BudgetRows } from '../../state/budget-rows.ts';
import { StateStore } from '../../state/state-store.ts';
import { BrokerClock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { Charge, Consumption } from './limits.ts';
import { type Budgets, MemoryLimits, type MemoryLimitsOptions } from './memory-limits.ts';

const START = Date.parse('2026-03-01T12:00:00.000Z');
const DAY = 86_400_000;

function limit(max: number, perMs: number | undefined, rest: Partial<Limit> = {}): Limit {
  return {
    id: `rule ${perMs ?? 'life'} ${rest.window ?? 'smooth'}`,
    max,
    perMs,
    by: 'workload',
    unit: 'calls',
    window: 'smooth',
    ...rest,
  };
}

function make(options: Partial<MemoryLimitsOptions> = {}): MemoryLimits {
  return new MemoryLimits({
    budgets: new BudgetRows(new StateStore(':memory:')),
    startedMs: START,
    ...options,
  });
}

const charge = (of: Limit, subject = 'a', amount = 1): Charge => ({ limit: of, subject, amount });

async function count(
  limits: MemoryLimits,
  charges: readonly Charge[],
  times: number,
  now: number,
): Promise<number> {
  let admitted = 0;
  for (let i = 0; i < times; i++) if ((await limits.consume(charges, now)).ok) admitted++;
  return admitted;
}

describe('limits', () => {
  it('cost nothing where there are none', () => {
    const limits = make();
    expect(limits.consume([], START)).toMatchObject({ ok: true });
    expect(limits.size).toBe(0);
  });

  it('answer at once, but for fixed windows', () => {
    const limits = make();
    expect(limits.consume([charge(limit(1, 1000))], START)).toMatchObject({ ok: true });
    expect(limits.consume([charge(limit(1, undefined))], START)).toMatchObject({ ok: true });
    expect(limits.consume([charge(limit(1, 1000, { window: 'fixed' }))], START)).toBeInstanceOf(Promise);
  });

  it('count each subject by itself', async () => {
    const limits = make();
    const two = limit(2, 1000);
    expect(await count(limits, [charge(two, 'a')], 5, START)).toBe(2);
    expect(await count(limits, [charge(two, 'b')], 5, START)).toBe(2);
  });

  it('consume all or nothing', async () => {
    const limits = make();
    const perSecond = limit(3, 1000);
    const perDay = limit(2, DAY, { window: 'fixed' });
    const ever = limit(1, undefined);
    const all = [charge(perSecond), charge(perDay), charge(ever)];
    expect(await count(limits, all, 5, START)).toBe(1);
    // The four refusals took nothing.
    expect(await count(limits, [charge(perDay)], 5, START)).toBe(1);
    expect(await count(limits, [charge(perSecond)], 5, START)).toBe(2);
  });

  it('count a fixed window before they answer, so that nobody comes between', async () => {
    const limits = make();
    const one = limit(1, 1000, { window: 'fixed' });
    const answers = await Promise.all([1, 2, 3].map(() => limits.consume([charge(one)], START)));
    expect(answers.map(({ ok }) => ok)).toEqual([true, false, false]);
  });

  it('name the limit that holds longest, and when all of them have room', async () => {
    const limits = make();
    const second = limit(1, 1000);
    const minute = limit(1, 60_000, { window: 'fixed' });
    const charges = [charge(minute), charge(second)];
    await limits.consume(charges, START);
    const refused = await limits.consume(charges, START + 100);
    expect(refused).toMatchObject({ ok: false, limit: minute, retryAfterMs: 59_900 });
    expect(await limits.consume(charges, START + 59_999)).toMatchObject({ ok: false });
    expect(await limits.consume(charges, START + 60_000)).toMatchObject({ ok: true });
  });

  it('say that waiting does not help: a budget used up, an amount above the limit', async () => {
    const limits = make();
    const ever = limit(10, undefined);
    expect(await count(limits, [charge(ever)], 20, START)).toBe(10);
    const later = START + 1000 * DAY;
    expect(await limits.consume([charge(ever)], later)).toEqual({
      ok: false,
      limit: ever,
      retryAfterMs: undefined,
    });
    const bytes = limit(1000, 1000, { unit: 'bytes' });
    expect(await limits.consume([charge(bytes, 'a', 1001)], later)).toMatchObject({
      retryAfterMs: undefined,
    });
    expect(await limits.consume([charge(bytes, 'a', 1000)], later)).toMatchObject({ ok: true });
    expect(await limits.consume([charge(bytes, 'a', 0)], later)).toMatchObject({ ok: true });
  });

  it.each([
    ['smooth', limit(2, 1000)],
    ['fixed', limit(2, 1000, { window: 'fixed' })],
    ['for life', limit(2, undefined)],
  ])('give back once (%s)', async (_, two) => {
    const limits = make();
    const first = await limits.consume([charge(two)], START);
    expect((await limits.consume([charge(two)], START)).ok).toBe(true);
    if (!first.ok) throw new Error('refused');
    first.giveBack();
    first.giveBack();
    expect(await count(limits, [charge(two)], 3, START)).toBe(1);
  });

  it('give back only while it counts', async () => {
    const life = make();
    const window = [charge(limit(1, 1000, { window: 'fixed' }))];
    const old = await life.consume(window, START);
    expect((await life.consume(window, START + 1000)).ok).toBe(true);
    if (old.ok) old.giveBack();
    expect((await life.consume(window, START + 1000)).ok).toBe(false);
  });

  it('keep the count when only max changes', async () => {
    const limits = make();
    for (const window of ['smooth', 'fixed'] as const) {
      expect(await count(limits, [charge(limit(5, DAY, { window }))], 9, START)).toBe(5);
      expect(await count(limits, [charge(limit(7, DAY, { window }))], 9, START)).toBe(2);
      expect(await count(limits, [charge(limit(3, DAY, { window }))], 9, START)).toBe(0);
    }
  });

  it('take the sum where a rule counts the same twice', async () => {
    const limits = make();
    const three = limit(3, 1000);
    expect(await count(limits, [charge(three), charge(three)], 5, START)).toBe(1);
  });

  it.each(['smooth', 'fixed'] as const)('keep %s windows of more than 24.8 days', async (window) => {
    const limits = make();
    const month = [charge(limit(2, 30 * DAY, { window }))];
    expect(await count(limits, month, 5, START)).toBe(2);
    expect(await count(limits, month, 5, START + 29 * DAY)).toBe(0);
    expect(await count(limits, month, 5, START + 30 * DAY)).toBe(2);
  });

  it('do not go back when time does, and refuse to count without a time', async () => {
    const limits = make();
    const one = [charge(limit(1, 1000))];
    const fixed = [charge(limit(1, 1000, { window: 'fixed' }))];
    for (const charges of [one, fixed]) {
      expect((await limits.consume(charges, START + 5000)).ok).toBe(true);
      expect((await limits.consume(charges, START - DAY)).ok).toBe(false);
      expect((await limits.consume(charges, START + 5999)).ok).toBe(false);
    }
    expect(() => limits.consume(one, Number.NaN)).toThrow(TypeError);
    expect(() => limits.consume([charge(limit(1, 1000), 'a', 0.5)], START)).toThrow(TypeError);
    expect(() => limits.consume([charge(limit(Number.NaN, 1000), 'b')], START)).toThrow(TypeError);
  });

  it.each(['smooth', 'fixed'] as const)(
    'are neither reset nor prolonged by a wall clock that is set (%s)',
    async (window) => {
      let wall = START;
      let passed = 0;
      const clock = new BrokerClock({
        wallMs: () => wall + passed,
        monotonicMs: () => passed,
        synchronisation: () => 'unknown',
        onEvent: () => undefined,
      });
      const limits = make({ startedMs: clock.steadyNow() });
      const hourly = [charge(limit(1, 3_600_000, { window }))];
      const ask = async (): Promise<boolean> => (await limits.consume(hourly, clock.steadyNow())).ok;
      expect(await ask()).toBe(true);
      for (const byMs of [30 * DAY, -400 * DAY, 1000 * DAY]) {
        wall += byMs;
        expect(await ask()).toBe(false);
        clock.accept();
        expect(await ask()).toBe(false);
      }
      passed = 3_599_999;
      expect(await ask()).toBe(false);
      passed = 3_600_000;
      expect(await ask()).toBe(true);
    },
  );

  it('forget counters that are full again', async () => {
    const limits = make();
    const one = limit(1, 1000);
    for (let i = 0; i < 5000; i++) await limits.consume([charge(one, `s${i}`)], START + i);
    expect(limits.size).toBeLessThan(3000);
    for (let i = 0; i < 3000; i++) await limits.consume([charge(one, 'only')], START + 1e6 + i);
    expect(limits.size).toBe(1);
  });

  it('refuse new subjects when there are too many, without a loss for those that are counted', async () => {
    const limits = make({ maxSubjectsPerLimit: 10, maxSubjects: 15 });
    const one = limit(1, 60_000);
    for (let i = 0; i < 10; i++) expect((await limits.consume([charge(one, `s${i}`)], START)).ok).toBe(true);
    const overflow = (): unknown => limits.consume([charge(one, 'new')], START + 10);
    expect(overflow).toThrow(Failure);
    expect(overflow).toThrow(expect.objectContaining({ reason: 'BUSY' }));
    expect((await limits.consume([charge(one, 's3')], START + 20)).ok).toBe(false);
    // Another limit has room left.
    const other = limit(1, 60_000, { id: 'other' });
    expect(await count(limits, [charge(other)], 2, START + 20)).toBe(1);
    expect((await limits.consume([charge(one, 'new')], START + 61_000)).ok).toBe(true);
  });

  it('do not lose what a request counts when its own counters had to make room', async () => {
    const limits = make({ maxSubjects: 3 });
    const a = limit(1, 1000, { id: 'a' });
    const b = limit(1, 1000, { id: 'b' });
    expect((await limits.consume([charge(a, 'x'), charge(b, 'x'), charge(a, 'y')], START)).ok).toBe(true);
    const both = [charge(a, 'z'), charge(b, 'z')];
    expect((await limits.consume(both, START + 2000)).ok).toBe(true);
    expect((await limits.consume([charge(a, 'z')], START + 2000)).ok).toBe(false);
    expect((await limits.consume([charge(b, 'z')], START + 2000)).ok).toBe(false);
  });

  it('bound subjects of budgets as well', async () => {
    const limits = make({ maxSubjectsPerLimit: 2 });
    const ever = limit(5, undefined);
    await limits.consume([charge(ever, 'a')], START);
    await limits.consume([charge(ever, 'b')], START);
    expect(() => limits.consume([charge(ever, 'c')], START)).toThrow(
      expect.objectContaining({ reason: 'BUSY' }),
    );
    expect((await limits.consume([charge(ever, 'a')], START)).ok).toBe(true);
  });

  it('are not ignored when their store fails, and then count nothing', async () => {
    let isAway = true;
    const rows = new BudgetRows(new StateStore(':memory:'));
    const budgets: Budgets = {
      used: (...of) => rows.used(...of),
      subjects: (of) => rows.subjects(of),
      add(uses) {
        if (isAway) throw new Error('disk full');
        rows.add(uses);
      },
    };
    const errors: string[] = [];
    const limits = make({ budgets, onError: (message) => errors.push(message) });
    const charges = [charge(limit(1, 1000)), charge(limit(1, undefined))];
    expect(() => limits.consume(charges, START)).toThrow(expect.objectContaining({ reason: 'BUSY' }));
    isAway = false;
    const done = (await limits.consume(charges, START)) as Consumption & { ok: true };
    expect(done.ok).toBe(true);
    isAway = true;
    done.giveBack();
    expect(errors).toHaveLength(1);
    expect(rows.used(charges[1]!.limit.id, 'a')).toBe(1);
    const away = make({
      history: {
        usage: () => {
          throw new Error('damaged');
        },
      },
    });
    expect(() => away.consume([charge(limit(1, 1000))], START)).toThrow(
      expect.objectContaining({ reason: 'BUSY' }),
    );
    // What an earlier life consumed no longer matters.
    expect(away.consume([charge(limit(1, 1000))], START + 1000)).toMatchObject({ ok: true });
  });

  it('agree with a list of all uses, for several limits at once', async () => {
    const limitArbitrary = fc.record({
      max: fc.integer({ min: 1, max: 12 }),
      perMs: fc.constantFrom(50, 300, 1000, undefined),
      window: fc.constantFrom('smooth' as const, 'fixed' as const),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(limitArbitrary, { minLength: 1, maxLength: 4 }),
        fc.array(
          fc.record({
            gapMs: fc.integer({ min: 0, max: 120 }),
            subject: fc.constantFrom('a', 'b'),
            givesBack: fc.boolean(),
          }),
          { maxLength: 60 },
        ),
        async (shapes, uses) => {
          const of = shapes.map(({ max, perMs, window }, i) => limit(max, perMs, { id: `l${i}`, window }));
          const limits = make();
          const naive = of.map(() => new Map<string, { at: number; window: number }[]>());
          const windows = of.map(() => new Map<string, number>());
          let now = START;
          for (const { gapMs, subject, givesBack } of uses) {
            now += gapMs;
            const room = of.every(({ max, perMs, window }, i) => {
              const log = naive[i]!.get(subject) ?? [];
              if (perMs === undefined) return log.length < max;
              if (window === 'smooth') return log.filter(({ at }) => now - at < perMs).length < max;
              const from = windows[i]!.get(subject) ?? Number.NEGATIVE_INFINITY;
              return now - from >= perMs || log.filter((use) => use.window === from).length < max;
            });
            const answer = await limits.consume(
              of.map((each) => charge(each, subject)),
              now,
            );
            expect(answer.ok).toBe(room);
            if (!answer.ok) continue;
            of.forEach(({ perMs }, i) => {
              const from = windows[i]!.get(subject);
              if (perMs !== undefined && (from === undefined || now - from >= perMs))
                windows[i]!.set(subject, now);
            });
            if (givesBack) answer.giveBack();
            else
              of.forEach((_, i) => {
                const log = naive[i]!.get(subject) ?? [];
                log.push({ at: now, window: windows[i]!.get(subject) ?? 0 });
                naive[i]!.set(subject, log);
              });
          }
        },
      ),
      { numRuns: 150 },
    );
  });
});
