import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { CallKind, TokenFault } from '../../test/fakes/fake-token.ts';
import { callerOf, callFor, failureOf, KeyUseFixture } from '../../test/fakes/key-use-fixture.ts';
import { AuditError } from '../audit/entry.ts';
import { FACTS } from './algorithms.ts';
import type { CreateKeyOptions } from './key-administration.ts';

let fixture: KeyUseFixture;
beforeEach(() => {
  fixture = new KeyUseFixture();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await fixture.close();
});

const create = (more: Partial<CreateKeyOptions> = {}) =>
  fixture.administration.create({
    key: 'app/k',
    purpose: '',
    algorithms: ['ES256'],
    tokens: [],
    modulusBits: 0,
    verify: '',
    ...more,
  });

/** As if nothing had been asked for: no key, no object, no transport, no reference, and the name is free. */
async function nothingIsLeft(): Promise<void> {
  expect(fixture.catalog.all()).toEqual([]);
  for (const token of fixture.tokens) {
    expect(token.objects).toEqual([]);
    expect(token.openTransports).toBe(0);
    expect(fixture.keys.report(token)).toEqual({ proven: [], unusable: new Map() });
    token.fault = () => undefined;
  }
  expect(fixture.keys.bindings('app/k#1')).toEqual([]);
  expect((await create()).id).toBe('app/k#1');
}

describe('a key that is made', () => {
  it.each(['ES256', 'ES512', 'Ed25519', 'PS256', 'HS384', 'A256GCM'] as const)(
    '%s is on every token, proven there before it is in the catalog, and durable',
    async (algorithm) => {
      const add = vi.spyOn(fixture.catalog, 'add').mockImplementation(function (this: unknown, version) {
        expect(fixture.log.of('key-proof')).toHaveLength(2);
        add.mockRestore();
        fixture.catalog.add(version);
      });
      const version = await create({ algorithms: [algorithm] });
      expect(version).toMatchObject({
        version: 1,
        purpose: FACTS[algorithm].purpose,
        state: 'active',
        verify: 'always',
        decryptOnly: false,
        provenance: algorithm === 'Ed25519' ? 'created' : 'replicated',
      });
      expect(fixture.keys.bindings(version.id)).toHaveLength(2);
      expect(fixture.store.keyVersions()).toHaveLength(1);
      expect(fixture.tokens.map((token) => token.openTransports)).toEqual([0, 0]);
      const keys = new Set(version.objects.map(({ publicKey }) => Buffer.from(publicKey).toString('hex')));
      expect(keys.size).toBe(algorithm === 'Ed25519' ? 2 : 1);
    },
  );

  it('on one token is created there, not replicated', async () => {
    const version = await create({ tokens: ['two'] });
    expect(version.provenance).toBe('created');
    expect(fixture.tokens.map((token) => token.objects.length)).toEqual([0, 1]);
    expect(fixture.tokens[1]!.count('generate-replicated')).toBe(0);
  });

  it('may have several RSA signature algorithms, and as many bits as asked for', async () => {
    const algorithms = ['RS256', 'PS512'];
    const version = await create({ algorithms, tokens: ['one'], modulusBits: 3072 });
    expect(version).toMatchObject({ algorithms, spec: { type: 'rsa', modulusBits: 3072 } });
  });

  it('has a name once, also when two ask at the same time', async () => {
    const [first, second] = await Promise.allSettled([create(), create()]);
    expect(first!.status).toBe('fulfilled');
    expect(second).toMatchObject({
      status: 'rejected',
      reason: { reason: 'REQUEST_INVALID', message: 'key app/k exists already' },
    });
    expect(fixture.token.objects).toHaveLength(1);
  });
});

