import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Client } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { codec } from '../../../broker/proto/codec.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import { type Entry, entries, operator, PAYMENTS, rawCall, rawClient } from '../../fakes/instance-clients.ts';
import { busyTokens } from './busy-tokens.ts';

/** Work whose caller has gone is not done. */

let instance: RunningInstance;
let admin: OperatorClient;
let client: Client;

beforeAll(async () => {
  instance = await startInstance();
  admin = await operator(instance);
  client = rawClient(instance, 'payments', 'target');
});

afterAll(async () => {
  client?.close();
  admin?.close();
  await instance?.stop();
});

const signRequest = codec<object, object>('lastmile.v1.SignRequest');
const streamRequest = codec<object, object>('lastmile.v1.SignStreamRequest');
const asIs = (bytes: Buffer): Buffer => bytes;

const request = (message: string) => ({
  key: 'payments/jwt',
  algorithm: 'ES256',
  message: Buffer.from(message),
});
const messages = (name: string): string[] => Array.from({ length: 5 }, (_, i) => `${name} ${i}`);

async function entriesOf(signed: readonly string[]): Promise<readonly Entry[]> {
  const digests = new Set(signed.map((message) => createHash('sha256').update(message).digest('base64url')));
  const all = await entries(admin, { kind: 'key-use', operation: 'sign', workload: PAYMENTS });
  return all.filter(({ input }) => digests.has(input?.sha256 ?? ''));
}

/** None of them was ever given to a token. Refusals are counted; a use of a key always has an entry of its own. */
async function expectNotDone(signed: readonly string[], reason: string): Promise<void> {
  for (const { attempts = [], ...entry } of await entriesOf(signed)) {
    expect({ reason: entry.reason, performed: entry.performed, attempts }).toEqual({
      reason,
      performed: 'no',
      attempts: [],
    });
  }
  const all = await entries(admin, { kind: 'key-use', operation: 'sign', workload: PAYMENTS });
  expect(all.map((entry) => entry.reason)).toContain(reason);
}

it('cancelled calls that wait for a token never reach one, and the next in line is served', async () => {
  const cancelled = messages('cancelled call');
  const kept = messages('kept call');
  const busy = await busyTokens(admin, client);
  const calls = cancelled.map((message) => {
    const { promise, resolve } = Promise.withResolvers<number | undefined>();
    const call = client.makeUnaryRequest(
      '/lastmile.v1.KeyUse/Sign',
      asIs,
      asIs,
      signRequest.encode(request(message)),
      (error) => resolve(error?.code),
    );
    return { call, promise };
  });
  const answers = Promise.all(
    kept.map((message) =>
      rawCall(client, '/lastmile.v1.KeyUse/Sign', signRequest.encode(request(message)), 20_000),
    ),
  );
  try {
    await busy.arrived();
    for (const { call } of calls) call.cancel();
    await busy.arrived();
  } finally {
    await busy.release();
  }
  const CANCELLED = 1;
  expect(await Promise.all(calls.map(({ promise }) => promise))).toEqual(cancelled.map(() => CANCELLED));
  expect((await answers).map(({ code, reason }) => `${code} ${reason}`)).toEqual(kept.map(() => '0 '));
  await expectNotDone(cancelled, 'CANCELLED');
  expect((await entriesOf(kept)).map(({ performed }) => performed)).toEqual(kept.map(() => 'yes'));
});

it('nor do the messages of a cancelled stream', async () => {
  const cancelled = messages('cancelled stream');
  const busy = await busyTokens(admin, client);
  const stream = client.makeBidiStreamRequest('/lastmile.v1.KeyUse/SignStream', asIs, asIs);
  const ended = new Promise((resolve) => stream.on('error', resolve));
  stream.on('data', () => undefined);
  for (const [i, message] of cancelled.entries())
    stream.write(streamRequest.encode({ requestId: `${i}`, sign: request(message) }));
  try {
    await busy.arrived();
    stream.cancel();
    await busy.arrived();
  } finally {
    await busy.release();
  }
  await ended;
  await expectNotDone(cancelled, 'CANCELLED');
});

it('nor does the work of a connection that is gone', async () => {
  const abandoned = messages('abandoned');
  const line = await breakableLine();
  const leaving = rawClient(instance, 'payments', 'target', { target: line.target });
  const busy = await busyTokens(admin, client);
  const answers = Promise.all(
    abandoned.map((message) =>
      rawCall(leaving, '/lastmile.v1.KeyUse/Sign', signRequest.encode(request(message)), 20_000),
    ),
  );
  try {
    // Over the same connection: once it is answered, what was sent before it waits for a token.
    expect((await rawCall(leaving, '/lastmile.v1.KeyUse/ListKeys', Buffer.alloc(0))).code).toBe(0);
    line.cut();
    const UNAVAILABLE = 14;
    expect((await answers).map(({ code }) => code)).toEqual(abandoned.map(() => UNAVAILABLE));
    await busy.arrived();
  } finally {
    await busy.release();
    leaving.close();
    line.close();
  }
  await expectNotDone(abandoned, 'CANCELLED');
});

/** A way to the gateway that breaks without a word when it is told to. */
async function breakableLine() {
  const sockets: Socket[] = [];
  const server = createServer((near) => {
    const far = connect(instance.workloadsPort, '127.0.0.1');
    for (const socket of [near, far]) {
      socket.on('error', () => socket.destroy());
      sockets.push(socket);
    }
    near.pipe(far).pipe(near);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    target: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    close: () => server.close(),
  };
}
