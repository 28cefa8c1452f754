import { describe, expect, test } from 'vitest';
import {
  FAKE_CONFIG,
  FAKE_INFO,
  FakeLedger,
  FakeTimers,
  FakeWorker,
} from '../../test/fakes/fake-token-worker.ts';
import {
  AdapterError,
  type TokenAdapter,
  type TokenConfig,
  type TokenInfo,
  type TokenState,
} from '../adapter.ts';
import { WorkerFrame } from '../frames/worker-frames.ts';
import { createTokenAdapter } from './token-supervisor.ts';

const CLEAR_TEXT = 'sign this';
const DATA = Buffer.from(CLEAR_TEXT);

interface Bench {
  readonly token: TokenAdapter;
  readonly worker: FakeWorker;
  readonly timers: FakeTimers;
  readonly ledger: FakeLedger;
  readonly states: TokenState[];
  readonly log: string[];
}

function open(
  options: { config?: Partial<TokenConfig>; ledger?: FakeLedger; isDrained?: boolean } = {},
): Bench {
  const timers = new FakeTimers();
  const ledger = options.ledger ?? new FakeLedger();
  const log: string[] = [];
  let worker: FakeWorker | undefined;
  const token = createTokenAdapter({
    config: { ...FAKE_CONFIG, ...options.config },
    ledger,
    isDrained: options.isDrained,
    root: '/srv/lastmile',
    log: (line) => log.push(line),
    timers,
    startWorker: (spec, handlers) => {
      worker = new FakeWorker(spec, handlers);
      return worker;
    },
  });
  if (worker === undefined) throw new Error('no worker was started');
  const states: TokenState[] = [token.state];
  token.watch(({ state }) => states.push(state));
  return { token, worker, timers, ledger, states, log };
}

function serve(bench: Bench, info: Partial<TokenInfo> = {}): Bench {
  bench.worker.say(WorkerFrame.Found, 0, { ...FAKE_INFO, ...info });
  bench.worker.say(WorkerFrame.LoggedIn, 0, { outcome: 'accepted' });
  expect(bench.token.state).toBe('ready');
  return bench;
}

const sign = ({ token, timers }: Bench, options: { ms?: number; signal?: AbortSignal } = {}) =>
  token.sign(
    { object: 7, algorithm: 'ES256', data: DATA },
    { deadline: timers.now() + (options.ms ?? 500), signal: options.signal },
  );

async function failureOf(promise: Promise<unknown>): Promise<AdapterError> {
  const outcome = await promise.then(
    () => 'it resolved',
    (error: unknown) => error,
  );
  if (!(outcome instanceof AdapterError)) throw new Error(`not an AdapterError: ${String(outcome)}`);
  return outcome;
}

const failure = (reason: string, performed = 'no') => ({ reason, performed, message: 'because' });

