import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { callerOf, callFor, KeyUseFixture } from '../../test/fakes/key-use-fixture.ts';

let fixture: KeyUseFixture;
beforeEach(async () => {
  fixture = new KeyUseFixture();
  await fixture.create('app/k', 'ES256', { tokens: ['one'] });
});
afterEach(() => fixture.close());

const content = { kind: 'message', bytes: Buffer.from('sign this') } as const;
const sign = () =>
  fixture.keyUse.sign(callerOf(), callFor(), {
    key: 'app/k',
    version: 0,
    algorithm: 'ES256',
    content,
    der: false,
  });

it('is one entry and one line in the log, however many wrong signatures were in flight; and again after an unblock', async () => {
  const [liar] = fixture.tokens as [(typeof fixture.tokens)[number]];
  for (const round of [1, 2]) {
    liar.fault = ({ kind }) => (kind === 'sign' ? 'wrong-bytes' : undefined);
    const gate = liar.hold('sign');
    const all = Array.from({ length: 8 }, () => sign());
    await gate.reached;
    await vi.waitUntil(() => liar.inFlight >= 3, { interval: 1 });
    gate.release();
    await Promise.allSettled(all);
    const wrong = fixture.log.uses
      .flatMap(({ attempts }) => attempts!)
      .filter((a) => a.outcome === 'mismatch');
    expect(wrong.length).toBeGreaterThan(round);
    expect(liar.findings).toHaveLength(round);
    expect(fixture.log.of('token')).toHaveLength(round);
    expect(fixture.lines.filter(({ level }) => level === 'error')).toHaveLength(round);
    liar.fault = () => undefined;
    await liar.unblock();
    await fixture.keys.settled();
  }
});
