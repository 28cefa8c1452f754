import { describe, expect, it } from 'vitest';
import { MeasuredPlacement, ON_THREADS, type Placement } from './call-placement.ts';

const QUICK = 0.04;
const SLOW = 0.5;

/** Runs `count` calls that take `milliseconds` when they are inline; on a thread they return at once. */
function caller() {
  let now = 0;
  const placement = new MeasuredPlacement(() => now);
  return (count: number, milliseconds: number): Placement[] => {
    const seen: Placement[] = [];
    for (let call = 0; call < count; call += 1) {
      placement.place((where) => {
        seen.push(where);
        if (where === 'inline') now += milliseconds;
      });
    }
    return seen;
  };
}

function inlineOf(placements: readonly Placement[]): number {
  return placements.filter((where) => where === 'inline').length;
}

describe('calls', () => {
  it('that are quick stay on the thread that asks', () => {
    expect(inlineOf(caller()(5000, QUICK))).toBe(5000);
  });

  it('that are slow go to threads after the fourth', () => {
    expect(caller()(6, SLOW)).toEqual(['inline', 'inline', 'inline', 'inline', 'thread', 'thread']);
  });

  it('that are slow by chance three times in a row stay', () => {
    const call = caller();
    for (let round = 0; round < 100; round += 1) {
      expect(inlineOf(call(3, SLOW))).toBe(3);
      expect(inlineOf(call(1, QUICK))).toBe(1);
    }
  });

  it('that stay slow are tried one at a time, ever more seldom', () => {
    const call = caller();
    call(4, SLOW);
    for (const pause of [1024, 2048, 4096, 8192, 16384, 32768, 65536, 65536]) {
      expect(inlineOf(call(pause, SLOW))).toBe(0);
      expect(inlineOf(call(1, SLOW))).toBe(1);
    }
  });

  it('that became quick come back with the next trial', () => {
    const call = caller();
    call(4 + 1024, SLOW);
    expect(inlineOf(call(5000, QUICK))).toBe(5000);
    // And all four slow ones are granted again, with the first pause.
    expect(inlineOf(call(4, SLOW))).toBe(4);
    expect(inlineOf(call(1025, SLOW))).toBe(1);
  });

  it('that fail by throwing are nobody else’s measure', () => {
    const placement = new MeasuredPlacement(() => 0);
    expect(() =>
      placement.place(() => {
        throw new Error('not begun');
      }),
    ).toThrow('not begun');
    placement.place((where) => expect(where).toBe('inline'));
  });

  it('of a module with a device behind it are always on threads', () => {
    ON_THREADS.place((where) => expect(where).toBe('thread'));
  });
});
