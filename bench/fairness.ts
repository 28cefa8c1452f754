import { callerOf } from '../test/fakes/key-use-fixture.ts';
import { FaultyTokens } from '../test/fault/tokens/harness.ts';
import { percentile } from './statistics.ts';
import type { Row } from './targets.ts';

/**
 * Two workloads at one token that does 800 operations a second (four sessions, 5 ms each): A asks for 2,000, B for 20.
 * What B gets of what it asked for, and its 99th percentile against the one it has alone. Key use, pool, worker and
 * SoftHSM2 behind a module that takes its time; no network.
 */

const A = 'spiffe://example.org/ns/loud/sa/a';
const B = 'spiffe://example.org/ns/quiet/sa/b';
const POLICY = `
version: 1
rules:
  - id: both
    workloads: ["${A}", "${B}"]
    keys: ["app/**"]
    operations: [sign]
`;
const SERVICE_MS = 5;
const SECONDS = 5;
const B_PER_SECOND = 20;
const A_PER_B = 100;
const TICK_MS = 10;

export async function fairnessRows(signal: AbortSignal): Promise<readonly Row[]> {
  const all = await FaultyTokens.start({ tokens: ['one'], policy: POLICY });
  try {
    all.tokens[0]!.module.delay('C_Sign', SERVICE_MS);
    const alone = await run(all, 0, signal);
    const beside = await run(all, A_PER_B, signal);
    return [
      { measure: 'fair_share_b', value: beside.got / beside.asked, unit: 'ratio' },
      { measure: 'fair_p99_b_vs_alone', value: beside.p99Ms / alone.p99Ms, unit: 'ratio' },
      { measure: 'fair_p99_b_alone_ms', value: alone.p99Ms, unit: 'ms' },
    ];
  } finally {
    await all.close();
  }
}

interface Share {
  readonly asked: number;
  readonly got: number;
  readonly p99Ms: number;
}

async function run(all: FaultyTokens, aPerB: number, signal: AbortSignal): Promise<Share> {
  const running: Promise<unknown>[] = [];
  const waits: number[] = [];
  let asked = 0;
  let askedByA = 0;
  const started = performance.now();
  for (;;) {
    signal.throwIfAborted();
    const seconds = (performance.now() - started) / 1000;
    if (seconds >= SECONDS) break;
    for (; asked < seconds * B_PER_SECOND; asked++) {
      const began = performance.now();
      running.push(
        all.sign(10_000, callerOf(B)).then(({ signature }) => {
          if (signature !== undefined) waits.push(performance.now() - began);
        }),
      );
    }
    for (; askedByA < seconds * B_PER_SECOND * aPerB; askedByA++) running.push(all.sign(10_000, callerOf(A)));
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  await Promise.all(running);
  return { asked, got: waits.length, p99Ms: percentile(Float64Array.from(waits).sort(), 0.99) };
}
