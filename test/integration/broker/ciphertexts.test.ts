import type { Client } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LastmileClient } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { codec } from '../../../broker/proto/codec.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import {
  allowPayments,
  entries,
  operator,
  PAYMENTS,
  type RawAnswer,
  rawCall,
  rawClient,
  status,
  workload,
} from '../../fakes/instance-clients.ts';

/** Whatever is wrong with a ciphertext, its sender learns one thing: that it was rejected. */

const INVALID_ARGUMENT = 3;
const KEY = 'payments/data';
const OTHER = 'tried/other';
const plaintext = Buffer.from('4111 1111 1111 1111');
const associatedData = Buffer.from('card 17');
/** Magic, header length, algorithm, key version, key name. */
const HEADER_BYTES = 4 + 2 + 1 + 4 + KEY.length;
const IV_BYTES = 12;

let instance: RunningInstance;
let admin: OperatorClient;
let client: LastmileClient;
let raw: Client;
let good: Buffer;

beforeAll(async () => {
  instance = await startInstance({
    prepare: (directory) => allowPayments(directory, 'payments-has-another', 'tried/*'),
  });
  admin = await operator(instance);
  client = await workload(instance, 'payments');
  raw = rawClient(instance, 'payments', 'target');
  await admin.admin('CreateKey', { key: OTHER, purpose: 'encrypt', algorithms: ['A256GCM'] });
  good = Buffer.from((await client.encrypt({ key: KEY, plaintext, associatedData })).ciphertext);
});

afterAll(async () => {
  raw?.close();
  client?.close();
  admin?.close();
  await instance?.stop();
});

const { encode } = codec<object, object>('lastmile.v1.DecryptRequest');

function decrypt(ciphertext: Buffer, more: object = {}): Promise<RawAnswer> {
  const request = { key: KEY, ciphertext, associatedData, ...more };
  return rawCall(raw, '/lastmile.v1.KeyUse/Decrypt', encode(request));
}

function flipped(at: number): Buffer {
  const changed = Buffer.from(good);
  changed[at]! ^= 1;
  return changed;
}

function named(name: string, body: Buffer): Buffer {
  const header = Buffer.alloc(11);
  header.write('LMc1');
  header.writeUInt16BE(5 + name.length, 4);
  header.writeUInt8(1, 6);
  header.writeUInt32BE(1, 7);
  return Buffer.concat([header, Buffer.from(name), body]);
}

describe('a ciphertext', () => {
  it('is laid out as the tests below assume, and opens', async () => {
    expect(named(KEY, good.subarray(HEADER_BYTES))).toEqual(good);
    expect(good).toHaveLength(HEADER_BYTES + IV_BYTES + plaintext.length + 16);
    expect((await decrypt(good)).code).toBe(0);
  });

  const rejected: readonly [string, () => Promise<Buffer> | Buffer, object?][] = [
    ['its magic changed', () => flipped(0)],
    ['the length of its header changed', () => flipped(5)],
    ['its algorithm changed to RSA-OAEP-256', () => Buffer.from(good).fill(2, 6, 7)],
    ['its algorithm changed to one that there is not', () => Buffer.from(good).fill(9, 6, 7)],
    ['its version changed to one that there is not', () => Buffer.from(good).fill(7, 10, 11)],
    ['its version changed to 0', () => Buffer.from(good).fill(0, 10, 11)],
    ['its key name changed', () => flipped(11)],
    ['the first byte of its IV changed', () => flipped(HEADER_BYTES)],
    ['the last byte of its IV changed', () => flipped(HEADER_BYTES + IV_BYTES - 1)],
    ['its first encrypted byte changed', () => flipped(HEADER_BYTES + IV_BYTES)],
    ['its last encrypted byte changed', () => flipped(good.length - 17)],
    ['the first byte of its tag changed', () => flipped(good.length - 16)],
    ['the last byte of its tag changed', () => flipped(good.length - 1)],
    ['its last byte cut off', () => good.subarray(0, -1)],
    ['its tag cut off', () => good.subarray(0, -16)],
    ['everything after its IV cut off', () => good.subarray(0, HEADER_BYTES + IV_BYTES)],
    ['everything after its header cut off', () => good.subarray(0, HEADER_BYTES)],
    ['all but one byte cut off', () => good.subarray(0, 1)],
    ['a byte more', () => Buffer.concat([good, Buffer.alloc(1)])],
    ['other associated data', () => good, { associatedData: Buffer.from('card 18') }],
    ['no associated data', () => good, { associatedData: Buffer.alloc(0) }],
    ['its key named by the wrong one of two', () => good, { key: OTHER }],
    ['another key’s contents', othersCiphertext],
    [
      'another key’s contents under its own header',
      async () => named(KEY, (await othersCiphertext()).subarray(11 + OTHER.length)),
    ],
  ];

  async function othersCiphertext(): Promise<Buffer> {
    return Buffer.from((await client.encrypt({ key: OTHER, plaintext, associatedData })).ciphertext);
  }

  it.each(rejected)('with %s is rejected, and that is all it says', async (_name, make, more) => {
    const answer = await decrypt(await make(), more);
    expect(answer).toEqual({
      code: INVALID_ARGUMENT,
      details: 'ciphertext rejected',
      reason: 'CIPHERTEXT_REJECTED',
      metadata: answer.metadata,
      headers: answer.headers,
      ok: undefined,
    });
    // All alike to the last bit, `performed` included: no two ways to be wrong can be told apart.
    expect(answer).toEqual(await decrypt(flipped(good.length - 1)));
  });

  it('that wraps a data key is rejected in the same way', async () => {
    const { wrapped } = await client.generateDataKey({ key: KEY, associatedData });
    const changed = Buffer.from(wrapped);
    changed[changed.length - 1]! ^= 1;
    expect(await decrypt(changed)).toEqual(await decrypt(flipped(good.length - 1)));
  });

  it('is in the log with its digest when it was rejected, and without what it holds', async () => {
    const [entry] = await entries(admin, {
      workload: PAYMENTS,
      operation: 'decrypt',
      kind: 'key-use',
      limit: 1,
    });
    expect(entry).toMatchObject({ decision: 'allow', reason: 'CIPHERTEXT_REJECTED', key: KEY });
    expect(entry!.input).toMatchObject({ kind: 'ciphertext', sha256: expect.any(String) });
    expect(entry).not.toHaveProperty('output');
  });
});

it('two hundred rejected ciphertexts do a token’s health no harm', async () => {
  // All at once: many more than the tokens take at a time.
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) =>
      decrypt(flipped(HEADER_BYTES + (i % (good.length - HEADER_BYTES)))),
    ),
  );
  expect(new Set(answers.map(({ reason }) => reason))).toEqual(new Set(['CIPHERTEXT_REJECTED']));
  const { tokens, processes } = await status(admin);
  expect(tokens.map(({ name, state, advice }) => ({ name, state, advice }))).toEqual([
    { name: 'a', state: 'ready', advice: '' },
    { name: 'b', state: 'ready', advice: '' },
  ]);
  expect(processes.map(({ restarts }) => restarts)).toEqual(processes.map(() => 0));
  expect((await decrypt(good)).code).toBe(0);
});
