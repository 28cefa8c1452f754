import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FakeBroker, refusal } from '../../test/fakes/fake-broker.ts';
import { SvidIssuer } from '../../test/fakes/svid-files.ts';
import { BROKER, OK, random, TransportFixture } from '../../test/fakes/transport-fixture.ts';
import { jitteredBackoff } from './retry.ts';

let issuer: SvidIssuer;
let fixture: TransportFixture;
beforeAll(async () => {
  issuer = await SvidIssuer.create();
});
beforeEach(async () => {
  fixture = await TransportFixture.start(issuer);
});
afterEach(() => fixture.stop());

describe('retries', () => {
  it('go on while nothing was performed, then succeed', async () => {
    let calls = 0;
    fixture.broker.answers.set('GenerateRandom', () => {
      if (++calls < 4) throw refusal(['BUSY', 'TOKEN_UNREACHABLE', 'AUDIT_UNAVAILABLE'][calls - 1]!, 'no');
      return OK;
    });
    await expect(random(await fixture.open())).resolves.toMatchObject({ random: OK.random });
    expect(calls).toBe(4);
  });

  it.each([
    ['TOKEN_UNREACHABLE', 'unknown'],
    ['AUDIT_UNAVAILABLE', 'yes'],
    ['POLICY_DENIED', 'no'],
    ['RATE_LIMITED', 'no'],
  ])('are not made of %s with performed %s', async (reason, performed) => {
    let calls = 0;
    fixture.broker.answers.set('GenerateRandom', () => {
      calls++;
      throw refusal(reason, performed);
    });
    await expect(random(await fixture.open())).rejects.toMatchObject({ reason, performed });
    expect(calls).toBe(1);
  });

  it('are not made of a connection that breaks with the request on it', async () => {
    let calls = 0;
    fixture.broker.answers.set('GenerateRandom', () => {
      calls++;
      fixture.broker.cut();
      return new Promise(() => undefined);
    });
    await expect(random(await fixture.open())).rejects.toMatchObject({
      reason: 'CONNECTION_LOST',
      performed: 'unknown',
    });
    expect(calls).toBe(1);
  });

  it('end with the last error when the deadline leaves no room for another', async () => {
    fixture.broker.answers.set('GenerateRandom', () => {
      throw refusal('BUSY', 'no');
    });
    const t = await fixture.open({}, { backoff: (n) => (n < 2 ? 1 : 10_000) });
    await expect(random(t)).rejects.toMatchObject({ reason: 'BUSY' });
  });

  it('end after maxAttempts', async () => {
    let calls = 0;
    fixture.broker.answers.set('GenerateRandom', () => {
      calls++;
      throw refusal('BUSY', 'no');
    });
    await expect(random(await fixture.open({ maxAttempts: 3 }))).rejects.toMatchObject({ reason: 'BUSY' });
    expect(calls).toBe(3);
  });

  it('wait longer each time, up to a second, and never the same', () => {
    expect([0, 1, 5, 20].map((n) => jitteredBackoff(n, () => 1))).toEqual([20, 40, 640, 1000]);
    expect(jitteredBackoff(5, () => 0)).toBe(0);
  });

  it('find a broker that comes back on the same port', async () => {
    const t = await fixture.open();
    const { port } = fixture.broker;
    fixture.broker.answers.set('GenerateRandom', () => {
      fixture.broker.cut();
      return new Promise(() => undefined);
    });
    // Only now the client knows that the connection is gone: before, a request may have been on it.
    await expect(random(t)).rejects.toMatchObject({ reason: 'CONNECTION_LOST' });
    await fixture.broker.stop();
    const pending = random(t, { deadlineMs: 20_000 });
    fixture.broker = await FakeBroker.start(await issuer.issue(BROKER), issuer.certificate, { port });
    fixture.broker.answers.set('GenerateRandom', () => OK);
    await expect(pending).resolves.toMatchObject({ random: OK.random });
  });

  it('say BROKER_UNREACHABLE when it does not come back', async () => {
    const { target } = fixture.broker;
    await fixture.broker.stop();
    await expect(random(await fixture.open({ target, maxAttempts: 3 }))).rejects.toMatchObject({
      reason: 'BROKER_UNREACHABLE',
      performed: 'no',
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });
});