describe('login', () => {
  test('an attempt is on record before Login is sent, and its outcome after', () => {
    const bench = open();
    bench.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    expect(bench.ledger.events).toEqual(['attempt cafe0001 file:/etc/example/pin']);
    expect(bench.worker.received(WorkerFrame.Login)).toHaveLength(1);
    bench.worker.say(WorkerFrame.LoggedIn, 0, { outcome: 'accepted' });
    expect(bench.ledger.events[1]).toBe('accepted cafe0001 file:/etc/example/pin');
    expect(bench.token).toMatchObject({ state: 'ready', loginGeneration: 1, capacity: 2 });
  });

  test('an attempt that cannot be recorded is not made', () => {
    const bench = open();
    bench.ledger.refusal = new Error('disk full');
    bench.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    expect(bench.worker.received(WorkerFrame.Login)).toHaveLength(0);
    expect(bench.worker.kills).toEqual(['the login attempt could not be recorded: disk full']);
    expect(bench.token.state).toBe('down');
  });

  test('one wrong PIN is one Login, over workers and restarts of the broker, until somebody unblocks', async () => {
    const bench = open();
    bench.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    bench.worker.say(WorkerFrame.LoggedIn, 0, { outcome: 'rejected', ckr: 'CKR_PIN_INCORRECT' });
    expect(bench.token.state).toBe('blocked');
    expect(bench.token.advice).toContain('CKR_PIN_INCORRECT');
    expect(bench.worker.isRunning).toBe(false);
    expect(await failureOf(sign(bench))).toMatchObject({ reason: 'TOKEN_LOGIN_BLOCKED', performed: 'no' });

    const later = open({ ledger: bench.ledger });
    later.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    expect(later.token.state).toBe('blocked');
    expect(later.worker.logins).toBe(0);

    await later.token.unblock();
    expect(later.token.state).toBe('starting');
    later.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    expect(later.worker.logins).toBe(1);
    expect(bench.worker.logins).toBe(1);
  });

  test('another PIN reference is another PIN', () => {
    const ledger = new FakeLedger();
    ledger.recordOutcome('cafe0001', 'file:/etc/example/old', 'rejected');
    const bench = open({ ledger });
    bench.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    expect(bench.worker.received(WorkerFrame.Login)).toHaveLength(1);
  });

  test.each([
    ['generic', {}, 0],
    ['softhsm2', {}, 1],
    ['softhsm2', { pinCountLow: true }, 0],
    ['softhsm2', { pinFinalTry: true }, 0],
  ])('an attempt without an outcome, profile %s, flags %j: %d logins', (profile, flags, logins) => {
    const ledger = new FakeLedger();
    ledger.recordAttempt('cafe0001', 'file:/etc/example/pin');
    const bench = open({ ledger, config: { profile } });
    bench.worker.say(WorkerFrame.Found, 0, { ...FAKE_INFO, ...flags });
    expect(bench.worker.received(WorkerFrame.Login)).toHaveLength(logins);
    expect(bench.token.state).toBe(logins === 1 ? 'starting' : 'blocked');
  });

  test('a worker that dies during C_Login leaves its attempt spent', () => {
    const bench = open();
    bench.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    bench.worker.exit({ signal: 'SIGSEGV' });
    bench.worker.respawn();
    bench.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    expect(bench.worker.logins).toBe(1);
    expect(bench.token.state).toBe('blocked');
  });

  test('a token whose PIN is locked is not asked', () => {
    const bench = open();
    bench.worker.say(WorkerFrame.Found, 0, { ...FAKE_INFO, pinLocked: true });
    expect(bench.worker.logins).toBe(0);
    expect(bench.token.state).toBe('blocked');
  });

  test('another token than the configured one is not logged into', () => {
    const bench = open({ config: { serial: 'cafe0001', label: undefined } });
    bench.worker.say(WorkerFrame.Found, 0, { ...FAKE_INFO, serial: 'cafe0002' });
    expect(bench.worker.logins).toBe(0);
    expect(bench.worker.kills).toHaveLength(1);
  });

  test('a login that comes through after a quarantine is on record, and the token stays out of service', () => {
    const bench = open();
    bench.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    bench.worker.lingers = true;
    bench.token.quarantine('random numbers repeat');
    bench.worker.say(WorkerFrame.LoggedIn, 0, { outcome: 'accepted' });
    expect(bench.ledger.events.at(-1)).toBe('accepted cafe0001 file:/etc/example/pin');
    expect(bench.token).toMatchObject({ state: 'blocked', loginGeneration: 0 });
    bench.worker.exit();
    expect(bench.token.state).toBe('blocked');
  });
});

