import crypto from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Algorithm, KeySpec, TokenAdapter, WrappedImport } from '../../../hsm-adapters/adapter.ts';
import { type AdapterUnderTest, inputFor, newId, verifies } from './describe-adapter.ts';
import { failureOf, holdCeremony, type ModuleUnderTest, soon } from './module-under-test.ts';

const MESSAGE = Buffer.from('made elsewhere');
const VECTORS = fileURLToPath(
  new URL('../../../../shared/vectors/wycheproof/rsa_oaep_2048_sha256_mgf1sha256_test.json', import.meta.url),
);

interface Known {
  readonly bytes: Buffer;
  readonly publicKey?: Uint8Array;
}

function knownKey(spec: KeySpec): Known {
  switch (spec.type) {
    case 'aes':
    case 'hmac':
      return { bytes: crypto.randomBytes(spec.bytes) };
    case 'ec':
      return pair(crypto.generateKeyPairSync('ec', { namedCurve: spec.curve }));
    case 'ed25519':
      return pair(crypto.generateKeyPairSync('ed25519'));
    case 'rsa':
      return pair(crypto.generateKeyPairSync('rsa', { modulusLength: spec.modulusBits }));
    default:
      return spec satisfies never;
  }
}

function pair({
  publicKey,
  privateKey,
}: {
  publicKey: crypto.KeyObject;
  privateKey: crypto.KeyObject;
}): Known {
  return {
    bytes: privateKey.export({ type: 'pkcs8', format: 'der' }),
    publicKey: publicKey.export({ type: 'spki', format: 'der' }),
  };
}

/** RFC 3394 and RFC 5649, by OpenSSL. */
function wrap(mechanism: 'aes-kw' | 'aes-kwp', kek: Buffer, key: Buffer): Buffer {
  const [name, iv] =
    mechanism === 'aes-kw'
      ? ['id-aes256-wrap', Buffer.from('A6A6A6A6A6A6A6A6', 'hex')]
      : ['id-aes256-wrap-pad', Buffer.from('A65959A6', 'hex')];
  const cipher = crypto.createCipheriv(name as string, kek, iv as Buffer);
  return Buffer.concat([cipher.update(key), cipher.final()]);
}

