import { execFileSync } from 'node:child_process';
import { createHash, createPublicKey, constants as crypto, verify as verifySignature } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { calculateJwkThumbprint, compactVerify, importJWK, type JWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LastmileClient } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import { allowPayments, operator, refusal, workload } from '../../fakes/instance-clients.ts';

/** Every algorithm, made by an operator, used by a workload, and checked by programs that are not ours. */

const message = Buffer.from('what the workload wants to have signed');

let instance: RunningInstance;
let admin: OperatorClient;
let client: LastmileClient;
let scratch: string;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'lastmile-openssl-'));
  instance = await startInstance({
    prepare: (directory) => allowPayments(directory, 'payments-tries-all', 'tried/*'),
  });
  admin = await operator(instance);
  client = await workload(instance, 'payments');
});

afterAll(async () => {
  client?.close();
  admin?.close();
  await instance?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

function create(key: string, purpose: string, algorithms: string[], more: object = {}) {
  return admin.admin('CreateKey', { key, purpose, algorithms, ...more });
}

const freeze = (token: string) =>
  admin.admin('Freeze', { kind: 'token', subject: token, reason: 'the other' });
const unfreeze = (token: string) =>
  admin.admin('Unfreeze', { kind: 'token', subject: token, reason: 'done' });

/** Runs with one token alone in service. */
async function without<T>(token: string, run: () => Promise<T>): Promise<T> {
  await freeze(token);
  try {
    return await run();
  } finally {
    await unfreeze(token);
  }
}

/** Debian's `openssl`, on files. */
function opensslVerifies(
  pem: string,
  hash: string | undefined,
  signature: Uint8Array,
  pss: boolean,
): boolean {
  const [key, input, sig] = ['key.pem', 'message', 'signature'].map((name) => join(scratch, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(key, pem);
  writeFileSync(input, message);
  writeFileSync(sig, signature);
  const options = pss ? ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:digest'] : [];
  const args =
    hash === undefined
      ? ['pkeyutl', '-verify', '-rawin', '-pubin', '-inkey', key, '-in', input, '-sigfile', sig]
      : ['dgst', `-${hash}`, ...options, '-verify', key, '-signature', sig, input];
  return /Verified OK|Verified Successfully/.test(execFileSync('openssl', args, { encoding: 'utf8' }));
}

function nodeVerifies(pem: string, algorithm: string, signature: Uint8Array): boolean {
  const key = createPublicKey(pem);
  const hash = algorithm === 'Ed25519' ? null : `sha${algorithm.slice(2)}`;
  return verifySignature(
    hash,
    message,
    {
      key,
      dsaEncoding: 'ieee-p1363',
      ...(algorithm.startsWith('PS')
        ? { padding: crypto.RSA_PKCS1_PSS_PADDING, saltLength: crypto.RSA_PSS_SALTLEN_DIGEST }
        : {}),
    },
    signature,
  );
}

describe('ECDSA', () => {
  it.each([
    ['ES256', 'sha256', 64],
    ['ES384', 'sha384', 96],
    ['ES512', 'sha512', 132],
  ] as const)('%s: message and digest, raw and DER', async (algorithm, hash, rawBytes) => {
    const key = `tried/${algorithm}`;
    const { versions } = await create(key, 'sign', [algorithm]);
    expect(versions[0]).toMatchObject({ provenance: 'replicated', tokens: ['a', 'b'], provenOn: ['a', 'b'] });
    const { pem } = await client.getPublicKey({ key });
    expect(pem).toBe(versions[0]!.publicKeyPem);
    const digest = createHash(hash).update(message).digest();
    for (const content of [{ message }, { digest }]) {
      const raw = await client.sign({ key, algorithm, ...content });
      expect(raw.signature).toHaveLength(rawBytes);
      expect(nodeVerifies(pem, algorithm, raw.signature)).toBe(true);
      const der = await client.sign({ key, algorithm, ...content, signatureFormat: 'der' });
      expect(opensslVerifies(pem, hash, der.signature, false)).toBe(true);
      for (const checked of [{ message }, { digest }]) {
        expect(await client.verify({ key, algorithm, ...checked, signature: raw.signature })).toEqual({
          valid: true,
          version: 1,
        });
        expect(
          await client.verify({
            key,
            algorithm,
            ...checked,
            signature: der.signature,
            signatureFormat: 'der',
          }),
        ).toEqual({ valid: true, version: 1 });
      }
      const flipped = Buffer.from(raw.signature);
      flipped[rawBytes - 1]! ^= 1;
      expect(await client.verify({ key, algorithm, message, signature: flipped })).toMatchObject({
        valid: false,
      });
    }
  });
});

describe('RSA', () => {
  const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const;

  it('one key for all six, 2048 bits', async () => {
    const key = 'tried/rsa';
    await create(key, 'sign', [...algorithms]);
    const { pem } = await client.getPublicKey({ key });
    for (const algorithm of algorithms) {
      const hash = `sha${algorithm.slice(2)}`;
      const digest = createHash(hash).update(message).digest();
      for (const content of [{ message }, { digest }]) {
        const { signature } = await client.sign({ key, algorithm, ...content });
        expect(signature).toHaveLength(256);
        expect(nodeVerifies(pem, algorithm, signature), algorithm).toBe(true);
        expect(opensslVerifies(pem, hash, signature, algorithm.startsWith('PS')), algorithm).toBe(true);
        expect(await client.verify({ key, algorithm, ...content, signature })).toMatchObject({ valid: true });
        const other = algorithms.find((candidate) => candidate !== algorithm)!;
        expect(await client.verify({ key, algorithm: other, message, signature })).toMatchObject({
          valid: false,
        });
      }
    }
  });

  it('one key for one of them does not do the others', async () => {
    const key = 'tried/ps256';
    await create(key, 'sign', ['PS256']);
    await client.sign({ key, algorithm: 'PS256', message });
    expect(await refusal(client.sign({ key, algorithm: 'RS256', message }))).toMatchObject({
      reason: 'REQUEST_INVALID',
      message: 'algorithm does not fit the key, which is for PS256',
    });
  });

  it('is not made below 2048 bits, and says so', async () => {
    const refused = await refusal(create('tried/small', 'sign', ['RS256'], { modulusBits: 1024 }));
    expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'REQUEST_INVALID' });
    expect(refused.message).toContain('2048');
  });
});

describe('Ed25519', () => {
  it('has a key of its own on each token, all of them published', async () => {
    const key = 'tried/ed25519';
    const { versions } = await create(key, 'sign', ['EdDSA']);
    expect(versions[0]).toMatchObject({
      algorithms: ['Ed25519'],
      provenance: 'created',
      provenOn: ['a', 'b'],
    });
    const published = await client.getPublicKey({ key });
    expect(published.otherJwks).toHaveLength(1);
    const jwks = [published.jwk, published.otherJwks[0]!] as JWK[];
    expect(jwks[0]!.x).not.toBe(jwks[1]!.x);
    const byA = await without('b', () => client.sign({ key, algorithm: 'Ed25519', message }));
    const byB = await without('a', () => client.sign({ key, algorithm: 'EdDSA', message }));
    const pems = jwks.map((jwk) =>
      createPublicKey({ key: jwk as never, format: 'jwk' }).export({ type: 'spki', format: 'pem' }),
    ) as string[];
    expect(pems[0]).toBe(published.pem);
    const verifying = (signature: Uint8Array) => pems.map((pem) => nodeVerifies(pem, 'Ed25519', signature));
    // The keys are published in the order of the tokens' serials, which are random.
    const isFirstOfA = verifying(byA.signature)[0] === true;
    expect(verifying(byA.signature)).toEqual([isFirstOfA, !isFirstOfA]);
    expect(verifying(byB.signature)).toEqual([!isFirstOfA, isFirstOfA]);
    const byFirst = isFirstOfA ? byA : byB;
    expect(opensslVerifies(published.pem, undefined, byFirst.signature, false)).toBe(true);
    for (const { signature } of [byA, byB])
      expect(await client.verify({ key, algorithm: 'Ed25519', message, signature })).toMatchObject({
        valid: true,
      });
  });

  it('signs messages, not digests', async () => {
    const refused = await refusal(
      client.sign({ key: 'tried/ed25519', algorithm: 'Ed25519', digest: Buffer.alloc(64) }),
    );
    expect(refused).toMatchObject({
      reason: 'REQUEST_INVALID',
      message: 'Ed25519 signs messages, not digests',
    });
  });
});

describe('a published key', () => {
  it.each(['ES256', 'ES384', 'ES512', 'EdDSA', 'PS256'])(
    'verifies a JWS of %s in another library, found by its thumbprint',
    async (alg) => {
      const key = alg === 'EdDSA' ? 'tried/ed25519' : alg === 'PS256' ? 'tried/ps256' : `tried/${alg}`;
      const { jwk, otherJwks, kid, pem, version } = await client.getPublicKey({ key });
      expect(kid).toBe(await calculateJwkThumbprint(jwk as JWK));
      expect(jwk).toMatchObject({ kid, alg: alg === 'EdDSA' ? 'Ed25519' : alg });
      expect(createPublicKey({ key: jwk as never, format: 'jwk' }).equals(createPublicKey(pem))).toBe(true);
      const sign = () => client.signJws({ alg, kid }, { sub: 'x' }, { key, version });
      // Ed25519 has another key on the other token: `kid` names the one on the token whose serial comes first.
      const probe = () => client.sign({ key, algorithm: alg, message });
      const isOfA =
        otherJwks.length > 0 && nodeVerifies(pem, 'Ed25519', (await without('b', probe)).signature);
      const jws = otherJwks.length === 0 ? await sign() : await without(isOfA ? 'b' : 'a', sign);
      const { payload, protectedHeader } = await compactVerify(jws, await importJWK(jwk as JWK, alg));
      expect(protectedHeader).toEqual({ alg, kid });
      expect(JSON.parse(Buffer.from(payload).toString())).toEqual({ sub: 'x' });
    },
  );

  it('is not there for a key without a public half', async () => {
    expect(await refusal(client.getPublicKey({ key: 'payments/data' }))).toMatchObject({
      reason: 'REQUEST_INVALID',
      message: 'the key has no public half',
    });
  });
});

describe('HMAC', () => {
  it.each([
    ['HS256', 32],
    ['HS384', 48],
    ['HS512', 64],
  ] as const)('%s: the same on both tokens, whole or not valid', async (algorithm, bytes) => {
    const key = `tried/${algorithm}`;
    await create(key, 'mac', [algorithm]);
    const byA = await without('b', () => client.mac({ key, message }));
    const byB = await without('a', () => client.mac({ key, algorithm, message }));
    expect(byA.mac).toHaveLength(bytes);
    expect(byB.mac).toEqual(byA.mac);
    const check = async (mac: Uint8Array, of: Uint8Array = message) =>
      (await client.verifyMac({ key, message: of, mac })).valid;
    expect(await check(byA.mac)).toBe(true);
    expect(await check(byA.mac.subarray(0, bytes / 2))).toBe(false);
    expect(await check(Buffer.concat([byA.mac, Buffer.alloc(1)]))).toBe(false);
    expect(await check(new Uint8Array())).toBe(false);
    expect(await check(byA.mac, Buffer.from('another message'))).toBe(false);
    const [changed] = byA.mac;
    expect(await check(Buffer.from([changed! ^ 1, ...byA.mac.subarray(1)]))).toBe(false);
  });
});

describe('A256GCM', () => {
  it('opens on either token what the other has sealed, for direct and envelope encryption', async () => {
    const key = 'tried/aes';
    await create(key, 'encrypt', ['A256GCM']);
    const associatedData = Buffer.from('record 7');
    const sealed = await without('b', () => client.encrypt({ key, plaintext: message, associatedData }));
    const opened = await without('a', () =>
      client.decrypt({ key, ciphertext: sealed.ciphertext, associatedData }),
    );
    expect(Buffer.from(opened.plaintext)).toEqual(message);
    for (const length of [16, 24, 32, 48, 64]) {
      const { plaintext, wrapped } = await client.generateDataKey({ key, length, associatedData });
      expect(plaintext).toHaveLength(length);
      expect((await client.decrypt({ key, ciphertext: wrapped, associatedData })).plaintext).toEqual(
        plaintext,
      );
    }
    const again = await client.encrypt({ key, plaintext: message, associatedData });
    expect(Buffer.from(again.ciphertext).equals(sealed.ciphertext)).toBe(false);
  });
});

describe('an algorithm that a token does not do', () => {
  it('is refused by name when the key is made, and nothing is made', async () => {
    const refused = await refusal(create('tried/oaep', 'encrypt', ['RSA-OAEP-256']));
    expect(refused).toMatchObject({
      code: 'UNIMPLEMENTED',
      reason: 'OPERATION_UNSUPPORTED',
      performed: 'no',
    });
    expect(refused.message).toMatch(/^RSA-OAEP-256: token a .* does not do it$/);
    expect((await client.listKeys()).map(({ key }) => key)).not.toContain('tried/oaep');
  });

  it.each([
    ['none', 'sign'],
    ['HS1', 'mac'],
    ['RS1', 'sign'],
    ['RSA1_5', 'encrypt'],
    ['RSA-OAEP', 'encrypt'],
    ['es256', 'sign'],
  ])('%s is not known at all', async (algorithm, purpose) => {
    expect(await refusal(create('tried/odd', purpose, [algorithm]))).toMatchObject({
      reason: 'REQUEST_INVALID',
    });
  });
});

describe('random bytes', () => {
  it('are as many as asked for, and never the same', async () => {
    const drawn = await Promise.all([1, 32, 32, 1024].map((length) => client.generateRandom(length)));
    expect(drawn.map(({ random }) => random.length)).toEqual([1, 32, 32, 1024]);
    expect(Buffer.from(drawn[1]!.random).equals(drawn[2]!.random)).toBe(false);
    for (const length of [0, 1025])
      expect(await refusal(client.generateRandom(length))).toMatchObject({ reason: 'REQUEST_INVALID' });
  });
});
