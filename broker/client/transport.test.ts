import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FakeBroker, refusal } from '../../test/fakes/fake-broker.ts';
import { SvidIssuer, writeSvidFiles } from '../../test/fakes/svid-files.ts';
import { codec } from '../proto/codec.ts';
import type { GenerateRandomRequest } from '../proto/gen/lastmile/v1/GenerateRandomRequest.ts';
import type { GenerateRandomResponse__Output } from '../proto/gen/lastmile/v1/GenerateRandomResponse.ts';
import { parseTarget, uriNames } from './handshake.ts';
import { jitteredBackoff } from './retry.ts';
import type { SvidFiles } from './svid.ts';
import { type ConnectOptions, Transport, type TransportSeams, type UnaryMethod } from './transport.ts';

const BROKER = 'spiffe://example.org/lastmile/broker';
const PAYMENTS = 'spiffe://example.org/ns/payments/sa/api';
const RANDOM: UnaryMethod<GenerateRandomRequest, GenerateRandomResponse__Output> = {
  path: '/lastmile.v1.KeyUse/GenerateRandom',
  request: codec('lastmile.v1.GenerateRandomRequest'),
  response: codec('lastmile.v1.GenerateRandomResponse'),
};
const OK = { random: Buffer.from('abcd'), log: { origin: 'o', leafIndex: 1 } };

let issuer: SvidIssuer;
let directory: string;
let files: SvidFiles;
let broker: FakeBroker;
let transport: Transport | undefined;

beforeAll(async () => {
  issuer = await SvidIssuer.create();
});
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'transport-'));
  files = writeSvidFiles(directory, await issuer.issue(PAYMENTS), issuer.certificate);
  broker = await FakeBroker.start(await issuer.issue(BROKER), issuer.certificate);
  broker.answers.set('GenerateRandom', () => OK);
});
afterEach(async () => {
  transport?.close();
  transport = undefined;
  await broker.stop();
  rmSync(directory, { recursive: true });
});

async function open(options: Partial<ConnectOptions> = {}, seams: TransportSeams = {}): Promise<Transport> {
  transport = await Transport.open(
    { target: options.target ?? broker.target, brokerId: BROKER, svid: files, ...options },
    4 << 20,
    { backoff: () => 1, ...seams },
  );
  return transport;
}

const random = (t: Transport, options = {}): Promise<GenerateRandomResponse__Output> =>
  t.unary(RANDOM, { length: 4 }, options);

describe('target', () => {
  it.each([
    ['127.0.0.1:7443', { host: '127.0.0.1', port: 7443 }],
    ['[::1]:1', { host: '::1', port: 1 }],
    ['broker.internal:65535', { host: 'broker.internal', port: 65535 }],
  ])('%s is understood', (text, expected) => expect(parseTarget(text)).toEqual(expected));

  it.each(['', 'host', 'host:0', 'host:70000', 'dns:///host:1', '::1:7443', 'host:1/x'])(
    '%j is refused',
    (text) => {
      expect(() => parseTarget(text)).toThrow(
        expect.objectContaining({ reason: 'REQUEST_INVALID', performed: 'no' }),
      );
    },
  );
});

describe('URI names of a certificate', () => {
  it('are not found inside a quoted name of another kind', () => {
    expect(uriNames(`DNS:"a, URI:${BROKER}, b", URI:spiffe://example.org/x`)).toEqual([
      'spiffe://example.org/x',
    ]);
  });
  it('are undefined when the text is not understood', () => {
    expect(uriNames('DNS:"never closed, URI:spiffe://example.org/x')).toBeUndefined();
  });
});

