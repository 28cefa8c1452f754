import { createPublicKey, verify } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { API, callerOf, callFor, failureOf, KeyUseFixture, OTHER } from '../../test/fakes/key-use-fixture.ts';
import { formatEntry } from '../audit/entry-format.ts';
import type { Call } from '../keyuse/call.ts';
import type { Failure } from '../keyuse/failure.ts';
import { codec } from '../proto/codec.ts';
import type { KeyUseMethod } from '../proto/methods.ts';
import { keyUseHandlers } from './key-use-service.ts';

type Reply = Readonly<Record<string, unknown>>;

const MESSAGE = Buffer.from('a message');
let fixture: KeyUseFixture;
let handlers: ReturnType<typeof keyUseHandlers>;
let receipt: string | undefined;
let failures: Failure[];

beforeEach(() => {
  fixture = new KeyUseFixture();
  receipt = 'a receipt';
  failures = [];
  handlers = keyUseHandlers(fixture.keyUse, {
    origin: fixture.log.origin,
    getReceipt: async () => receipt,
    getEntry: async (leaf) => {
      const entry = fixture.log.entries[leaf];
      const place = { leaf, time: '2026-03-01T12:00:00.000Z', salt: '', seq: 0, prev: '' };
      return entry === undefined ? undefined : Buffer.from(formatEntry(entry, place));
    },
  });
});
afterEach(() => fixture.close());

const encode = (name: string, value: object): Buffer =>
  codec<object, object>(`lastmile.v1.${name}`).encode(value);
const decode = (name: string, bytes: Uint8Array): Reply =>
  codec<object, Record<string, unknown>>(`lastmile.v1.${name}`).decode(bytes);

async function ask(
  method: Exclude<KeyUseMethod, 'SignStream'>,
  request: object,
  caller = callerOf(),
): Promise<Reply> {
  const bytes = await handlers[method](caller, callFor(), encode(`${method}Request`, request));
  return decode(`${method}Response`, bytes);
}

async function stream(request: object, deadline = performance.now() + 10_000): Promise<[Reply, Call[]]> {
  const calls: Call[] = [];
  const bytes = await handlers.signStream(
    callerOf(),
    (until) => {
      const call = callFor(until - performance.now());
      calls.push(call);
      return call;
    },
    deadline,
    encode('SignStreamRequest', request),
    (error) => failures.push(error),
  );
  return [decode('SignStreamResponse', bytes), calls];
}

describe('Sign', () => {
  it('signs a message or its digest, raw or DER, and says the version and the place in the log', async () => {
    await fixture.create('app/k', 'ES256');
    const { pem } = await ask('GetPublicKey', { key: 'app/k' });
    const publicKey = createPublicKey(pem as string);
    const request = { key: 'app/k', algorithm: 'ES256', message: MESSAGE };
    const raw = await ask('Sign', request);
    const der = await ask('Sign', { ...request, signatureFormat: 1 });
    expect(raw).toMatchObject({ version: 1, log: { origin: fixture.log.origin } });
    expect(
      verify('sha256', MESSAGE, { key: publicKey, dsaEncoding: 'ieee-p1363' }, raw['signature'] as Buffer),
    ).toBe(true);
    expect(
      verify('sha256', MESSAGE, { key: publicKey, dsaEncoding: 'der' }, der['signature'] as Buffer),
    ).toBe(true);
    for (const [signature, signatureFormat, valid] of [
      [raw['signature'], 0, true],
      [der['signature'], 1, true],
      [raw['signature'], 1, false],
    ] as const) {
      expect(await ask('Verify', { ...request, signature, signatureFormat })).toMatchObject({
        valid,
        version: 1,
      });
    }
  });

  it('takes the last of message and digest, an empty message for empty, and neither for neither', async () => {
    await fixture.create('app/k', 'ES256');
    const request = { key: 'app/k', algorithm: 'ES256' };
    expect((await failureOf(ask('Sign', request))).message).toBe('neither message nor digest is given');
    expect((await failureOf(ask('Sign', { ...request, message: Buffer.alloc(0) }))).message).toBe(
      'message is empty',
    );
    expect((await failureOf(ask('Sign', { ...request, digest: Buffer.alloc(0) }))).message).toContain(
      'digest must be',
    );
  });

  it('refuses a signature format that nobody defined', async () => {
    await fixture.create('app/k', 'ES256');
    const request = { key: 'app/k', algorithm: 'ES256', message: MESSAGE, signatureFormat: 2 };
    expect(await failureOf(ask('Sign', request))).toMatchObject({
      reason: 'REQUEST_INVALID',
      performed: 'no',
    });
  });
});

