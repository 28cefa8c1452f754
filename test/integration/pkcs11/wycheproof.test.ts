import crypto from 'node:crypto';
import fs from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ALGORITHMS, type Algorithm, type KeySpec } from '../../../hsm-adapters/adapter.ts';
import type { WorkerFailure } from '../../../hsm-adapters/frames/worker-frames.ts';
import { CKA, CKK, CKO, CKU } from '../../../hsm-adapters/pkcs11/constants.ts';
import {
  type Attribute,
  CkrError,
  Cryptoki,
  gcmMechanism,
  type ObjectHandle,
  type SessionHandle,
  type SlotHandle,
} from '../../../hsm-adapters/pkcs11/cryptoki.ts';
import { Operations, WorkerSession } from '../../../hsm-adapters/pkcs11/operations.ts';
import { SessionPool } from '../../../hsm-adapters/pkcs11/session-pool.ts';
import { findToken } from '../../../hsm-adapters/pkcs11/token.ts';
import { TokenRandom } from '../../../hsm-adapters/pkcs11/token-random.ts';
import { softhsm2 } from '../../../hsm-adapters/profiles/softhsm2.ts';
import { MODULE, makeDirectory, makeToken } from './soft-token.ts';

/**
 * Wycheproof's vectors on a token, through the worker's own operations. The keys come in the clear: they are
 * the vectors', and only a test does that. The vectors that verify signatures are the broker's, which verifies.
 */
const vectors = fileURLToPath(new URL('../../../../shared/vectors/wycheproof/', import.meta.url));
const present = fs.existsSync(vectors);
const suffix = present ? '' : ' (skipped: ../shared/vectors/wycheproof is absent)';

interface VectorFile<T> {
  readonly testGroups: readonly (T & Readonly<Record<string, unknown>>)[];
}

function load<T>(name: string): VectorFile<T> {
  return JSON.parse(fs.readFileSync(`${vectors}${name}_test.json`, 'utf8')) as VectorFile<T>;
}

const hex = (text: string) => Buffer.from(text, 'hex');
/** Some of the file's numbers have a sign byte, as in DER; a token's attributes have none. */
const integer = (text: string) => hex(text.replace(/^(?:00)+/, ''));
const AAD = Buffer.from('lastmile test');

type Outcome = { readonly done: Buffer } | { readonly failed: WorkerFailure };

