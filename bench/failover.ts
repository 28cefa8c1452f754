import { join } from 'node:path';
import { startInstance } from '../test/fakes/instance.ts';
import { operator, status, workload } from '../test/fakes/instance-clients.ts';
import { edit } from '../test/fault/broker/harness.ts';
import type { Row } from './targets.ts';

/**
 * The longest time without a success while one of two tokens dies: everything in between is the broker's to notice
 * and to route around. `crash` kills the worker; `hang` stops it, as a call that never returns would.
 */

const LANES = 24;
const HANG_LIMIT_MS = 2000;
const BEFORE_MS = 1000;
const AFTER_MS = 2000;

type Death = 'crash' | 'hang';

export async function failoverRows(signal: AbortSignal): Promise<readonly Row[]> {
  const crash = await longestGapMs('crash', signal);
  const hang = await longestGapMs('hang', signal);
  return [
    { measure: 'failover_gap_ms_crash', value: crash, unit: 'ms' },
    { measure: 'failover_gap_ms_hang', value: hang, unit: 'ms' },
    { measure: 'failover_gap_ms_hang_over_limit', value: Math.max(0, hang - HANG_LIMIT_MS), unit: 'ms' },
  ];
}

async function longestGapMs(death: Death, signal: AbortSignal): Promise<number> {
  const instance = await startInstance({
    prepare: async (directory) =>
      edit(
        join(directory, 'lastmile.yaml'),
        /sessions: 4\n/g,
        `sessions: 4\n    hang_limit: ${HANG_LIMIT_MS / 1000}s\n`,
      ),
  });
  try {
    // One attempt: what the SDK would make good is not the broker's.
    await using client = await workload(instance, 'payments', { maxAttempts: 1 });
    await using asOperator = await operator(instance);
    const worker = (await status(asOperator)).processes.find(({ role }) => role === 'token worker a');
    if (worker === undefined) throw new Error('token a has no worker');
    const successes: number[] = [];
    let isOver = false;
    const lanes = Array.from({ length: LANES }, async (_, lane) => {
      for (let n = 0; !isOver; n++) {
        signal.throwIfAborted();
        const message = Buffer.from(`${lane} ${n}`);
        const ended = await client.sign({ key: 'payments/jwt', algorithm: 'ES256', message }).then(
          () => true,
          () => false,
        );
        if (ended) successes.push(performance.now());
        // A refusal may come at once.
        else await new Promise((resolve) => setTimeout(resolve, 5));
      }
    });
    await new Promise((resolve) => setTimeout(resolve, BEFORE_MS));
    const died = performance.now();
    process.kill(worker.pid, death === 'crash' ? 'SIGKILL' : 'SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, AFTER_MS + (death === 'hang' ? HANG_LIMIT_MS : 0)));
    isOver = true;
    await Promise.all(lanes);
    const after = [died, ...successes.filter((at) => at >= died)];
    return after.slice(1).reduce((longest, at, i) => Math.max(longest, at - after[i]!), 0);
  } finally {
    await instance.stop();
  }
}
