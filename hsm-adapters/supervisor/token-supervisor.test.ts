import { describe, expect, test } from 'vitest';
import { FAKE_INFO, FakeLedger } from '../../test/fakes/fake-token-worker.ts';
import { failureOf, openToken, sign } from '../../test/fakes/token-bench.ts';
import { WorkerFrame } from '../frames/worker-frames.ts';

describe('configuration', () => {
  test.each([['NODE_OPTIONS'], ['LD_PRELOAD'], ['UV_THREADPOOL_SIZE'], ['OPENSSL_CONF']])(
    'refuses to set %s',
    (name) => {
      expect(() => openToken({ config: { environment: { [name]: 'x' } } })).toThrow(
        `\`${name}\` may not be set`,
      );
    },
  );

  test('refuses a profile that nobody wrote', () => {
    expect(() => openToken({ config: { profile: 'softhsm3' } })).toThrow('there are: softhsm2');
  });

  test('the worker gets what is configured, and of this process nothing', () => {
    const { worker } = openToken({ config: { environment: { SOFTHSM2_CONF: 'softhsm2.conf' } } });
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

describe('login', () => {
  test('an attempt is on record before Login is sent, and its outcome after', () => {
    const bench = openToken();
    bench.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    expect(bench.ledger.events).toEqual(['attempt cafe0001 file:/etc/example/pin']);
    expect(bench.worker.received(WorkerFrame.Login)).toHaveLength(1);
    bench.worker.say(WorkerFrame.LoggedIn, 0, { outcome: 'accepted' });
    expect(bench.ledger.events[1]).toBe('accepted cafe0001 file:/etc/example/pin');
    expect(bench.token).toMatchObject({ state: 'ready', loginGeneration: 1, capacity: 2 });
  });

  test('an attempt that cannot be recorded is not made', () => {
    const bench = openToken();
    bench.ledger.refusal = new Error('disk full');
    bench.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    expect(bench.worker.received(WorkerFrame.Login)).toHaveLength(0);
    expect(bench.worker.kills).toEqual(['the login attempt could not be recorded: disk full']);
    expect(bench.token.state).toBe('down');
  });

  test('one wrong PIN is one Login, over workers and restarts of the broker, until somebody unblocks', async () => {
    const bench = openToken();
    bench.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    bench.worker.say(WorkerFrame.LoggedIn, 0, { outcome: 'rejected', ckr: 'CKR_PIN_INCORRECT' });
    expect(bench.token.state).toBe('blocked');
    expect(bench.token.advice).toContain('CKR_PIN_INCORRECT');
    expect(bench.worker.isRunning).toBe(false);
    expect(await failureOf(sign(bench))).toMatchObject({ reason: 'TOKEN_LOGIN_BLOCKED', performed: 'no' });

    const later = openToken({ ledger: bench.ledger });
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
    const bench = openToken({ ledger });
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
    const bench = openToken({ ledger, config: { profile } });
    bench.worker.say(WorkerFrame.Found, 0, { ...FAKE_INFO, ...flags });
    expect(bench.worker.received(WorkerFrame.Login)).toHaveLength(logins);
    expect(bench.token.state).toBe(logins === 1 ? 'starting' : 'blocked');
  });

  test('a worker that dies during C_Login leaves its attempt spent', () => {
    const bench = openToken();
    bench.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    bench.worker.exit({ signal: 'SIGSEGV' });
    bench.worker.respawn();
    bench.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    expect(bench.worker.logins).toBe(1);
    expect(bench.token.state).toBe('blocked');
  });

  test('a token whose PIN is locked is not asked', () => {
    const bench = openToken();
    bench.worker.say(WorkerFrame.Found, 0, { ...FAKE_INFO, pinLocked: true });
    expect(bench.worker.logins).toBe(0);
    expect(bench.token.state).toBe('blocked');
  });

  test('another token than the configured one is not logged into', () => {
    const bench = openToken({ config: { serial: 'cafe0001', label: undefined } });
    bench.worker.say(WorkerFrame.Found, 0, { ...FAKE_INFO, serial: 'cafe0002' });
    expect(bench.worker.logins).toBe(0);
    expect(bench.worker.kills).toHaveLength(1);
  });

  test('a login that comes through after a quarantine is on record, and the token stays out of service', () => {
    const bench = openToken();
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
