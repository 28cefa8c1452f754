import { availableParallelism, cpus } from 'node:os';
import { BENCH_ALGORITHMS, type BenchAlgorithm } from './algorithms.ts';
import { FULL_PATH_KEYS } from './bench-instance.ts';
import type { Sample } from './closed-loop.ts';
import type { FullPathSample } from './full-path.ts';
import { keyPrefix, LOADS, loadName, SCENARIOS, type Scenario } from './scenarios.ts';
import { median, rate, ratio, summarise } from './statistics.ts';
import { short, table } from './table.ts';
import { judge, type Row, TARGETS } from './targets.ts';

/** Samples by the name of their scenario, one for each round. */
export type Samples = ReadonlyMap<string, readonly Sample[]>;

/** Everything that follows from the samples. */
export function rowsOf(samples: Samples): readonly Row[] {
  return [
    ...SCENARIOS.flatMap((scenario) => scenarioRows(scenario, samples.get(scenario.name) ?? [])),
    ...ceilingRows(samples),
    ...addedLatencyRows(samples),
  ];
}

function scenarioRows({ name, part }: Scenario, samples: readonly Sample[]): readonly Row[] {
  if (samples.length === 0) return [];
  const { operationsPerSecond, p50Ms, p99Ms, failures } = summarise(samples);
  return [
    { measure: `${name}_ops_per_s`, value: operationsPerSecond, unit: '1/s' },
    { measure: `${name}_p50_ms`, value: p50Ms, unit: 'ms' },
    { measure: `${name}_p99_ms`, value: p99Ms, unit: 'ms' },
    ...(part === 'full'
      ? [
          { measure: `${name}_failures`, value: failures, unit: '1' },
          ...cpuRows(name, samples as readonly FullPathSample[]),
        ]
      : []),
  ];
}

function cpuRows(name: string, samples: readonly FullPathSample[]): readonly Row[] {
  const roles = [...new Set(samples.flatMap(({ cpuUsPerOperation }) => Object.keys(cpuUsPerOperation)))];
  return roles.map((role) => ({
    measure: `${name}_cpu_us_per_op_${role.replaceAll('-', '_')}`,
    value: median(samples.map(({ cpuUsPerOperation }) => cpuUsPerOperation[role] ?? 0)),
    unit: 'us',
  }));
}

function ceilingRows(samples: Samples): readonly Row[] {
  const rows: Row[] = [];
  const add = (
    measure: string,
    path: readonly Sample[] | undefined,
    ceiling: readonly Sample[] | undefined,
  ) => {
    if (path !== undefined && ceiling !== undefined)
      rows.push({ measure, value: ratio(path, ceiling), unit: 'ratio' });
  };
  for (const algorithm of BENCH_ALGORITHMS) {
    const name = algorithm.toLowerCase();
    add(`worker_path_${name}_vs_raw`, samples.get(`worker_path_${name}`), rawCeiling(samples, algorithm));
  }
  for (const [keyIndex, { algorithm }] of FULL_PATH_KEYS.entries()) {
    for (const load of LOADS) {
      const name = `${keyPrefix(keyIndex)}_${loadName(load)}`;
      add(`${name}_vs_raw`, samples.get(name), rawCeiling(samples, algorithm));
      add(`${name}_vs_echo`, samples.get(name), samples.get(`echo_${loadName(load)}`));
    }
  }
  return rows;
}

/** The better of the two ways to use the same sessions: one process, or one for each token. */
export function rawCeiling(samples: Samples, algorithm: BenchAlgorithm): readonly Sample[] | undefined {
  const prefix = `raw_${algorithm.toLowerCase()}`;
  const [one, two] = [samples.get(`${prefix}_one_process`), samples.get(`${prefix}_two_processes`)];
  if (one === undefined || two === undefined) return one ?? two;
  return median(one.map(rate)) > median(two.map(rate)) ? one : two;
}

/** What is ours of a single request: neither the network's nor the token's. */
function addedLatencyRows(samples: Samples): readonly Row[] {
  const [full, echo, raw] = ['es256_unary1', 'echo_unary1', 'raw_es256_alone'].map((name) =>
    samples.get(name),
  );
  if (full === undefined || echo === undefined || raw === undefined) return [];
  const value = summarise(full).p50Ms - summarise(echo).p50Ms - summarise(raw).p50Ms;
  return [{ measure: 'es256_added_p50_ms_at_1', value, unit: 'ms' }];
}

/** Median, and what the rounds differed by: a wide range means that the machine was busy with something else. */
export function scenarioTable(samples: Samples, rows: readonly Row[]): string {
  const value = (measure: string) => short(rows.find((row) => row.measure === measure)?.value);
  const lines = SCENARIOS.flatMap(({ name }) => {
    const taken = samples.get(name);
    if (taken === undefined) return [];
    const rates = taken.map(rate);
    return [
      [
        name,
        value(`${name}_ops_per_s`),
        `${short(Math.min(...rates))}..${short(Math.max(...rates))}`,
        value(`${name}_p50_ms`),
        value(`${name}_p99_ms`),
        value(`${name}_vs_raw`),
        value(`${name}_vs_echo`),
        ...CPU_ROLES.map((role) => value(`${name}_cpu_us_per_op_${role}`)),
      ],
    ];
  });
  const header = ['', 'ops/s', 'rounds', 'p50 ms', 'p99 ms', 'vs raw', 'vs echo'];
  return table([...header, ...CPU_ROLES.map((role) => `${role.replace('token_', '')} µs/op`)], lines);
}

const CPU_ROLES = ['broker', 'gateway', 'token_worker', 'load'];

export function targetTable(rows: readonly Row[]): string {
  return table(
    ['', 'measured', 'target', ''],
    TARGETS.map((target) => {
      const { verdict, value } = judge(target, rows);
      return [target.measure, short(value), `${target.relation} ${target.bound}`, verdict];
    }),
  );
}

export function otherTable(rows: readonly Row[]): string {
  return table(
    ['', 'value', 'unit'],
    rows.map(({ measure, value, unit }) => [measure, short(value), unit]),
  );
}

export function machineLine(): string {
  return `${availableParallelism()} processors (${cpus()[0]?.model ?? 'unknown'}), Node ${process.versions.node}, ${process.platform} ${process.arch}`;
}
