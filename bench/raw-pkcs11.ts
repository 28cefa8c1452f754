import { MODULE } from '../test/integration/pkcs11/soft-token.ts';
import type { BenchAlgorithm } from './algorithms.ts';
import { type BenchToken, SESSIONS_PER_TOKEN, TOKENS } from './bench-tokens.ts';
import { BenchChild } from './child.ts';
import type { Sample } from './closed-loop.ts';
import type { RawRequest } from './raw-pkcs11-process.ts';

/**
 * The ceiling of the token itself: pkcs11js and nothing of ours, with as many sessions and threads as the broker's
 * workers have together, once in one process and once in one process for each token.
 */
export class RawPkcs11 {
  readonly #single: BenchChild<RawRequest>;
  readonly #each: readonly BenchChild<RawRequest>[];

  private constructor(single: BenchChild<RawRequest>, each: readonly BenchChild<RawRequest>[]) {
    this.#single = single;
    this.#each = each;
  }

  static async open(tokens: readonly BenchToken[]): Promise<RawPkcs11> {
    return new RawPkcs11(
      await openProcess(tokens[0]!, TOKENS * SESSIONS_PER_TOKEN),
      await Promise.all(tokens.map((token) => openProcess(token, SESSIONS_PER_TOKEN))),
    );
  }

  oneProcess(algorithm: BenchAlgorithm, seconds: number): Promise<Sample> {
    return this.#single.request({ kind: 'run', algorithm, inFlight: TOKENS * SESSIONS_PER_TOKEN, seconds });
  }

  async processForEachToken(algorithm: BenchAlgorithm, seconds: number): Promise<Sample> {
    const inFlight = SESSIONS_PER_TOKEN;
    const samples = await Promise.all(
      this.#each.map((child) => child.request<Sample>({ kind: 'run', algorithm, inFlight, seconds })),
    );
    return {
      operations: samples.reduce((sum, { operations }) => sum + operations, 0),
      seconds,
      latenciesMs: Float64Array.from(samples.flatMap(({ latenciesMs }) => [...latenciesMs])),
      failures: {},
    };
  }

  /** One operation at a time: what the token adds to a request that meets no other. */
  alone(algorithm: BenchAlgorithm, seconds: number): Promise<Sample> {
    return this.#single.request({ kind: 'run', algorithm, inFlight: 1, seconds });
  }

  async close(): Promise<void> {
    await Promise.all([this.#single, ...this.#each].map((child) => child.stop()));
  }
}

async function openProcess({ token, keys }: BenchToken, sessions: number): Promise<BenchChild<RawRequest>> {
  const child = new BenchChild<RawRequest>(new URL('raw-pkcs11-process.ts', import.meta.url), {
    cwd: token.directory,
    // One thread more than sessions, as a worker has.
    env: { SOFTHSM2_CONF: 'softhsm2.conf', UV_THREADPOOL_SIZE: String(sessions + 1) },
  });
  await child.request({ kind: 'open', module: MODULE, token, keys, sessions });
  return child;
}