describe('every method', () => {
  it('refuses bytes that are no message, and asks no token', async () => {
    for (const method of Object.keys(handlers) as (keyof typeof handlers)[]) {
      if (method === 'signStream') continue;
      const failure = await failureOf(handlers[method](callerOf(), callFor(), Buffer.from([0x80])));
      expect(failure, method).toMatchObject({ reason: 'REQUEST_INVALID', performed: 'no' });
    }
    expect(fixture.tokens.flatMap((token) => token.calls)).toEqual([]);
  });

  it('for secret keys carries what the transaction made', async () => {
    await fixture.create('app/box', 'A256GCM');
    await fixture.create('app/mac', 'HS256');
    const associatedData = Buffer.from('row 1');
    const { ciphertext } = await ask('Encrypt', { key: 'app/box', plaintext: MESSAGE, associatedData });
    expect(await ask('Decrypt', { key: 'app/box', ciphertext, associatedData })).toMatchObject({
      plaintext: MESSAGE,
      version: 1,
    });
    const { wrapped, plaintext } = await ask('GenerateDataKey', { key: 'app/box', associatedData });
    expect(await ask('Decrypt', { key: 'app/box', ciphertext: wrapped, associatedData })).toMatchObject({
      plaintext,
    });
    const authentic = { key: 'app/mac', algorithm: 'HS256', message: MESSAGE };
    const { mac } = await ask('Mac', authentic);
    expect(await ask('VerifyMac', { ...authentic, mac })).toMatchObject({ valid: true });
    expect(await ask('VerifyMac', { ...authentic, mac: Buffer.alloc(32) })).toMatchObject({ valid: false });
    expect((await ask('GenerateRandom', { length: 48 }))['random']).toHaveLength(48);
  });

  it('lists the caller’s keys alone', async () => {
    await fixture.create('app/k', 'ES256');
    await fixture.create('treasury/k', 'ES256');
    expect(await ask('ListKeys', {})).toMatchObject({
      keys: [
        {
          key: 'app/k',
          activeVersion: 1,
          purpose: 'sign',
          algorithms: ['ES256'],
          operations: ['sign', 'verify'],
        },
      ],
    });
    expect((await ask('ListKeys', {}, callerOf(OTHER)))['keys']).toEqual([]);
  });
});

describe('GetPublicKey', () => {
  it('gives PEM, JWK and thumbprint, and every key where each token has its own', async () => {
    await fixture.create('app/k', 'Ed25519');
    const found = await ask('GetPublicKey', { key: 'app/k' });
    const jwk = JSON.parse(found['jwk'] as string);
    expect(jwk).toMatchObject({ kty: 'OKP', crv: 'Ed25519', kid: found['kid'], alg: 'Ed25519' });
    const others = (found['otherJwks'] as string[]).map((text) => JSON.parse(text));
    expect(others).toHaveLength(1);
    expect(others[0].x).not.toBe(jwk.x);
    expect(JSON.stringify([jwk, others])).not.toContain('"d"');
  });

  it('gives nothing for a secret key', async () => {
    await fixture.create('app/mac', 'HS256');
    expect((await failureOf(ask('GetPublicKey', { key: 'app/mac' }))).reason).toBe('REQUEST_INVALID');
  });
});

