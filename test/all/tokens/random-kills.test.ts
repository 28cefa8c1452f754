import { afterEach, expect, it } from 'vitest';
import { becomes, FaultyTokens } from '../../fault/tokens/harness.ts';

/**
 * Workers killed from outside, whatever they are doing: between two calls, in one, while they log in or prove keys.
 * test/fault/tokens/ kills them within a call, which is the worst moment, and fewer times.
 */

const KILLS = 100;
/** A worker is up and serving within less; so some are killed while they start. */
const UP_TO_MS = 400;

let all: FaultyTokens | undefined;
afterEach(() => all?.close());

it(`a worker killed ${KILLS} times at random moments costs no caller anything while the other serves`, async () => {
  all = await FaultyTokens.start();
  const { tokens, keys } = all;
  const [{ adapter }] = tokens as [(typeof tokens)[number]];
  let isOver = false;
  let kills = 0;
  let killedStarting = 0;
  const act = async (): Promise<void> => {
    for (; kills < KILLS; kills += 1) {
      // The moment is what is random here, not how long something takes.
      await new Promise((resolve) => setTimeout(resolve, Math.random() * UP_TO_MS));
      await becomes(adapter, ({ worker }) => worker !== undefined);
      const { pid } = adapter.worker!;
      if (adapter.state !== 'ready') killedStarting += 1;
      process.kill(pid, 'SIGKILL');
      await becomes(adapter, ({ worker }) => worker?.pid !== pid);
      // Half of the successors are let up; otherwise the pause before the next start would soon be all there is.
      if (kills % 2 === 0) await becomes(adapter, ({ state }) => state === 'ready', 60_000);
    }
  };
  const acting = act().finally(() => {
    isOver = true;
  });
  const outcomes = await all.load(12, () => isOver, 5000);
  await acting;
  expect(all.findings(outcomes)).toEqual([]);
  expect(outcomes.flatMap(({ failure }) => failure?.reason ?? [])).toEqual([]);
  expect(killedStarting).toBeGreaterThan(0);
  await becomes(adapter, ({ state }) => state === 'ready', 60_000);
  await keys.settled();
  await all.recovered();
  expect(adapter.worker!.restarts).toBeGreaterThanOrEqual(KILLS);
}, 600_000);