describe('the broker is who was named, and nobody else', () => {
  async function posing(
    names: Parameters<SvidIssuer['issue']>[0],
    by: SvidIssuer = issuer,
  ): Promise<unknown> {
    await broker.stop();
    broker = await FakeBroker.start(await by.issue(names), issuer.certificate);
    broker.answers.set('GenerateRandom', () => OK);
    return random(await open()).then(
      () => 'answered',
      (error: unknown) => error,
    );
  }

  it('accepts its exact SPIFFE ID, whatever DNS names stand beside it', async () => {
    expect(
      await posing([
        { type: 'url', value: BROKER },
        { type: 'dns', value: 'lastmile.internal' },
      ]),
    ).toBe('answered');
  });

  it.each([
    ['another workload', [{ type: 'url', value: PAYMENTS }]],
    ['an ID that only begins alike', [{ type: 'url', value: `${BROKER}/x` }]],
    [
      'two IDs, one of them right',
      [
        { type: 'url', value: BROKER },
        { type: 'url', value: PAYMENTS },
      ],
    ],
    [
      'the right name, but as DNS and address only',
      [
        { type: 'dns', value: 'localhost' },
        { type: 'ip', value: '127.0.0.1' },
      ],
    ],
  ] as const)('refuses %s, sends nothing, and does not try again', async (_what, names) => {
    const error = await posing([...names]);
    expect(error).toMatchObject({ reason: 'BROKER_UNTRUSTED', performed: 'no' });
    expect(broker.handshakes).toBeLessThanOrEqual(2);
  });

  it('refuses the right ID from another CA', async () => {
    expect(await posing(BROKER, await SvidIssuer.create())).toMatchObject({ reason: 'BROKER_UNTRUSTED' });
  });
});

