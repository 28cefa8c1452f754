import { callFor } from '../test/fakes/key-use-fixture.ts';
import { FaultyTokens } from '../test/fault/tokens/harness.ts';
import type { Row } from './targets.ts';

/**
 * What a second token adds: two on two workers, against one on one, with the same work at hand. Each is as a network
 * HSM is: 2 ms an operation, four at once, and no processor time of ours, so that the processors are not what is
 * measured. Pool, supervisors, pipes and workers; MACs.
 */

const SERVICE_MS = 2;
/** More than two tokens can have in hand. */
const IN_FLIGHT = 64;
const WARM_UP_SECONDS = 0.5;
const SECONDS = 2;

export async function twoTokensRows(signal: AbortSignal): Promise<readonly Row[]> {
  const one = await perSecond(['one'], signal);
  const two = await perSecond(['one', 'two'], signal);
  return [
    { measure: 'two_tokens_vs_one', value: two / one, unit: 'ratio' },
    { measure: 'two_tokens_ops_per_s', value: two, unit: '1/s' },
  ];
}

async function perSecond(tokens: readonly string[], signal: AbortSignal): Promise<number> {
  const all = await FaultyTokens.start({ tokens });
  try {
    for (const { module } of all.tokens) module.delay('C_Sign', SERVICE_MS);
    await operations(all, WARM_UP_SECONDS, signal);
    return (await operations(all, SECONDS, signal)) / SECONDS;
  } finally {
    await all.close();
  }
}

/** Those that end after the time is up are awaited, and not counted. */
async function operations(all: FaultyTokens, seconds: number, signal: AbortSignal): Promise<number> {
  const version = all.version('app/mac');
  const data = Buffer.alloc(64, 'lastmile');
  const end = performance.now() + seconds * 1000;
  let done = 0;
  const lanes = Array.from({ length: IN_FLIGHT }, async () => {
    while (performance.now() < end) {
      signal.throwIfAborted();
      const call = callFor();
      const binding = await all.pool.choose('bench', version, call);
      await binding.token.sign({ object: binding.object, algorithm: 'HS256', data }, call);
      all.pool.release(binding);
      if (performance.now() < end) done++;
    }
  });
  await Promise.all(lanes);
  return done;
}
