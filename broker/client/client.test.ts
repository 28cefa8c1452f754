import { createSign, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compactVerify } from 'jose';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FakeBroker, refusal } from '../../test/fakes/fake-broker.ts';
import { SvidIssuer, writeSvidFiles } from '../../test/fakes/svid-files.ts';
import { connect, type LastmileClient, LastmileError } from './client.ts';
import { connectOperator } from './operator-client.ts';

const BROKER = 'spiffe://example.org/lastmile/broker';
const PAYMENTS = 'spiffe://example.org/ns/payments/sa/api';
const LOG = { origin: 'example.org/log', leafIndex: 7 };
const BYTES = new Uint8Array([1, 2, 3]);

let issuer: SvidIssuer;
let directory: string;
let broker: FakeBroker;
let client: LastmileClient;
let seen: Record<string, unknown>;

beforeAll(async () => {
  issuer = await SvidIssuer.create();
});
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'client-'));
  const svid = writeSvidFiles(directory, await issuer.issue(PAYMENTS), issuer.certificate);
  broker = await FakeBroker.start(await issuer.issue(BROKER), issuer.certificate);
  client = await connect({ target: broker.target, brokerId: BROKER, svid });
});
afterEach(async () => {
  client.close();
  await broker.stop();
  rmSync(directory, { recursive: true });
});

function answers(method: string, response: Record<string, unknown>): void {
  broker.answers.set(method, (request) => {
    seen = { ...request };
    return response;
  });
}

