import { createHash } from 'node:crypto';
import type { Client } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LastmileClient } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { RESERVED_PREFIX } from '../../../broker/keyuse/key-proof.ts';
import { codec, declaredMethods } from '../../../broker/proto/codec.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import {
  allowPayments,
  operator,
  type RawAnswer,
  rawCall,
  rawClient,
  rawStream,
  refusal,
  status,
  workload,
} from '../../fakes/instance-clients.ts';

/** What a caller may get wrong gets a clear code, and harms nobody. */

const MIB = 1024 * 1024;
const KIB_64 = 64 * 1024;
const INVALID_ARGUMENT = 3;
const message = Buffer.from('a message');

let instance: RunningInstance;
let admin: OperatorClient;
let client: LastmileClient;
let raw: Client;
let rawAdmin: Client;

beforeAll(async () => {
  instance = await startInstance({
    prepare: (directory) => allowPayments(directory, 'payments-tries', 'tried/*'),
  });
  admin = await operator(instance);
  client = await workload(instance, 'payments');
  raw = rawClient(instance, 'payments', 'target');
  rawAdmin = rawClient(instance, 'operator', 'control');
  for (const [key, purpose, algorithm] of [
    ['tried/ed25519', 'sign', 'Ed25519'],
    ['tried/es384', 'sign', 'ES384'],
    ['tried/rs256', 'sign', 'RS256'],
  ] as const) {
    await admin.admin('CreateKey', { key, purpose, algorithms: [algorithm] });
  }
});

afterAll(async () => {
  raw?.close();
  rawAdmin?.close();
  client?.close();
  admin?.close();
  await instance?.stop();
});

async function refused(call: Promise<unknown>): Promise<string> {
  const error = await refusal(call);
  expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'REQUEST_INVALID', performed: 'no' });
  return error.message;
}

describe('a message to sign', () => {
  const largest = Buffer.alloc(MIB, 'x');
  const tooLarge = Buffer.alloc(MIB + 1, 'x');

  it('may have 1 MiB', async () => {
    for (const [key, algorithm] of [
      ['payments/jwt', 'ES256'],
      ['tried/ed25519', 'Ed25519'],
    ] as const) {
      const { signature } = await client.sign({ key, algorithm, message: largest });
      expect(await client.verify({ key, algorithm, message: largest, signature })).toMatchObject({
        valid: true,
      });
    }
    const { mac } = await client.mac({ key: 'payments/webhook', message: largest });
    expect(await client.verifyMac({ key: 'payments/webhook', message: largest, mac })).toMatchObject({
      valid: true,
    });
  });

  it('of a byte more is refused, with advice that fits the algorithm and works', async () => {
    expect(await refused(client.sign({ key: 'payments/jwt', algorithm: 'ES256', message: tooLarge }))).toBe(
      'message is over 1 MiB. Send its SHA256 digest instead',
    );
    const digest = createHash('sha256').update(tooLarge).digest();
    expect((await client.sign({ key: 'payments/jwt', algorithm: 'ES256', digest })).signature).toHaveLength(
      64,
    );
    expect(await refused(client.sign({ key: 'tried/es384', algorithm: 'ES384', message: tooLarge }))).toBe(
      'message is over 1 MiB. Send its SHA384 digest instead',
    );
    const ed25519 = await refused(
      client.sign({ key: 'tried/ed25519', algorithm: 'Ed25519', message: tooLarge }),
    );
    expect(ed25519).toMatch(/^message is over 1 MiB\. Ed25519 takes the whole message/);
    expect(await refused(client.mac({ key: 'payments/webhook', message: tooLarge }))).toMatch(
      /^message is over 1 MiB/,
    );
  });

  it('is not empty, and is there', async () => {
    const empty = Buffer.alloc(0);
    expect(await refused(client.sign({ key: 'payments/jwt', algorithm: 'ES256', message: empty }))).toBe(
      'message is empty',
    );
    expect(await refused(client.sign({ key: 'payments/jwt', algorithm: 'ES256', digest: empty }))).toBe(
      'digest must be 32 bytes for ES256',
    );
    expect(await refused(client.mac({ key: 'payments/webhook', message: empty }))).toBe('message is empty');
    expect(
      await told('Sign', { key: 'payments/jwt', algorithm: 'ES256' }),
      'neither message nor digest',
    ).toMatchObject({ code: INVALID_ARGUMENT, details: 'neither message nor digest is given' });
  });

  it('does not begin like the broker’s own proofs of a key', async () => {
    const text = 'message begins with a prefix that is reserved for proofs of keys';
    const proof = Buffer.concat([RESERVED_PREFIX, message]);
    expect(await refused(client.sign({ key: 'payments/jwt', algorithm: 'ES256', message: proof }))).toBe(
      text,
    );
    expect(await refused(client.mac({ key: 'payments/webhook', message: proof }))).toBe(text);
  });
});

