import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LastmileClient } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import {
  type Entry,
  fingerprint,
  operator,
  PAYMENTS,
  query,
  refusal,
  workload,
} from '../../fakes/instance-clients.ts';

/** What the log tells of every use, and what it never tells. */

const message = Buffer.from('an order of 17 pieces');
const plaintext = Buffer.from('4111 1111 1111 1111, 12/29');

let instance: RunningInstance;
let admin: OperatorClient;
let client: LastmileClient;

beforeAll(async () => {
  instance = await startInstance();
  admin = await operator(instance);
  client = await workload(instance, 'payments');
});

afterAll(async () => {
  client?.close();
  admin?.close();
  await instance?.stop();
});

const sha256 = (...parts: Uint8Array[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest();
const digest = (bytes: Uint8Array): string => sha256(bytes).toString('base64url');

async function entryAt(leafIndex: number): Promise<Entry & Record<string, unknown>> {
  const { entry } = await admin.audit('GetEntry', { leafIndex });
  return JSON.parse(Buffer.from(entry!.entry).toString('utf8')) as Entry & Record<string, unknown>;
}

const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** r and the smaller of s and n − s: either of an ECDSA signature's two forms has this one. */
function normalised(signature: Uint8Array): { readonly bytes: Buffer; readonly wasHigh: boolean } {
  const s = BigInt(`0x${Buffer.from(signature.subarray(32)).toString('hex')}`);
  const wasHigh = s > P256_ORDER / 2n;
  const low = (wasHigh ? P256_ORDER - s : s).toString(16).padStart(64, '0');
  return { bytes: Buffer.concat([signature.subarray(0, 32), Buffer.from(low, 'hex')]), wasHigh };
}

describe('the entry of a use', () => {
  it('of a signature says who, what, where, under which rule and software, with both digests', async () => {
    const { signature, log } = await client.sign({ key: 'payments/jwt', algorithm: 'ES256', message });
    const entry = await entryAt(log.leafIndex);
    expect(entry).toMatchObject({
      v: 1,
      leaf: log.leafIndex,
      kind: 'key-use',
      subject: PAYMENTS,
      credential: fingerprint(instance, 'payments'),
      peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      operation: 'sign',
      key: 'payments/jwt',
      version: 1,
      algorithm: 'ES256',
      decision: 'allow',
      rule: 'payments-signs',
      performed: 'yes',
      latencyMicros: expect.any(Number),
      policy: `sha256:${createHash('sha256')
        .update(readFileSync(join(instance.directory, 'policy.yaml')))
        .digest('hex')}`,
      input: { kind: 'message', bytes: message.length, sha256: digest(message) },
      output: { kind: 'signature', bytes: 64, sha256: digest(normalised(signature).bytes) },
      attempts: [{ outcome: 'ok', performed: 'yes' }],
    });
    expect(entry.salt).toMatch(/^[\w-]{22}$/);
    const generation = await entryAt(entry.generation as number);
    expect(generation).toMatchObject({
      kind: 'software-generation',
      subject: 'lastmile',
      operation: 'start',
    });
    expect(generation.detail).toMatchObject({
      build: expect.stringMatching(/^[0-9a-f]{64}$/),
      node: process.version,
      tokens: [
        { name: 'a', mode: 'software token' },
        { name: 'b', mode: 'software token' },
      ],
    });
  });

  it('has one digest for either form of an ECDSA signature', async () => {
    let high = 0;
    const signed = await Promise.all(
      Array.from({ length: 32 }, () => client.sign({ key: 'payments/jwt', algorithm: 'ES256', message })),
    );
    for (const { signature, log } of signed) {
      const { bytes, wasHigh } = normalised(signature);
      if (wasHigh) high++;
      expect((await entryAt(log.leafIndex)).output!.sha256).toBe(digest(bytes));
    }
    // Half of them are, when nobody makes them low.
    expect(high).toBeGreaterThan(0);
  });

  it('of a digest has the digest’s own', async () => {
    const given = sha256(message);
    const { log } = await client.sign({ key: 'payments/jwt', algorithm: 'ES256', digest: given });
    expect((await entryAt(log.leafIndex)).input).toEqual({
      kind: 'digest',
      bytes: 32,
      sha256: given.toString('base64url'),
    });
  });

  it('has of a ciphertext its digest, of a plaintext its length', async () => {
    const sealed = await client.encrypt({ key: 'payments/data', plaintext });
    const ciphertext = {
      kind: 'ciphertext',
      bytes: sealed.ciphertext.length,
      sha256: digest(sealed.ciphertext),
    };
    const clear = { kind: 'plaintext', bytes: plaintext.length };
    const encrypted = await entryAt(sealed.log.leafIndex);
    expect({ input: encrypted.input, output: encrypted.output }).toEqual({
      input: clear,
      output: ciphertext,
    });
    const opened = await client.decrypt({ key: 'payments/data', ciphertext: sealed.ciphertext });
    const decrypted = await entryAt(opened.log.leafIndex);
    expect({ input: decrypted.input, output: decrypted.output }).toEqual({
      input: ciphertext,
      output: clear,
    });
  });

  it('has of MACs, data keys and random bytes lengths alone', async () => {
    const { mac, log } = await client.mac({ key: 'payments/webhook', message });
    const made = await entryAt(log.leafIndex);
    expect({ input: made.input, output: made.output }).toEqual({
      input: { kind: 'message', bytes: message.length },
      output: { kind: 'mac', bytes: 32 },
    });
    const checked = await client.verifyMac({ key: 'payments/webhook', message, mac });
    const verified = await entryAt(checked.log.leafIndex);
    expect(verified.input).toEqual({ kind: 'message', bytes: message.length });
    expect(verified).not.toHaveProperty('output');
    const key = await client.generateDataKey({ key: 'payments/data' });
    const wrapped = await entryAt(key.log.leafIndex);
    expect({ input: wrapped.input, output: wrapped.output }).toEqual({
      input: { kind: 'data-key', bytes: 32 },
      output: { kind: 'ciphertext', bytes: key.wrapped.length, sha256: digest(key.wrapped) },
    });
    const random = await client.generateRandom(24);
    const drawn = await entryAt(random.log.leafIndex);
    expect(drawn.output).toEqual({ kind: 'random', bytes: 24 });
    expect(drawn).not.toHaveProperty('input');
  });

  it('of a refusal says why, and nothing was performed', async () => {
    await refusal(client.sign({ key: 'billing/invoices', algorithm: 'ES256', message }));
    const [bytes] = await query(admin, { workload: PAYMENTS, decision: 'deny', limit: 1 });
    expect(JSON.parse(bytes!.toString())).toMatchObject({
      kind: 'key-use',
      operation: 'sign',
      key: 'billing/invoices',
      decision: 'deny',
      reason: 'POLICY_DENIED',
      performed: 'no',
    });
  });

  it('is there as often for a key that does not exist as for one that is another’s', async () => {
    const count = async (key: string): Promise<number> => {
      for (let i = 0; i < 3; i++) await refusal(client.sign({ key, algorithm: 'ES256', message }));
      return (await query(admin, { workload: PAYMENTS, key })).length;
    };
    expect(await count('billing/ledger')).toBe(1);
    expect(await count('nobody/none')).toBe(1);
    expect(await count('payments/none')).toBe(1);
  });
});

describe('secrets', () => {
  it('are nowhere in the log, the state or what the broker says, in no form', async () => {
    const associatedData = Buffer.from('associated data of the record');
    const { ciphertext } = await client.encrypt({ key: 'payments/data', plaintext, associatedData });
    await client.decrypt({ key: 'payments/data', ciphertext, associatedData });
    const { mac } = await client.mac({ key: 'payments/webhook', message: plaintext });
    const dataKey = await client.generateDataKey({ key: 'payments/data' });
    const { random } = await client.generateRandom(32);
    // What is wrong with it goes into a refusal: not what it holds.
    await refusal(client.sign({ key: 'payments/jwt', algorithm: 'ES256', digest: plaintext }));
    await refusal(client.encrypt({ key: 'payments/jwt', plaintext }));
    await admin.audit('GetCheckpoint', { fresh: true });
    const pins = ['a', 'b'].flatMap((token) =>
      ['pin', 'so-pin'].map((name) =>
        readFileSync(join(instance.directory, 'secrets', `token-${token}.${name}`)),
      ),
    );
    const secrets = [plaintext, associatedData, mac, dataKey.plaintext, random, message, ...pins];
    const files = ['audit', 'state'].flatMap((name) => filesIn(join(instance.directory, name)));
    expect(files.length).toBeGreaterThan(3);
    const written = [...files.map((file) => readFileSync(file)), Buffer.from(instance.output())];
    const found: string[] = [];
    for (const [i, secret] of secrets.entries()) {
      // A digest of a card number is the card number; that of a signed message is meant to be there.
      const forms = formsOf(Buffer.from(secret));
      if (i !== 5) forms.push(...formsOf(sha256(Buffer.from(secret))));
      for (const form of forms)
        if (written.some((bytes) => bytes.includes(form))) found.push(`${i}: ${form.toString('latin1')}`);
    }
    expect(found).toEqual([]);
    // The search finds what is there.
    const isThere = (bytes: Uint8Array) =>
      formsOf(sha256(bytes)).some((form) => written.some((file) => file.includes(form)));
    expect(isThere(ciphertext)).toBe(true);
  });

  function formsOf(bytes: Buffer): Buffer[] {
    return [
      bytes,
      ...(['hex', 'base64', 'base64url'] as const).map((encoding) =>
        // The last characters of an encoding depend on what follows.
        Buffer.from(bytes.toString(encoding).replace(/=+$/, '')),
      ),
    ];
  }

  function filesIn(directory: string): string[] {
    return readdirSync(directory, { recursive: true, encoding: 'utf8' })
      .map((name) => join(directory, name))
      .filter((path) => statSync(path).isFile());
  }
});
