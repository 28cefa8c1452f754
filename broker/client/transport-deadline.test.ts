import { once } from 'node:events';
import net from 'node:net';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { refusal } from '../../test/fakes/fake-broker.ts';
import { SvidIssuer } from '../../test/fakes/svid-files.ts';
import { random, TransportFixture } from '../../test/fakes/transport-fixture.ts';

let issuer: SvidIssuer;
let fixture: TransportFixture;
beforeAll(async () => {
  issuer = await SvidIssuer.create();
});
beforeEach(async () => {
  fixture = await TransportFixture.start(issuer);
});
afterEach(() => fixture.stop());

describe('deadline and abort', () => {
  it('reach the broker, which stops, and the caller, who may not know', async () => {
    const seen = Promise.withResolvers<Date | number>();
    let cancelled: Promise<void> | undefined;
    fixture.broker.answers.set('GenerateRandom', (_request, call) => {
      seen.resolve(call.deadline);
      cancelled = call.cancelled;
      return new Promise(() => undefined);
    });
    const started = Date.now();
    const t = await fixture.open();
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
    const t = await fixture.open({ target: `127.0.0.1:${(silent.address() as net.AddressInfo).port}` });
    await expect(random(t, { deadlineMs: 200 })).rejects.toMatchObject({
      reason: 'DEADLINE_EXCEEDED',
      performed: 'no',
    });
    silent.close();
  });

  it('an abort in flight cancels the call at the broker', async () => {
    const abort = new AbortController();
    let cancelled: Promise<void> | undefined;
    fixture.broker.answers.set('GenerateRandom', (_request, call) => {
      cancelled = call.cancelled;
      abort.abort(new Error('enough'));
      return new Promise(() => undefined);
    });
    const error = await random(await fixture.open(), { signal: abort.signal }).catch((e: unknown) => e);
    expect(error).toMatchObject({ reason: 'CANCELLED', performed: 'unknown', cause: { message: 'enough' } });
    await cancelled;
  });

  it('an abort between attempts ends the retries at once', async () => {
    const abort = new AbortController();
    fixture.broker.answers.set('GenerateRandom', () => {
      throw refusal('BUSY', 'no');
    });
    const t = await fixture.open(
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
    const t = await fixture.open();
    await expect(random(t, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      reason: 'CANCELLED',
      performed: 'no',
    });
    expect(fixture.broker.handshakes).toBe(0);
  });
});