describe('LastmileClient', () => {
  it('signs a message, raw by default', async () => {
    answers('Sign', { signature: BYTES, version: 2, log: LOG });
    const signed = await client.sign({ key: 'payments/jwt', algorithm: 'ES256', message: BYTES });
    expect(signed).toEqual({ signature: BYTES, version: 2, log: LOG });
    expect(signed.signature.constructor).toBe(Uint8Array);
    expect(seen).toMatchObject({ key: 'payments/jwt', algorithm: 'ES256', message: Buffer.from(BYTES) });
    expect(seen.digest).toBeUndefined();
  });

  it('signs a digest in DER with a pinned version', async () => {
    answers('Sign', { signature: BYTES, version: 3, log: LOG });
    await client.sign({ key: 'k', version: 3, algorithm: 'ES256', digest: BYTES, signatureFormat: 'der' });
    expect(seen).toMatchObject({ version: 3, digest: Buffer.from(BYTES), signatureFormat: 1 });
    expect(seen.message).toBeUndefined();
  });

  it('sends an empty message as a message, not as nothing', async () => {
    broker.answers.set('Sign', (request) => {
      seen = { content: (request as { content?: string }).content };
      return { signature: BYTES, version: 1, log: LOG };
    });
    await client.sign({ key: 'k', algorithm: 'ES256', message: new Uint8Array() });
    expect(seen.content).toBe('message');
  });

  it('refuses both or neither of message and digest before anything is sent', async () => {
    const both = { key: 'k', algorithm: 'ES256', message: BYTES, digest: BYTES };
    await expect(client.sign(both as never)).rejects.toMatchObject({
      reason: 'REQUEST_INVALID',
      performed: 'no',
    });
    await expect(client.sign({ key: 'k', algorithm: 'ES256' } as never)).rejects.toMatchObject({
      reason: 'REQUEST_INVALID',
    });
    expect(broker.handshakes).toBe(0);
  });

  it('verifies', async () => {
    answers('Verify', { valid: false, version: 1 });
    await expect(
      client.verify({ key: 'k', algorithm: 'ES256', message: BYTES, signature: BYTES }),
    ).resolves.toEqual({ valid: false, version: 1 });
    expect(seen).toMatchObject({ signature: Buffer.from(BYTES) });
  });

  it('encrypts and decrypts with associated data', async () => {
    answers('Encrypt', { ciphertext: BYTES, version: 1, log: LOG });
    await expect(client.encrypt({ key: 'k', plaintext: BYTES, associatedData: BYTES })).resolves.toEqual({
      ciphertext: BYTES,
      version: 1,
      log: LOG,
    });
    expect(seen).toMatchObject({ associatedData: Buffer.from(BYTES) });
    answers('Decrypt', { plaintext: BYTES, version: 1, log: LOG });
    await expect(client.decrypt({ key: 'k', ciphertext: BYTES })).resolves.toMatchObject({
      plaintext: BYTES,
    });
  });

  it('makes and verifies MACs', async () => {
    answers('Mac', { mac: BYTES, version: 1, log: LOG });
    await expect(client.mac({ key: 'k', message: BYTES })).resolves.toMatchObject({ mac: BYTES });
    answers('VerifyMac', { valid: true, version: 1, log: LOG });
    await expect(client.verifyMac({ key: 'k', message: BYTES, mac: BYTES })).resolves.toEqual({
      valid: true,
      version: 1,
      log: LOG,
    });
  });

  it('asks for JWTs, certificates and envelopes', async () => {
    answers('SignJwt', { jwt: 'a.b.c', version: 2, log: LOG });
    await expect(client.signJwt({ key: 'k', claims: { sub: 'ä' }, lifetimeSeconds: 60 })).resolves.toEqual({
      jwt: 'a.b.c',
      version: 2,
      log: LOG,
    });
    expect(seen).toMatchObject({
      key: 'k',
      claims: Buffer.from('{"sub":"ä"}'),
      lifetimeSeconds: 60,
      type: '',
    });

    answers('SignCertificate', { certificate: BYTES, version: 1, log: LOG });
    const pem = '-----BEGIN CERTIFICATE REQUEST-----\nAQID\n-----END CERTIFICATE REQUEST-----\n';
    await expect(client.signCertificate({ key: 'k', profile: 'web', csr: pem })).resolves.toEqual({
      certificate: BYTES,
      pem: `-----BEGIN CERTIFICATE-----\n${Buffer.from(BYTES).toString('base64')}\n-----END CERTIFICATE-----\n`,
      version: 1,
      log: LOG,
    });
    expect(seen).toMatchObject({ profile: 'web', csr: Buffer.of(1, 2, 3) });
    await client.signCertificate({ key: 'k', profile: 'root', publicKey: 'self', dnsNames: ['a.example'] });
    expect(seen).toMatchObject({
      publicKey: { spki: Buffer.alloc(0), dnsNames: ['a.example'], uris: [] },
    });

    answers('SignDsse', { envelope: BYTES, version: 1, log: LOG });
    await expect(
      client.signDsse({ key: 'k', payloadType: 'text/plain', payload: 'hello', version: 3 }),
    ).resolves.toEqual({ envelope: BYTES, version: 1, log: LOG });
    expect(seen).toMatchObject({ payloadType: 'text/plain', payload: Buffer.from('hello'), version: 3 });
  });

  it('says so when a CSR is no CSR, and sends nothing', async () => {
    seen = undefined as never;
    await expect(client.signCertificate({ key: 'k', profile: 'web', csr: 'not PEM' })).rejects.toMatchObject({
      reason: 'REQUEST_INVALID',
      performed: 'no',
    });
    expect(seen).toBeUndefined();
  });

  it('makes data keys and random bytes', async () => {
    answers('GenerateDataKey', { plaintext: BYTES, wrapped: new Uint8Array([9]), version: 1, log: LOG });
    await expect(client.generateDataKey({ key: 'k', length: 32 })).resolves.toMatchObject({
      plaintext: BYTES,
      wrapped: new Uint8Array([9]),
    });
    answers('GenerateRandom', { random: BYTES, log: LOG });
    await expect(client.generateRandom(3)).resolves.toEqual({ random: BYTES, log: LOG });
  });

  it('reads public keys, the list of keys and receipts', async () => {
    answers('GetPublicKey', {
      pem: 'PEM',
      jwk: '{"kty":"EC"}',
      kid: 'x',
      version: 1,
      algorithms: ['ES256'],
      otherJwks: ['{"kty":"OKP"}'],
    });
    await expect(client.getPublicKey({ key: 'k' })).resolves.toEqual({
      pem: 'PEM',
      jwk: { kty: 'EC' },
      kid: 'x',
      version: 1,
      algorithms: ['ES256'],
      otherJwks: [{ kty: 'OKP' }],
    });
    const key = { key: 'k', activeVersion: 1, purpose: 'sign', algorithms: ['ES256'], operations: ['sign'] };
    answers('ListKeys', { keys: [key] });
    await expect(client.listKeys()).resolves.toEqual([key]);
    answers('GetReceipt', { receipt: 'c2sp.org/tlog-proof@v1\n', entry: BYTES, leafHash: BYTES });
    await expect(client.getReceipt(7)).resolves.toEqual({
      receipt: 'c2sp.org/tlog-proof@v1\n',
      entry: BYTES,
      leafHash: BYTES,
    });
    expect(seen).toMatchObject({ leafIndex: 7 });
  });

  it('throws LastmileError with what the broker said', async () => {
    broker.answers.set('Sign', () => {
      throw refusal('APPROVAL_REQUIRED', 'no', 'two approvals are missing', { approval: '17' });
    });
    const error = await client
      .sign({ key: 'k', algorithm: 'ES256', message: BYTES })
      .catch((e: unknown) => e);
    expect(error).toBeInstanceOf(LastmileError);
    expect(error).toMatchObject({
      reason: 'APPROVAL_REQUIRED',
      code: 'FAILED_PRECONDITION',
      performed: 'no',
      metadata: { approval: '17' },
      message: 'two approvals are missing',
    });
  });

  it('does not hand out a result without its place in the log', async () => {
    answers('Sign', { signature: BYTES, version: 1 });
    await expect(client.sign({ key: 'k', algorithm: 'ES256', message: BYTES })).rejects.toMatchObject({
      reason: 'PROTOCOL_MISMATCH',
      performed: 'yes',
    });
  });

  it('is closed by `await using`', async () => {
    let kept: LastmileClient;
    {
      const svid = writeSvidFiles(directory, await issuer.issue(PAYMENTS), issuer.certificate);
      await using scoped = await connect({ target: broker.target, brokerId: BROKER, svid });
      kept = scoped;
    }
    await expect(kept.listKeys()).rejects.toMatchObject({ reason: 'CLIENT_CLOSED' });
  });
});