describe('operations', () => {
  test('a signature comes back to whoever asked for it', async () => {
    const bench = serve(open());
    const first = sign(bench);
    const second = sign(bench);
    const [one, two] = bench.worker.received(WorkerFrame.Sign);
    expect(one?.payload.readUInt32BE(0)).toBe(7);
    expect(one?.payload.subarray(9).toString()).toBe(CLEAR_TEXT);
    expect(bench.token.inFlight).toBe(2);
    bench.worker.say(WorkerFrame.Done, two!.id, Buffer.from('two'));
    bench.worker.say(WorkerFrame.Done, one!.id, Buffer.from('one'));
    expect(Buffer.from(await first).toString()).toBe('one');
    expect(Buffer.from(await second).toString()).toBe('two');
    expect(bench.token.inFlight).toBe(0);
  });

  test('encrypt, decrypt and random are framed as the worker reads them', async () => {
    const bench = serve(open());
    const context = { deadline: bench.timers.now() + 500 };
    const encrypted = bench.token.encrypt(9, Buffer.from('plain'), Buffer.from('aad'), context);
    const [encrypt] = bench.worker.received(WorkerFrame.Encrypt);
    expect(encrypt?.payload.readUInt32BE(0)).toBe(9);
    expect(encrypt?.payload.readUInt32BE(8)).toBe(3);
    expect(encrypt?.payload.subarray(12).toString()).toBe('aadplain');
    bench.worker.say(
      WorkerFrame.Done,
      encrypt!.id,
      Buffer.concat([Buffer.from([0, 5]), Buffer.alloc(12, 1), Buffer.alloc(21, 2)]),
    );
    expect(await encrypted).toEqual({ session: 5, iv: Buffer.alloc(12, 1), sealed: Buffer.alloc(21, 2) });

    const decrypted = bench.token.decrypt(
      {
        object: 9,
        algorithm: 'A256GCM',
        iv: Buffer.alloc(12, 1),
        sealed: Buffer.from('sealed'),
        associatedData: Buffer.from('aad'),
        notSession: 5,
      },
      context,
    );
    const [decrypt] = bench.worker.received(WorkerFrame.Decrypt);
    expect(decrypt?.payload.readUInt16BE(9)).toBe(5);
    expect(decrypt?.payload[11]).toBe(12);
    expect(decrypt?.payload.readUInt32BE(24)).toBe(3);
    expect(decrypt?.payload.subarray(28).toString()).toBe('aadsealed');
    bench.worker.say(WorkerFrame.Done, decrypt!.id, Buffer.alloc(0));
    expect(await decrypted).toHaveLength(0);

    const random = bench.token.random(4, context);
    const [draw] = bench.worker.received(WorkerFrame.Random);
    expect(draw?.payload.readUInt32BE(4)).toBe(4);
    bench.worker.say(WorkerFrame.Done, draw!.id, Buffer.from('abcd'));
    expect(Buffer.from(await random).toString()).toBe('abcd');
  });

  test('before it serves, a token refuses at once', async () => {
    const bench = open();
    expect(await failureOf(sign(bench))).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'no' });
    expect(await failureOf(bench.token.administration.destroy({ label: 'x', kind: 'secret' }))).toMatchObject(
      {
        reason: 'TOKEN_UNREACHABLE',
        performed: 'no',
      },
    );
  });

  test('more than its sessions and a queue of a few are refused, and room comes back', async () => {
    const bench = serve(open());
    const all = Array.from({ length: 8 }, () => sign(bench));
    expect(await failureOf(sign(bench))).toMatchObject({ reason: 'QUEUE_FULL', performed: 'no' });
    const frames = bench.worker.received(WorkerFrame.Sign);
    expect(frames).toHaveLength(8);
    for (const { id } of frames) bench.worker.say(WorkerFrame.Done, id, DATA);
    await Promise.all(all);
    const again = sign(bench);
    bench.worker.say(WorkerFrame.Done, bench.worker.received(WorkerFrame.Sign)[8]!.id, DATA);
    await again;
  });

  test('rejects at the deadline to the millisecond, and tells the worker', async () => {
    const bench = serve(open());
    const late = sign(bench, { ms: 100 });
    let settled = false;
    late.catch(() => {
      settled = true;
    });
    bench.timers.advance(99);
    await Promise.resolve();
    expect(settled).toBe(false);
    bench.timers.advance(1);
    expect(await failureOf(late)).toMatchObject({ reason: 'DEADLINE_EXCEEDED', performed: 'unknown' });
    expect(bench.worker.received(WorkerFrame.Cancel)).toHaveLength(1);
    expect(bench.token.inFlight).toBe(1);
    bench.worker.say(
      WorkerFrame.Failed,
      bench.worker.received(WorkerFrame.Sign)[0]!.id,
      failure('CANCELLED'),
    );
    expect(bench.token.inFlight).toBe(0);
  });

  test('the worker is given less time than the caller, and its word that nothing was done is passed on', async () => {
    const bench = serve(open());
    const late = sign(bench, { ms: 100 });
    const [frame] = bench.worker.received(WorkerFrame.Sign);
    expect(frame!.payload.readUInt32BE(5)).toBe(80);
    bench.worker.say(WorkerFrame.Failed, frame!.id, failure('DEADLINE_EXCEEDED'));
    expect(await failureOf(late)).toMatchObject({ reason: 'DEADLINE_EXCEEDED', performed: 'no' });
  });

  test('a deadline that has passed costs the token nothing', async () => {
    const bench = serve(open());
    expect(await failureOf(sign(bench, { ms: 0 }))).toMatchObject({
      reason: 'DEADLINE_EXCEEDED',
      performed: 'no',
    });
    const gone = new AbortController();
    gone.abort();
    expect(await failureOf(sign(bench, { signal: gone.signal }))).toMatchObject({
      reason: 'CANCELLED',
      performed: 'no',
    });
    expect(bench.worker.received(WorkerFrame.Sign)).toHaveLength(0);
  });

  test('one timer serves all deadlines, and none is left when all is answered', async () => {
    const bench = serve(open());
    const before = bench.timers.pending;
    const all = Array.from({ length: 8 }, (_, index) => sign(bench, { ms: 500 + index }));
    expect(bench.timers.pending).toBe(before + 1);
    for (const { id } of bench.worker.received(WorkerFrame.Sign))
      bench.worker.say(WorkerFrame.Done, id, DATA);
    await Promise.all(all);
    bench.timers.advance(5_000);
    expect(bench.timers.pending).toBe(before);
    expect(bench.token.state).toBe('ready');
  });

  test.each([
    ['had not begun', 'Failed' as const, 'no'],
    ['was done already', 'Done' as const, 'unknown'],
  ])('a caller that goes while the work %s', async (_what, answer, performed) => {
    const bench = serve(open());
    const caller = new AbortController();
    const cancelled = sign(bench, { signal: caller.signal });
    const [frame] = bench.worker.received(WorkerFrame.Sign);
    caller.abort();
    expect(bench.worker.received(WorkerFrame.Cancel).map(({ id }) => id)).toEqual([frame!.id]);
    bench.worker.say(WorkerFrame[answer], frame!.id, answer === 'Done' ? DATA : failure('CANCELLED'));
    expect(await failureOf(cancelled)).toMatchObject({ reason: 'CANCELLED', performed });
  });

  test('what the worker refuses reaches the caller with its reason', async () => {
    const bench = serve(open());
    const refused = sign(bench);
    const [frame] = bench.worker.received(WorkerFrame.Sign);
    bench.worker.say(WorkerFrame.Failed, frame!.id, {
      ...failure('KEY_MISSING_ON_TOKEN'),
      ckr: 'CKR_KEY_HANDLE_INVALID',
    });
    expect(await failureOf(refused)).toMatchObject({
      reason: 'KEY_MISSING_ON_TOKEN',
      ckr: 'CKR_KEY_HANDLE_INVALID',
    });
    expect(bench.token.state).toBe('ready');
  });

  test('a failure of the token itself degrades it until enough went well', async () => {
    const bench = serve(open());
    const answer = async (say: (id: number) => void) => {
      const outcome = sign(bench).catch(() => 'failed');
      say(bench.worker.received(WorkerFrame.Sign).at(-1)!.id);
      await outcome;
    };
    await answer((id) => bench.worker.say(WorkerFrame.Failed, id, failure('CIPHERTEXT_REJECTED', 'unknown')));
    expect(bench.token.state).toBe('ready');
    await answer((id) => bench.worker.say(WorkerFrame.Failed, id, failure('TOKEN_UNREACHABLE', 'unknown')));
    expect(bench.token.state).toBe('degraded');
    for (let turn = 0; turn < 16; turn += 1)
      await answer((id) => bench.worker.say(WorkerFrame.Done, id, DATA));
    expect(bench.token.state).toBe('ready');
  });
});