describe('a handshake that the broker refuses', () => {
  it.each([
    [
      'SVID_EXPIRED',
      { notBefore: new Date(Date.now() - 7_200_000), notAfter: new Date(Date.now() - 3_600_000) },
    ],
    [
      'SVID_NOT_YET_VALID',
      { notBefore: new Date(Date.now() + 3_600_000), notAfter: new Date(Date.now() + 7_200_000) },
    ],
  ] as const)('says %s, and is not tried again', async (reason, validity) => {
    files = writeSvidFiles(directory, await issuer.issue(PAYMENTS, validity), issuer.certificate);
    const error = await random(await open()).catch((e: unknown) => e);
    expect(error).toMatchObject({ reason, code: 'UNAUTHENTICATED', performed: 'no' });
    expect(broker.handshakes).toBeLessThanOrEqual(2);
    expect(broker.accepted).toEqual([]);
  });

  it('says SVID_UNTRUSTED of a certificate that no CA of the bundle issued', async () => {
    const stranger = await SvidIssuer.create();
    files = writeSvidFiles(directory, await stranger.issue(PAYMENTS), issuer.certificate);
    await expect(random(await open())).rejects.toMatchObject({ reason: 'SVID_UNTRUSTED' });
  });

  it('says SVID_FOREIGN_TRUST_DOMAIN of another trust domain', async () => {
    files = writeSvidFiles(directory, await issuer.issue('spiffe://example.com/x'), issuer.certificate);
    broker.admit = () => false;
    await expect(random(await open())).rejects.toMatchObject({ reason: 'SVID_FOREIGN_TRUST_DOMAIN' });
  });

  it('says SVID_INVALID when the broker hangs up on what looks right here', async () => {
    broker.admit = () => false;
    await expect(random(await open())).rejects.toMatchObject({ reason: 'SVID_INVALID', performed: 'no' });
    expect(broker.handshakes).toBeLessThanOrEqual(2);
  });

  it('is told from a server that does not speak TLS', async () => {
    const server = net.createServer((socket) =>
      socket.end('220 mail.example.org ESMTP\r\n').on('error', () => socket.destroy()),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo;
    await expect(random(await open({ target: `127.0.0.1:${port}` }))).rejects.toMatchObject({
      reason: 'PROTOCOL_MISMATCH',
      performed: 'no',
    });
    server.close();
  });

  it('is told from a server that speaks TLS 1.2 at most', async () => {
    await broker.stop();
    broker = await FakeBroker.start(await issuer.issue(BROKER), issuer.certificate, {
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.2',
    });
    await expect(random(await open())).rejects.toMatchObject({
      reason: 'PROTOCOL_MISMATCH',
      performed: 'no',
    });
  });
});

describe('retries', () => {
  it('go on while nothing was performed, then succeed', async () => {
    let calls = 0;
    broker.answers.set('GenerateRandom', () => {
      if (++calls < 4) throw refusal(['BUSY', 'TOKEN_UNREACHABLE', 'AUDIT_UNAVAILABLE'][calls - 1]!, 'no');
      return OK;
    });
    await expect(random(await open())).resolves.toMatchObject({ random: OK.random });
    expect(calls).toBe(4);
  });

  it.each([
    ['TOKEN_UNREACHABLE', 'unknown'],
    ['AUDIT_UNAVAILABLE', 'yes'],
    ['POLICY_DENIED', 'no'],
    ['RATE_LIMITED', 'no'],
  ])('are not made of %s with performed %s', async (reason, performed) => {
    let calls = 0;
    broker.answers.set('GenerateRandom', () => {
      calls++;
      throw refusal(reason, performed);
    });
    await expect(random(await open())).rejects.toMatchObject({ reason, performed });
    expect(calls).toBe(1);
  });

  it('are not made of a connection that breaks with the request on it', async () => {
    let calls = 0;
    broker.answers.set('GenerateRandom', () => {
      calls++;
      broker.cut();
      return new Promise(() => undefined);
    });
    await expect(random(await open())).rejects.toMatchObject({
      reason: 'CONNECTION_LOST',
      performed: 'unknown',
    });
    expect(calls).toBe(1);
  });

  it('end with the last error when the deadline leaves no room for another', async () => {
    broker.answers.set('GenerateRandom', () => {
      throw refusal('BUSY', 'no');
    });
    const t = await open({}, { backoff: (n) => (n < 2 ? 1 : 10_000) });
    await expect(random(t)).rejects.toMatchObject({ reason: 'BUSY' });
  });

  it('end after maxAttempts', async () => {
    let calls = 0;
    broker.answers.set('GenerateRandom', () => {
      calls++;
      throw refusal('BUSY', 'no');
    });
    await expect(random(await open({ maxAttempts: 3 }))).rejects.toMatchObject({ reason: 'BUSY' });
    expect(calls).toBe(3);
  });

  it('wait longer each time, up to a second, and never the same', () => {
    expect([0, 1, 5, 20].map((n) => jitteredBackoff(n, () => 1))).toEqual([20, 40, 640, 1000]);
    expect(jitteredBackoff(5, () => 0)).toBe(0);
  });

  it('find a broker that comes back on the same port', async () => {
    const t = await open();
    const { port } = broker;
    broker.answers.set('GenerateRandom', () => {
      broker.cut();
      return new Promise(() => undefined);
    });
    // Only now the client knows that the connection is gone: before, a request may have been on it.
    await expect(random(t)).rejects.toMatchObject({ reason: 'CONNECTION_LOST' });
    await broker.stop();
    const pending = random(t, { deadlineMs: 20_000 });
    broker = await FakeBroker.start(await issuer.issue(BROKER), issuer.certificate, { port });
    broker.answers.set('GenerateRandom', () => OK);
    await expect(pending).resolves.toMatchObject({ random: OK.random });
  });

  it('say BROKER_UNREACHABLE when it does not come back', async () => {
    const { target } = broker;
    await broker.stop();
    await expect(random(await open({ target, maxAttempts: 3 }))).rejects.toMatchObject({
      reason: 'BROKER_UNREACHABLE',
      performed: 'no',
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });
});

describe('deadline and abort', () => {
  it('reach the broker, which stops, and the caller, who may not know', async () => {
    const seen = Promise.withResolvers<Date | number>();
    let cancelled: Promise<void> | undefined;
    broker.answers.set('GenerateRandom', (_request, call) => {
      seen.resolve(call.deadline);
      cancelled = call.cancelled;
      return new Promise(() => undefined);
    });
    const started = Date.now();
    const t = await open();
    await expect(random(t, { deadlineMs: 300 })).rejects.toMatchObject({
      reason: 'DEADLINE_EXCEEDED',
      performed: 'unknown',
    });
    expect(Number(await seen.promise)).toBeLessThan(started + 2000);
    await cancelled;
  });

  it('that passes while no connection can be made says that nothing was sent', async () => {
    const silent = net.createServer(() => undefined);
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const t = await open({ target: `127.0.0.1:${(silent.address() as net.AddressInfo).port}` });
    await expect(random(t, { deadlineMs: 200 })).rejects.toMatchObject({
      reason: 'DEADLINE_EXCEEDED',
      performed: 'no',
    });
    silent.close();
  });

  it('an abort in flight cancels the call at the broker', async () => {
    const abort = new AbortController();
    let cancelled: Promise<void> | undefined;
    broker.answers.set('GenerateRandom', (_request, call) => {
      cancelled = call.cancelled;
      abort.abort(new Error('enough'));
      return new Promise(() => undefined);
    });
    const error = await random(await open(), { signal: abort.signal }).catch((e: unknown) => e);
    expect(error).toMatchObject({ reason: 'CANCELLED', performed: 'unknown', cause: { message: 'enough' } });
    await cancelled;
  });

  it('an abort between attempts ends the retries at once', async () => {
    const abort = new AbortController();
    broker.answers.set('GenerateRandom', () => {
      throw refusal('BUSY', 'no');
    });
    const t = await open(
      {},
      {
        backoff: () => {
          queueMicrotask(() => abort.abort());
          return 4000;
        },
      },
    );
    await expect(random(t, { signal: abort.signal })).rejects.toMatchObject({
      reason: 'CANCELLED',
      performed: 'no',
    });
  });

  it('an abort before the call sends nothing', async () => {
    const t = await open();
    await expect(random(t, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      reason: 'CANCELLED',
      performed: 'no',
    });
    expect(broker.handshakes).toBe(0);
  });
});

describe('renewal of the SVID', () => {
  it('takes new calls to a new connection, and lets the old one finish', async () => {
    let now = 0;
    const t = await open({}, { now: () => now });
    const release = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<void>();
    broker.answers.set('GenerateRandom', async () => {
      arrived.resolve();
      await release.promise;
      return OK;
    });
    const old = random(t);
    await arrived.promise;
    broker.answers.set('GenerateRandom', () => OK);
    writeSvidFiles(directory, await issuer.issue(PAYMENTS), issuer.certificate);
    now = 1000;
    await random(t);
    expect(new Set(broker.acceptedSerials).size).toBe(2);
    expect(broker.openConnections).toBe(2);
    release.resolve();
    await expect(old).resolves.toMatchObject({ random: OK.random });
  });

  it('within the second is found when the broker refuses the old one', async () => {
    files = writeSvidFiles(
      directory,
      await issuer.issue(PAYMENTS, {
        notBefore: new Date(Date.now() - 7_200_000),
        notAfter: new Date(Date.now() - 1000),
      }),
      issuer.certificate,
    );
    const t = await open({}, { now: () => 0 });
    writeSvidFiles(directory, await issuer.issue(PAYMENTS), issuer.certificate);
    await expect(random(t)).resolves.toMatchObject({ random: OK.random });
  });
});

describe('close', () => {
  it('lets calls in flight finish and refuses new ones', async () => {
    const release = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<void>();
    broker.answers.set('GenerateRandom', async () => {
      arrived.resolve();
      await release.promise;
      return OK;
    });
    const t = await open();
    const pending = random(t);
    await arrived.promise;
    t.close();
    await expect(random(t)).rejects.toMatchObject({ reason: 'CLIENT_CLOSED', performed: 'no' });
    release.resolve();
    await expect(pending).resolves.toMatchObject({ random: OK.random });
  });
});
