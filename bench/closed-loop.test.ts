import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { promised, runClosedLoop } from './closed-loop.ts';

/** In virtual time: what ends at which moment is known exactly. */
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('runClosedLoop', () => {
  test('keeps exactly so many in flight, counts what ended in time, and waits for the rest', async () => {
    let live = 0;
    let most = 0;
    let begun = 0;
    let ended = 0;
    const running = runClosedLoop({ inFlight: 5, seconds: 0.1 }, (_lane, done) => {
      begun += 1;
      live += 1;
      most = Math.max(most, live);
      setTimeout(() => {
        live -= 1;
        ended += 1;
        done();
      }, 3);
    });
    await vi.advanceTimersByTimeAsync(200);
    const sample = await running;
    expect(most).toBe(5);
    expect(live).toBe(0);
    // 33 in each lane end by 99 ms; the 34th was begun, and ends too late to count.
    expect([begun, ended]).toEqual([5 * 34, 5 * 34]);
    expect(sample.operations).toBe(5 * 33);
    expect(sample.latenciesMs).toEqual(new Float64Array(5 * 33).fill(3));
  });

  test('counts failures by reason, and not as operations', async () => {
    const refused = Object.assign(new Error('busy'), { reason: 'BUSY' });
    const running = runClosedLoop(
      { inFlight: 2, seconds: 0.05 },
      promised((lane) =>
        lane === 0 ? Promise.reject(refused) : new Promise((resolve) => setTimeout(resolve, 1)),
      ),
    );
    await vi.advanceTimersByTimeAsync(100);
    const sample = await running;
    // One in 5 ms: a lane that failed waits before it goes on.
    expect(sample.failures).toEqual({ BUSY: 10 });
    expect(sample.operations).toBe(50);
    expect(sample.latenciesMs).toHaveLength(50);
  });
});
