import { callFor } from '../test/fakes/key-use-fixture.ts';
import { FaultyTokens } from '../test/fault/tokens/harness.ts';
import type { Row } from './targets.ts';

/**
 * A token as a network HSM is: 2 ms an operation, sixteen at once whoever else asks, and no processor time of ours. How
 * much of that capacity was used, by the module's own clock, with more work at hand than it can do. Pool, supervisor,
 * pipe and worker; MACs, so that the processors are not what is measured. Sessions as deploy/sizing-pools.md has it;
 * `slow_token_session_use` is with no more of them than the token works on at once.
 */

const CAPACITY = 16;
const SESSIONS = Math.ceil(CAPACITY / 0.7);
const SERVICE_MS = 2;
const IN_FLIGHT = 64;
const WARM_UP_SECONDS = 1;
const SECONDS = 3;

export async function slowTokenRows(signal: AbortSignal): Promise<readonly Row[]> {
  const { used, perSecond } = await measured(SESSIONS, signal);
  const { used: withoutSpare } = await measured(CAPACITY, signal);
  return [
    { measure: 'slow_token_use', value: used, unit: 'ratio' },
    { measure: 'slow_token_ops_per_s', value: perSecond, unit: '1/s' },
    { measure: 'slow_token_session_use', value: withoutSpare, unit: 'ratio' },
  ];
}

async function measured(
  sessions: number,
  signal: AbortSignal,
): Promise<{ readonly used: number; readonly perSecond: number }> {
  const all = await FaultyTokens.start({ tokens: ['one'], sessions });
  try {
    const [{ module }] = all.tokens as [(typeof all.tokens)[number]];
    module.delay('C_Sign', SERVICE_MS);
    module.capacity = CAPACITY;
    await keepBusy(all, WARM_UP_SECONDS, signal);
    const [busy, calls, began] = [module.busyMicros('C_Sign'), module.calls('C_Sign'), performance.now()];
    let used = 0;
    let perSecond = 0;
    await keepBusy(all, SECONDS, signal, () => {
      const micros = (performance.now() - began) * 1000;
      used = ((module.busyMicros('C_Sign') - busy) >>> 0) / micros / CAPACITY;
      perSecond = ((module.calls('C_Sign') - calls) * 1e6) / micros;
    });
    return { used, perSecond };
  } finally {
    await all.close();
  }
}

/** `look` is called while everything is still busy. */
async function keepBusy(
  all: FaultyTokens,
  seconds: number,
  signal: AbortSignal,
  look: () => void = () => undefined,
): Promise<void> {
  const version = all.version('app/mac');
  const data = Buffer.alloc(64, 'lastmile');
  const end = performance.now() + seconds * 1000;
  let isOver = false;
  const lanes = Array.from({ length: IN_FLIGHT }, async () => {
    while (!isOver) {
      signal.throwIfAborted();
      const call = callFor();
      const binding = await all.pool.choose('bench', version, call);
      await binding.token.sign({ object: binding.object, algorithm: 'HS256', data }, call);
      all.pool.release(binding);
      if (!isOver && performance.now() >= end) {
        look();
        isOver = true;
      }
    }
  });
  await Promise.all(lanes);
}
