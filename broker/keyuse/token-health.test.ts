import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AdapterError, type TokenAdapter } from '../../hsm-adapters/adapter.ts';
import type { FakeToken } from '../../test/fakes/fake-token.ts';
import { callFor, failureOf, KeyUseFixture } from '../../test/fakes/key-use-fixture.ts';
import { Failure } from './failure.ts';
import type { KeyVersion } from './key-catalog.ts';
import { OPEN_MS, TokenHealth, TokenProbe, TRIAL_MS } from './token-health.ts';
import type { Binding } from './token-keys.ts';

/** In virtual time: a token takes as long as the test says, and a run of seconds is over in a moment. */

let fixture: KeyUseFixture;
let version: KeyVersion;
let one: FakeToken;
let two: FakeToken;

beforeEach(async () => {
  fixture = new KeyUseFixture();
  version = await fixture.create('app/k', 'ES256');
  [one, two] = fixture.tokens as [FakeToken, FakeToken];
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
});
afterEach(async () => {
  vi.useRealTimers();
  await fixture.close();
});

const broken = new AdapterError('TOKEN_UNREACHABLE', 'broken', {
  performed: 'unknown',
  ckr: 'CKR_DEVICE_ERROR',
});

/** A token's sessions: so many operations at once, in the order in which they came, each as long as `serviceMs` says. */
class Station {
  readonly done: number[] = [];
  readonly #serviceMs: () => number;
  readonly #sessions: number;
  readonly #queue: (() => void)[] = [];
  #busy = 0;

  constructor(token: FakeToken, sessions: number, serviceMs: () => number) {
    token.capacity = sessions;
    this.#sessions = sessions;
    this.#serviceMs = serviceMs;
  }

  work(): Promise<void> {
    return new Promise((resolve) => {
      this.#queue.push(() => {
        this.done.push(performance.now());
        resolve();
      });
      this.#next();
    });
  }

  #next(): void {
    if (this.#busy >= this.#sessions) return;
    const finish = this.#queue.shift();
    if (finish === undefined) return;
    this.#busy++;
    setTimeout(() => {
      this.#busy--;
      finish();
      this.#next();
    }, this.#serviceMs());
  }
}

type Stations = ReadonlyMap<TokenAdapter, Station>;

/** One operation from its request to its end. Resolves to the time that took; rejects with what it was refused for. */
async function operation(stations: Stations, subject: string, deadlineMs = 60_000): Promise<number> {
  const started = performance.now();
  const binding = await fixture.pool.choose(subject, version, callFor(deadlineMs));
  await stations.get(binding.token)!.work();
  fixture.pool.release(binding);
  return performance.now() - started;
}

/** Keeps `inFlight` operations going for so long. */
async function closedLoop(stations: Stations, inFlight: number, ms: number): Promise<void> {
  const end = performance.now() + ms;
  const lanes = Array.from({ length: inFlight }, async () => {
    while (performance.now() < end) await operation(stations, 'a');
  });
  await vi.advanceTimersByTimeAsync(ms + 10_000);
  await Promise.all(lanes);
}

describe('a token fifty times slower than the other', () => {
  const SESSIONS = 4;
  let fast: Station;
  let slow: Station;
  let slowMs: number;
  beforeEach(() => {
    slowMs = 100;
    fast = new Station(one, SESSIONS, () => 2);
    slow = new Station(two, SESSIONS, () => slowMs);
  });

  it.each([4, 16, 64])('gets what the fast one leaves, with %i operations in flight', async (inFlight) => {
    const ms = 4000;
    await closedLoop(
      new Map([
        [one, fast],
        [two, slow],
      ]),
      inFlight,
      ms,
    );
    const total = fast.done.length + slow.done.length;
    expect(slow.done.length / total).toBeLessThan(0.05);
    expect(fast.done.length).toBeGreaterThan(0.95 * (ms / 2) * SESSIONS);
  });

  it('is found out when it is fast again', async () => {
    const stations: Stations = new Map([
      [one, fast],
      [two, slow],
    ]);
    await closedLoop(stations, 16, 2000);
    slowMs = 2;
    await closedLoop(stations, 16, 20 * TRIAL_MS);
    const [before, beforeFast] = [slow.done.length, fast.done.length];
    await closedLoop(stations, 16, 2000);
    expect((slow.done.length - before) / (fast.done.length - beforeFast)).toBeGreaterThan(0.5);
  });
});

