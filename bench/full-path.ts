import type { RunningInstance } from '../test/fakes/instance.ts';
import { connection, FULL_PATH_KEYS, type FullPathKey, startBenchInstance } from './bench-instance.ts';
import { BenchChild } from './child.ts';
import type { Sample } from './closed-loop.ts';
import { brokerProcesses, cpuMs, type MeasuredProcess, residentMib } from './linux-processes.ts';
import type { LoadRequest } from './load-generator.ts';

/** By role; workers together. */
export type ByRole = Readonly<Record<string, number>>;

export interface FullPathSample extends Sample {
  /** Microseconds of processor time for each operation, by role; the load generator is `load`. */
  readonly cpuUsPerOperation: ByRole;
}

/** All of it: SDK, TLS, gateway, broker with policy, verification and a durable log, worker, token. */
export class FullPath {
  readonly #instance: RunningInstance;
  readonly #load: BenchChild<LoadRequest>;
  /** Results that were given out and found good. */
  #checked = 0;

  private constructor(instance: RunningInstance, load: BenchChild<LoadRequest>) {
    this.#instance = instance;
    this.#load = load;
  }

  /** @param program as of `startBenchInstance` */
  static async open(program?: string): Promise<FullPath> {
    const instance = await startBenchInstance(program);
    const load = new BenchChild<LoadRequest>(new URL('load-generator.ts', import.meta.url));
    const signingKeys = FULL_PATH_KEYS.filter(({ algorithm }) => algorithm !== 'A256GCM').map(
      ({ key }) => key,
    );
    const path = new FullPath(instance, load);
    try {
      await load.request({ kind: 'connect', options: connection(instance, 'payments'), signingKeys });
    } catch (error) {
      await path.close();
      throw error;
    }
    return path;
  }

  get checkedResults(): number {
    return this.#checked;
  }

  /** Runs, stops the clock, and checks every result. @throws Error when one is wrong */
  async run(
    { key, algorithm }: FullPathKey,
    mode: 'unary' | 'stream',
    inFlight: number,
    seconds: number,
  ): Promise<FullPathSample> {
    const processes = this.#processes();
    const before = processes.map(({ pid }) => cpuMs(pid));
    const sample = await this.#load.request<Sample>({ kind: 'run', key, algorithm, mode, inFlight, seconds });
    const used = processes.map(({ pid }, index) => cpuMs(pid) - before[index]!);
    this.#checked += await this.#load.request<number>({ kind: 'check' });
    const cpuUsPerOperation = byRole(processes, (index) => (1000 * used[index]!) / sample.operations);
    return { ...sample, cpuUsPerOperation };
  }

  /** What the broker said last, for whoever looks into failures. */
  lastWords(lines: number): string {
    return this.#instance.output().trimEnd().split('\n').slice(-lines).join('\n');
  }

  /** Median milliseconds of a refusal, for each key. */
  refusals(keys: readonly string[], calls: number): Promise<readonly number[]> {
    return this.#load.request({ kind: 'refusals', keys, calls });
  }

  /** MiB, without the load generator. */
  resident(): ByRole {
    const processes = brokerProcesses(this.#instance.pid);
    return byRole(processes, (index) => residentMib(processes[index]!.pid));
  }

  async close(): Promise<void> {
    await this.#load.stop();
    await this.#instance.stop();
  }

  #processes(): readonly MeasuredProcess[] {
    return [...brokerProcesses(this.#instance.pid), { pid: this.#load.pid, role: 'load' }];
  }
}

function byRole(processes: readonly MeasuredProcess[], value: (index: number) => number): ByRole {
  const sums: Record<string, number> = {};
  for (const [index, { role }] of processes.entries()) sums[role] = (sums[role] ?? 0) + value(index);
  return sums;
}
