import { describe, expect, test } from 'vitest';
import type { Sample } from './closed-loop.ts';
import { median, percentile, ratio, summarise } from './statistics.ts';

function sample(operations: number, latencies: readonly number[] = [1]): Sample {
  return { operations, seconds: 2, latenciesMs: Float64Array.from(latencies), failures: {} };
}

describe('statistics', () => {
  test('median of an odd and an even number of values, in any order', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([10, 2, 4, 8])).toBe(6);
    expect(median([])).toBeNaN();
  });

  test('percentiles by nearest rank', () => {
    const hundred = Float64Array.from({ length: 100 }, (_, index) => index + 1);
    expect(percentile(hundred, 0.5)).toBe(50);
    expect(percentile(hundred, 0.99)).toBe(99);
    expect(percentile(Float64Array.of(7), 0.99)).toBe(7);
  });

  test('sums up rounds: the median rate, and percentiles over all operations', () => {
    const summary = summarise([sample(100, [1, 1]), sample(300, [3]), sample(200, [2, 2])]);
    expect(summary).toMatchObject({
      operationsPerSecond: 100,
      p50Ms: 2,
      p99Ms: 3,
      operations: 5,
      failures: 0,
    });
  });

  test('a ratio compares rounds side by side: a slow round of both does not count', () => {
    expect(ratio([sample(50), sample(5), sample(50)], [sample(100), sample(10), sample(100)])).toBe(0.5);
  });
});
