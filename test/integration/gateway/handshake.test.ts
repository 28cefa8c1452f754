import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Refusal } from '../../../broker/gateway/edge-frames.ts';
import { type Connection, Listener } from '../../../broker/gateway/listener.ts';
import { createTestPki, type IssuedSvid, type IssueOptions, type TestPki } from '../../fakes/pki.ts';
import { brokerSvid, call, connect, type FakeBroker, method, startFakeBroker, workloadSvid } from './edge.ts';

const MINUTE = 60_000;
const WORKLOAD = 'spiffe://example.org/ns/payments/sa/api';

let broker: FakeBroker;
let good: IssuedSvid;
beforeAll(async () => {
  broker = await startFakeBroker({ maxConnections: 60, maxConnectionsPerAddress: 50 });
  good = await workloadSvid(broker.pki);
});
afterAll(() => broker.stop());

async function refusedAs(svid: IssuedSvid | undefined, reason: Refusal): Promise<void> {
  const before = broker.refused.get(reason) ?? 0;
  const opened = broker.opened.size;
  const client = connect(broker, svid);
  const outcome = await call(client, method('Sign').path, Buffer.from('x'), 5_000);
  client.close();
  expect(outcome).toMatchObject({ error: { code: 14 } });
  await broker.until(() => (broker.refused.get(reason) ?? 0) > before);
  expect(broker.opened.size, 'connections the broker was told of').toBe(opened);
}

async function isServed(): Promise<void> {
  const client = connect(broker, good);
  expect(await call(client, method('Sign').path, Buffer.from('still'))).toEqual({ ok: Buffer.from('still') });
  client.close();
}

describe('a certificate is refused in the handshake, and counted', () => {
  it('when there is none', () => refusedAs(undefined, 'no-certificate'));

  it.each<[string, IssueOptions, Refusal]>([
    ['expired', { notAfter: new Date(Date.now() - MINUTE) }, 'expired'],
    [
      'not yet valid',
      { notBefore: new Date(Date.now() + 60 * MINUTE), notAfter: new Date(Date.now() + 120 * MINUTE) },
      'not-yet-valid',
    ],
    ['self-signed', { selfSigned: true }, 'untrusted'],
    ['with two URI names', { uris: [WORKLOAD, `${WORKLOAD}-2`] }, 'not-an-x509-svid'],
    ['an authority', { isCa: true }, 'not-an-x509-svid'],
    ['without a SPIFFE ID', { uris: ['https://example.org/'] }, 'not-an-x509-svid'],
    ['ours, naming another trust domain', { uris: ['spiffe://other.org/x'] }, 'foreign-trust-domain'],
  ])('when it is %s', async (_name, options, reason) => {
    await refusedAs(await broker.pki.issue({ spiffeId: WORKLOAD, ...options }), reason);
  });

  it('when another trust domain’s authority issued it, whatever it says', async () => {
    const other = await createTestPki({ trustDomain: 'other.org' });
    await refusedAs(await other.issue({ spiffeId: 'spiffe://other.org/x' }), 'untrusted');
    await refusedAs(await other.issue({ spiffeId: WORKLOAD }), 'untrusted');
  });

  it('when an authority of the same name issued it', async () => {
    const impostor: TestPki = await createTestPki({ trustDomain: 'example.org' });
    await refusedAs(await impostor.issue({ spiffeId: WORKLOAD }), 'untrusted');
  });

  it('and a good one, through an intermediate, is served after all of that', async () => {
    const middle = await broker.pki.intermediate();
    const client = connect(broker, await middle.issue({ spiffeId: WORKLOAD }));
    expect(await call(client, method('Sign').path, Buffer.from('x'))).toEqual({ ok: Buffer.from('x') });
    client.close();
    const peer = broker.opened.get(broker.requests.at(-1)!.request.connection)!;
    expect(peer.chain).toHaveLength(2);
  });
});

