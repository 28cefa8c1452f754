import type { Metadata } from '@grpc/grpc-js';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { codec } from '../../../broker/proto/codec.ts';
import { MAX_FRAME_BYTES } from '../../../hsm-adapters/frames/frame-channel.ts';
import {
  call,
  connect,
  echo,
  type FakeBroker,
  method,
  type Outcome,
  openStream,
  startFakeBroker,
  workloadSvid,
} from './edge.ts';

const status = codec<
  { code: number; message: string },
  { code: number; message: string; details: { value: Uint8Array }[] }
>('google.rpc.Status');

let broker: FakeBroker;
let client: ReturnType<typeof connect>;
beforeAll(async () => {
  broker = await startFakeBroker();
  client = connect(broker, await workloadSvid(broker.pki));
});
afterAll(async () => {
  client.close();
  await broker.stop();
});
beforeEach(() => {
  broker.answer = echo;
  broker.requests.length = 0;
  broker.cancelled.length = 0;
});

function failed(outcome: Outcome): { code: number; details: string; status: Buffer | undefined } {
  if (!('error' in outcome)) throw new Error('was answered');
  const { code, details, metadata } = outcome.error;
  return { code, details, status: metadata.get('grpc-status-details-bin')[0] as Buffer | undefined };
}

describe('a unary call', () => {
  it('reaches the broker undecoded, with its method, connection and deadline, and brings the answer back', async () => {
    const payload = Buffer.from('any bytes at all, even these');
    expect(await call(client, method('Encrypt').path, payload, 5_000)).toEqual({ ok: payload });
    const seen = broker.requests[0]!;
    expect(seen.payload).toEqual(payload);
    expect(seen.request.method).toBe(method('Encrypt').number);
    const peer = broker.opened.get(seen.request.connection)!;
    expect(peer.peer).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(peer.chain).toHaveLength(1);
    const left = seen.request.deadline - performance.now();
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThanOrEqual(5_000);
  });

  it('carries a message of a megabyte both ways', async () => {
    const payload = Buffer.alloc(1 << 20, 0xa5);
    expect(await call(client, method('Sign').path, payload)).toEqual({ ok: payload });
  });

  it('gets no more time than the configured maximum', async () => {
    await call(client, method('Sign').path, Buffer.from('x'), 3_600_000);
    expect(broker.requests[0]!.request.deadline - performance.now()).toBeLessThanOrEqual(10_000);
  });

  it('is told a failure with its code, text and details', async () => {
    const details = status.encode({ code: 7, message: 'denied' });
    broker.answer = (_request, reply) => reply.fail(7, 'denied: ünïcode', details);
    expect(failed(await call(client, method('Sign').path, Buffer.from('x')))).toEqual({
      code: 7,
      details: 'denied: ünïcode',
      status: details,
    });
  });

  it('that its caller gives up is cancelled in the broker, and a late answer hurts nobody', async () => {
    broker.answer = () => undefined;
    const outcome = call(client, method('Sign').path, Buffer.from('x'), 150);
    expect(failed(await outcome).code).toBe(4);
    await broker.until(() => broker.cancelled.length === 1);
    const { reply } = broker.requests[0]!;
    expect(broker.cancelled[0]).toBe(reply);
    reply.ok(Buffer.from('too late'));
    broker.answer = echo;
    expect(await call(client, method('Sign').path, Buffer.from('next'))).toEqual({ ok: Buffer.from('next') });
  });

  it('above the frame limit is refused with a reason before it reaches the broker', async () => {
    const refusal = failed(await call(client, method('Sign').path, Buffer.alloc(MAX_FRAME_BYTES)));
    expect(refusal.code).toBe(3);
    expect(status.decode(refusal.status!)).toMatchObject({ code: 3, message: refusal.details });
    expect(Buffer.from(status.decode(refusal.status!).details[0]!.value).toString()).toContain(
      'REQUEST_INVALID',
    );
    expect(broker.requests).toHaveLength(0);
  });

  it('far above every limit is refused, and the connection serves on', async () => {
    expect(failed(await call(client, method('Sign').path, Buffer.alloc(5 << 20))).code).toBe(8);
    expect(await call(client, method('Sign').path, Buffer.from('x'))).toEqual({ ok: Buffer.from('x') });
  });

  it.each(['Freeze', 'GetStatus', 'Query'])(
    'of the operators’ %s is not served to workloads',
    async (name) => {
      expect(failed(await call(client, method(name).path, Buffer.alloc(0))).code).toBe(12);
      expect(broker.requests).toHaveLength(0);
    },
  );

  it('without a message, or with two, is refused', async () => {
    const asIs = (bytes: Buffer) => bytes;
    for (const count of [0, 2]) {
      const code = await new Promise((resolve) => {
        const many = client.makeClientStreamRequest(method('Sign').path, asIs, asIs, (error) =>
          resolve(error?.code),
        );
        for (let i = 0; i < count; i++) many.write(Buffer.from('x'));
        many.end();
      });
      expect(code, `${count} messages`).toBe(3);
    }
  });
});