describe('a worker that fails', () => {
  test('what was in flight may have happened; the next worker is another login', async () => {
    const bench = serve(open());
    const lost = sign(bench);
    bench.worker.exit({ signal: 'SIGSEGV' });
    expect(await failureOf(lost)).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'unknown' });
    expect(bench.token).toMatchObject({ state: 'down', inFlight: 0, worker: undefined });
    expect(bench.token.info?.serial).toBe('cafe0001');
    expect(await failureOf(sign(bench))).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'no' });
    bench.worker.respawn();
    serve(bench);
    expect(bench.token.loginGeneration).toBe(2);
    expect(bench.token.worker?.restarts).toBe(1);
    expect(bench.states).toEqual(['starting', 'starting', 'ready', 'down', 'starting', 'starting', 'ready']);
  });

  test('one that hangs is killed and replaced; callers keep their own deadlines', async () => {
    const bench = serve(open());
    const short = sign(bench, { ms: 400 });
    const long = sign(bench, { ms: 60_000 });
    bench.timers.advance(999);
    expect(await failureOf(short)).toMatchObject({ reason: 'DEADLINE_EXCEEDED' });
    expect(bench.worker.kills).toEqual([]);
    bench.timers.advance(1);
    expect(bench.worker.kills).toEqual(['the module has not answered for 1000 ms']);
    expect(bench.token.state).toBe('down');
    bench.worker.exit();
    expect(await failureOf(long)).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'unknown' });
  });

  test('slow key administration is no hang, nor is what waits behind it', async () => {
    const bench = serve(open());
    const before = sign(bench, { ms: 60_000 });
    const made = bench.token.administration.destroy({ ckaId: '01', kind: 'private' });
    const behind = sign(bench, { ms: 60_000 });
    bench.timers.advance(11_000);
    expect(bench.worker.kills).toEqual([]);
    const [administer] = bench.worker.received(WorkerFrame.Administer);
    bench.worker.say(WorkerFrame.DoneJson, administer!.id, Buffer.from('null'));
    await made;
    for (const { id } of bench.worker.received(WorkerFrame.Sign))
      bench.worker.say(WorkerFrame.Done, id, DATA);
    await Promise.all([before, behind]);
  });

  test('one that does not get ready in time is replaced', () => {
    const bench = open();
    bench.timers.advance(30_000);
    expect(bench.worker.kills).toEqual(['not ready 30000 ms after its start']);
  });

  test('one that dies again and again says so', () => {
    const bench = open();
    for (let turn = 0; turn < 3; turn += 1) {
      bench.worker.say(WorkerFrame.Gone, 0, {
        ...failure('TOKEN_UNREACHABLE'),
        message: 'no token with label `demo`',
      });
      bench.worker.exit();
      bench.worker.respawn();
    }
    bench.worker.exit({ code: 1 });
    expect(bench.token.state).toBe('down');
    expect(bench.token.advice).toContain('died 4 times in a row');
  });

  test.each<[string, number, number, object | Uint8Array]>([
    ['an answer to no question', WorkerFrame.Done, 99, DATA],
    ['a failure of no question', WorkerFrame.Failed, 99, failure('CANCELLED')],
    ['JSON where bytes belong', WorkerFrame.DoneJson, 1, {}],
    ['an empty signature', WorkerFrame.Done, 1, Buffer.alloc(0)],
    ['a reason that does not exist', WorkerFrame.Failed, 1, failure('POLICY_DENIED')],
    ['a failure without `performed`', WorkerFrame.Failed, 1, failure('CANCELLED', 'yes')],
    ['a frame that only the broker sends', WorkerFrame.Login, 0, DATA],
    ['a second Found', WorkerFrame.Found, 0, FAKE_INFO],
    ['a second LoggedIn', WorkerFrame.LoggedIn, 0, { outcome: 'accepted' }],
    ['broken JSON', WorkerFrame.Failed, 1, Buffer.from('{')],
  ])('%s ends it and nothing else', async (_what, type, id, payload) => {
    const bench = serve(open());
    const lost = sign(bench);
    expect(bench.worker.received(WorkerFrame.Sign)[0]?.id).toBe(1);
    bench.worker.say(type, id, payload);
    expect(bench.worker.kills).toHaveLength(1);
    bench.worker.exit();
    expect(await failureOf(lost)).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'unknown' });
    expect(bench.token.loginGeneration).toBe(1);
  });

  test('random numbers that are none block the token', async () => {
    const bench = serve(open());
    bench.worker.say(WorkerFrame.Gone, 0, failure('INVARIANT_BROKEN'));
    expect(bench.token.state).toBe('blocked');
    expect(await failureOf(sign(bench))).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'no' });
  });
});