function tls(options: ConnectionOptions = {}): TLSSocket {
  return connectTls({
    port: broker.gateway.port,
    host: '127.0.0.1',
    servername: 'localhost',
    ca: broker.pki.rootPem,
    key: good.keyPem,
    cert: good.certificatePem,
    ALPNProtocols: ['h2'],
    ...options,
  });
}

/** Resolves when the other side has closed; errors on the way are its right. */
function closed(socket: Socket): Promise<void> {
  socket.on('error', () => undefined);
  socket.resume();
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });
}

describe('what is no good TLS', () => {
  it('is TLS 1.2', async () => {
    await closed(tls({ maxVersion: 'TLSv1.2' }));
    await isServed();
  });

  it('is another protocol than HTTP/2, or none named', async () => {
    const opened = broker.opened.size;
    await closed(tls({ ALPNProtocols: ['http/1.1'] }));
    await closed(tls({ ALPNProtocols: [] }));
    expect(broker.opened.size).toBe(opened);
    await isServed();
  });

  it('is no TLS at all', async () => {
    const before = broker.refused.get('not-tls') ?? 0;
    for (const bytes of [
      'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      '\0'.repeat(4096),
    ]) {
      const socket = connectTcp(broker.gateway.port, '127.0.0.1');
      socket.write(bytes);
      await closed(socket);
    }
    await broker.until(() => (broker.refused.get('not-tls') ?? 0) === before + 3);
    await isServed();
  });

  it('is never resumed', async () => {
    const first = tls();
    const tickets: Buffer[] = [];
    first.on('session', (ticket: Buffer) => tickets.push(ticket));
    await once(first, 'secureConnect');
    await once(first, 'data');
    first.destroy();
    // Without a ticket there is nothing to resume; with one the server must not know it.
    const ticket = tickets[0];
    const second = tls(ticket === undefined ? {} : { session: ticket });
    await once(second, 'secureConnect');
    expect(second.isSessionReused()).toBe(false);
    second.destroy();
  });
});

describe('what comes after a good handshake', () => {
  it('may be garbage, or HTTP/2 that breaks off: the connection ends and the others go on', async () => {
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    const settings = Buffer.from('000000040000000000', 'hex');
    for (const bytes of [
      Buffer.alloc(5000, 0x99),
      Buffer.concat([preface, Buffer.from('ffffff0100000000011234', 'hex')]),
      // HEADERS on stream 0
      Buffer.concat([preface, settings, Buffer.from('00000401050000000000000000', 'hex')]),
    ]) {
      const socket = tls();
      await once(socket, 'secureConnect');
      socket.write(bytes);
      await closed(socket);
    }
    // A frame header that announces more than ever comes.
    const truncated = tls();
    await once(truncated, 'secureConnect');
    truncated.write(Buffer.concat([preface, settings, Buffer.from('0000ff0105000000', 'hex')]));
    truncated.end();
    await closed(truncated);
    await isServed();
  });

  it('the broker can reject it', async () => {
    broker.answer = (request) => broker.gateway.reject(request.connection, 'frozen');
    const client = connect(broker, good);
    expect(await call(client, method('Sign').path, Buffer.from('x'))).toMatchObject({ error: { code: 14 } });
    broker.answer = (request, reply) => reply.ok(request.payload);
    client.close();
    const rejected = broker.requests.at(-1)!;
    await broker.until(() => broker.closed.includes(rejected.request.connection));
    expect(broker.cancelled).toContain(rejected.reply);
    await isServed();
  });
});

