import { describe, expect, test } from 'vitest';
import { DATA, failure, failureOf, openToken, serve, sign } from '../../test/fakes/token-bench.ts';
import { WorkerFrame } from '../frames/worker-frames.ts';

describe('operations', () => {
  test('a signature comes back to whoever asked for it', async () => {
    const bench = serve(openToken());
    const first = sign(bench);
    const second = sign(bench);
    const [one, two] = bench.worker.received(WorkerFrame.Sign);
    expect(one?.payload.readUInt32BE(0)).toBe(7);
    expect(one?.payload.subarray(9).toString()).toBe(DATA.toString());
    expect(bench.token.inFlight).toBe(2);
    bench.worker.say(WorkerFrame.Done, two!.id, Buffer.from('two'));
    bench.worker.say(WorkerFrame.Done, one!.id, Buffer.from('one'));
    expect(Buffer.from(await first).toString()).toBe('one');
    expect(Buffer.from(await second).toString()).toBe('two');
    expect(bench.token.inFlight).toBe(0);
  });

  test('encrypt, decrypt and random are framed as the worker reads them', async () => {
    const bench = serve(openToken());
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
    const bench = openToken();
    expect(await failureOf(sign(bench))).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'no' });
    expect(await failureOf(bench.token.administration.destroy({ label: 'x', kind: 'secret' }))).toMatchObject(
      {
        reason: 'TOKEN_UNREACHABLE',
        performed: 'no',
      },
    );
  });

  test('more than its sessions and a queue of a few are refused, and room comes back', async () => {
    const bench = serve(openToken());
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
    const bench = serve(openToken());
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
    const bench = serve(openToken());
    const late = sign(bench, { ms: 100 });
    const [frame] = bench.worker.received(WorkerFrame.Sign);
    expect(frame!.payload.readUInt32BE(5)).toBe(80);
    bench.worker.say(WorkerFrame.Failed, frame!.id, failure('DEADLINE_EXCEEDED'));
    expect(await failureOf(late)).toMatchObject({ reason: 'DEADLINE_EXCEEDED', performed: 'no' });
  });

  test('a deadline that has passed costs the token nothing', async () => {
    const bench = serve(openToken());
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
    const bench = serve(openToken());
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
    const bench = serve(openToken());
    const caller = new AbortController();
    const cancelled = sign(bench, { signal: caller.signal });
    const [frame] = bench.worker.received(WorkerFrame.Sign);
    caller.abort();
    expect(bench.worker.received(WorkerFrame.Cancel).map(({ id }) => id)).toEqual([frame!.id]);
    bench.worker.say(WorkerFrame[answer], frame!.id, answer === 'Done' ? DATA : failure('CANCELLED'));
    expect(await failureOf(cancelled)).toMatchObject({ reason: 'CANCELLED', performed });
  });

  test('what the worker refuses reaches the caller with its reason', async () => {
    const bench = serve(openToken());
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
    const bench = serve(openToken());
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