describe('leaving service', () => {
  test('a finding takes the token out until somebody deals with it', async () => {
    const bench = serve(open());
    const lost = sign(bench);
    bench.token.quarantine('a signature did not verify');
    expect(await failureOf(lost)).toMatchObject({ performed: 'unknown' });
    expect(bench.token.state).toBe('blocked');
    expect(bench.token.advice).toContain('a signature did not verify');
    expect(bench.worker.isRunning).toBe(false);
    await bench.token.unblock();
    serve(bench);
    expect(bench.token.loginGeneration).toBe(2);
    expect(bench.token.advice).toBe(undefined);
  });

  test('a finding outlives the broker, and the next one does not log in', async () => {
    const bench = serve(open());
    bench.token.quarantine('a signature did not verify');
    const later = open({ ledger: bench.ledger });
    later.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    expect(later.token.state).toBe('blocked');
    expect(later.token.advice).toContain('a signature did not verify');
    expect(later.worker.logins).toBe(0);
    await later.token.unblock();
    serve(later);
    expect(serve(open({ ledger: bench.ledger })).token.state).toBe('ready');
  });

  test('so does a rule that the worker found broken', () => {
    const bench = serve(open());
    bench.worker.say(WorkerFrame.Gone, 0, failure('INVARIANT_BROKEN', 'unknown'));
    expect(bench.token.state).toBe('blocked');
    expect(bench.ledger.findings).toEqual(new Map([['cafe0001', 'because']]));
  });

  test('a finding about a token whose login is blocked is dealt with on its own', async () => {
    const bench = open();
    bench.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    bench.worker.say(WorkerFrame.LoggedIn, 0, { outcome: 'rejected' });
    bench.token.quarantine('a late answer did not verify');
    expect(bench.token.advice).toContain('rejected the PIN');
    await bench.token.unblock();
    bench.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    expect(bench.token.state).toBe('blocked');
    expect(bench.token.advice).toContain('a late answer did not verify');
  });

  test('a finding that cannot be recorded takes the token out all the same, and says so', () => {
    const bench = serve(open());
    bench.ledger.refusal = new Error('disk full');
    bench.token.quarantine('a signature did not verify');
    expect(bench.token.state).toBe('blocked');
    expect(bench.token.advice).toContain('not durable');
  });

  test('closing answers what runs, takes nothing new and stops the worker', async () => {
    const bench = serve(open());
    const last = sign(bench);
    const closed = bench.token.close();
    expect(bench.token.state).toBe('draining');
    expect(await failureOf(sign(bench))).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'no' });
    bench.worker.say(WorkerFrame.Done, bench.worker.received(WorkerFrame.Sign)[0]!.id, DATA);
    expect(await last).toEqual(DATA);
    await closed;
    expect(bench.worker.received(WorkerFrame.Stop)).toHaveLength(1);
    expect(bench.token.state).toBe('down');
    await bench.token.unblock();
    expect(bench.worker.isRunning).toBe(false);
  });

  test('closing does not wait for ever', async () => {
    const bench = serve(open({ config: { hangLimitMs: 60_000 } }));
    const lost = sign(bench, { ms: 60_000 });
    const closed = bench.token.close();
    bench.timers.advance(5_000);
    await closed;
    expect(await failureOf(lost)).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'unknown' });
  });

  test('a watcher that throws harms nobody, and one that left hears nothing', () => {
    const bench = open();
    bench.token.watch(() => {
      throw new Error('oops');
    });
    let heard = 0;
    const leave = bench.token.watch(() => {
      heard += 1;
    });
    leave();
    serve(bench);
    expect(heard).toBe(0);
    expect(bench.worker.kills).toEqual([]);
    expect(bench.log).toContain('token `one`: a watcher failed: oops');
  });
});

