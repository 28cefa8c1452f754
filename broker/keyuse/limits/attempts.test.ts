import { describe, expect, it } from 'vitest';
import { AttemptLimiter } from './attempts.ts';

const START = Date.parse('2026-03-01T12:00:00.000Z');

describe('attempts', () => {
  it('make a workload that keeps being refused wait, and nobody else', () => {
    const attempts = new AttemptLimiter({ max: 3, perMs: 10_000 });
    expect(attempts.penalty('a', START)).toBeUndefined();
    expect(attempts.refused('a', START)).toBeUndefined();
    expect(attempts.refused('a', START + 1000)).toBeUndefined();
    expect(attempts.refused('a', START + 2000)).toBe(8000);
    expect(attempts.penalty('a', START + 2000)).toBe(8000);
    expect(attempts.penalty('b', START + 2000)).toBeUndefined();
    expect(attempts.penalty('a', START + 9999)).toBe(1);
    expect(attempts.penalty('a', START + 10_000)).toBeUndefined();
  });

  it('do not make it wait for ever while it goes on asking', () => {
    const attempts = new AttemptLimiter({ max: 3, perMs: 10_000 });
    let admitted = 0;
    for (let now = START; now < START + 100_000; now += 100) {
      if (attempts.penalty('a', now) !== undefined) continue;
      admitted++;
      attempts.refused('a', now);
    }
    expect(admitted).toBe(30);
  });

  it('are not reset by a time that goes back', () => {
    const attempts = new AttemptLimiter({ max: 1 });
    expect(attempts.refused('a', START)).toBe(10_000);
    expect(attempts.penalty('a', START - 86_400_000)).toBe(10_000);
  });

  it('leave a tenth more than 500 a second alone by default', () => {
    const attempts = new AttemptLimiter();
    for (let i = 0; i < 50 * 60; i++) expect(attempts.refused('a', START + i * 20)).toBeUndefined();
    for (let i = 0; i < 999; i++) expect(attempts.refused('b', START + 60_000)).toBeUndefined();
    expect(attempts.refused('b', START + 60_000)).toBe(10_000);
  });

  it('remember no more workloads than they may', () => {
    const attempts = new AttemptLimiter({ max: 1, perMs: 1000, maxWorkloads: 100 });
    for (let i = 0; i < 1000; i++) attempts.refused(`w${i}`, START);
    expect(attempts.size).toBe(100);
    expect(attempts.penalty('w999', START)).toBe(1000);
    expect(attempts.penalty('w0', START)).toBeUndefined();
    for (let i = 0; i < 200; i++) attempts.refused(`x${i % 3}`, START + 5000 + i * 1000);
    expect(attempts.size).toBeLessThanOrEqual(100);
  });
});