describe('connections', () => {
  it('that finished their handshake and say nothing more are closed, the others are not', async () => {
    const server = await brokerSvid(broker.pki);
    const opened: Connection[] = [];
    const { promise: both, resolve } = Promise.withResolvers<void>();
    const listener = new Listener(
      {
        role: 'workload',
        trustDomain: 'example.org',
        host: '127.0.0.1',
        port: 0,
        reusePort: false,
        probePort: false,
        tls: { certificate: server.certificatePem, key: server.keyPem, trustBundle: [broker.pki.rootPem] },
        maxConnections: 10,
        maxConnectionsPerAddress: 10,
        maxStreamsPerConnection: 10,
        maxStreamInFlight: 10,
        maxDeadlineMs: 1_000,
      },
      {
        opened: (connection) => {
          if (opened.push(connection) === 2) resolve();
        },
        closed: () => undefined,
        refused: () => undefined,
      },
    );
    const { port } = await listener.listen();
    const sockets = [tls({ port }), tls({ port })];
    await both;
    opened[1]!.hasSpoken = true;
    listener.closeSilent(performance.now() + 14_000);
    expect(opened[0]!.socket.destroyed).toBe(false);
    listener.closeSilent(performance.now() + 16_000);
    expect(opened.map(({ socket }) => socket.destroyed)).toEqual([true, false]);
    listener.stopAccepting();
    for (const { number } of opened) listener.close(number);
    await Promise.all(sockets.map(closed));
  });

  it('are bounded per address, and their places are given back', async () => {
    const sockets: Socket[] = [];
    const before = broker.refused.get('too-many-connections') ?? 0;
    for (let i = 0; i < 300; i++) {
      const socket = connectTcp(broker.gateway.port, '127.0.0.1');
      socket.on('error', () => undefined);
      sockets.push(socket);
    }
    await broker.until(() => (broker.refused.get('too-many-connections') ?? 0) >= before + 245);
    const silent = broker.refused.get('handshake-timeout') ?? 0;
    // The rest send nothing: they are closed when their time for a handshake is over.
    await Promise.all(sockets.map(closed));
    await broker.until(() => (broker.refused.get('handshake-timeout') ?? 0) > silent);
    await isServed();
  });
});

describe('all connections together', () => {
  it('are bounded, whatever addresses they come from', async () => {
    const before = broker.refused.get('too-many-connections') ?? 0;
    const sockets = Array.from({ length: 100 }, (_, i) => {
      const socket = connectTcp({
        port: broker.gateway.port,
        host: '127.0.0.1',
        localAddress: `127.0.0.${2 + (i % 4)}`,
      });
      socket.on('error', () => undefined);
      return socket;
    });
    // Each address has 25, well below its own limit.
    await broker.until(() => (broker.refused.get('too-many-connections') ?? 0) >= before + 35);
    // The gateway's own end of each is what gives its place back.
    for (const socket of sockets) socket.end();
    await Promise.all(sockets.map(closed));
    await isServed();
  });
});

describe('certificates', () => {
  it('are renewed for new connections, and a root that is gone takes its connections with it', async () => {
    const client = connect(broker, good);
    await call(client, method('Sign').path, Buffer.from('x'));
    const connection = broker.requests.at(-1)!.request.connection;
    const next = await createTestPki({ trustDomain: 'example.org', subject: 'CN=next root' });
    const server = await brokerSvid(next);

    broker.gateway.renewCertificates({
      certificate: server.certificatePem,
      key: server.keyPem,
      trustBundle: [broker.pki.rootPem, next.rootPem],
    });
    const newcomer = connect(broker, await workloadSvid(next), next.rootPem);
    expect(await call(newcomer, method('Sign').path, Buffer.from('y'))).toEqual({ ok: Buffer.from('y') });
    expect(await call(client, method('Sign').path, Buffer.from('z'))).toEqual({ ok: Buffer.from('z') });
    expect(broker.requests.at(-1)!.request.connection).toBe(connection);

    broker.gateway.renewCertificates({
      certificate: server.certificatePem,
      key: server.keyPem,
      trustBundle: [next.rootPem],
    });
    await broker.until(() => broker.closed.includes(connection));
    expect(await call(newcomer, method('Sign').path, Buffer.from('y'))).toEqual({ ok: Buffer.from('y') });
    client.close();
    newcomer.close();
  });
});