describe('SignStream', () => {
  it('passes each message on by itself and sends answers in the order in which they come', async () => {
    const held: (() => void)[] = [];
    broker.answer = (request, reply) => {
      const bytes = Buffer.from(request.payload);
      held.push(() => reply.ok(bytes));
      if (held.length === 3) for (const answer of held.reverse()) answer();
    };
    const stream = openStream(client);
    const answers: string[] = [];
    stream.on('data', (bytes: Buffer) => answers.push(bytes.toString()));
    for (const text of ['one', 'two', 'three']) stream.write(Buffer.from(text));
    stream.end();
    await new Promise((resolve) => stream.on('status', resolve));
    expect(answers).toEqual(['three', 'two', 'one']);
    expect(new Set(broker.requests.map(({ request }) => request.method))).toEqual(
      new Set([method('SignStream').number]),
    );
  });

  it('ends only when the last answer is out', async () => {
    broker.answer = () => undefined;
    const stream = openStream(client);
    let answered = 0;
    stream.on('data', () => answered++);
    const ended = new Promise<{ code: number }>((resolve) => stream.on('status', resolve));
    stream.write(Buffer.from('slow'));
    stream.end();
    await broker.until(() => broker.requests.length === 1);
    expect(
      await Promise.race([ended, call(client, method('Verify').path, Buffer.from('x'), 300)]),
    ).toHaveProperty('error');
    broker.requests[0]!.reply.ok(Buffer.from('done'));
    expect((await ended).code).toBe(0);
    expect(answered).toBe(1);
  });

  it('has at most the configured number of messages unanswered, and goes on as they are answered', async () => {
    broker.answer = () => undefined;
    const stream = openStream(client);
    let answered = 0;
    stream.on('data', () => answered++);
    const total = 300;
    for (let i = 0; i < total; i++) stream.write(Buffer.from(`message ${i}`));
    stream.end();
    await broker.until(() => broker.requests.length === 64);
    // A round trip through the same gateway: what was to arrive has arrived.
    broker.answer = (request, reply) => {
      if (request.method === method('Verify').number) echo(request, reply);
    };
    await call(client, method('Verify').path, Buffer.from('x'));
    const ours = () =>
      broker.requests.filter(({ request }) => request.method === method('SignStream').number);
    expect(ours()).toHaveLength(64);
    broker.answer = echo;
    for (const { reply, payload } of ours()) reply.ok(payload);
    await new Promise((resolve) => stream.on('status', resolve));
    expect(ours()).toHaveLength(total);
    expect(answered).toBe(total);
  });

  it('whose reader has stopped takes no more requests, and others are served', async () => {
    // The answers are far larger than what HTTP/2 lets wait at a client that does not read.
    broker.answer = (_request, reply) => reply.ok(Buffer.alloc(64 * 1024));
    const other = connect(broker, await workloadSvid(broker.pki, 'ns/other/sa/api'));
    const stream = openStream(other);
    stream.pause();
    for (let i = 0; i < 1000; i++) stream.write(Buffer.from('x'));
    await broker.until(() => broker.requests.length >= 64);
    for (let i = 0; i < 20; i++) await call(client, method('Sign').path, Buffer.from('y'));
    const fromStream = broker.requests.filter(
      ({ request }) => request.method === method('SignStream').number,
    );
    // 64 held back in the gateway, and what fits into the client's windows and buffers.
    expect(fromStream.length).toBeLessThan(200);
    stream.on('error', () => undefined);
    stream.cancel();
    other.close();
  });

  it('that is cancelled cancels everything it still waits for', async () => {
    broker.answer = () => undefined;
    const stream = openStream(client);
    stream.on('error', () => undefined);
    for (let i = 0; i < 10; i++) stream.write(Buffer.from('x'));
    await broker.until(() => broker.requests.length === 10);
    stream.cancel();
    await broker.until(() => broker.cancelled.length === 10);
    expect(new Set(broker.cancelled)).toEqual(new Set(broker.requests.map(({ reply }) => reply)));
  });

  it('ends with the failure of a message that the broker could not read', async () => {
    broker.answer = (_request, reply) =>
      reply.fail(3, 'malformed', status.encode({ code: 3, message: 'malformed' }));
    const stream = openStream(client);
    stream.on('error', () => undefined);
    stream.resume();
    const ended = new Promise<{ code: number; metadata: Metadata }>((resolve) =>
      stream.on('status', resolve),
    );
    stream.write(Buffer.from('garbage'));
    const { code, metadata } = await ended;
    expect(code).toBe(3);
    expect(metadata.get('grpc-status-details-bin')).toHaveLength(1);
  });
});