describe('a message of SignStream', () => {
  const sign = { key: 'app/k', algorithm: 'ES256', message: MESSAGE };

  it('is answered under its own id, signed or not', async () => {
    await fixture.create('app/k', 'ES256');
    const [signed] = await stream({ requestId: 'r1', sign });
    expect(signed).toMatchObject({ requestId: 'r1', signed: { version: 1 } });
    const [refused] = await stream({ requestId: 'r2', sign: { ...sign, key: 'treasury/k' } });
    expect(refused).toMatchObject({
      requestId: 'r2',
      error: { code: 7, message: 'the policy does not allow this' },
    });
    expect((await stream({ requestId: 'r3' }))[0]).toMatchObject({ requestId: 'r3', error: { code: 3 } });
    expect(failures.map(({ reason }) => reason)).toEqual(['POLICY_DENIED', 'REQUEST_INVALID']);
  });

  it('has the earlier of its own deadline and the stream’s', async () => {
    await fixture.create('app/k', 'ES256');
    const end = performance.now() + 5_000;
    const [, [unlimited]] = await stream({ requestId: 'r', sign }, end);
    const [, [longer]] = await stream({ requestId: 'r', sign, timeoutMs: 60_000 }, end);
    const [, [shorter]] = await stream({ requestId: 'r', sign, timeoutMs: 1_000 }, end);
    for (const call of [unlimited!, longer!]) expect(Math.abs(call.deadline - end)).toBeLessThan(50);
    expect(shorter!.deadline).toBeLessThan(end - 3_000);
  });

  it.each(['', 'x'.repeat(65)])(
    'without an id that can be answered ends the stream: %j',
    async (requestId) => {
      expect((await failureOf(stream({ requestId, sign }))).reason).toBe('REQUEST_INVALID');
    },
  );

  it('tells an internal error to the operator, and to the caller only that it is one', async () => {
    await fixture.create('app/k', 'ES256');
    const cause = new Error('a secret detail');
    for (const token of fixture.tokens) token.fault = () => ({ throws: cause });
    const [reply] = await stream({ requestId: 'r', sign });
    expect(reply).toMatchObject({ error: { code: 13, message: 'internal error' } });
    expect(JSON.stringify(reply)).not.toContain('secret');
    expect(failures).toMatchObject([{ reason: 'INTERNAL', cause }]);
  });
});

describe('GetReceipt', () => {
  const receiptOf = (leafIndex: number, caller = callerOf()) => ask('GetReceipt', { leafIndex }, caller);

  it('is for the subject of the entry; anybody else’s and none at all look the same', async () => {
    await fixture.create('app/k', 'ES256');
    const { log } = await ask('Sign', { key: 'app/k', algorithm: 'ES256', message: MESSAGE });
    const { leafIndex } = log as { leafIndex: number };
    const found = await receiptOf(leafIndex);
    expect(found['receipt']).toBe('a receipt');
    expect(JSON.parse(Buffer.from(found['entry'] as Uint8Array).toString())).toMatchObject({ subject: API });
    const failures = [await failureOf(receiptOf(leafIndex, callerOf(OTHER))), await failureOf(receiptOf(99))];
    for (const failure of failures) {
      expect(failure).toMatchObject({ reason: 'POLICY_DENIED', message: 'the policy does not allow this' });
    }
    expect(fixture.log.refusals.map(({ operation }) => operation)).toEqual(['get-receipt', 'get-receipt']);
  });

  it('shows its entry to nobody whose SVID has expired', async () => {
    await fixture.create('app/k', 'ES256');
    await ask('Sign', { key: 'app/k', algorithm: 'ES256', message: MESSAGE });
    expect((await failureOf(receiptOf(0, callerOf(API, 0)))).reason).toBe('SVID_EXPIRED');
  });

  it('says when no checkpoint can be signed', async () => {
    await fixture.create('app/k', 'ES256');
    await ask('Sign', { key: 'app/k', algorithm: 'ES256', message: MESSAGE });
    receipt = undefined;
    expect((await failureOf(receiptOf(0))).reason).toBe('AUDIT_UNAVAILABLE');
  });
});