describe('draining', () => {
  test('finishes what it has, answers whoever asks all the same, and is ready again when it is undrained', async () => {
    const bench = serve(open());
    const before = sign(bench);
    bench.token.drain();
    expect(bench.token.state).toBe('draining');
    expect(bench.token.advice).toContain('1 operations are still running');
    const during = sign(bench);
    for (const { id } of bench.worker.received(WorkerFrame.Sign)) {
      bench.worker.say(WorkerFrame.Done, id, Buffer.from('signature'));
    }
    expect(Buffer.from(await before).toString()).toBe('signature');
    expect(Buffer.from(await during).toString()).toBe('signature');
    expect(bench.token.advice).toContain('lastmile tokens undrain one');
    bench.token.undrain();
    expect(bench.token.state).toBe('ready');
    expect(bench.states).toEqual(['starting', 'starting', 'ready', 'draining', 'ready']);
  });

  test('lasts over the death of its worker, and from before the broker started', () => {
    for (const bench of [serve(open()), open({ isDrained: true })]) {
      bench.token.drain();
      bench.worker.exit();
      expect(bench.token.state).toBe('down');
      bench.worker.respawn();
      bench.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
      bench.worker.say(WorkerFrame.LoggedIn, 0, { outcome: 'accepted' });
      expect(bench.token.state).toBe('draining');
    }
  });

  test('does not hide that a token is blocked, and closing ends it', async () => {
    const bench = serve(open());
    bench.token.drain();
    bench.token.quarantine('wrong bytes');
    expect(bench.token.state).toBe('blocked');
    bench.token.undrain();
    expect(bench.token.state).toBe('blocked');
    const other = serve(open());
    other.token.drain();
    await other.token.close();
    other.token.undrain();
    expect(other.token.state).toBe('down');
  });
});

