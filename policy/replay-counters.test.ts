import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Guard, Limit } from './decision.ts';
import { ReplayGuards, ReplayLimits } from './replay-counters.ts';

const limit = (more: Partial<Limit> = {}): Limit => ({
  id: 'r/calls',
  max: 3,
  perMs: 1000,
  by: 'workload',
  unit: 'calls',
  window: 'smooth',
  ...more,
});
const request = (now: number, more: object = {}) => ({
  spiffeId: 'spiffe://example.org/a',
  key: 'k',
  bytes: 10,
  now,
  ...more,
});

describe('limits', () => {
  test('no interval sees more than max, and whatever fits is admitted', () => {
    const gaps = fc.array(fc.nat(400), { maxLength: 60 });
    fc.assert(
      fc.property(gaps, fc.integer({ min: 1, max: 6 }), fc.boolean(), (pauses, max, bytes) => {
        const limits = new ReplayLimits();
        const of = limit({ max: bytes ? max * 10 : max, unit: bytes ? 'bytes' : 'calls' });
        const admitted: number[] = [];
        let now = 0;
        for (const pause of pauses) {
          now += pause;
          const inWindow = admitted.filter((time) => time > now - 1000).length;
          const taken = limits.take([of], request(now));
          expect(taken.ok).toBe(inWindow < max);
          if (taken.ok) admitted.push(now);
          else {
            // Whoever waits for so long is admitted, and not a millisecond before.
            const oldest = admitted[admitted.length - max]!;
            expect(taken.retryAfterMs).toBe(oldest + 1000 - now);
          }
        }
      }),
    );
  });

  test('what was used comes back when its window is over, to the millisecond', () => {
    const limits = new ReplayLimits();
    const one = limit({ max: 1 });
    expect([0, 999, 1000].map((now) => limits.take([one], request(now)).ok)).toEqual([true, false, true]);
  });

  test('steps forget later than milliseconds, and never sooner', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(300), { maxLength: 60 }), (pauses) => {
        const limits = new ReplayLimits({ steps: 4 });
        const admitted: number[] = [];
        let now = 0;
        for (const pause of pauses) {
          now += pause;
          const isFree = (within: number) => admitted.filter((time) => time > now - within).length < 3;
          const { ok } = limits.take([limit()], request(now));
          if (ok) expect(isFree(1000)).toBe(true);
          else expect(isFree(1250)).toBe(false);
          if (ok) admitted.push(now);
        }
      }),
    );
  });

  test('a burst is what may come at once, and comes back evenly', () => {
    const limits = new ReplayLimits();
    const burst = limit({ max: 10, burst: 2 });
    expect([0, 0, 0].map((now) => limits.take([burst], request(now)).ok)).toEqual([true, true, false]);
    expect(limits.take([burst], request(0))).toMatchObject({ retryAfterMs: 100 });
    expect([99, 100, 100].map((now) => limits.take([burst], request(now)).ok)).toEqual([false, true, false]);
  });

  test('a fixed window begins with its first use', () => {
    const limits = new ReplayLimits();
    const fixed = limit({ window: 'fixed' });
    const takes = [500, 600, 700, 800, 1499, 1500].map((now) => limits.take([fixed], request(now)));
    expect(takes.map(({ ok }) => ok)).toEqual([true, true, true, false, false, true]);
    expect(takes[4]).toMatchObject({ retryAfterMs: 1 });
  });

  test('a budget for life never comes back', () => {
    const limits = new ReplayLimits();
    const life = limit({ perMs: undefined, max: 2 });
    for (const now of [0, 1]) expect(limits.take([life], request(now)).ok).toBe(true);
    expect(limits.take([life], request(1e12))).toEqual({ ok: false, limit: life, retryAfterMs: undefined });
  });

  test('an amount above the limit never fits', () => {
    const bytes = limit({ unit: 'bytes', max: 5 });
    expect(new ReplayLimits().take([bytes], request(0))).toMatchObject({
      ok: false,
      retryAfterMs: undefined,
    });
  });

  test('all of several are taken from, or none', () => {
    const limits = new ReplayLimits();
    const wide = limit({ id: 'wide', max: 5 });
    const narrow = limit({ id: 'narrow', max: 1 });
    expect(limits.take([wide, narrow], request(0)).ok).toBe(true);
    for (let i = 0; i < 9; i++) expect(limits.take([wide, narrow], request(0)).ok).toBe(false);
    for (let i = 0; i < 4; i++) expect(limits.take([wide], request(0)).ok).toBe(true);
    expect(limits.take([wide], request(0)).ok).toBe(false);
  });

  test.each([
    ['workload', [true, false, true]],
    ['key', [true, true, false]],
    ['workload-and-key', [true, true, true]],
    ['trust-domain', [true, false, false]],
    ['rule', [true, false, false]],
  ] as const)('by %s', (by, expected) => {
    const limits = new ReplayLimits();
    const takes = [
      request(0),
      request(0, { key: 'other' }),
      request(0, { spiffeId: 'spiffe://example.org/b' }),
    ].map((asked) => limits.take([limit({ by, max: 1 })], asked).ok);
    expect(takes).toEqual(expected);
  });

  test('what is given back can be taken again; a clock that goes back frees nothing', () => {
    const limits = new ReplayLimits();
    const one = limit({ max: 1 });
    const taken = limits.take([one], request(5000));
    if (taken.ok) taken.giveBack();
    expect(limits.take([one], request(5000)).ok).toBe(true);
    expect(limits.take([one], request(0)).ok).toBe(false);
  });
});

describe('guards', () => {
  const rising = (value: bigint): Guard => ({ id: 'r/seq', kind: 'monotonic', value });
  const once = (value: string): Guard => ({ id: 'r/subject', kind: 'unique', value });

  test('a number must rise, for each key on its own', () => {
    const guards = new ReplayGuards();
    expect(guards.reserve([rising(5n)], 'k').ok).toBe(true);
    expect(guards.reserve([rising(5n)], 'k')).toMatchObject({ ok: false, message: '5 is not above 5' });
    expect(guards.reserve([rising(4n)], 'k').ok).toBe(false);
    expect(guards.reserve([rising(4n)], 'other').ok).toBe(true);
    expect(guards.reserve([rising(6n)], 'k').ok).toBe(true);
  });

  test('a value is used once, unless it was released', () => {
    const guards = new ReplayGuards();
    const first = guards.reserve([once('a'), rising(1n)], 'k');
    expect(guards.reserve([once('a')], 'k').ok).toBe(false);
    if (first.ok) first.release();
    expect(guards.reserve([once('a'), rising(1n)], 'k').ok).toBe(true);
  });

  test('a full history says so', () => {
    const guards = new ReplayGuards(2);
    for (const value of ['a', 'b']) expect(guards.reserve([once(value)], 'k').ok).toBe(true);
    expect(guards.isFull).toBe(true);
    expect(guards.reserve([once('c')], 'k').ok).toBe(true);
    expect(guards.reserve([once('c')], 'k').ok).toBe(true);
    expect(guards.reserve([once('a')], 'k').ok).toBe(false);
  });
});
