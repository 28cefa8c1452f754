import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  callerOf,
  callFor,
  failureOf,
  KEYS,
  KeyUseFixture,
  OTHER,
} from '../../test/fakes/key-use-fixture.ts';

const NONE = new Uint8Array();
const plaintext = Buffer.from('plaintext');

let fixture: KeyUseFixture;

beforeEach(() => {
  fixture = new KeyUseFixture();
});
afterEach(() => fixture.close());

const encrypt = (key: string, caller = callerOf()) =>
  fixture.keyUse.encrypt(caller, callFor(), {
    key,
    version: 0,
    algorithm: '',
    plaintext,
    associatedData: NONE,
  });

const sign = (key: string) =>
  fixture.keyUse.sign(callerOf(), callFor(), {
    key,
    version: 0,
    algorithm: 'ES256',
    content: { kind: 'message', bytes: plaintext },
    der: false,
  });

describe('a ciphertext that does not open again', () => {
  it.each([
    { reason: 'CIPHERTEXT_REJECTED', performed: 'no' },
    { reason: 'REQUEST_INVALID', performed: 'no' },
  ] as const)('with $reason is the token’s fault: it leaves service and another serves', async (fault) => {
    await fixture.create(KEYS.encrypt, 'A256GCM');
    let isFirst = true;
    for (const token of fixture.tokens) {
      token.fault = ({ kind }) => {
        if (kind !== 'decrypt' || !isFirst) return undefined;
        isFirst = false;
        return fault;
      };
    }
    const { ciphertext } = await encrypt(KEYS.encrypt);
    expect(ciphertext.length).toBeGreaterThan(plaintext.length);
    expect(fixture.tokens.flatMap((token) => token.findings)).toHaveLength(1);
    expect(fixture.log.uses[0]!.attempts).toMatchObject([{ outcome: 'mismatch' }, { outcome: 'ok' }]);
    expect(fixture.log.of('token')).toMatchObject([{ operation: 'quarantine', decision: 'deny' }]);
  });

  it('because nothing could be asked again leaves a key that was used', async () => {
    await fixture.create(KEYS.encrypt, 'A256GCM', { tokens: ['one'] });
    fixture.token.fault = ({ kind }) =>
      kind === 'decrypt' ? { reason: 'QUEUE_FULL', performed: 'no' } : undefined;
    const failure = await failureOf(encrypt(KEYS.encrypt));
    expect(failure).toMatchObject({ reason: 'BUSY', performed: 'unknown' });
    expect(fixture.log.uses).toMatchObject([{ performed: 'unknown', reason: 'BUSY' }]);
  });
});

describe('the entry of a refusal', () => {
  it('does not tell the algorithm of a key that the caller may not know of', async () => {
    await fixture.create('app/secret', 'A256GCM');
    await failureOf(encrypt('app/secret', callerOf(OTHER)));
    await failureOf(encrypt('app/nothing', callerOf(OTHER)));
    const [existing, unknown] = fixture.log.refusals.map(({ key, inputs, latencyMicros, ...entry }) => entry);
    expect(existing).toEqual(unknown);
    expect(existing).not.toHaveProperty('algorithm');
  });

  it('is counted with its like when the request was permitted and no token was asked', async () => {
    await fixture.create(KEYS.encrypt, 'A256GCM');
    for (let i = 0; i < 20; i++) {
      await failureOf(
        fixture.keyUse.decrypt(callerOf(), callFor(), {
          key: KEYS.encrypt,
          ciphertext: Buffer.from(`garbage ${i}`),
          associatedData: NONE,
        }),
      );
    }
    expect(fixture.log.uses).toEqual([]);
    expect(fixture.log.refusals).toHaveLength(20);
  });
});

describe('a signature of the wrong length', () => {
  it('is withheld and on record also where nothing else is verified', async () => {
    await fixture.create('app/unverified', 'ES256', { verify: 'never', tokens: ['one'] });
    fixture.token.fault = ({ kind }) => (kind === 'sign' ? 'short' : undefined);
    const failure = await failureOf(sign('app/unverified'));
    expect(failure.performed).not.toBe('no');
    expect(fixture.token.findings).toHaveLength(1);
    expect(fixture.log.uses).toMatchObject([{ attempts: [{ outcome: 'mismatch' }] }]);
  });
});

