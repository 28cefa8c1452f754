import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LastmileClient } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { codec } from '../../../broker/proto/codec.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import { operator, readProfile, status, untilStatus, workload } from '../../fakes/instance-clients.ts';
import { KEY, Load, processOf, residentBytes, until } from './harness.ts';

const MIB = 1024 * 1024;
/** What thousands of silent connections, or a caller that never reads, may cost a process. */
const GROWTH_LIMIT = 128 * MIB;
/** `max_stream_in_flight`, by default: answers that wait for somebody who does not read count as in flight. */
const MAX_UNREAD = 256;
const message = Buffer.from('a message');

let instance: RunningInstance;
let client: LastmileClient;
let asOperator: OperatorClient;
let gateway: number;

beforeAll(async () => {
  instance = await startInstance();
  client = await workload(instance, 'payments', { maxAttempts: 1 });
  asOperator = await operator(instance);
  gateway = (await processOf(asOperator, 'gateway-1')).pid;
});

afterAll(async () => {
  client?.close();
  asOperator?.close();
  await instance?.stop();
});

/** A connection from another loopback address than everybody else's, as an attacker has another one. */
function tcp(localAddress: string): Socket {
  const socket = connectTcp({ host: '127.0.0.1', port: instance.workloadsPort, localAddress });
  // A reset is one of the ways in which the gateway may end it.
  socket.on('error', () => socket.destroy());
  // Nobody hears of the end of what nobody reads.
  socket.resume();
  return socket;
}

function tls(localAddress: string, name: 'payments' | 'billing' = 'billing'): TLSSocket {
  const profile = readProfile(instance, name);
  const file = (path: string): Buffer => readFileSync(join(instance.directory, path));
  const socket = connectTls({
    socket: tcp(localAddress),
    cert: file(profile.certificate),
    key: file(profile.key),
    ca: file(profile.trustBundle),
    servername: profile.brokerDnsName,
    ALPNProtocols: ['h2'],
  });
  socket.on('error', () => socket.destroy());
  // Nobody hears of the end of what nobody reads.
  socket.resume();
  return socket;
}

const closed = (socket: Socket): Promise<unknown> =>
  socket.closed ? Promise.resolve() : once(socket, 'close');

/** Somebody who was not there before is let in and served. */
async function expectNewcomerServed(): Promise<void> {
  const newcomer = await workload(instance, 'payments', { maxAttempts: 1 });
  try {
    await newcomer.sign({ key: KEY, algorithm: 'ES256', message });
  } finally {
    newcomer.close();
  }
}

async function expectSameGateway(): Promise<void> {
  const now = await status(asOperator);
  expect(now.processes.find(({ role }) => role === 'gateway-1')).toMatchObject({
    pid: gateway,
    restarts: 0,
    state: 'listening',
  });
  expect(now.processes.every(({ restarts }) => restarts === 0)).toBe(true);
}

describe('connections that send nothing', () => {
  it('are bounded for an address, cost little, end by themselves, and keep nobody from being served', async () => {
    const others = new Load(client, 'beside silence', 4);
    await others.more(50);
    const before = residentBytes(gateway);

    const silentTls = Array.from({ length: 300 }, () => tls('127.0.0.3'));
    await Promise.all(silentTls.map((socket) => once(socket, 'secureConnect')));
    const silentTcp: Socket[] = [];
    for (let i = 0; i < 20; i++) {
      const some = Array.from({ length: 500 }, () => tcp('127.0.0.2'));
      silentTcp.push(...some);
      await Promise.all(some.map((socket) => Promise.race([once(socket, 'connect'), closed(socket)])));
      await others.more(1);
    }
    expect(silentTcp).toHaveLength(10_000);
    const now = await untilStatus(
      asOperator,
      ({ refusedHandshakes }) => Number(refusedHandshakes['too-many-connections'] ?? 0) >= 10_000 - 1024 - 50,
    );
    expect(Number(now.refusedHandshakes['too-many-connections'])).toBeLessThanOrEqual(10_000);
    await expectNewcomerServed();
    expect(residentBytes(gateway) - before).toBeLessThan(GROWTH_LIMIT);

    // Neither kind stays: no handshake in time, and no request in time.
    await Promise.all([...silentTcp, ...silentTls].map(closed));
    await others.more(50);
    await others.stop();
    expect(others.reasons()).toEqual({});
    expect(residentBytes(gateway) - before).toBeLessThan(GROWTH_LIMIT);
    await expectSameGateway();
  });
});

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const SETTINGS = frame(4, 0, 0, Buffer.alloc(0));