describe('a token that stops answering', () => {
  it('keeps no more than it had, while the other serves', async () => {
    const stuck: Binding[] = [];
    const serve = async (binding: Binding): Promise<void> => {
      if (binding.token === two) {
        stuck.push(binding);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
      fixture.pool.release(binding);
    };
    let served = 0;
    const end = performance.now() + 2000;
    const lanes = Array.from({ length: 64 }, async () => {
      while (performance.now() < end) {
        const binding = await fixture.pool.choose('a', version, callFor());
        await serve(binding);
        if (binding.token === two) return;
        served++;
      }
    });
    await vi.advanceTimersByTimeAsync(12_000);
    await Promise.all(lanes);
    expect(stuck.length).toBeLessThanOrEqual(4 * two.capacity);
    expect(served).toBeGreaterThan(2000);
    for (const binding of stuck) fixture.pool.release(binding);
  });

  it('is not given more when callers have left at their deadline and the worker still owes them answers', async () => {
    vi.spyOn(two, 'inFlight', 'get').mockReturnValue(4 * two.capacity);
    const taken: Binding[] = [];
    for (let i = 0; i < 8; i++) taken.push(await fixture.pool.choose('a', version, callFor()));
    expect(taken.map(({ token }) => token.name)).not.toContain('two');
    for (const binding of taken) fixture.pool.release(binding);
  });
});

describe('fairness', () => {
  const SESSIONS = 16;
  const SERVICE_MS = 2;

  /** B asks every `everyMs`; A a hundred times as often, if it is there. What B waited, sorted. */
  async function waitsOfB(isAThere: boolean): Promise<{ readonly asked: number; readonly waits: number[] }> {
    fixture.freezes.put({ kind: 'token', subject: 'two', reason: 'r', by: 'b', since: 's' });
    const stations: Stations = new Map([[one, new Station(one, SESSIONS, () => SERVICE_MS)]]);
    const waits: number[] = [];
    const running: Promise<unknown>[] = [];
    let asked = 0;
    let busy = 0;
    for (let ms = 0; ms < 1500; ms++) {
      // 16 in a millisecond of A, 4 in 25 of B: the token does 8 in a millisecond.
      if (isAThere) {
        for (let i = 0; i < 16; i++) {
          running.push(
            operation(stations, 'A', 10_000).catch((error) => {
              if (!(error instanceof Failure) || error.reason !== 'BUSY') throw error;
              busy++;
            }),
          );
        }
      }
      if (ms % 25 < 4) {
        asked++;
        running.push(operation(stations, 'B', 10_000).then((wait) => waits.push(wait)));
      }
      await vi.advanceTimersByTimeAsync(1);
    }
    await vi.advanceTimersByTimeAsync(10_000);
    await Promise.all(running);
    expect(busy > 0).toBe(isAThere);
    return { asked, waits: waits.sort((a, b) => a - b) };
  }

  it('leaves a workload its share and its latency when another asks a hundred times as much', async () => {
    const alone = await waitsOfB(false);
    const beside = await waitsOfB(true);
    expect(beside.waits.length).toBeGreaterThanOrEqual(0.9 * beside.asked);
    const p99 = ({ waits }: { readonly waits: number[] }) => waits[Math.floor(0.99 * (waits.length - 1))]!;
    expect(p99(alone)).toBe(SERVICE_MS);
    expect(p99(beside)).toBeLessThan(3 * p99(alone));
  });
});

describe('work whose deadline cannot be met', () => {
  it('is refused before it waits, and what can be met is done', async () => {
    fixture.freezes.put({ kind: 'token', subject: 'two', reason: 'r', by: 'b', since: 's' });
    const stations: Stations = new Map([[one, new Station(one, 1, () => 100)]]);
    for (let i = 0; i < 20; i++) {
      const known = operation(stations, 'a');
      await vi.advanceTimersByTimeAsync(100);
      await known;
    }
    const waiting = Array.from({ length: 12 }, () => operation(stations, 'a'));
    await vi.advanceTimersByTimeAsync(1);
    expect(fixture.pool.waiting).toBe(10);
    expect(await failureOf(operation(stations, 'a', 500))).toMatchObject({ reason: 'BUSY', performed: 'no' });
    expect(fixture.pool.waiting).toBe(10);
    // Another workload does not stand behind them.
    const other = operation(stations, 'b', 500);
    const patient = operation(stations, 'a', 1600);
    await vi.advanceTimersByTimeAsync(5000);
    expect(await other).toBeLessThan(500);
    expect(await patient).toBeLessThan(1600);
    await Promise.all(waiting);
  });

  it('waits while nothing is known of the token', async () => {
    const taken: Binding[] = [];
    for (let i = 0; i < 32; i++) taken.push(await fixture.pool.choose('a', version, callFor()));
    const waiting = failureOf((async () => fixture.pool.choose('a', version, callFor(50)))());
    await vi.advanceTimersByTimeAsync(100);
    expect((await waiting).reason).toBe('DEADLINE_EXCEEDED');
    for (const binding of taken) fixture.pool.release(binding);
  });
});

describe('the circuit of a token', () => {
  const choose = async (): Promise<Binding> => fixture.pool.choose('a', version, callFor());

  /** Five failures in a row, of each token that is given work. */
  async function breakAll(): Promise<void> {
    for (let i = 0; i < 40; i++) {
      const binding = await choose().catch(() => undefined);
      if (binding === undefined) return;
      fixture.pool.release(binding, broken);
    }
  }

  it('opens after failures in a row, and the token gets nothing while another serves', async () => {
    for (let i = 0; i < 20; i++) {
      const binding = await choose();
      fixture.pool.release(binding, binding.token === one ? broken : undefined);
    }
    expect(fixture.pool.load(one)).toMatchObject({ circuit: 'open' });
    expect(fixture.pool.load(one).errors.get('CKR_DEVICE_ERROR')).toBe(5);
    expect(fixture.pool.load(two).circuit).toBe('closed');
    const after = await choose();
    expect(after.token).toBe(two);
    fixture.pool.release(after);
  });

  it('refuses at once when every token’s is open, and tries one operation at a time after a second', async () => {
    await breakAll();
    expect(await failureOf(choose())).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'no' });
    await vi.advanceTimersByTimeAsync(OPEN_MS);
    const trials = [await choose(), await choose()];
    expect(new Set(trials.map(({ token }) => token)).size).toBe(2);
    const waits = choose();
    await vi.advanceTimersByTimeAsync(1);
    expect(fixture.pool.waiting).toBe(1);
    fixture.pool.release(trials[0]!);
    fixture.pool.release(await waits);
    fixture.pool.release(trials[1]!);
    for (let i = 0; i < 8; i++) fixture.pool.release(await choose());
    expect([one, two].map((token) => fixture.pool.load(token).circuit)).toEqual(['closed', 'closed']);
  });

  it('opens again when the trial fails', async () => {
    await breakAll();
    await vi.advanceTimersByTimeAsync(OPEN_MS);
    fixture.pool.release(await choose(), broken);
    fixture.pool.release(await choose(), broken);
    expect((await failureOf(choose())).reason).toBe('TOKEN_UNREACHABLE');
  });

  it('closes with a new login, and what an earlier worker left behind opens it no more', async () => {
    const left: Binding[] = [];
    while (left.length < 2 * 8) left.push(await choose());
    one.login();
    vi.useRealTimers();
    await fixture.keys.settled();
    for (const binding of left) fixture.pool.release(binding, binding.token === one ? broken : undefined);
    expect(fixture.pool.load(one).circuit).toBe('closed');
    for (let i = 0; i < 20; i++) {
      const binding = await choose();
      fixture.pool.release(binding, binding.token === one ? broken : undefined);
    }
    expect(fixture.pool.load(one).circuit).toBe('open');
    one.login();
    expect(fixture.pool.load(one)).toMatchObject({ circuit: 'closed', serviceMs: 0 });
    await fixture.keys.settled();
  });

  it('stays closed for failures that are the request’s, the policy’s or of a lack of sessions', () => {
    const health = new TokenHealth();
    const errors = [
      new AdapterError('CIPHERTEXT_REJECTED', '', { performed: 'unknown' }),
      new AdapterError('SESSION_LIMIT', '', { performed: 'no' }),
      new AdapterError('CANCELLED', '', { performed: 'unknown' }),
      new Failure('POLICY_DENIED', 'no'),
    ];
    for (const error of errors.flatMap((one) => Array.from({ length: 10 }, () => one))) {
      fixture.pool.release(fixture.pool.choose('a', version, callFor()) as Binding, error);
    }
    expect([one, two].map((token) => fixture.pool.load(token).circuit)).toEqual(['closed', 'closed']);
    expect(health.circuit(performance.now())).toBe('closed');
  });
});

