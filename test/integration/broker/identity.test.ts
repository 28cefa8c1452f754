import { on, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createSecureServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LastmileError } from '../../../broker/client/errors.ts';
import type { ConnectOptions } from '../../../broker/client/transport.ts';
import { createDevelopmentCa, type PemPair, SVID_LIFE_MS } from '../../../broker/init/pki.ts';
import { codec } from '../../../broker/proto/codec.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import {
  issueSvid,
  operator,
  PAYMENTS,
  type RawAnswer,
  rawCall,
  rawClient,
  refusal,
  status,
  untilStatus,
  workload,
} from '../../fakes/instance-clients.ts';

const UNAVAILABLE = 14;
const UNAUTHENTICATED = 16;
const DAY_MS = 24 * 60 * 60 * 1000;
const SIGN = { key: 'payments/jwt', algorithm: 'ES256', message: Buffer.from('a message') };

let instance: RunningInstance;

beforeAll(async () => {
  instance = await startInstance();
});

afterAll(() => instance?.stop());

interface Impostor {
  readonly target: string;
  /** Requests that a client entrusted to it. */
  readonly requests: () => number;
  stop(): void;
}

/** A server that shows the certificate of `pki/<name>.crt`, as anybody who has that key can. */
async function impostor(name: string): Promise<Impostor> {
  const file = (path: string): Buffer => readFileSync(join(instance.directory, 'pki', path));
  let requests = 0;
  const server = createSecureServer({
    cert: file(`${name}.crt`),
    key: file(`${name}.key`),
    ca: file('ca.crt'),
    requestCert: true,
    minVersion: 'TLSv1.3',
  });
  const open = new Set<{ destroy(): void }>();
  server.on('session', (connection) => open.add(connection));
  // A client that breaks off is what this is about.
  server.on('sessionError', () => undefined);
  server.on('stream', (stream: ServerHttp2Stream) => {
    requests++;
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '13' },
      { endStream: true },
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    target: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: () => requests,
    stop: () => {
      for (const connection of open) connection.destroy();
      server.close();
    },
  };
}

describe('whoever poses as the broker', () => {
  it.each(['billing', 'payments', 'operator'])(
    'with the SVID of %s gets no request of the SDK, and it says whom it found',
    async (name) => {
      const server = await impostor(name);
      const client = await workload(instance, 'payments', { target: server.target, maxAttempts: 2 });
      try {
        const refused = await refusal(client.sign(SIGN));
        expect(refused).toMatchObject({ reason: 'BROKER_UNTRUSTED', performed: 'no' });
        expect(refused.message).toContain('spiffe://example.org/lastmile/broker');
        await refusal(client.signStream().sign(SIGN));
        expect(server.requests()).toBe(0);
      } finally {
        client.close();
        server.stop();
      }
    },
  );

  it.each(['billing', 'operator'])(
    'with the SVID of %s gets none of stock gRPC, which looks for the broker’s DNS name',
    async (name) => {
      const server = await impostor(name);
      const client = rawClient(instance, 'payments', 'target', { target: server.target });
      try {
        const answer = await rawCall(client, '/lastmile.v1.KeyUse/Sign', Buffer.alloc(0), 3000);
        expect(answer.code).toBe(UNAVAILABLE);
        expect(answer.details).toMatch(/altnames|certificate/i);
        expect(server.requests()).toBe(0);
      } finally {
        client.close();
        server.stop();
      }
    },
  );

  it('with a certificate of another authority that has all its names gets none either', async () => {
    const ca = await createDevelopmentCa('example.org', Date.now());
    await issueSvid(
      instance,
      'false-broker',
      { spiffeId: 'spiffe://example.org/lastmile/broker', dnsNames: ['lastmile.internal', 'localhost'] },
      { ca },
    );
    const server = await impostor('false-broker');
    const sdk = await workload(instance, 'payments', { target: server.target, maxAttempts: 2 });
    const stock = rawClient(instance, 'payments', 'target', { target: server.target });
    try {
      expect(await refusal(sdk.sign(SIGN))).toMatchObject({ reason: 'BROKER_UNTRUSTED', performed: 'no' });
      expect(await rawCall(stock, '/lastmile.v1.KeyUse/Sign', Buffer.alloc(0), 3000)).toMatchObject({
        code: UNAVAILABLE,
      });
      expect(server.requests()).toBe(0);
    } finally {
      sdk.close();
      stock.close();
      server.stop();
    }
  });

  it('with the broker’s own certificate and key gets them: the tests above see what they should', async () => {
    const server = await impostor('broker');
    const sdk = await workload(instance, 'payments', { target: server.target, maxAttempts: 1 });
    const stock = rawClient(instance, 'payments', 'target', { target: server.target });
    try {
      await expect(sdk.sign(SIGN)).rejects.toThrow(LastmileError);
      expect(server.requests()).toBe(1);
      await rawCall(stock, '/lastmile.v1.KeyUse/Sign', Buffer.alloc(0), 3000);
      expect(server.requests()).toBe(2);
    } finally {
      sdk.close();
      stock.close();
      server.stop();
    }
  });

  it('has a name that stock gRPC does not ask for', async () => {
    const client = rawClient(instance, 'payments', 'target', { dnsName: 'api.payments.internal' });
    try {
      const answer = await rawCall(client, '/lastmile.v1.KeyUse/ListKeys', Buffer.alloc(0), 3000);
      expect(answer.code).toBe(UNAVAILABLE);
    } finally {
      client.close();
    }
  });
});

