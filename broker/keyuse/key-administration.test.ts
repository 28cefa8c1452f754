import { generateKeyPairSync } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NewObject, ObjectAttributes } from '../../hsm-adapters/adapter.ts';
import { makeMaterial } from '../../test/fakes/fake-token-crypto.ts';
import { failureOf, KeyUseFixture } from '../../test/fakes/key-use-fixture.ts';
import type { ImportKeyOptions } from './key-administration.ts';

let fixture: KeyUseFixture;
beforeEach(() => {
  fixture = new KeyUseFixture();
});
afterEach(() => fixture.close());

const CKA_ID = 'ab'.repeat(16);
const bound = (more: Partial<ImportKeyOptions> = {}): ImportKeyOptions => ({
  key: 'app/bound',
  purpose: '',
  algorithms: ['ES256'],
  token: 'one',
  verify: '',
  source: { ckaId: CKA_ID },
  ...more,
});

function place(spec: NewObject['spec'], purpose: NewObject['purpose'], more: Partial<ObjectAttributes> = {}) {
  return fixture.token.place({ ckaId: CKA_ID, label: 'theirs', spec, purpose }, more);
}

describe('importing', () => {
  it('binds an object that is there, whatever its key type, without being told the purpose', async () => {
    place({ type: 'ec', curve: 'P-256' }, 'sign');
    const version = await fixture.administration.importKey(bound());
    expect(version).toMatchObject({ purpose: 'sign', provenance: 'bound', objects: [{ ckaId: CKA_ID }] });
  });

  it.each(['lastmile/log', 'app/mine'])('refuses an object that is a key already: %s', async (name) => {
    const owner = await fixture.create(name, 'Ed25519', { tokens: ['one'] });
    const failure = await failureOf(
      fixture.administration.importKey(
        bound({ algorithms: ['Ed25519'], source: { label: `${name}#1` }, key: 'app/stolen' }),
      ),
    );
    expect(failure).toMatchObject({
      reason: 'REQUEST_INVALID',
      message: `that object is ${owner.id} already`,
    });
    expect(fixture.catalog.versions('app/stolen')).toEqual([]);
  });

  it('refuses the same key pair under another CKA_ID', async () => {
    const owner = await fixture.create('app/mine', 'ES256', { tokens: ['one'] });
    place({ type: 'ec', curve: 'P-256' }, 'sign', { publicKey: owner.objects[0]!.publicKey });
    expect(await failureOf(fixture.administration.importKey(bound()))).toMatchObject({
      reason: 'REQUEST_INVALID',
      message: 'that object is app/mine#1 already',
    });
  });

  it('refuses an object that could not be found again', async () => {
    place({ type: 'ec', curve: 'P-256' }, 'sign', { ckaId: '' });
    const failure = await failureOf(fixture.administration.importKey(bound()));
    expect(failure).toMatchObject({ reason: 'KEY_UNUSABLE' });
  });

  it.each([
    ['HS512', { type: 'hmac', bytes: 32 }, 'mac'],
    ['HS384', { type: 'hmac', bytes: 32 }, 'mac'],
    ['ES256', { type: 'ec', curve: 'P-384' }, 'sign'],
    ['Ed25519', { type: 'ec', curve: 'P-256' }, 'sign'],
  ] as const)('refuses %s over an object that does not fit it', async (algorithm, spec, purpose) => {
    place(spec, purpose);
    const failure = await failureOf(fixture.administration.importKey(bound({ algorithms: [algorithm] })));
    expect(failure).toMatchObject({ reason: 'REQUEST_INVALID' });
    expect(failure.message).toContain('do not fit');
  });

  it('takes a MAC key that is longer than the hash', async () => {
    place({ type: 'hmac', bytes: 64 }, 'mac');
    const version = await fixture.administration.importKey(bound({ algorithms: ['HS256'] }));
    expect(version.spec).toEqual({ type: 'hmac', bytes: 64 });
  });

  it('leaves nothing on the token when what it unwrapped cannot be proven', async () => {
    const blob = Buffer.from('a wrapped key');
    fixture.token.acceptBlob(blob, makeMaterial({ type: 'aes', bytes: 32 }));
    fixture.token.fault = ({ kind }) =>
      kind === 'decrypt' ? { reason: 'CIPHERTEXT_REJECTED', performed: 'unknown' } : undefined;
    const source = { blob, unwrappingKeyId: '01', mechanism: 'aes-kwp', publicKeyPem: '' };
    await failureOf(fixture.administration.importKey(bound({ algorithms: ['A256GCM'], source })));
    expect(fixture.token.objects).toEqual([]);
    expect(fixture.token.count('destroy')).toBe(1);
  });

  it('hands the public key on that an EC key comes with, and refuses what is none', async () => {
    const blob = Buffer.from('a wrapped key');
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const source = { blob, unwrappingKeyId: '01', mechanism: 'aes-kwp' };
    for (const publicKeyPem of ['nonsense', privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()]) {
      const failure = await failureOf(
        fixture.administration.importKey(bound({ source: { ...source, publicKeyPem } })),
      );
      expect(failure).toMatchObject({ reason: 'REQUEST_INVALID' });
    }
    const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
    await failureOf(fixture.administration.importKey(bound({ source: { ...source, publicKeyPem } })));
    expect(fixture.token.imports.map((request) => Buffer.from(request.publicKey ?? []))).toEqual([
      publicKey.export({ type: 'spki', format: 'der' }),
    ]);
  });

  it('leaves alone what it found on the token, when that cannot be bound', async () => {
    place({ type: 'ec', curve: 'P-384' }, 'sign');
    await failureOf(fixture.administration.importKey(bound()));
    expect(fixture.token.objects).toEqual([CKA_ID]);
  });
});

