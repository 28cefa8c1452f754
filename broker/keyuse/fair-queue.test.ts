import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FairQueue } from './fair-queue.ts';

const takeOne = <T>(queue: FairQueue<T>): T | undefined => {
  let found: T | undefined;
  queue.take((item) => {
    found = item;
    return true;
  });
  return found;
};

describe('FairQueue', () => {
  it('gives a flow its turn however much another has waiting', () => {
    const queue = new FairQueue<string>(() => 1);
    for (let i = 0; i < 100; i++) queue.push('flood', `flood ${i}`);
    for (let i = 0; i < 5; i++) takeOne(queue);
    queue.push('quiet', 'quiet 0');
    queue.push('quiet', 'quiet 1');
    expect([takeOne(queue), takeOne(queue), takeOne(queue), takeOne(queue)]).toEqual(
      expect.arrayContaining(['quiet 0', 'quiet 1']),
    );
  });

  it('shares in proportion to weights', () => {
    const queue = new FairQueue<string>((flow) => (flow === 'heavy' ? 3 : 1));
    for (let i = 0; i < 400; i++) {
      queue.push('heavy', 'heavy');
      queue.push('light', 'light');
    }
    const first = Array.from({ length: 400 }, () => takeOne(queue));
    expect(first.filter((item) => item === 'heavy').length).toBeGreaterThanOrEqual(298);
    expect(first.filter((item) => item === 'heavy').length).toBeLessThanOrEqual(302);
  });

  it('does not let a flow save up while it is idle, nor forget that it was served when it comes back at once', () => {
    const queue = new FairQueue<string>(() => 1);
    for (let i = 0; i < 50; i++) queue.push('a', 'a');
    for (let i = 0; i < 40; i++) takeOne(queue);
    for (let i = 0; i < 50; i++) queue.push('b', 'b');
    const next = Array.from({ length: 10 }, () => takeOne(queue));
    expect(next.filter((item) => item === 'b').length).toBeLessThanOrEqual(6);
    const again = new FairQueue<string>(() => 1);
    again.push('b', 'b 0');
    again.push('a', 'a 0');
    const order = [takeOne(again)];
    again.push('b', 'b 1');
    order.push(takeOne(again), takeOne(again));
    expect(order).toEqual(['b 0', 'a 0', 'b 1']);
  });

  it('passes over what cannot be served now and keeps its place', () => {
    const queue = new FairQueue<string>(() => 1);
    queue.push('stuck', 'stuck');
    queue.push('free', 'free');
    const serve = (item: string): boolean => item === 'free';
    expect(queue.take(serve)).toBe(true);
    expect(queue.take(serve)).toBe(false);
    expect(takeOne(queue)).toBe('stuck');
    expect(queue.size).toBe(0);
  });

  it('keeps the flows that still wait when a sweep empties the one before them', () => {
    const queue = new FairQueue<string>(() => 1);
    queue.push('gone', 'gone');
    queue.push('waits', 'waits 0');
    queue.push('waits', 'waits 1');
    queue.sweep((item) => item === 'gone');
    expect(queue.lengthOf('waits')).toBe(2);
    queue.push('waits', 'waits 2');
    expect(queue.flows).toBe(1);
    expect([takeOne(queue), takeOne(queue), takeOne(queue)]).toEqual(['waits 0', 'waits 1', 'waits 2']);
  });

  it('hands out everything once, in order within a flow, with what is swept left out', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(5), fc.boolean()), { maxLength: 200 }), (steps) => {
        const queue = new FairQueue<{ flow: string; n: number }>((flow) => Number(flow) + 1);
        const given: { flow: string; n: number }[] = [];
        let n = 0;
        let swept = 0;
        for (const [flow, push] of steps) {
          if (push) queue.push(String(flow), { flow: String(flow), n: n++ });
          else if (flow === 5) {
            const before = queue.size;
            queue.sweep((item) => item.n % 7 === 3);
            swept += before - queue.size;
          } else queue.take((item) => given.push(item) > 0);
        }
        while (queue.take((item) => given.push(item) > 0));
        expect(queue.size).toBe(0);
        expect(given.length + swept).toBe(n);
        expect(new Set(given.map((item) => item.n)).size).toBe(given.length);
        for (const flow of ['0', '1', '2', '3', '4', '5']) {
          const numbers = given.filter((item) => item.flow === flow).map((item) => item.n);
          expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
        }
      }),
    );
  });
});