/** RFC 9113, section 4.1. */
function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer,
  length = payload.length,
): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

/** Deterministic noise. */
function noise(bytes: number): Buffer {
  let state = 0x2545f491;
  return Buffer.from(
    Array.from({ length: bytes }, () => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return state & 0xff;
    }),
  );
}

describe('bytes that are not what they should be', () => {
  it.each<[string, Buffer]>([
    ['noise', noise(4096)],
    ['HTTP/1.1', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['HTTP/2 without TLS', Buffer.concat([PREFACE, SETTINGS])],
    ['a TLS record that is longer than there may be', Buffer.from('16030100ff', 'hex')],
    ['a TLS record that is cut off', Buffer.from('160301ffff0100', 'hex')],
  ])('on a bare connection (%s) end it', async (_name, bytes) => {
    const socket = tcp('127.0.0.4');
    await once(socket, 'connect');
    socket.end(bytes);
    await closed(socket);
    await client.sign({ key: KEY, algorithm: 'ES256', message });
    await expectSameGateway();
  });

  it.each<[string, Buffer]>([
    ['noise', noise(4096)],
    ['a preface and noise', Buffer.concat([PREFACE, SETTINGS, noise(4096)])],
    ['a frame above the limit', Buffer.concat([PREFACE, SETTINGS, frame(0, 0, 1, noise(64), 0xffffff)])],
    ['data on a stream that is not open', Buffer.concat([PREFACE, SETTINGS, frame(0, 1, 5, noise(64))])],
    [
      'headers that are not HPACK',
      Buffer.concat([PREFACE, SETTINGS, frame(1, 4, 1, Buffer.alloc(64, 0xff))]),
    ],
    ['a frame of settings of the wrong length', Buffer.concat([PREFACE, frame(4, 0, 0, noise(5))])],
    ['a frame that is cut off', Buffer.concat([PREFACE, SETTINGS, frame(1, 4, 1, noise(8), 1024)])],
  ])('on a connection with an X.509-SVID (%s) end it', async (_name, bytes) => {
    const socket = tls('127.0.0.4');
    await once(socket, 'secureConnect');
    socket.end(bytes);
    await closed(socket);
    await client.sign({ key: KEY, algorithm: 'ES256', message });
    await expectSameGateway();
  });
});

describe('a stream that never reads', () => {
  it('is not read either beyond its share: a bounded number is signed, and others are served', async () => {
    const gatewayBefore = residentBytes(gateway);
    const brokerBefore = residentBytes(instance.pid);
    const logBefore = await logSize();
    const socket = tls('127.0.0.5', 'payments');
    await once(socket, 'secureConnect');
    // A window of nothing: not one byte of an answer can be sent.
    const session = connectHttp2('https://broker', {
      createConnection: () => socket,
      settings: { initialWindowSize: 0 },
    });
    const stream = session.request({
      ':method': 'POST',
      ':path': '/lastmile.v1.KeyUse/SignStream',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    stream.on('error', () => stream.destroy());
    const { encode } = codec<object, object>('lastmile.v1.SignStreamRequest');
    let sent = 0;
    const send = (): void => {
      while (sent < 50_000) {
        const sign = { key: KEY, algorithm: 'ES256', message };
        if (!stream.write(grpcMessage(encode({ requestId: `${sent++}`, sign })))) return;
      }
    };
    stream.on('drain', send);
    send();

    let last = -1;
    await until('no more of the stream is signed', async () => {
      await pause(500);
      const before = last;
      last = await logSize();
      return last === before && last > logBefore;
    });
    expect(last - logBefore).toBeLessThanOrEqual(MAX_UNREAD);
    expect(sent).toBeLessThan(50_000);
    expect(residentBytes(gateway) - gatewayBefore).toBeLessThan(GROWTH_LIMIT);
    expect(residentBytes(instance.pid) - brokerBefore).toBeLessThan(GROWTH_LIMIT);
    await client.sign({ key: KEY, algorithm: 'ES256', message });
    await expectNewcomerServed();

    session.destroy();
    await client.sign({ key: KEY, algorithm: 'ES256', message });
    await expectSameGateway();
  });

  async function logSize(): Promise<number> {
    return Number((await status(asOperator)).logSize);
  }
});

/** gRPC's framing: not compressed, length, message. */
function grpcMessage(bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}
