import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, it } from 'vitest';
import { AdapterError } from '../../../hsm-adapters/adapter.ts';
import { ALWAYS, type Call } from '../../fakes/faulty-cryptoki.ts';
import { callFor } from '../../fakes/key-use-fixture.ts';
import { becomes, type FaultySettings, type FaultyToken, FaultyTokens, type Outcome } from './harness.ts';

/** Tokens that crash, hang, are slow, lose their PIN, their files or their sessions. Two of them, real workers. */

let all: FaultyTokens;
afterEach(() => all?.close());

async function start(settings: FaultySettings = {}): Promise<readonly [FaultyToken, FaultyToken]> {
  all = await FaultyTokens.start(settings);
  return all.tokens as readonly [FaultyToken, FaultyToken];
}

const failures = (outcomes: readonly Outcome[]) =>
  outcomes.flatMap(({ failure }) =>
    failure === undefined ? [] : [`${failure.reason} ${failure.performed}`],
  );
const signed = (outcomes: readonly Outcome[]) => outcomes.filter(({ signature }) => signature !== undefined);

/** Load for so long, with `act` at work meanwhile. Whatever happened, what must hold does. */
async function meanwhile(
  act: () => Promise<void>,
  { lanes = 12, deadlineMs }: { lanes?: number; deadlineMs?: number } = {},
): Promise<Outcome[]> {
  let isOver = false;
  const acting = act().finally(() => {
    isOver = true;
  });
  const [outcomes] = await Promise.all([all.load(lanes, () => isOver, deadlineMs), acting]);
  expect(all.findings(outcomes)).toEqual([]);
  return outcomes;
}

/** Kills the worker in the middle of a call, and waits for its successor to serve. */
async function replace({ module, adapter }: FaultyToken): Promise<void> {
  const { loginGeneration } = adapter;
  module.crash('C_GenerateRandom');
  await adapter.random(8, callFor()).catch((error: unknown) => expect(error).toBeInstanceOf(AdapterError));
  await becomes(adapter, (token) => token.loginGeneration > loginGeneration || token.state === 'blocked');
  await all.keys.settled();
}

describe('a worker that dies in the middle of signatures', () => {
  it('again and again, costs no caller anything while the other serves', async () => {
    const [one] = await start();
    const outcomes = await meanwhile(async () => {
      for (let round = 0; round < 25; round++) {
        const { loginGeneration } = one.adapter;
        one.module.crash('C_Sign');
        await becomes(one.adapter, (token) => token.loginGeneration > loginGeneration);
        await all.keys.settled();
      }
    });
    expect(one.adapter.worker!.restarts).toBe(25);
    expect(failures(outcomes)).toEqual([]);
  });

  it('with its only companion: at once UNAVAILABLE, and back with the first that is back', async () => {
    const [one, two] = await start();
    for (const { module } of [one, two]) module.fail('C_Initialize', 'CKR_GENERAL_ERROR', ALWAYS);
    const outcomes = await meanwhile(async () => {
      for (const { module, adapter } of [one, two]) {
        module.crash('C_Sign');
        await becomes(adapter, ({ state }) => state === 'down');
      }
      const started = performance.now();
      const { failure } = await all.sign();
      expect(failure).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'no' });
      expect(performance.now() - started).toBeLessThan(500);
      two.module.heal();
      await becomes(two.adapter, ({ state }) => state === 'ready');
      await all.keys.settled();
      const again = await all.sign();
      expect(again.failure).toBeUndefined();
      all.log.entries.pop();
      all.log.refusals.pop();
    });
    expect(new Set(failures(outcomes))).toEqual(
      new Set(['TOKEN_UNREACHABLE no', 'TOKEN_UNREACHABLE unknown']),
    );
    expect(signed(outcomes).length).toBeGreaterThan(0);
  });
});