describe('a plaintext', () => {
  const key = 'payments/data';

  it('may have 64 KiB, with 64 KiB of associated data, and comes back', async () => {
    const plaintext = Buffer.alloc(KIB_64, 'p');
    const associatedData = Buffer.alloc(KIB_64, 'a');
    const { ciphertext } = await client.encrypt({ key, plaintext, associatedData });
    const opened = await client.decrypt({ key, ciphertext, associatedData });
    expect(Buffer.from(opened.plaintext).equals(plaintext)).toBe(true);
  });

  it('of a byte more is refused with the way out', async () => {
    expect(await refused(client.encrypt({ key, plaintext: Buffer.alloc(KIB_64 + 1) }))).toMatch(
      /^plaintext is over 64 KiB: use GenerateDataKey/,
    );
    const associatedData = Buffer.alloc(KIB_64 + 1);
    const text = 'associated data is over 64 KiB';
    expect(await refused(client.encrypt({ key, plaintext: message, associatedData }))).toBe(text);
    expect(await refused(client.generateDataKey({ key, associatedData }))).toBe(text);
    expect(await refused(client.decrypt({ key, ciphertext: Buffer.alloc(60), associatedData }))).toBe(text);
  });

  it('is not empty, nor is a ciphertext, nor longer than Encrypt makes', async () => {
    expect(await refused(client.encrypt({ key, plaintext: Buffer.alloc(0) }))).toBe('plaintext is empty');
    expect(await refused(client.decrypt({ key, ciphertext: Buffer.alloc(0) }))).toBe('ciphertext is empty');
    expect(await refused(client.decrypt({ key, ciphertext: Buffer.alloc(KIB_64 + 513) }))).toBe(
      'ciphertext is longer than Encrypt makes',
    );
  });

  it('that is a data key has one of five lengths', async () => {
    for (const length of [1, 31, 33, 65, 4_294_967_295])
      expect(await refused(client.generateDataKey({ key, length }))).toBe(
        'length must be 16, 24, 32, 48 or 64 bytes',
      );
  });
});

function told(name: string, request: object): Promise<RawAnswer> {
  const { encode } = codec<object, object>(`lastmile.v1.${name}Request`);
  return rawCall(raw, `/lastmile.v1.KeyUse/${name}`, encode(request));
}

describe('a request that does not fit its key', () => {
  it.each([
    ['a digest too short', { algorithm: 'ES256', digest: Buffer.alloc(31) }, 'digest must be 32 bytes'],
    ['a digest too long', { algorithm: 'ES256', digest: Buffer.alloc(33) }, 'digest must be 32 bytes'],
    ['another hash’s digest', { algorithm: 'ES384', digest: Buffer.alloc(32) }, 'digest must be 48 bytes'],
    ['another curve', { algorithm: 'ES256', message }, 'algorithm does not fit the key, which is for ES384'],
    ['another kind of key', { algorithm: 'RS256', message }, 'algorithm does not fit the key'],
    ['a MAC’s algorithm', { algorithm: 'HS256', message }, 'algorithm is not one that signs'],
    ['a cipher', { algorithm: 'A256GCM', message }, 'algorithm is not one that signs'],
    ['no algorithm', { algorithm: '', message }, 'algorithm is not one that signs'],
    ['`none`', { algorithm: 'none', message }, 'algorithm is not one that signs'],
    ['a property of every object', { algorithm: 'constructor', message }, 'algorithm is not one that signs'],
    [
      'an unknown format',
      { algorithm: 'ES384', message, signatureFormat: 7 },
      'signature_format is not known',
    ],
  ])('%s is refused', async (_name, request, text) => {
    const answer = await told('Sign', { key: 'tried/es384', ...request });
    expect(answer).toMatchObject({ code: INVALID_ARGUMENT, reason: 'REQUEST_INVALID' });
    expect(answer.details).toContain(text);
  });

  it('DER of an algorithm that has none is refused', async () => {
    expect(
      await refused(client.sign({ key: 'tried/rs256', algorithm: 'RS256', message, signatureFormat: 'der' })),
    ).toBe('only ECDSA signatures have a DER form');
  });

  it('another purpose is refused', async () => {
    expect(await refused(client.encrypt({ key: 'tried/es384', plaintext: message }))).toBe(
      'the key is for sign',
    );
    expect(await refused(client.mac({ key: 'tried/es384', message }))).toBe('the key is for sign');
  });

  it.each([
    '',
    '/',
    'payments//jwt',
    '../payments/jwt',
    'payments/jwt/',
    'zahlungen/schlüssel',
    'x'.repeat(129),
  ])('the name `%s` is refused as malformed', async (key) => {
    expect(await told('Sign', { key, algorithm: 'ES256', message })).toMatchObject({
      code: INVALID_ARGUMENT,
      reason: 'REQUEST_INVALID',
    });
  });

  it('a signature that cannot be one is not valid, or refused where it is out of bounds', async () => {
    const verify = (signature: Buffer, signatureFormat: 'raw' | 'der' = 'raw') =>
      client.verify({ key: 'payments/jwt', algorithm: 'ES256', message, signature, signatureFormat });
    for (const signature of [1, 63, 65, 1024].map((length) => Buffer.alloc(length)))
      expect(await verify(signature)).toMatchObject({ valid: false });
    expect(await verify(Buffer.from('3006020101020101', 'hex'), 'der')).toMatchObject({ valid: false });
    expect(await verify(Buffer.from('not DER at all'), 'der')).toMatchObject({ valid: false });
    for (const length of [0, 1025])
      expect(await refused(verify(Buffer.alloc(length)))).toBe('signature must be 1 to 1024 bytes');
  });
});