describe('signJws', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  beforeEach(() => {
    broker.answers.set('Sign', (request) => {
      seen = { ...request };
      const signature = createSign('sha256')
        .update(request.message as Buffer)
        .sign({ key: privateKey, dsaEncoding: 'ieee-p1363' });
      return { signature, version: 4, log: LOG };
    });
  });

  it.each([
    ['an object', { sub: 'x', amount: 1 }, '{"sub":"x","amount":1}'],
    ['a string', 'grüße', 'grüße'],
    ['bytes', new TextEncoder().encode('bytes'), 'bytes'],
  ] as const)('of %s verifies with jose', async (_what, payload, expected) => {
    const jws = await client.signJws({ alg: 'ES256', typ: 'JWT', kid: 'k1' }, payload, {
      key: 'payments/jwt',
      version: 4,
    });
    const verified = await compactVerify(jws, publicKey);
    expect(new TextDecoder().decode(verified.payload)).toBe(expected);
    expect(verified.protectedHeader).toEqual({ alg: 'ES256', typ: 'JWT', kid: 'k1' });
    expect(seen).toMatchObject({ key: 'payments/jwt', version: 4, algorithm: 'ES256' });
  });

  it('is refused for an unencoded payload and without an algorithm', async () => {
    await expect(client.signJws({ alg: 'ES256', b64: false }, 'x', { key: 'k' })).rejects.toMatchObject({
      reason: 'REQUEST_INVALID',
    });
    await expect(client.signJws({} as never, 'x', { key: 'k' })).rejects.toMatchObject({
      reason: 'REQUEST_INVALID',
    });
  });
});

describe('OperatorClient', () => {
  it('calls Admin and Audit by name', async () => {
    const svid = writeSvidFiles(directory, await issuer.issue(PAYMENTS), issuer.certificate);
    await using operator = await connectOperator({ target: broker.target, brokerId: BROKER, svid });
    answers('Freeze', { log: LOG });
    await expect(operator.admin('Freeze', { kind: 'key', subject: 'k', reason: 'r' })).resolves.toMatchObject(
      { log: LOG },
    );
    expect(seen).toMatchObject({ kind: 'key', subject: 'k', reason: 'r' });
    answers('Query', { entries: [{ leafIndex: 3, entry: Buffer.from('{}') }], logSize: 4 });
    const { entries, logSize } = await operator.audit('Query', { limit: 1 });
    expect([entries[0]?.leafIndex, logSize]).toEqual([3, 4]);
  });
});
