import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { callerOf, callFor, failureOf, KeyUseFixture } from '../../test/fakes/key-use-fixture.ts';
import { AuditError } from '../audit/entry.ts';
import type { KeyVersion } from './key-catalog.ts';
import { RESERVED_PREFIX } from './key-proof.ts';

let fixture: KeyUseFixture;
beforeEach(() => {
  fixture = new KeyUseFixture();
});
afterEach(() => fixture.close());

const boundOn = (version: KeyVersion): readonly string[] =>
  fixture.keys.bindings(version.id).map(({ token }) => token.name);
const ckaIdOn = (version: KeyVersion): string =>
  version.objects.find(({ tokenSerial }) => tokenSerial === fixture.token.info.serial)!.ckaId;

async function loginAgain(): Promise<void> {
  fixture.token.login();
  await fixture.keys.settled();
}

describe('a new login', () => {
  it('voids every reference of the one before, and binds what it proves again', async () => {
    const version = await fixture.create('app/k', 'ES256');
    const [before] = fixture.keys.bindings(version.id);
    fixture.token.login();
    expect(boundOn(version)).toEqual(['two']);
    await fixture.keys.settled();
    expect(boundOn(version)).toEqual(['one', 'two']);
    expect(fixture.keys.bindings(version.id)[0]!.object).not.toBe(before!.object);
    for (let i = 0; i < 8; i++) {
      await fixture.keyUse.sign(callerOf(), callFor(), {
        key: 'app/k',
        version: 0,
        algorithm: 'ES256',
        content: { kind: 'message', bytes: Buffer.from('m') },
        der: false,
      });
    }
  });

  it('that comes while the one before is still binding leaves nothing of that one', async () => {
    const versions = [await fixture.create('app/a', 'ES256'), await fixture.create('app/b', 'HS256')];
    const gate = fixture.token.hold('bind');
    fixture.token.login();
    await gate.reached;
    fixture.token.login();
    gate.release();
    await fixture.keys.settled();
    for (const version of versions) {
      expect(boundOn(version)).toEqual(['one', 'two']);
      await fixture.token.sign(
        {
          object: fixture.keys.bindings(version.id)[0]!.object,
          algorithm: version.algorithms[0]!,
          data: Buffer.alloc(32),
        },
        callFor(),
      );
    }
    expect(fixture.keys.report(fixture.token).unusable.size).toBe(0);
  });

  it('does nothing for keys that are destroyed or on other tokens', async () => {
    await fixture.create('app/two', 'ES256', { tokens: ['two'] });
    const version = await fixture.create('app/one', 'ES256', { tokens: ['one'] });
    fixture.catalog.add({
      ...version,
      version: 2,
      id: 'app/one#2',
      state: 'destroyed',
      objects: version.objects.map((object) => ({ ...object, ckaId: 'cd'.repeat(16) })),
    });
    fixture.forgetWhatWas();
    await loginAgain();
    expect(fixture.token.count('bind')).toBe(1);
    expect(fixture.keys.report(fixture.token)).toEqual({ proven: ['app/one#1'], unusable: new Map() });
  });
});

describe('another key under the same CKA_ID and with the same attributes', () => {
  it.each(['ES256', 'ES384', 'Ed25519', 'RS256', 'HS256', 'A256GCM', 'RSA-OAEP-256'])(
    'is found out by use: %s',
    async (algorithm) => {
      const tokens = algorithm === 'RSA-OAEP-256' ? ['one'] : ['one', 'two'];
      const version = await fixture.create('app/k', algorithm, { tokens });
      fixture.token.replaceKey(ckaIdOn(version));
      await loginAgain();
      expect(boundOn(version)).toEqual(tokens.slice(1));
      expect(fixture.keys.report(fixture.token).unusable.get(version.id)).toBeDefined();
      const [proof] = fixture.log.of('key-proof');
      expect(proof).toMatchObject({ decision: 'deny', key: 'app/k', version: 1 });
      expect(
        fixture.lines.some(({ level, fields }) => level === 'error' && fields?.['key'] === version.id),
      ).toBe(true);
    },
  );

  it.each(['A256GCM', 'RSA-OAEP-256'])(
    'is not taken for the right one because it opens the canary of %s to something',
    async (algorithm) => {
      const version = await fixture.create('app/k', algorithm, { tokens: ['one'] });
      fixture.token.fault = ({ kind }) => (kind === 'decrypt' ? 'wrong-bytes' : undefined);
      await loginAgain();
      expect(boundOn(version)).toEqual([]);
    },
  );

  it('is refused by name to callers, if no other token has the right one', async () => {
    const version = await fixture.create('app/k', 'HS256', { tokens: ['one'] });
    fixture.token.replaceKey(ckaIdOn(version));
    await loginAgain();
    const failure = await failureOf(
      fixture.keyUse.mac(callerOf(), callFor(), {
        key: 'app/k',
        version: 0,
        algorithm: 'HS256',
        message: Buffer.from('m'),
      }),
    );
    expect(failure).toMatchObject({ reason: 'KEY_UNUSABLE', performed: 'no' });
    expect(fixture.token.count('sign')).toBe(1);
  });
});

