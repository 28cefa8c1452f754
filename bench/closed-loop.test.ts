import { describe, expect, test } from 'vitest';
import { promised, runClosedLoop } from './closed-loop.ts';

describe('runClosedLoop', () => {
  test('keeps exactly so many in flight, counts what ended in time, and waits for the rest', async () => {
    let live = 0;
    let most = 0;
    let begun = 0;
    let ended = 0;
    const sample = await runClosedLoop({ inFlight: 5, seconds: 0.1 }, (_lane, done) => {
      begun += 1;
      live += 1;
      most = Math.max(most, live);
      setTimeout(() => {
        live -= 1;
        ended += 1;
        done();
      }, 3);
    });
    expect(most).toBe(5);
    expect(live).toBe(0);
    expect(ended).toBe(begun);
    expect(sample.operations).toBeLessThanOrEqual(ended);
    expect(sample.operations).toBeGreaterThan(5);
    expect(sample.latenciesMs).toHaveLength(sample.operations);
    expect(Math.min(...sample.latenciesMs)).toBeGreaterThan(1);
  });

  test('counts failures by reason, and not as operations', async () => {
    const refused = Object.assign(new Error('busy'), { reason: 'BUSY' });
    const sample = await runClosedLoop(
      { inFlight: 2, seconds: 0.05 },
      promised((lane) =>
        lane === 0 ? Promise.reject(refused) : new Promise((resolve) => setTimeout(resolve, 1)),
      ),
    );
    expect(sample.failures.BUSY).toBeGreaterThan(0);
    expect(Object.keys(sample.failures)).toEqual(['BUSY']);
    expect(sample.operations).toBe(sample.latenciesMs.length);
    expect(sample.operations).toBeGreaterThan(0);
  });
});
