import { describe, expect, test } from 'vitest';
import { FAKE_INFO } from '../../test/fakes/fake-token-worker.ts';
import { DATA, failure, failureOf, openToken, serve, sign } from '../../test/fakes/token-bench.ts';
import { WorkerFrame } from '../frames/worker-frames.ts';

describe('leaving service', () => {
  test('a finding takes the token out until somebody deals with it', async () => {
    const bench = serve(openToken());
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
    const bench = serve(openToken());
    bench.token.quarantine('a signature did not verify');
    const later = openToken({ ledger: bench.ledger });
    later.worker.say(WorkerFrame.Found, 0, FAKE_INFO);
    expect(later.token.state).toBe('blocked');
    expect(later.token.advice).toContain('a signature did not verify');
    expect(later.worker.logins).toBe(0);
    await later.token.unblock();
    serve(later);
    expect(serve(openToken({ ledger: bench.ledger })).token.state).toBe('ready');
  });

  test('so does a rule that the worker found broken', () => {
    const bench = serve(openToken());
    bench.worker.say(WorkerFrame.Gone, 0, failure('INVARIANT_BROKEN', 'unknown'));
    expect(bench.token.state).toBe('blocked');
    expect(bench.ledger.findings).toEqual(new Map([['cafe0001', 'because']]));
  });

  test('a finding about a token whose login is blocked is dealt with on its own', async () => {
    const bench = openToken();
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
    const bench = serve(openToken());
    bench.ledger.refusal = new Error('disk full');
    bench.token.quarantine('a signature did not verify');
    expect(bench.token.state).toBe('blocked');
    expect(bench.token.advice).toContain('not durable');
  });

  test('closing answers what runs, takes nothing new and stops the worker', async () => {
    const bench = serve(openToken());
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
    const bench = serve(openToken({ config: { hangLimitMs: 60_000 } }));
    const lost = sign(bench, { ms: 60_000 });
    const closed = bench.token.close();
    bench.timers.advance(5_000);
    await closed;
    expect(await failureOf(lost)).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'unknown' });
  });

  test('a watcher that throws harms nobody, and one that left hears nothing', () => {
    const bench = openToken();
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
    const bench = serve(openToken());
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
    for (const bench of [serve(openToken()), openToken({ isDrained: true })]) {
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
    const bench = serve(openToken());
    bench.token.drain();
    bench.token.quarantine('wrong bytes');
    expect(bench.token.state).toBe('blocked');
    bench.token.undrain();
    expect(bench.token.state).toBe('blocked');
    const other = serve(openToken());
    other.token.drain();
    await other.token.close();
    other.token.undrain();
    expect(other.token.state).toBe('down');
  });
});