describe('attributes that are not as the catalog and the templates have them', () => {
  it.each([
    ['another public key', { publicKey: Buffer.from('another') }],
    ['another type', { spec: { type: 'ec', curve: 'P-384' } }],
    ['another purpose', { usages: ['decrypt', 'encrypt'] }],
    ['one usage more', { usages: ['sign', 'verify', 'derive'] }],
    ['one usage less', { usages: ['verify'] }],
    ['a PIN at every use', { alwaysAuthenticate: true }],
    ['a value that can be read', { sensitive: false }],
    ['a value that can be taken out', { extractable: true }],
    ['a flag that can be changed', { modifiable: true }],
  ] as const)('keep a key out of service: %s', async (_what, altered) => {
    const version = await fixture.create('app/k', 'ES256');
    fixture.token.alter(ckaIdOn(version), altered);
    fixture.forgetWhatWas();
    await loginAgain();
    expect(boundOn(version)).toEqual(['two']);
    // Not even a proof is asked of it.
    expect(fixture.token.count('sign')).toBe(0);
  });
});

describe('a proof', () => {
  it('is on record for each key, with the token and the login it holds for', async () => {
    const version = await fixture.create('app/k', 'ES256');
    await loginAgain();
    expect(fixture.log.of('key-proof')).toEqual([
      expect.objectContaining({
        subject: 'lastmile',
        operation: 'prove',
        key: version.name,
        version: 1,
        decision: 'allow',
        performed: 'yes',
        detail: expect.objectContaining({ token: 'serial-one', login: fixture.token.loginGeneration }),
      }),
    ]);
  });

  it('that the log does not take is told to the operator', async () => {
    await fixture.create('app/k', 'ES256');
    fixture.log.rejection = () => new AuditError('AUDIT_UNAVAILABLE', 'disk full');
    await loginAgain();
    expect(fixture.lines.map(({ message }) => message)).toContain('a proof of a key is not on record');
  });

  it('is of a fresh challenge each time, and callers cannot have one made', async () => {
    await fixture.create('app/k', 'Ed25519', { tokens: ['one'] });
    const signed: Uint8Array[] = [];
    const { sign } = fixture.token;
    fixture.token.sign = (operation, context) => {
      signed.push(operation.data);
      return sign.call(fixture.token, operation, context);
    };
    await loginAgain();
    await loginAgain();
    const [first, second] = signed.map((data) => Buffer.from(data)) as [Buffer, Buffer];
    expect(first.subarray(0, RESERVED_PREFIX.length)).toEqual(RESERVED_PREFIX);
    expect(first.toString('latin1')).toContain(`${fixture.log.origin}\0app/k#1\0`);
    expect(first).not.toEqual(second);
    for (const content of [first, Buffer.from(RESERVED_PREFIX)]) {
      const failure = await failureOf(
        fixture.keyUse.sign(callerOf(), callFor(), {
          key: 'app/k',
          version: 0,
          algorithm: 'Ed25519',
          content: { kind: 'message', bytes: content },
          der: false,
        }),
      );
      expect(failure.reason).toBe('REQUEST_INVALID');
    }
    expect(signed).toHaveLength(2);
  });

  it('that a token cannot give leaves the key unusable there, with what the token said for the operator', async () => {
    const version = await fixture.create('app/k', 'ES256');
    fixture.token.fault = ({ kind }) =>
      kind === 'sign'
        ? { reason: 'KEY_UNUSABLE', performed: 'no', ckr: 'CKR_KEY_FUNCTION_NOT_PERMITTED' }
        : undefined;
    await loginAgain();
    expect(fixture.keys.report(fixture.token).unusable.get(version.id)).toContain(
      'CKR_KEY_FUNCTION_NOT_PERMITTED',
    );
    expect(boundOn(version)).toEqual(['two']);
  });
});

it('leaves a key that is not on its token out of service there', async () => {
  const version = await fixture.create('app/k', 'ES256');
  fixture.token.remove(ckaIdOn(version));
  await loginAgain();
  expect(boundOn(version)).toEqual(['two']);
  fixture.tokens[1]!.remove(version.objects[1]!.ckaId);
  fixture.keys.revoke(fixture.keys.bindings(version.id)[0]!, version.id, 'gone');
  expect(boundOn(version)).toEqual([]);
});

it('keeps what it has proven since, when a binding of an earlier login turns out not to be there', async () => {
  const version = await fixture.create('app/k', 'ES256');
  const earlier = fixture.keys.bindings(version.id).find(({ token }) => token === fixture.token)!;
  await loginAgain();
  fixture.keys.revoke(earlier, version.id, 'no object is bound to that reference');
  expect(boundOn(version).toSorted()).toEqual(['one', 'two']);
});

it('knows nothing of a key that is forgotten', async () => {
  const version = await fixture.create('app/k', 'ES256');
  fixture.keys.forget(version);
  expect(boundOn(version)).toEqual([]);
  expect(fixture.keys.report(fixture.token)).toEqual({ proven: [], unusable: new Map() });
});