describe('a token that hangs', () => {
  it('fails its callers by their deadline, is replaced, and holds up nobody else', async () => {
    const [one] = await start({ hangLimitMs: 1200 });
    const outcomes = await meanwhile(
      async () => {
        one.module.delay('C_Sign', 60_000);
        await becomes(one.adapter, ({ state }) => state === 'down');
        one.module.heal();
        await becomes(one.adapter, ({ state }) => state === 'ready');
        await all.keys.settled();
      },
      { deadlineMs: 600 },
    );
    expect(one.adapter.worker!.restarts).toBe(1);
    // What was in its hands, and not more: a token that is silent gets no further work.
    const told = failures(outcomes).map((one) => one.split(' ')[0]);
    expect(new Set(told)).toEqual(new Set(['DEADLINE_EXCEEDED']));
    expect(failures(outcomes).length).toBeLessThanOrEqual(16 + 1);
    expect(signed(outcomes).length).toBeGreaterThan(500);
  });

  it('while nobody uses it, is found by a call that uses no key', async () => {
    const [one] = await start({ hangLimitMs: 500 });
    one.module.delay('C_GenerateRandom', 60_000);
    await expect(one.adapter.random(8, callFor(200))).rejects.toMatchObject({ reason: 'DEADLINE_EXCEEDED' });
    await becomes(one.adapter, ({ state }) => state === 'down');
    one.module.heal();
    await becomes(one.adapter, ({ state }) => state === 'ready');
  });
});

describe('a token that is fifty times slower than the other', () => {
  it('gets what the fast one leaves', async () => {
    const [one, two] = await start();
    two.module.delay('C_Sign', 50);
    const before = two.module.calls('C_Sign');
    const outcomes = await meanwhile(() => one.module.called('C_Sign', 3000), { lanes: 16 });
    const slow = two.module.calls('C_Sign') - before;
    expect(failures(outcomes)).toEqual([]);
    expect(slow / outcomes.length).toBeLessThan(0.1);
    expect(one.adapter.state).toBe('ready');
  });
});

describe('sessions', () => {
  it('of which the token grants fewer than configured: those it grants serve, and nobody is refused', async () => {
    const [one] = await start();
    // One is the anchor.
    one.module.sessionLimit = 3;
    await replace(one);
    const outcomes = await meanwhile(() => one.module.called('C_Sign', 200));
    expect(failures(outcomes)).toEqual([]);
    expect(one.module.sessions).toBeLessThanOrEqual(3);
  });
});

describe('a token whose PIN was changed', () => {
  it('is asked once, and stays out while the other serves', async () => {
    const [one, two] = await start();
    const before = one.module.calls('C_Login');
    one.module.fail('C_Login', 'CKR_PIN_INCORRECT', ALWAYS);
    const outcomes = await meanwhile(async () => {
      await replace(one);
      await two.module.called('C_Sign', 1000);
    });
    expect(one.adapter.state).toBe('blocked');
    expect(one.module.calls('C_Login')).toBe(before + 1);
    expect(failures(outcomes)).toEqual([]);
    one.module.heal();
    await one.adapter.unblock();
    await all.recovered();
    expect(one.module.calls('C_Login')).toBe(before + 2);
  });
});

describe('a token whose files are gone', () => {
  it('leaves service, and is back with its keys once they are back', async () => {
    const [one] = await start();
    const tokens = join(one.soft.directory, 'tokens');
    const outcomes = await meanwhile(async () => {
      const { loginGeneration } = one.adapter;
      renameSync(tokens, `${tokens}-away`);
      await becomes(one.adapter, ({ state }) => state === 'down');
      renameSync(`${tokens}-away`, tokens);
      await becomes(one.adapter, (token) => token.loginGeneration > loginGeneration);
      await all.keys.settled();
      await one.module.called('C_Sign', 50);
    });
    expect(failures(outcomes)).toEqual([]);
    expect(all.keys.report(one.adapter).unusable.size).toBe(0);
  });
});

describe('the end', () => {
  it('comes after the calls that run: C_Finalize never meets one', async () => {
    const [one, two] = await start();
    for (const { module } of [one, two]) module.delay('C_Sign', 300);
    // The first few calls find out that it is slow; those after them run on threads, beside each other.
    const running = Array.from({ length: 24 }, () => all.sign());
    await one.module.shows(() => one.module.inFlight('C_Sign') + two.module.inFlight('C_Sign') >= 4);
    await Promise.all(all.tokens.map(({ adapter }) => adapter.close()));
    const outcomes = await Promise.all(running);
    expect(signed(outcomes).length).toBeGreaterThan(0);
    expect(all.findings(outcomes)).toEqual([]);
    for (const { module } of [one, two]) expect(module.calls('C_Finalize')).toBe(1);
  });
});

/** Longer with LASTMILE_SOAK_SECONDS=600. */
const SOAK_SECONDS = Number(process.env['LASTMILE_SOAK_SECONDS'] ?? 12);
const SLICE_SECONDS = 6;

/** Of each token, in `FaultySettings`. */
const SESSIONS = 4;
/** Far more than tables and buffers that have grown to their size, and far less than a few bytes for each signature. */
const BROKER_GROWTH_BYTES = 16 << 20;
const WORKER_GROWTH_BYTES = 64 << 20;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** The records of the test itself. */
function forget(): void {
  all.log.entries.length = 0;
  all.log.refusals.length = 0;
  all.lines.length = 0;
}

