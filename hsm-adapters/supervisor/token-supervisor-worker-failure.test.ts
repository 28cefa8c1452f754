import { describe, expect, test } from 'vitest';
import { FAKE_INFO } from '../../test/fakes/fake-token-worker.ts';
import { DATA, failure, failureOf, openToken, serve, sign } from '../../test/fakes/token-bench.ts';
import { WorkerFrame } from '../frames/worker-frames.ts';

describe('a worker that fails', () => {
  test('what was in flight may have happened; the next worker is another login', async () => {
    const bench = serve(openToken());
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
    const bench = serve(openToken());
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
    const bench = serve(openToken());
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
    const bench = openToken();
    bench.timers.advance(30_000);
    expect(bench.worker.kills).toEqual(['not ready 30000 ms after its start']);
  });

  test('one that dies again and again says so', () => {
    const bench = openToken();
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
    const bench = serve(openToken());
    const lost = sign(bench);
    expect(bench.worker.received(WorkerFrame.Sign)[0]?.id).toBe(1);
    bench.worker.say(type, id, payload);
    expect(bench.worker.kills).toHaveLength(1);
    bench.worker.exit();
    expect(await failureOf(lost)).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'unknown' });
    expect(bench.token.loginGeneration).toBe(1);
  });

  test('random numbers that are none block the token', async () => {
    const bench = serve(openToken());
    bench.worker.say(WorkerFrame.Gone, 0, failure('INVARIANT_BROKEN'));
    expect(bench.token.state).toBe('blocked');
    expect(await failureOf(sign(bench))).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'no' });
  });
});