/** Keys that were wrapped elsewhere, and RSA-OAEP against vectors: what needs a key whose value a test knows. */
export function describeImports(
  { profile, takesKnownKeys }: AdapterUnderTest,
  open: () => { readonly module: ModuleUnderTest; readonly token: TokenAdapter },
): void {
  const { keyWrap, lacks } = profile;
  const has = (algorithm: Algorithm) => !lacks.includes(algorithm);
  const cases: readonly (readonly [WrappedImport['mechanism'], KeySpec, Algorithm])[] = (
    [
      ['aes-kw', { type: 'hmac', bytes: 32 }, 'HS256'],
      ['aes-kw', { type: 'aes', bytes: 32 }, 'A256GCM'],
      ['aes-kwp', { type: 'hmac', bytes: 64 }, 'HS512'],
      ['aes-kwp', { type: 'aes', bytes: 32 }, 'A256GCM'],
      ['aes-kwp', { type: 'ec', curve: 'P-256' }, 'ES256'],
      ['aes-kwp', { type: 'ec', curve: 'P-521' }, 'ES512'],
      ['aes-kwp', { type: 'rsa', modulusBits: 2048 }, 'RS256'],
      ['aes-kwp', { type: 'ed25519' }, 'Ed25519'],
      ['rsa-oaep-sha1', { type: 'hmac', bytes: 32 }, 'HS256'],
      ['rsa-oaep-sha256', { type: 'hmac', bytes: 32 }, 'HS256'],
    ] as const
  ).filter(([, , algorithm]) => has(algorithm));

  const works = ([mechanism, spec]: (typeof cases)[number]): boolean => {
    if (!takesKnownKeys || !keyWrap.unwraps.includes(spec.type)) return false;
    switch (mechanism) {
      case 'aes-kw':
        return keyWrap.aesKw !== undefined;
      case 'aes-kwp':
        return keyWrap.aesKwp !== undefined;
      case 'rsa-oaep-sha1':
        return keyWrap.oaepHashes.includes('sha1');
      case 'rsa-oaep-sha256':
        return keyWrap.oaepHashes.includes('sha256');
      default:
        return mechanism satisfies never;
    }
  };

  describe('import of wrapped keys', () => {
    const kek = crypto.randomBytes(32);
    const [aesId, rsaId] = [newId(), newId()];
    let rsaPublic = Buffer.alloc(0);
    const able = cases.filter(works);
    const unable = cases.filter((each) => !works(each));

    beforeAll(() => {
      if (able.length === 0) return;
      const { module } = open();
      const config = module.tokens[0]!;
      if (able.some(([mechanism]) => mechanism.startsWith('aes-')))
        holdCeremony(module, config, { make: 'unwrapping-aes', ckaId: aesId, value: kek.toString('hex') });
      if (able.some(([mechanism]) => mechanism.startsWith('rsa-')))
        rsaPublic = Buffer.from(
          holdCeremony(module, config, { make: 'unwrapping-rsa', ckaId: rsaId }),
          'base64',
        );
    });

    function blobOf(mechanism: WrappedImport['mechanism'], key: Buffer): Buffer {
      if (mechanism === 'aes-kw' || mechanism === 'aes-kwp') return wrap(mechanism, kek, key);
      const wrapping = crypto.createPublicKey({ key: rsaPublic, format: 'der', type: 'spki' });
      return crypto.publicEncrypt({ key: wrapping, oaepHash: mechanism.slice('rsa-oaep-'.length) }, key);
    }

    if (able.length > 0)
      it.each(able)('takes by %s a key %o, which then does %s', async (mechanism, spec, algorithm) => {
        const { token } = open();
        const known = knownKey(spec);
        const ckaId = newId();
        const purpose =
          spec.type === 'hmac'
            ? ('mac' as const)
            : spec.type === 'aes'
              ? ('encrypt' as const)
              : ('sign' as const);
        const attributes = await token.administration.importWrapped({
          object: { ckaId, label: `test/${ckaId}`, spec, purpose },
          blob: blobOf(mechanism, known.bytes),
          unwrappingKeyId: mechanism.startsWith('aes-') ? aesId : rsaId,
          mechanism,
          publicKey: known.publicKey,
        });
        expect(attributes).toMatchObject({
          spec,
          sensitive: true,
          extractable: false,
          local: profile.omits.includes('CKA_LOCAL'),
        });
        const ref = 600_000;
        const kind = known.publicKey === undefined ? 'secret' : 'private';
        await token.administration.bind(ref, { ckaId, kind });
        if (algorithm === 'A256GCM') {
          const aad = Buffer.from('aad');
          const { iv, sealed } = await token.encrypt(ref, MESSAGE, aad, soon());
          const decipher = crypto.createDecipheriv('aes-256-gcm', known.bytes, iv).setAAD(aad);
          decipher.setAuthTag(sealed.subarray(-16));
          const opened = Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
          expect(opened).toEqual(MESSAGE);
          return;
        }
        const result = await token.sign(
          { object: ref, algorithm, data: inputFor(algorithm, MESSAGE) },
          soon(),
        );
        if (known.publicKey !== undefined)
          expect(verifies(algorithm, known.publicKey, MESSAGE, result)).toBe(true);
        else {
          const hmac = crypto
            .createHmac(`sha${algorithm.slice(2)}`, known.bytes)
            .update(MESSAGE)
            .digest();
          expect(Buffer.from(result)).toEqual(hmac);
        }
      });

    if (able.some(([mechanism]) => mechanism === 'aes-kwp'))
      it('leaves nothing of a blob that was altered', async () => {
        const { token } = open();
        const [mechanism, spec] = able.find(([name]) => name === 'aes-kwp')!;
        const blob = blobOf(mechanism, knownKey(spec).bytes);
        blob[0]! ^= 1;
        const ckaId = newId();
        const purpose = spec.type === 'hmac' ? ('mac' as const) : ('encrypt' as const);
        const failure = await failureOf(
          token.administration.importWrapped({
            object: { ckaId, label: 'altered', spec, purpose },
            blob,
            unwrappingKeyId: aesId,
            mechanism,
          }),
        );
        expect(failure).toMatchObject({ reason: 'REQUEST_INVALID' });
        expect(token.state).toBe('ready');
        const left = token.administration.bind(1, { ckaId, kind: 'secret' });
        expect(await failureOf(left)).toMatchObject({ reason: 'KEY_MISSING_ON_TOKEN' });
      });

    if (unable.length > 0)
      it.each(unable)('declares that it takes by %s no key %o', async (mechanism, spec) => {
        const { token } = open();
        const { publicKey } = knownKey(spec);
        const purpose =
          spec.type === 'hmac'
            ? ('mac' as const)
            : spec.type === 'aes'
              ? ('encrypt' as const)
              : ('sign' as const);
        const failure = await failureOf(
          token.administration.importWrapped({
            object: { ckaId: newId(), label: 'declared missing', spec, purpose },
            blob: Buffer.alloc('bytes' in spec ? spec.bytes + 8 : 256),
            unwrappingKeyId: aesId,
            mechanism,
            publicKey,
          }),
        );
        expect(failure).toMatchObject({ reason: 'OPERATION_UNSUPPORTED', performed: 'no' });
      });
  });

  interface OaepGroup {
    readonly privateKeyPkcs8: string;
    readonly tests: readonly {
      readonly tcId: number;
      readonly msg: string;
      readonly ct: string;
      readonly label: string;
      readonly result: 'valid' | 'invalid' | 'acceptable';
    }[];
  }

  if (takesKnownKeys && has('RSA-OAEP-256')) {
    const present = existsSync(VECTORS);
    const suffix = present ? '' : ' (skipped: ../shared/vectors/wycheproof is absent)';
    describe.runIf(present)(`Wycheproof RSA-OAEP-256${suffix}`, () => {
      it('opens what is valid and rejects everything else with one reason', async () => {
        const { module, token } = open();
        const { testGroups } = JSON.parse(readFileSync(VECTORS, 'utf8')) as { testGroups: OaepGroup[] };
        const none = new Uint8Array(0);
        const seen = { valid: 0, rejected: 0 };
        for (const { privateKeyPkcs8, tests } of testGroups) {
          const ckaId = newId();
          holdCeremony(module, module.tokens[0]!, {
            make: 'decrypting-rsa',
            ckaId,
            pkcs8: privateKeyPkcs8,
          });
          await token.administration.bind(700_000, { ckaId, kind: 'private' });
          for (const test of tests) {
            const opened = token.decrypt(
              {
                object: 700_000,
                algorithm: 'RSA-OAEP-256',
                iv: none,
                sealed: Buffer.from(test.ct, 'hex'),
                associatedData: none,
              },
              soon(),
            );
            // Ours have no label: a ciphertext with one does not open.
            if (test.result === 'valid' && test.label === '') {
              seen.valid += 1;
              expect(Buffer.from(await opened).toString('hex'), `test ${test.tcId}`).toBe(test.msg);
            } else {
              seen.rejected += 1;
              expect(await failureOf(opened), `test ${test.tcId}`).toMatchObject({
                reason: 'CIPHERTEXT_REJECTED',
              });
            }
          }
        }
        expect(seen.valid).toBeGreaterThanOrEqual(10);
        expect(seen.rejected).toBeGreaterThan(10);
        expect(token.state).toBe('ready');
      });
    });
  }
}
