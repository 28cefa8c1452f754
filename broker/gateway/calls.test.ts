import type { Metadata, ServerInterceptingCallInterface } from '@grpc/grpc-js';
import { beforeEach, describe, expect, it } from 'vitest';
import { METHODS } from '../proto/methods.ts';
import { Calls } from './calls.ts';
import { EdgeFrame, type GatewayConfiguration, REQUEST_HEADER_BYTES } from './edge-frames.ts';
import type { Connection } from './listener.ts';

type Started = Parameters<ServerInterceptingCallInterface['start']>[0];
type Status = Parameters<ServerInterceptingCallInterface['sendStatus']>[0];

/** One call as grpc-js shows it, in the hands of the test. */
class FakeCall {
  listener: Started | undefined;
  readonly messages: { bytes: Buffer; taken: () => void }[] = [];
  readonly statuses: Status[] = [];
  reads = 0;
  start = (listener: Started) => {
    this.listener = listener;
    listener.onReceiveMetadata(undefined as unknown as Metadata);
  };
  startRead = () => {
    this.reads += 1;
  };
  sendMetadata = () => undefined;
  sendMessage = (bytes: Buffer, taken: () => void) => this.messages.push({ bytes, taken });
  sendStatus = (status: Status) => this.statuses.push(status);
  getConnectionInfo = () => ({});
  getDeadline = () => Number.POSITIVE_INFINITY;

  receive(text: string): void {
    if (this.reads === 0) throw new Error('was not asked for a message');
    this.reads -= 1;
    this.listener!.onReceiveMessage(Buffer.from(text));
  }
}

const IN_FLIGHT = 4;
let sent: { type: number; id: number; payload: Buffer }[];
let pendingBytes: number;
let destroyed: boolean;
let calls: Calls;

beforeEach(() => {
  sent = [];
  pendingBytes = 0;
  destroyed = false;
  const connection = {
    number: 7,
    hasSpoken: false,
    socket: { destroy: () => (destroyed = true) },
  } as unknown as Connection;
  calls = new Calls(
    { maxStreamInFlight: IN_FLIGHT, maxDeadlineMs: 1_000 } as GatewayConfiguration,
    {
      send: (type, id, ...parts) => {
        sent.push({ type, id, payload: Buffer.concat(parts) });
      },
      get pendingBytes() {
        return pendingBytes;
      },
    },
    { find: () => connection },
  );
});

const methods = new Map(METHODS.map((method) => [method.path, method]));

function begin(name: 'Sign' | 'SignStream'): FakeCall {
  const call = new FakeCall();
  const path = `/lastmile.v1.KeyUse/${name}`;
  const intercepted = calls.interceptor(methods)(
    { path } as Parameters<ReturnType<Calls['interceptor']>>[0],
    call as unknown as ServerInterceptingCallInterface,
  );
  intercepted.start(undefined as unknown as Started);
  return call;
}

function unary(): FakeCall {
  const call = begin('Sign');
  call.receive('request');
  call.listener!.onReceiveHalfClose();
  return call;
}

const requests = () => sent.filter(({ type }) => type === EdgeFrame.Request);
const cancels = () => sent.filter(({ type }) => type === EdgeFrame.Cancel).map(({ id }) => id);

describe('a request', () => {
  it('is the connection, the method, the time left and the bytes', () => {
    unary();
    const { payload } = requests()[0]!;
    expect(payload.readUInt32BE(0)).toBe(7);
    expect(payload.readUInt8(4)).toBe(methods.get('/lastmile.v1.KeyUse/Sign')!.number);
    expect(payload.readUInt32BE(5)).toBe(1_000);
    expect(payload.subarray(REQUEST_HEADER_BYTES).toString()).toBe('request');
  });

  it('that the broker leaves unanswered is given up shortly after its deadline, not before', () => {
    const call = unary();
    calls.sweep(performance.now() + 1_900);
    expect(call.statuses).toEqual([]);
    calls.sweep(performance.now() + 2_100);
    expect(call.statuses).toMatchObject([{ code: 4 }]);
    expect(cancels()).toEqual([requests()[0]!.id]);
    calls.reply(requests()[0]!.id, Buffer.from('late'));
    expect(call.messages).toEqual([]);
  });

  it('is refused at once while the broker takes nothing', () => {
    pendingBytes = 1 << 30;
    expect(unary().statuses).toMatchObject([{ code: 8 }]);
    expect(requests()).toEqual([]);
  });

  it('that was answered is not cancelled by the end of its call', () => {
    const call = unary();
    calls.reply(requests()[0]!.id, Buffer.from('answer'));
    call.listener!.onCancel();
    expect(cancels()).toEqual([]);
    expect(call.statuses).toMatchObject([{ code: 0 }]);
  });
});

describe('a stream', () => {
  it('reads no further while its limit is in flight or not yet taken by the client', () => {
    const call = begin('SignStream');
    for (let i = 0; i < IN_FLIGHT; i++) call.receive(`${i}`);
    expect(call.reads).toBe(0);
    for (const { id } of requests()) calls.reply(id, Buffer.from('answer'));
    expect(call.reads, 'answered, not taken').toBe(0);
    call.messages[0]!.taken();
    expect(call.reads).toBe(1);
  });

  it('reads no further while the broker takes nothing, and goes on by itself', () => {
    const call = begin('SignStream');
    pendingBytes = 1 << 30;
    call.receive('x');
    expect(call.reads).toBe(0);
    calls.sweep(performance.now());
    expect(call.reads).toBe(0);
    pendingBytes = 0;
    calls.sweep(performance.now());
    expect(call.reads).toBe(1);
  });

  it('whose client takes nothing for long loses its connection', () => {
    const call = begin('SignStream');
    call.receive('x');
    calls.reply(requests()[0]!.id, Buffer.from('answer'));
    calls.sweep(performance.now() + 29_000);
    expect(destroyed).toBe(false);
    calls.sweep(performance.now() + 31_000);
    expect(destroyed).toBe(true);
  });

  it('that waits for the broker, not for its client, keeps its connection', () => {
    const call = begin('SignStream');
    call.receive('x');
    calls.reply(requests()[0]!.id, Buffer.from('answer'));
    call.messages[0]!.taken();
    calls.sweep(performance.now() + 3_600_000);
    expect(destroyed).toBe(false);
  });

  it('cancels the rest when one message is refused as a whole', () => {
    const call = begin('SignStream');
    for (const text of ['a', 'b', 'c']) call.receive(text);
    const [a, b, c] = requests().map(({ id }) => id);
    calls.fail(b!, Buffer.from([3, 0, 3, ...Buffer.from('bad'), 8, 3]));
    expect(call.statuses).toMatchObject([{ code: 3, details: 'bad' }]);
    expect(cancels()).toEqual([a, c]);
    calls.reply(a!, Buffer.from('late'));
    expect(call.messages).toEqual([]);
  });

  it('that begins while the gateway drains is ended', () => {
    calls.drain();
    const call = begin('SignStream');
    expect(call.statuses).toMatchObject([{ code: 8 }]);
    expect(call.reads).toBe(0);
  });
});
