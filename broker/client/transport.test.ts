import { once } from 'node:events';
import net from 'node:net';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FakeBroker } from '../../test/fakes/fake-broker.ts';
import { SvidIssuer, writeSvidFiles } from '../../test/fakes/svid-files.ts';
import { BROKER, OK, PAYMENTS, random, TransportFixture } from '../../test/fakes/transport-fixture.ts';

let issuer: SvidIssuer;
let fixture: TransportFixture;
beforeAll(async () => {
  issuer = await SvidIssuer.create();
});
beforeEach(async () => {
  fixture = await TransportFixture.start(issuer);
});
afterEach(() => fixture.stop());

describe('the broker is who was named, and nobody else', () => {
  async function posing(
    names: Parameters<SvidIssuer['issue']>[0],
    by: SvidIssuer = issuer,
  ): Promise<unknown> {
    await fixture.broker.stop();
    fixture.broker = await FakeBroker.start(await by.issue(names), issuer.certificate);
    fixture.broker.answers.set('GenerateRandom', () => OK);
    return random(await fixture.open()).then(
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
    expect(fixture.broker.handshakes).toBeLessThanOrEqual(2);
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
    fixture.files = writeSvidFiles(
      fixture.directory,
      await issuer.issue(PAYMENTS, validity),
      issuer.certificate,
    );
    const error = await random(await fixture.open()).catch((e: unknown) => e);
    expect(error).toMatchObject({ reason, code: 'UNAUTHENTICATED', performed: 'no' });
    expect(fixture.broker.handshakes).toBeLessThanOrEqual(2);
    expect(fixture.broker.accepted).toEqual([]);
  });

  it('says SVID_UNTRUSTED of a certificate that no CA of the bundle issued', async () => {
    const stranger = await SvidIssuer.create();
    fixture.files = writeSvidFiles(fixture.directory, await stranger.issue(PAYMENTS), issuer.certificate);
    await expect(random(await fixture.open())).rejects.toMatchObject({ reason: 'SVID_UNTRUSTED' });
  });

  it('says SVID_FOREIGN_TRUST_DOMAIN of another trust domain', async () => {
    fixture.files = writeSvidFiles(
      fixture.directory,
      await issuer.issue('spiffe://example.com/x'),
      issuer.certificate,
    );
    fixture.broker.admit = () => false;
    await expect(random(await fixture.open())).rejects.toMatchObject({ reason: 'SVID_FOREIGN_TRUST_DOMAIN' });
  });

  it('says SVID_INVALID when the broker hangs up on what looks right here', async () => {
    fixture.broker.admit = () => false;
    await expect(random(await fixture.open())).rejects.toMatchObject({
      reason: 'SVID_INVALID',
      performed: 'no',
    });
    expect(fixture.broker.handshakes).toBeLessThanOrEqual(2);
  });

  it('is told from a server that does not speak TLS', async () => {
    const server = net.createServer((socket) =>
      socket.end('220 mail.example.org ESMTP\r\n').on('error', () => socket.destroy()),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo;
    await expect(random(await fixture.open({ target: `127.0.0.1:${port}` }))).rejects.toMatchObject({
      reason: 'PROTOCOL_MISMATCH',
      performed: 'no',
    });
    server.close();
  });

  it('is told from a server that speaks TLS 1.2 at most', async () => {
    await fixture.broker.stop();
    fixture.broker = await FakeBroker.start(await issuer.issue(BROKER), issuer.certificate, {
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.2',
    });
    await expect(random(await fixture.open())).rejects.toMatchObject({
      reason: 'PROTOCOL_MISMATCH',
      performed: 'no',
    });
  });
});

describe('renewal of the SVID', () => {
  it('takes new calls to a new connection, and lets the old one finish', async () => {
    let now = 0;
    const t = await fixture.open({}, { now: () => now });
    const release = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<void>();
    fixture.broker.answers.set('GenerateRandom', async () => {
      arrived.resolve();
      await release.promise;
      return OK;
    });
    const old = random(t);
    await arrived.promise;
    fixture.broker.answers.set('GenerateRandom', () => OK);
    writeSvidFiles(fixture.directory, await issuer.issue(PAYMENTS), issuer.certificate);
    now = 1000;
    await random(t);
    expect(new Set(fixture.broker.acceptedSerials).size).toBe(2);
    expect(fixture.broker.openConnections).toBe(2);
    release.resolve();
    await expect(old).resolves.toMatchObject({ random: OK.random });
  });

  it('within the second is found when the broker refuses the old one', async () => {
    fixture.files = writeSvidFiles(
      fixture.directory,
      await issuer.issue(PAYMENTS, {
        notBefore: new Date(Date.now() - 7_200_000),
        notAfter: new Date(Date.now() - 1000),
      }),
      issuer.certificate,
    );
    const t = await fixture.open({}, { now: () => 0 });
    writeSvidFiles(fixture.directory, await issuer.issue(PAYMENTS), issuer.certificate);
    await expect(random(t)).resolves.toMatchObject({ random: OK.random });
  });
});

describe('close', () => {
  it('lets calls in flight finish and refuses new ones', async () => {
    const release = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<void>();
    fixture.broker.answers.set('GenerateRandom', async () => {
      arrived.resolve();
      await release.promise;
      return OK;
    });
    const t = await fixture.open();
    const pending = random(t);
    await arrived.promise;
    t.close();
    await expect(random(t)).rejects.toMatchObject({ reason: 'CLIENT_CLOSED', performed: 'no' });
    release.resolve();
    await expect(pending).resolves.toMatchObject({ random: OK.random });
  });
});