/** What key use, pool and supervisors still hold in this process; the records of the test itself are thrown away. */
async function heldBytes(): Promise<number> {
  forget();
  collectGarbage();
  // What was reached by finished jobs alone is free for the second time.
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Of the worker that is there now, as proc(5) says. */
function residentBytes({ adapter }: FaultyToken): number {
  const status = readFileSync(`/proc/${adapter.worker!.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) * 1024;
}

/**
 * Sessions open at the token, as it counts them, beyond the anchor and those that are configured. One that the module
 * refused to close stays, until its worker is replaced: that is not a leak of ours.
 */
function beyond({ module }: FaultyToken): number {
  return module.sessions - (SESSIONS + 1) - module.fired('C_CloseSession');
}

async function allSign(signatures: number): Promise<void> {
  let more = 0;
  await all.load(12, () => ++more > signatures);
}

describe('a soak', () => {
  const CODES = ['CKR_SESSION_HANDLE_INVALID', 'CKR_DEVICE_ERROR', 'CKR_FUNCTION_FAILED', 'CKR_HOST_MEMORY'];
  const CALLS: readonly Call[] = ['C_SignInit', 'C_Sign', 'C_OpenSession', 'C_CloseSession'];
  const random = <T>(choices: readonly T[]): T => choices[Math.floor(Math.random() * choices.length)]!;

  it(
    `of ${SOAK_SECONDS} s with a random fault again and again leaks no session, and no memory`,
    async () => {
      await start({ hangLimitMs: 2000 });
      await allSign(300);
      const heldBefore = await heldBytes();
      const residentBefore = all.tokens.map(residentBytes);
      let mostBeyond = 0;
      const misbehave = async (seconds: number): Promise<void> => {
        const end = performance.now() + seconds * 1000;
        while (performance.now() < end) {
          const { module } = random(all.tokens);
          const what = Math.random();
          if (what < 0.6) module.fail(random(CALLS), random(CODES));
          else if (what < 0.75) module.crash('C_Sign');
          else if (what < 0.9) module.delay('C_Sign', random([5, 50, 200]));
          else module.sessionLimit = 3;
          await new Promise((resolve) => setTimeout(resolve, 400));
          module.heal();
          for (const token of all.tokens) mostBeyond = Math.max(mostBeyond, beyond(token));
        }
      };
      // In slices, each checked as a whole and then forgotten: millions of signatures are more than a test can keep.
      let signatures = 0;
      const told = new Set<string | undefined>();
      for (let left = SOAK_SECONDS; left > 0; left -= SLICE_SECONDS) {
        forget();
        const outcomes = await meanwhile(() => misbehave(Math.min(left, SLICE_SECONDS)), {
          deadlineMs: 5000,
        });
        signatures += signed(outcomes).length;
        for (const one of failures(outcomes)) told.add(one.split(' ')[0]);
        outcomes.length = 0;
      }
      for (const { module, adapter } of all.tokens) {
        module.heal();
        if (adapter.state === 'blocked') await adapter.unblock();
      }
      await all.recovered();
      await allSign(300);
      // Before a worker is replaced, and with it whatever it has left open. One more is open while keys are bound.
      expect(mostBeyond).toBeLessThanOrEqual(1);
      for (const token of all.tokens) expect(beyond(token)).toBeLessThanOrEqual(0);
      for (const [i, token] of all.tokens.entries())
        expect(residentBytes(token) - residentBefore[i]!).toBeLessThan(WORKER_GROWTH_BYTES);
      for (const token of all.tokens) await replace(token);
      await all.recovered();
      await allSign(300);
      expect(signatures).toBeGreaterThan(SOAK_SECONDS * 50);
      for (const { module } of all.tokens) {
        expect(module.sessions).toBeLessThanOrEqual(SESSIONS + 1);
        expect(module.finalizedInFlight).toBe(0);
      }
      // Two tokens that fail at the same time are more than two attempts can make good; nothing else is.
      for (const reason of told) expect(['TOKEN_UNREACHABLE', 'BUSY', 'DEADLINE_EXCEEDED']).toContain(reason);
      expect((await heldBytes()) - heldBefore).toBeLessThan(BROKER_GROWTH_BYTES);
    },
    // Each slice is checked when it is over, which takes a while as well.
    (2 * SOAK_SECONDS + 60) * 1000,
  );
});