describe('garbage for a message', () => {
  /** A field that announces more than there is; a group that never ends; a tag of field 0; a varint without end. */
  const garbage = ['0aff', '0b', '00', 'ffffffffffffffffffffffffff', '0a7f00', '82'].map((hex) =>
    Buffer.from(hex, 'hex'),
  );

  it('is an invalid request to every method', async () => {
    for (const method of declaredMethods()) {
      const path = `/lastmile.v1.${method.service}/${method.name}`;
      for (const payload of garbage) {
        const call = method.streaming ? rawStream : rawCall;
        const answer = await call(method.service === 'KeyUse' ? raw : rawAdmin, path, payload);
        expect(answer, `${path} ${payload.toString('hex')}`).toMatchObject({
          code: INVALID_ARGUMENT,
          reason: 'REQUEST_INVALID',
        });
      }
    }
  });

  it('that happens to decode is refused like any other request', async () => {
    // Fields that the message does not have, and none that it has.
    const unknown = Buffer.from('aa060548656c6c6fb0060c', 'hex');
    for (const name of ['Sign', 'Verify', 'Encrypt', 'Decrypt', 'Mac', 'VerifyMac', 'GenerateDataKey']) {
      expect(await rawCall(raw, `/lastmile.v1.KeyUse/${name}`, unknown)).toMatchObject({
        code: INVALID_ARGUMENT,
      });
    }
  });

  it('leaves everything as it was', async () => {
    const { state, tokens, processes } = await status(admin);
    expect(state).toBe('serving');
    expect(tokens.map((token) => token.state)).toEqual(['ready', 'ready']);
    expect(processes.map(({ restarts }) => restarts)).toEqual(processes.map(() => 0));
    expect(instance.output()).not.toContain('internal error');
  });
});

describe('a message of a stream', () => {
  it('without a request id, or with one that is too long, ends it with a reason', async () => {
    const { encode } = codec<object, object>('lastmile.v1.SignStreamRequest');
    for (const requestId of ['', 'x'.repeat(65)]) {
      const payload = encode({ requestId, sign: { key: 'payments/jwt', algorithm: 'ES256', message } });
      expect(await rawStream(raw, '/lastmile.v1.KeyUse/SignStream', payload)).toMatchObject({
        code: INVALID_ARGUMENT,
        details: 'request_id must be 1 to 64 bytes',
      });
    }
  });

  it('without a request is answered, and the stream goes on', async () => {
    const { encode } = codec<object, object>('lastmile.v1.SignStreamRequest');
    const answer = await rawStream(raw, '/lastmile.v1.KeyUse/SignStream', encode({ requestId: 'one' }));
    const { decode } = codec<object, object>('lastmile.v1.SignStreamResponse');
    expect(decode(answer.ok!)).toMatchObject({
      requestId: 'one',
      error: { code: INVALID_ARGUMENT, message: 'sign is missing' },
    });
    await using stream = client.signStream();
    const bad = refusal(stream.sign({ key: 'payments/jwt', algorithm: 'ES256', digest: Buffer.alloc(1) }));
    const right = stream.sign({ key: 'payments/jwt', algorithm: 'ES256', message });
    expect((await bad).message).toBe('digest must be 32 bytes for ES256');
    expect((await right).signature).toHaveLength(64);
  });
});