describe.runIf(present)(`Wycheproof through a token${suffix}`, () => {
  let directory: string;
  let workingDirectory: string;
  let cryptoki: Cryptoki;
  let slot: SlotHandle;
  let session: SessionHandle;
  let operations: Operations;
  let nextId = 1;
  const answers = new Map<number, (outcome: Outcome) => void>();
  const gone: WorkerFailure[] = [];

  beforeAll(() => {
    directory = makeDirectory();
    makeToken(directory, 'wycheproof');
    workingDirectory = process.cwd();
    process.chdir(directory);
    process.env.SOFTHSM2_CONF = 'softhsm2.conf';
    cryptoki = Cryptoki.load(MODULE);
    cryptoki.initialize();
    ({ slot } = findToken(cryptoki, { label: 'wycheproof' }));
    session = cryptoki.openSession(slot, 'read-write');
    cryptoki.login(session, CKU.USER, '4321');
    const pool = new SessionPool<WorkerSession>(
      {
        open: () => new WorkerSession(cryptoki.openSession(slot, 'read-only')),
        close: ({ handle }) => cryptoki.closeSession(handle),
        isLimit: () => false,
      },
      {
        sessions: 2,
        maxQueued: 10,
        now: () => performance.now(),
        closeFailed: (error) => expect(error).toBeUndefined(),
      },
    );
    operations = new Operations({
      cryptoki,
      pool,
      profile: softhsm2,
      replies: {
        done: (id, ...parts) => answers.get(id)?.({ done: Buffer.concat(parts) }),
        failed: (id, failed) => answers.get(id)?.({ failed }),
      },
      trouble: {
        gone: (failure) => gone.push(failure),
        suspect: (failure) => gone.push(failure),
        fine: () => undefined,
      },
      random: new TokenRandom(cryptoki),
    });
  });

  afterAll(() => {
    cryptoki.finalize();
    process.chdir(workingDirectory);
    fs.rmSync(directory, { recursive: true });
    expect(gone).toEqual([]);
  });

  function ask(start: (id: number) => void): Promise<Outcome> {
    const id = nextId;
    nextId += 1;
    return new Promise((resolve) => {
      answers.set(id, resolve);
      start(id);
    });
  }

  function createObject(template: readonly Attribute[]): ObjectHandle {
    const sessionObject = [
      { type: CKA.TOKEN, value: false },
      { type: CKA.PRIVATE, value: true },
    ];
    return cryptoki.createObject(session, [...sessionObject, ...template]);
  }

  function importKey(spec: KeySpec, usages: readonly string[], handle: ObjectHandle): number {
    const ref = nextId;
    nextId += 1;
    operations.bind(ref, { handle, spec, usages });
    return ref;
  }

  const importSecretObject = (type: number, value: Buffer) =>
    createObject([
      { type: CKA.CLASS, value: CKO.SECRET_KEY },
      { type: CKA.KEY_TYPE, value: type },
      { type: CKA.VALUE, value },
      ...[CKA.ENCRYPT, CKA.DECRYPT, CKA.SIGN].map((flag) => ({ type: flag, value: true })),
    ]);

  const importSecret = (spec: KeySpec, type: number, value: Buffer, usages: readonly string[]) =>
    importKey(spec, usages, importSecretObject(type, value));

  const sign = (ref: number, algorithm: Algorithm, data: Buffer) =>
    ask((id) => operations.sign(id, ref, ALGORITHMS.indexOf(algorithm), Number.POSITIVE_INFINITY, data));

  interface AeadGroup {
    readonly ivSize: number;
    readonly tests: readonly Readonly<
      Record<'key' | 'iv' | 'aad' | 'msg' | 'ct' | 'tag' | 'result', string>
    >[];
  }

  it('AES-GCM: opens what is valid, rejects what is not, and what we never make', async () => {
    const counts = { opened: 0, rejected: 0, foreign: 0 };
    for (const group of load<AeadGroup>('aes_gcm').testGroups) {
      for (const test of group.tests) {
        // The spec is what lets a key of any length through to the token.
        const ref = importSecret({ type: 'aes', bytes: 32 }, CKK.AES, hex(test.key), ['encrypt', 'decrypt']);
        const known = await ask((id) =>
          operations.encrypt(id, ref, Number.POSITIVE_INFINITY, AAD, Buffer.from('known')),
        );
        expect(known).toHaveProperty('done');
        const message = { iv: hex(test.iv), associatedData: hex(test.aad), sealed: hex(test.ct + test.tag) };
        const decrypt = (id: number) =>
          operations.decrypt(id, ref, ALGORITHMS.indexOf('A256GCM'), Number.POSITIVE_INFINITY, -1, message);
        const outcome = await ask(decrypt);
        const ours = message.iv.length === 12 && message.associatedData.length > 0;
        if (ours && test.result === 'valid') {
          expect(outcome).toEqual({ done: hex(test.msg) });
          counts.opened += 1;
        } else {
          expect(outcome).toMatchObject({ failed: { reason: 'CIPHERTEXT_REJECTED' } });
          if (ours) counts.rejected += 1;
          else counts.foreign += 1;
        }
        operations.release(ref);
      }
    }
    expect(counts).toEqual({ opened: 52, rejected: 0, foreign: 264 });
  });

  it('AES-GCM: 313 of 316 come out as they should on the bare token, foreign shapes included', async () => {
    const unexpected: string[] = [];
    for (const group of load<AeadGroup>('aes_gcm').testGroups) {
      for (const test of group.tests) {
        const key = importSecretObject(CKK.AES, hex(test.key));
        const [iv, aad, sealed] = [hex(test.iv), hex(test.aad), hex(test.ct + test.tag)];
        const opened = await new Promise<string | undefined>((resolve) => {
          const worker = new WorkerSession(cryptoki.openSession(slot, 'read-only'));
          const room = Buffer.alloc(sealed.length);
          const settle = (text: string | undefined) => {
            cryptoki.closeSession(worker.handle);
            resolve(text);
          };
          try {
            cryptoki.decryptInit(worker.handle, gcmMechanism(iv, aad), key);
            cryptoki.decrypt(worker.handle, sealed, room, (error, length) =>
              settle(error === undefined ? room.subarray(0, length).toString('hex') : undefined),
            );
          } catch (error) {
            expect(error).toBeInstanceOf(CkrError);
            settle(undefined);
          }
        });
        if (opened !== (test.result === 'valid' ? test.msg : undefined))
          unexpected.push(`${group.ivSize}-bit IV`);
      }
    }
    expect(unexpected).toEqual(['2056-bit IV', '2056-bit IV', '2056-bit IV']);
  });

  it('AES-GCM: rejects every valid one of our shape with a bit changed anywhere', async () => {
    for (const group of load<AeadGroup>('aes_gcm').testGroups) {
      for (const test of group.tests) {
        if (group.ivSize !== 96 || test.aad === '' || test.result !== 'valid') continue;
        const ref = importSecret({ type: 'aes', bytes: 32 }, CKK.AES, hex(test.key), ['encrypt', 'decrypt']);
        const message = { iv: hex(test.iv), associatedData: hex(test.aad), sealed: hex(test.ct + test.tag) };
        const open = (sent: typeof message) =>
          ask((id) =>
            operations.decrypt(id, ref, ALGORITHMS.indexOf('A256GCM'), Number.POSITIVE_INFINITY, -1, sent),
          );
        expect(await open(message)).toHaveProperty('done');
        for (const part of ['iv', 'associatedData', 'sealed'] as const) {
          const changed = Buffer.from(message[part]);
          changed[changed.length - 1]! ^= 0x80;
          const outcome = await open({ ...message, [part]: changed });
          expect(outcome).toMatchObject({ failed: { reason: 'CIPHERTEXT_REJECTED' } });
        }
        operations.release(ref);
      }
    }
  });

  interface MacGroup {
    readonly keySize: number;
    readonly tagSize: number;
    readonly tests: readonly Readonly<Record<'key' | 'msg' | 'tag' | 'result', string>>[];
  }

  it('HMAC-SHA-256: makes the tags that are valid, and not those that are not', async () => {
    let compared = 0;
    for (const group of load<MacGroup>('hmac_sha256').testGroups) {
      for (const test of group.tests) {
        if (group.keySize < 256) continue;
        const ref = importSecret({ type: 'hmac', bytes: 64 }, CKK.GENERIC_SECRET, hex(test.key), [
          'sign',
          'verify',
        ]);
        const outcome = await sign(ref, 'HS256', hex(test.msg));
        if (test.msg === '')
          expect(outcome).toMatchObject({ failed: { reason: 'REQUEST_INVALID', performed: 'no' } });
        else {
          const tag = (outcome as { done: Buffer }).done.subarray(0, group.tagSize / 8).toString('hex');
          expect(tag === test.tag).toBe(test.result === 'valid');
          compared += 1;
        }
        operations.release(ref);
      }
    }
    expect(compared).toBe(110);
  });

  interface RsaGroup {
    readonly privateKey: Readonly<
      Record<
        | 'modulus'
        | 'publicExponent'
        | 'privateExponent'
        | 'prime1'
        | 'prime2'
        | 'exponent1'
        | 'exponent2'
        | 'coefficient',
        string
      >
    >;
  }
  interface PssGroup {
    readonly publicKeyPem: string;
    readonly tests: readonly { readonly msg: string }[];
  }

  it('PS256: signs each message so that the vectors’ public key verifies it', async () => {
    const { privateKey } = load<RsaGroup>('rsa_oaep_2048_sha256_mgf1sha256').testGroups[0]!;
    const [pss] = load<PssGroup>('rsa_pss_2048_sha256_mgf1_32').testGroups;
    const RSA = {
      PRIVATE_EXPONENT: 0x123,
      PRIME_1: 0x124,
      PRIME_2: 0x125,
      EXPONENT_1: 0x126,
      EXPONENT_2: 0x127,
      COEFFICIENT: 0x128,
    };
    const handle = createObject([
      { type: CKA.CLASS, value: CKO.PRIVATE_KEY },
      { type: CKA.KEY_TYPE, value: CKK.RSA },
      { type: CKA.SIGN, value: true },
      { type: CKA.MODULUS, value: integer(privateKey.modulus) },
      { type: CKA.PUBLIC_EXPONENT, value: integer(privateKey.publicExponent) },
      { type: RSA.PRIVATE_EXPONENT, value: integer(privateKey.privateExponent) },
      { type: RSA.PRIME_1, value: integer(privateKey.prime1) },
      { type: RSA.PRIME_2, value: integer(privateKey.prime2) },
      { type: RSA.EXPONENT_1, value: integer(privateKey.exponent1) },
      { type: RSA.EXPONENT_2, value: integer(privateKey.exponent2) },
      { type: RSA.COEFFICIENT, value: integer(privateKey.coefficient) },
    ]);
    const ref = importKey({ type: 'rsa', modulusBits: 2048 }, ['sign'], handle);
    const key = { key: pss!.publicKeyPem, padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
    for (const { msg } of pss!.tests) {
      const outcome = await sign(ref, 'PS256', crypto.createHash('sha256').update(hex(msg)).digest());
      expect(crypto.verify('sha256', hex(msg), key, (outcome as { done: Buffer }).done)).toBe(true);
    }
  });
});