describe('a plan that is wrong', () => {
  it.each([
    [{ key: 'app key' }, 'REQUEST_INVALID', 'key name must be'],
    [{ key: '' }, 'REQUEST_INVALID', 'key name must be'],
    [{ algorithms: [] }, 'REQUEST_INVALID', 'at least one algorithm'],
    [{ algorithms: ['ES257'] }, 'REQUEST_INVALID', 'algorithm "ES257" is not known'],
    [{ algorithms: ['ES256', 'ES256'] }, 'REQUEST_INVALID', 'named twice'],
    [{ algorithms: ['ES256', 'ES384'] }, 'REQUEST_INVALID', 'only RSA signature keys may have several'],
    [
      { algorithms: ['RS256', 'RSA-OAEP-256'] },
      'REQUEST_INVALID',
      'only RSA signature keys may have several',
    ],
    [
      { algorithms: ['RSA-OAEP-256', 'RS256'] },
      'REQUEST_INVALID',
      'only RSA signature keys may have several',
    ],
    [{ algorithms: ['RS256', 'ES256'] }, 'REQUEST_INVALID', 'only RSA signature keys may have several'],
    [{ purpose: 'encrypt' }, 'REQUEST_INVALID', 'ES256 is for sign, not encrypt'],
    [{ algorithms: ['RS256'], modulusBits: 1024 }, 'REQUEST_INVALID', '2048, 3072 or 4096 bits'],
    [{ algorithms: ['RS256'], modulusBits: 2049 }, 'REQUEST_INVALID', '2048, 3072 or 4096 bits'],
    [{ verify: 'sometimes' }, 'REQUEST_INVALID', 'verify must be always, sampled or never'],
    [{ algorithms: ['RS256'], verify: 'never' }, 'REQUEST_INVALID', 'refused for rsa'],
    [{ algorithms: ['PS256'], verify: 'sampled' }, 'REQUEST_INVALID', 'refused for rsa'],
    [{ algorithms: ['Ed25519'], verify: 'never' }, 'REQUEST_INVALID', 'refused for ed25519'],
    [{ algorithms: ['EdDSA'], verify: 'sampled' }, 'REQUEST_INVALID', 'refused for ed25519'],
    [{ tokens: ['three'] }, 'REQUEST_INVALID', 'there is no token "three"'],
  ] as const)('%j is refused before any token is asked', async (more, reason, text) => {
    const failure = await failureOf(create(more as Partial<CreateKeyOptions>));
    expect(failure).toMatchObject({ reason, performed: 'no' });
    expect(failure.message).toContain(text);
    expect(fixture.tokens.flatMap((token) => token.calls)).toEqual([]);
    expect(fixture.catalog.all()).toEqual([]);
  });

  it('asks for what a token cannot do, and is told which', async () => {
    Object.assign(fixture.tokens[1]!.info, { algorithms: ['ES256'] });
    expect(await failureOf(create({ algorithms: ['ES384'] }))).toMatchObject({
      reason: 'OPERATION_UNSUPPORTED',
      message: 'ES384: token two (fake) does not do it',
    });
  });

  it('asks for a token that is away, and is told what to do', async () => {
    fixture.tokens[1]!.quarantine('look at it');
    expect(await failureOf(create())).toMatchObject({
      reason: 'TOKEN_UNREACHABLE',
      message: 'token two is blocked: look at it',
    });
    expect(fixture.token.calls).toEqual([]);
  });
});

describe('a creation that fails', () => {
  const lost: TokenFault = { reason: 'TOKEN_UNREACHABLE', performed: 'unknown', ckr: 'CKR_DEVICE_ERROR' };

  it.each([
    ['one', 'generate-replicated'],
    ['two', 'open-transport'],
    ['two', 'receive-replica'],
    ['one', 'bind'],
    ['two', 'bind'],
    ['one', 'sign'],
    ['two', 'sign'],
  ] as readonly (readonly [string, CallKind])[])('on token %s at %s leaves nothing', async (name, kind) => {
    fixture.tokens.find((token) => token.name === name)!.fault = (call) =>
      call.kind === kind ? lost : undefined;
    const failure = await failureOf(create());
    expect(['TOKEN_UNREACHABLE', 'KEY_UNUSABLE']).toContain(failure.reason);
    await nothingIsLeft();
  });

  it.each(['generate', 'bind', 'encrypt', 'decrypt'] as const)(
    'of an AES key at %s leaves nothing',
    async (kind) => {
      fixture.token.fault = (call) => (call.kind === kind ? lost : undefined);
      await failureOf(create({ algorithms: ['A256GCM'], tokens: ['one'] }));
      await nothingIsLeft();
    },
  );

  it('because a signature does not verify leaves nothing', async () => {
    fixture.tokens[1]!.fault = ({ kind }) => (kind === 'sign' ? 'wrong-bytes' : undefined);
    expect((await failureOf(create())).message).toContain(
      'does not verify with the public key of the catalog',
    );
    await nothingIsLeft();
  });

  it('because the catalog cannot be written leaves nothing', async () => {
    vi.spyOn(fixture.store, 'insertKeyVersion').mockImplementationOnce(() => {
      throw new Error('disk full');
    });
    await failureOf(create());
    await nothingIsLeft();
  });

  it('because a token logged in again in the middle leaves nothing', async () => {
    const disk = fixture.log.hold();
    const creation = failureOf(create());
    await disk.reached;
    fixture.token.login();
    disk.release();
    expect((await creation).message).toContain('logged in again');
    await fixture.keys.settled();
    await nothingIsLeft();
  });

  it('tells the operator what the token said', async () => {
    fixture.token.fault = ({ kind }) => (kind === 'generate' ? lost : undefined);
    expect((await failureOf(create({ tokens: ['one'] }))).message).toContain('CKR_DEVICE_ERROR');
  });

  it('and cannot be cleaned up after does not stand in the way of the next', async () => {
    fixture.tokens[1]!.fault = ({ kind }) =>
      kind === 'receive-replica' || kind === 'destroy' ? lost : undefined;
    await failureOf(create());
    fixture.tokens[1]!.fault = () => undefined;
    expect((await create({ key: 'app/next' })).objects).toHaveLength(2);
  });
});

it('makes a key although its proof cannot be recorded, which stops every use of it by itself', async () => {
  fixture.log.rejection = () => new AuditError('AUDIT_UNAVAILABLE', 'disk full');
  await create();
  const use = fixture.keyUse.sign(callerOf(), callFor(), {
    key: 'app/k',
    version: 0,
    algorithm: 'ES256',
    content: { kind: 'message', bytes: Buffer.from('m') },
    der: false,
  });
  expect((await failureOf(use)).reason).toBe('AUDIT_UNAVAILABLE');
});