describe('the probe', () => {
  let probe: TokenProbe | undefined;
  afterEach(() => probe?.close());
  const start = (idleMs: number): void => {
    probe = new TokenProbe(
      fixture.tokens,
      (token) => fixture.pool.health(token),
      () => fixture.pool.pump(),
      idleMs,
    );
  };

  it('asks tokens that nobody uses, one question at a time, and none that does not serve', async () => {
    two.setState('draining');
    start(1000);
    await vi.advanceTimersByTimeAsync(5000);
    expect(one.count('random')).toBeGreaterThanOrEqual(3);
    expect(one.count('random')).toBeLessThanOrEqual(5);
    expect(two.count('random')).toBe(0);
    const gate = one.hold('random');
    await vi.advanceTimersByTimeAsync(1300);
    const asked = one.count('random');
    await vi.advanceTimersByTimeAsync(700);
    expect(one.count('random')).toBe(asked);
    gate.release();
  });

  it('opens the circuit of a token that does not answer it, before a caller meets it', async () => {
    one.fault = ({ kind }) =>
      kind === 'random' ? { reason: 'TOKEN_UNREACHABLE', performed: 'unknown' } : undefined;
    start(1000);
    await vi.advanceTimersByTimeAsync(2000);
    expect(fixture.pool.load(one).circuit).toBe('open');
    expect(fixture.pool.load(two).circuit).toBe('closed');
  });

  it('leaves tokens alone that have work', async () => {
    start(1000);
    const stations: Stations = new Map([
      [one, new Station(one, 4, () => 2)],
      [two, new Station(two, 4, () => 2)],
    ]);
    await closedLoop(stations, 8, 900);
    expect(one.count('random')).toBeLessThanOrEqual(10);
    const before = one.count('random');
    const end = performance.now() + 3000;
    const lane = (async () => {
      while (performance.now() < end) await operation(stations, 'a');
    })();
    const other = (async () => {
      while (performance.now() < end) await operation(stations, 'b');
    })();
    await vi.advanceTimersByTimeAsync(3000);
    expect(one.count('random')).toBe(before);
    await vi.advanceTimersByTimeAsync(100);
    await Promise.all([lane, other]);
  });
});
