import { createHash } from 'node:crypto';
import type { TokenAdapter } from '../hsm-adapters/adapter.ts';
import { type BenchAlgorithm, isGoodSignature, MESSAGE_BYTES } from './algorithms.ts';
import { type BenchToken, openAdapter, reachesReady, SESSIONS_PER_TOKEN, TOKENS } from './bench-tokens.ts';
import { serveParent } from './child.ts';
import { promised, runClosedLoop, type Sample } from './closed-loop.ts';

/** Stands where the broker stands: two adapters in one process, each with its worker. */
export type WorkerPathRequest =
  | { readonly kind: 'open'; readonly tokens: readonly BenchToken[] }
  | {
      readonly kind: 'run';
      readonly algorithm: Exclude<BenchAlgorithm, 'A256GCM'>;
      readonly seconds: number;
    };

/** What the supervisor admits by default for each session of a token. */
const PIPELINING = 4;
const IN_FLIGHT = TOKENS * SESSIONS_PER_TOKEN * PIPELINING;
const DEADLINE_MS = 10_000;
const MESSAGE = Buffer.alloc(MESSAGE_BYTES, 'lastmile');
const DIGEST = createHash('sha256').update(MESSAGE).digest();

let tokens: readonly BenchToken[] = [];
let adapters: readonly TokenAdapter[] = [];

async function open(request: Extract<WorkerPathRequest, { kind: 'open' }>): Promise<void> {
  tokens = request.tokens;
  adapters = tokens.map(({ token }) => openAdapter(token));
  for (const [index, adapter] of adapters.entries()) {
    await reachesReady(adapter);
    for (const [ref, { algorithm, ckaId }] of tokens[index]!.keys.entries()) {
      await adapter.administration.bind(ref, {
        ckaId,
        kind: algorithm === 'A256GCM' ? 'secret' : 'private',
      });
    }
  }
}

async function run({ algorithm, seconds }: Extract<WorkerPathRequest, { kind: 'run' }>): Promise<Sample> {
  const object = tokens[0]!.keys.findIndex((key) => key.algorithm === algorithm);
  const data = algorithm === 'Ed25519' ? MESSAGE : DIGEST;
  const last: Uint8Array[] = [];
  const sample = await runClosedLoop(
    { inFlight: IN_FLIGHT, seconds },
    promised(async (lane) => {
      const context = { deadline: performance.now() + DEADLINE_MS };
      last[lane] = await adapters[lane % TOKENS]!.sign({ object, algorithm, data }, context);
    }),
  );
  for (const [lane, signature] of last.entries()) {
    const { publicKey } = tokens[lane % TOKENS]!.keys[object]!;
    if (!isGoodSignature(algorithm, publicKey, MESSAGE, signature))
      throw new Error(`a wrong ${algorithm} signature`);
  }
  if (Object.keys(sample.failures).length > 0) throw new Error(JSON.stringify(sample.failures));
  return sample;
}

serveParent<WorkerPathRequest>(
  async (request) => (request.kind === 'open' ? open(request) : run(request)),
  async () => {
    await Promise.all(adapters.map((adapter) => adapter.close()));
  },
);