describe('a client certificate that is refused', () => {
  async function connectAs(name: string, issued: { ca?: PemPair; now?: number; spiffeId?: string }) {
    const { spiffeId = PAYMENTS, ...how } = issued;
    await issueSvid(instance, name, { spiffeId }, how);
    const path = (file: string): string => join(instance.directory, 'pki', file);
    const svid: ConnectOptions['svid'] = {
      certificateFile: path(`${name}.crt`),
      keyFile: path(`${name}.key`),
      trustBundleFile: path('ca.crt'),
    };
    return await workload(instance, 'payments', { svid, maxAttempts: 1 });
  }

  it('is counted in `status`, the SDK says what is wrong with it, and the others are served', async () => {
    const now = Date.now();
    const stranger = await createDevelopmentCa('example.org', now);
    const abroad = await createDevelopmentCa('other.org', now);
    const cases = [
      ['expired', { now: now - 31 * DAY_MS }, 'SVID_EXPIRED', 'expired'],
      ['early', { now: now + DAY_MS }, 'SVID_NOT_YET_VALID', 'not-yet-valid'],
      ['stranger', { ca: stranger }, 'SVID_UNTRUSTED', 'untrusted'],
      [
        'abroad',
        { ca: abroad, spiffeId: 'spiffe://other.org/ns/payments/sa/api' },
        'SVID_FOREIGN_TRUST_DOMAIN',
        'untrusted',
      ],
    ] as const;
    const admin = await operator(instance);
    try {
      for (const [name, issued, reason, counted] of cases) {
        const before = (await status(admin)).refusedHandshakes?.[counted] ?? 0;
        const client = await connectAs(name, issued);
        const refused = await refusal(client.sign(SIGN));
        client.close();
        expect(refused, name).toMatchObject({ code: 'UNAUTHENTICATED', reason, performed: 'no' });
        // Gateways report their counts now and then.
        await untilStatus(admin, ({ refusedHandshakes }) => (refusedHandshakes?.[counted] ?? 0) > before);
      }
      const { processes } = await status(admin);
      expect(processes.map(({ restarts }) => restarts)).toEqual(processes.map(() => 0));
    } finally {
      admin.close();
    }
    const client = await workload(instance, 'payments');
    await client.sign(SIGN);
    client.close();
  });
});

it('an SVID that expires while its connection is open is refused from then on, and on its open stream', async () => {
  const lifeLeftMs = 3000;
  const issuedAt = Date.now();
  await issueSvid(
    instance,
    'short-lived',
    { spiffeId: PAYMENTS },
    { now: issuedAt - SVID_LIFE_MS + lifeLeftMs },
  );
  const client = rawClient(instance, 'payments', 'target', { svid: 'short-lived' });
  const signRequest = codec<object, object>('lastmile.v1.SignRequest').encode(SIGN);
  const { encode } = codec<object, object>('lastmile.v1.SignStreamRequest');
  const { decode } = codec<object, { error?: { code: number; message: string } }>(
    'lastmile.v1.SignStreamResponse',
  );
  const asIs = (bytes: Buffer): Buffer => bytes;
  const stream = client.makeBidiStreamRequest('/lastmile.v1.KeyUse/SignStream', asIs, asIs);
  const answers = on(stream, 'data') as AsyncIterableIterator<[Buffer]>;
  const streamed = async (requestId: string) => {
    stream.write(encode({ requestId, sign: SIGN }));
    const { value } = await answers.next();
    return decode(value[0]).error;
  };
  try {
    expect((await rawCall(client, '/lastmile.v1.KeyUse/Sign', signRequest)).code).toBe(0);
    expect(await streamed('before')).toBeFalsy();
    let answer: RawAnswer;
    do answer = await rawCall(client, '/lastmile.v1.KeyUse/Sign', signRequest);
    while (answer.code === 0 && Date.now() < issuedAt + 10 * lifeLeftMs);
    expect(answer).toMatchObject({
      code: UNAUTHENTICATED,
      reason: 'SVID_EXPIRED',
      metadata: { performed: 'no' },
    });
    // To the second, as certificates count, and not before.
    expect(Date.now()).toBeGreaterThan(issuedAt + lifeLeftMs - 1000);
    expect(await streamed('after')).toMatchObject({ code: UNAUTHENTICATED });
  } finally {
    stream.cancel();
    client.close();
  }
});