describe('attributes', () => {
  it.each(['modifiable', 'copyable'] as const)(
    'a bound object may be %s, and the log warns',
    async (flag) => {
      place({ type: 'ec', curve: 'P-256' }, 'sign', { [flag]: true });
      await fixture.administration.importKey(bound());
      expect(fixture.lines.filter(({ level }) => level === 'warn')).toMatchObject([
        { fields: { key: 'app/bound#1', token: 'one' } },
      ]);
    },
  );

  it.each([
    { modifiable: true },
    { copyable: true },
    { extractable: true },
    { sensitive: false },
    { local: false },
    { neverExtractable: false },
    { alwaysSensitive: false },
  ])('a key that was made on its token is not used when it reads back %o', async (altered) => {
    const version = await fixture.create('app/key', 'ES256', { tokens: ['one'] });
    fixture.token.alter(version.objects[0]!.ckaId, altered);
    fixture.token.login();
    await fixture.keys.settled();
    expect(fixture.keys.bindings(version.id)).toEqual([]);
  });

  it.each([{ modifiable: true }, { copyable: true }])(
    'a replicated key is not used where it reads back %o',
    async (altered) => {
      const version = await fixture.create('app/key', 'ES256');
      fixture.token.alter(version.objects[0]!.ckaId, altered);
      fixture.token.login();
      await fixture.keys.settled();
      expect(fixture.keys.bindings(version.id).map(({ token }) => token.name)).toEqual(['two']);
    },
  );
});

describe('creating', () => {
  it('takes a token that is named twice for one', async () => {
    const version = await fixture.create('app/key', 'ES256', { tokens: ['one', 'one'] });
    expect(version.objects).toHaveLength(1);
    expect(version.provenance).toBe('created');
    expect(fixture.token.objects).toHaveLength(1);
  });

  it('proves an encryption key by bytes that nobody can compute', async () => {
    const [first, second] = [
      await fixture.create('app/a', 'A256GCM'),
      await fixture.create('app/b', 'A256GCM'),
    ];
    expect(first.objects[0]!.proof[0]).toBe(1);
    const hashes = [first, second].flatMap(({ objects }) =>
      objects.map(({ proof }) => Buffer.from(proof.subarray(1, 33)).toString('hex')),
    );
    expect(new Set(hashes).size).toBe(4);
    fixture.token.replaceKey(first.objects[0]!.ckaId);
    fixture.token.login();
    await fixture.keys.settled();
    expect(fixture.keys.bindings(first.id).map(({ token }) => token.name)).toEqual(['two']);
  });
});
