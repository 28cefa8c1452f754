import { describe, expect, it } from 'vitest';
import type { Sequencer } from '../../../broker/audit/sequencer.ts';
import { FakeStorage, type Fault, type Step, type Survival } from '../../fakes/fake-storage.ts';
import { Trial } from './harness.ts';

/** Everything that the log does to its storage, in little: two publications, a full tile, a new segment, a close. */
async function live(trial: Trial, storage: FakeStorage): Promise<void> {
  let log: Sequencer;
  try {
    log = await trial.open(storage, { segmentBytes: 20_000 });
  } catch (error) {
    // Opening may fail when the directory does not let itself be prepared; nothing was promised then.
    trial.rejected.push(error);
    return;
  }
  await trial.append(log);
  await trial.appendMany(log, 250);
  await publish(trial, log);
  await trial.appendMany(log, 10);
  await trial.append(log);
  await publish(trial, log);
  await trial.appendMany(log, 3);
  await log.close();
}

async function publish(trial: Trial, log: Sequencer): Promise<void> {
  try {
    await log.publish();
  } catch (error) {
    trial.rejected.push(error);
  }
}

async function stepsOfALife(): Promise<readonly Step[]> {
  const trial = new Trial();
  const storage = new FakeStorage();
  await trial.elapse(live(trial, storage));
  expect(trial.rejected).toEqual([]);
  expect(trial.acknowledged.size).toBe(265);
  await trial.expectWhole(storage);
  return storage.steps;
}

const steps = await stepsOfALife();
const named = steps.map((step) => ({ step, name: `${step.index} ${step.kind} ${step.path}` }));

it('the steps tried below are of every kind', () => {
  expect(new Set(steps.map(({ kind }) => kind))).toEqual(
    new Set(['create', 'append', 'sync', 'close', 'rename', 'remove', 'makeDirectory', 'syncDirectory']),
  );
  const paths = steps.map(({ path }) => path);
  for (const path of ['tile/0/000', 'tile/entries/001.p/7', 'tile/1/000.p/1', 'treehead', 'checkpoint'])
    expect(paths).toContain(path);
});

describe('the power goes at a step, and what was acknowledged is there when it is back', () => {
  it.each(named)('$name', async ({ step }) => {
    for (const fault of ['crash-before', 'crash-after'] satisfies Fault[]) {
      for (const survival of ['promised', 'all', 'torn', 'scattered'] satisfies Survival[]) {
        const trial = new Trial();
        const first = new FakeStorage();
        first.fault = ({ index }) => (index === step.index ? fault : undefined);
        await trial.elapse(Promise.race([live(trial, first), first.crashed]));
        const second = first.afterCrash(survival);
        const log = await trial.open(second);
        expect(log.failure).toBeUndefined();
        await trial.append(log);
        // The power goes again, before anything else was published.
        const third = second.afterCrash('promised');
        const again = await trial.open(third);
        await trial.append(again);
        await again.publish();
        await trial.expectWhole(third);
        expect([...first.misuse, ...second.misuse]).toEqual([]);
      }
    }
  });
});

describe('a step fails once, and the log goes on by itself without losing what it acknowledged', () => {
  it.each(named)('$name', async ({ step }) => {
    for (const fault of ['refuse', 'half', 'report-failed', 'no-space'] satisfies Fault[]) {
      const trial = new Trial();
      const storage = new FakeStorage();
      storage.fault = ({ index }) => (index === step.index ? fault : undefined);
      await trial.elapse(live(trial, storage));
      const isOpening = step.index < 3;
      // Only preparing the directory is not tried again; everything else recovers before anybody is sent away.
      if (!isOpening) expect(trial.acknowledged.size).toBe(265);
      expect(storage.misuse).toEqual([]);

      // What was acknowledged must be on disk, not in the cache: the power goes.
      const next = storage.afterCrash('promised');
      const log = await trial.open(next);
      expect(log.failure).toBeUndefined();
      await trial.append(log);
      await log.publish();
      await trial.expectWhole(next);
    }
  });
});
