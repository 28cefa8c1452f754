import type { BenchAlgorithm } from './algorithms.ts';
import type { BenchToken } from './bench-tokens.ts';
import { BenchChild } from './child.ts';
import type { Sample } from './closed-loop.ts';
import type { WorkerPathRequest } from './worker-path-process.ts';

/** From the supervisor's `sign` to its answer: frames, the pipe, the worker's pool, the token. No broker around it. */
export class WorkerPath {
  readonly #child: BenchChild<WorkerPathRequest>;

  private constructor(child: BenchChild<WorkerPathRequest>) {
    this.#child = child;
  }

  static async open(tokens: readonly BenchToken[]): Promise<WorkerPath> {
    const child = new BenchChild<WorkerPathRequest>(new URL('worker-path-process.ts', import.meta.url));
    await child.request({ kind: 'open', tokens });
    return new WorkerPath(child);
  }

  run(algorithm: Exclude<BenchAlgorithm, 'A256GCM'>, seconds: number): Promise<Sample> {
    return this.#child.request({ kind: 'run', algorithm, seconds });
  }

  close(): Promise<void> {
    return this.#child.stop();
  }
}