describe('verifications that callers ask for', () => {
  it('are bounded for each workload and leave room for signatures', async () => {
    await fixture.create(KEYS.sign, 'ES256');
    const { signature } = await sign(KEYS.sign);
    const verify = (call = callFor()) =>
      fixture.keyUse.verify(callerOf(), call, {
        key: KEYS.sign,
        version: 0,
        algorithm: 'ES256',
        content: { kind: 'message', bytes: plaintext },
        signature,
        der: false,
      });
    const outcomes = await Promise.allSettled([
      ...Array.from({ length: 200 }, () => verify()),
      sign(KEYS.sign),
    ]);
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(outcomes.at(-1)!.status).toBe('fulfilled');
    expect(refused).toHaveLength(72);
    expect(refused[0]!.reason).toMatchObject({ reason: 'BUSY', performed: 'no' });
    // And their places are given back.
    expect(await verify()).toMatchObject({ valid: true });
    const gone = callFor();
    gone.cancel();
    expect((await failureOf(verify(gone))).reason).toBe('CANCELLED');
  });
});

describe('a log that fails while operations wait', () => {
  it('keeps them from the token', async () => {
    await fixture.create(KEYS.sign, 'ES256', { tokens: ['one'] });
    fixture.token.capacity = 1;
    const gate = fixture.token.hold('sign');
    const running = Array.from({ length: 4 }, () => sign(KEYS.sign));
    await gate.reached;
    const waiting = failureOf(sign(KEYS.sign));
    const { AuditError } = await import('../audit/entry.ts');
    fixture.log.failure = new AuditError('AUDIT_UNAVAILABLE', 'disk full');
    gate.release();
    await Promise.allSettled(running);
    expect((await waiting).reason).toBe('AUDIT_UNAVAILABLE');
    expect(fixture.token.count('sign')).toBe(4);
    fixture.log.failure = undefined;
  });
});

describe('keys on one token and keys on both', () => {
  it('are served in turn: a flood for the one does not starve the other', async () => {
    await fixture.create('app/both', 'ES256');
    await fixture.create('app/one', 'ES256', { tokens: ['one'] });
    for (const token of fixture.tokens) token.capacity = 1;
    const gates = fixture.tokens.map((token) => token.hold('sign'));
    const order: string[] = [];
    const flood = Array.from({ length: 60 }, () => sign('app/both').then(() => order.push('both')));
    await Promise.all(gates.map((gate) => gate.reached));
    const victim = Array.from({ length: 5 }, () => sign('app/one').then(() => order.push('one')));
    for (const gate of gates) gate.release();
    await Promise.all([...flood, ...victim]);
    expect(order.lastIndexOf('one')).toBeLessThan(40);
  });
});

describe('a MAC that comes back wrong', () => {
  it('is not released: it is made twice, and the token leaves service', async () => {
    await fixture.create('app/mac', 'HS256');
    let isFirst = true;
    for (const token of fixture.tokens) {
      token.fault = ({ kind }) => {
        if (kind !== 'sign' || !isFirst) return undefined;
        isFirst = false;
        return 'wrong-bytes';
      };
    }
    const request = { key: 'app/mac', version: 0, algorithm: 'HS256', message: plaintext };
    const { mac } = await fixture.keyUse.mac(callerOf(), callFor(), request);
    expect(fixture.log.uses.at(-1)!.attempts).toMatchObject([{ outcome: 'mismatch' }, { outcome: 'ok' }]);
    expect(fixture.tokens.flatMap((token) => token.findings)).toHaveLength(1);
    expect(await fixture.keyUse.verifyMac(callerOf(), callFor(), { ...request, mac })).toMatchObject({
      valid: true,
    });
  });
});

describe('a MAC of which one of two runs', () => {
  it('was used: nothing is given back', async () => {
    await fixture.create('app/mac', 'HS256', { tokens: ['one'] });
    let calls = 0;
    fixture.token.fault = ({ kind }) =>
      kind === 'sign' && calls++ % 2 === 1 ? { reason: 'QUEUE_FULL', performed: 'no' } : undefined;
    const failure = await failureOf(
      fixture.keyUse.mac(callerOf(), callFor(), {
        key: 'app/mac',
        version: 0,
        algorithm: 'HS256',
        message: plaintext,
      }),
    );
    expect(failure).toMatchObject({ reason: 'BUSY', performed: 'unknown' });
  });
});
