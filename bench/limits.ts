import type { Charge } from '../broker/keyuse/limits/limits.ts';
import { MemoryLimits } from '../broker/keyuse/limits/memory-limits.ts';
import { BudgetRows } from '../broker/state/budget-rows.ts';
import { StateStore } from '../broker/state/state-store.ts';
import type { Limit } from '../policy/decision.ts';
import { short, table } from './table.ts';

/** Microseconds for one `consume`. */
export interface LimitsCost {
  readonly name: string;
  readonly p50Micros: number;
  readonly p99Micros: number;
}

const START = Date.parse('2026-03-01T12:00:00.000Z');
const WARM_UP = 20_000;

function limit(id: string, max: number, perMs: number | undefined, rest: Partial<Limit> = {}): Limit {
  return {
    id: `payments-mints-tokens ${id}`,
    max,
    perMs,
    by: 'workload',
    unit: 'calls',
    window: 'smooth',
    ...rest,
  };
}

const THREE: readonly Limit[] = [
  limit('calls per 1s by workload', 500, 1000),
  limit('calls per 1d by key', 1_000_000, 86_400_000, { by: 'key' }),
  limit('bytes per 1h by trust-domain', 2 ** 40, 3_600_000, { by: 'trust-domain', unit: 'bytes' }),
];

/**
 * What it costs to count: three limits with room, three of which one refuses, three of which one is a fixed window, and
 * a budget for life (with its write to a file that is synced). `workloads` take turns; time passes as fast as requests
 * at 20,000 a second.
 */
export async function measureLimits(
  options: { readonly rounds?: number; readonly workloads?: number; readonly stateFile?: string } = {},
): Promise<readonly LimitsCost[]> {
  const { rounds = 100_000, workloads = 1000, stateFile = ':memory:' } = options;
  const fixed = [THREE[0]!, THREE[1]!, limit('fixed', 1e9, 60_000, { window: 'fixed' })];
  const refusing = [THREE[1]!, THREE[2]!, limit('none', 0, 1000)];
  return [
    await measure('three smooth limits', THREE, rounds, workloads, stateFile),
    await measure('three, one refuses', refusing, rounds, workloads, stateFile),
    await measure('three, one fixed', fixed, rounds, workloads, stateFile),
    await measure('a budget for life', [limit('life', 1e12, undefined)], rounds / 20, workloads, stateFile),
  ];
}

async function measure(
  name: string,
  limits: readonly Limit[],
  rounds: number,
  workloads: number,
  stateFile: string,
): Promise<LimitsCost> {
  const store = new StateStore(stateFile);
  try {
    const counters = new MemoryLimits({ budgets: new BudgetRows(store), startedMs: START });
    const requests = Array.from({ length: workloads }, (_, workload): readonly Charge[] =>
      limits.map((each) => ({
        limit: each,
        subject: each.by === 'workload' ? `spiffe://example.org/ns/payments/sa/w${workload}` : 'payments/jwt',
        amount: each.unit === 'bytes' ? 312 : 1,
      })),
    );
    const micros = new Float64Array(Math.floor(rounds));
    const warmUp = Math.min(WARM_UP, micros.length);
    for (let i = -warmUp; i < micros.length; i++) {
      const charges = requests[(i + warmUp) % workloads]!;
      const started = performance.now();
      const consumption = counters.consume(charges, START + (i + warmUp) / 20);
      if (consumption instanceof Promise) await consumption;
      if (i >= 0) micros[i] = (performance.now() - started) * 1000;
    }
    micros.sort();
    return { name, p50Micros: at(micros, 0.5), p99Micros: at(micros, 0.99) };
  } finally {
    store.close();
  }
}

function at(sorted: Float64Array, part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

if (import.meta.main) {
  const { mkdtempSync, rmSync } = await import('node:fs');
  const { tmpdir } = await import('node:os');
  const directory = mkdtempSync(`${tmpdir()}/lastmile-bench-limits-`);
  try {
    const costs = await measureLimits({ stateFile: `${directory}/state.db` });
    const lines = costs.map(({ name, p50Micros, p99Micros }) => [name, short(p50Micros), short(p99Micros)]);
    process.stdout.write(`${table(['consume', 'p50 µs', 'p99 µs'], lines)}\n`);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
