import type { Sample } from './closed-loop.ts';

/** What several samples of the same thing, taken in different rounds, come to. */
export interface Summary {
  /** The median of the rounds. */
  readonly operationsPerSecond: number;
  /** Over the operations of all rounds together. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly operations: number;
  readonly failures: number;
}

export function summarise(samples: readonly Sample[]): Summary {
  const total = samples.reduce((sum, sample) => sum + sample.latenciesMs.length, 0);
  const latencies = new Float64Array(total);
  let at = 0;
  for (const { latenciesMs } of samples) {
    latencies.set(latenciesMs, at);
    at += latenciesMs.length;
  }
  latencies.sort();
  return {
    operationsPerSecond: median(samples.map(rate)),
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
    operations: total,
    failures: samples.reduce((sum, { failures }) => sum + countOf(failures), 0),
  };
}

export function rate(sample: Sample): number {
  return sample.operations / sample.seconds;
}

/**
 * How much of the ceiling the path reaches: the median over the rounds of what they reached side by side. A minute
 * in which the machine was slow slows both, and so does not count.
 */
export function ratio(path: readonly Sample[], ceiling: readonly Sample[]): number {
  const rounds = Math.min(path.length, ceiling.length);
  return median(Array.from({ length: rounds }, (_, round) => rate(path[round]!) / rate(ceiling[round]!)));
}

export function countOf(failures: Readonly<Record<string, number>>): number {
  return Object.values(failures).reduce((sum, count) => sum + count, 0);
}

/** NaN of nothing. Of an even number: the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length % 2 === 1) return sorted[Math.floor(middle)]!;
  return sorted.length === 0 ? Number.NaN : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Nearest rank. `sorted` is ascending; NaN of nothing. */
export function percentile(sorted: Float64Array, share: number): number {
  if (sorted.length === 0) return Number.NaN;
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
}