describe('configuration', () => {
  test.each([['NODE_OPTIONS'], ['LD_PRELOAD'], ['UV_THREADPOOL_SIZE'], ['OPENSSL_CONF']])(
    'refuses to set %s',
    (name) => {
      expect(() => open({ config: { environment: { [name]: 'x' } } })).toThrow(`\`${name}\` may not be set`);
    },
  );

  test('refuses a profile that nobody wrote', () => {
    expect(() => open({ config: { profile: 'softhsm3' } })).toThrow('there are: softhsm2');
  });

  test('the worker gets what is configured, and of this process nothing', () => {
    const { worker } = open({ config: { environment: { SOFTHSM2_CONF: 'softhsm2.conf' } } });
    expect(worker.spec.env).toEqual({
      MALLOC_ARENA_MAX: '2',
      SOFTHSM2_CONF: 'softhsm2.conf',
      UV_THREADPOOL_SIZE: '3',
    });
    expect(worker.spec.flags).toContain('--allow-fs-read=/etc/example/pin');
    const start: unknown = JSON.parse(worker.received(WorkerFrame.Start)[0]!.payload.toString());
    expect(start).toEqual({
      token: 'one',
      module: '/usr/lib/example/module.so',
      profile: 'generic',
      label: 'demo',
      pin: { file: '/etc/example/pin' },
      sessions: 2,
    });
  });
});
