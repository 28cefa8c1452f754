import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { callFor, failureOf, KeyUseFixture } from '../../test/fakes/key-use-fixture.ts';
import { Failure } from './failure.ts';

let fixture: KeyUseFixture;
beforeEach(async () => {
  fixture = new KeyUseFixture(['one']);
  await fixture.create('app/one', 'ES256');
  await fixture.create('app/two', 'ES256');
});
afterEach(() => fixture.close());

const trouble = { reason: 'SESSION_LOST', performed: 'no' } as const;

it('a key whose proof failed for a passing trouble is proven again, and on record', async () => {
  const { token, keys } = fixture;
  token.fault = ({ kind }) => (kind === 'sign' ? trouble : undefined);
  token.login();
  await keys.settled();
  expect(keys.report(token).proven).toEqual([]);
  const asked = token.count('sign');
  keys.proveAgain();
  await keys.settled();
  // The trouble goes on: one key tells, the other waits.
  expect(token.count('sign')).toBe(asked + 1);
  token.fault = () => undefined;
  keys.proveAgain();
  await keys.settled();
  expect([...keys.report(token).proven].sort()).toEqual(['app/one#1', 'app/two#1']);
  expect(keys.report(token).unusable.size).toBe(0);
  const proofs = fixture.log.of('key-proof').map(({ decision }) => decision);
  expect(proofs).toEqual(['deny', 'deny', 'deny', 'allow', 'allow']);
});

it('a key whose proof failed for a passing trouble is out of reach meanwhile, and nobody is told that it is wrong', async () => {
  const { token, keys, pool, catalog } = fixture;
  token.fault = ({ kind }) => (kind === 'sign' ? trouble : undefined);
  token.login();
  await keys.settled();
  const choose = async () => pool.choose('a', catalog.find('app/one', 0), callFor());
  // UNAVAILABLE: clients try again.
  expect(await failureOf(choose())).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'no' });
  token.fault = () => undefined;
  keys.proveAgain();
  await keys.settled();
  pool.release(await choose());
});

it('a key that was found to be another one is not asked again', async () => {
  const { token, keys, catalog } = fixture;
  token.replaceKey(catalog.find('app/one', 0)!.objects[0]!.ckaId);
  token.login();
  await keys.settled();
  const asked = token.count('sign');
  keys.proveAgain();
  await keys.settled();
  expect(token.count('sign')).toBe(asked);
  expect(keys.report(token).proven).toEqual(['app/two#1']);
  const chosen = async () => fixture.pool.choose('a', catalog.find('app/one', 0), callFor());
  expect(await failureOf(chosen())).toMatchObject({ reason: 'KEY_UNUSABLE', performed: 'no' });
});

it('a key that goes on failing does not keep those behind it from being proven', async () => {
  const { token, keys, catalog } = fixture;
  await fixture.create('app/three', 'ES256');
  token.fault = ({ kind }) => (kind === 'sign' ? trouble : undefined);
  token.login();
  await keys.settled();
  const stuck = catalog.find('app/one', 0)!.objects[0]!.ckaId;
  token.fault = ({ kind, ckaId }) => (kind === 'sign' && ckaId === stuck ? trouble : undefined);
  for (let round = 0; round < 3; round++) {
    keys.proveAgain();
    await keys.settled();
  }
  expect([...keys.report(token).proven].sort()).toEqual(['app/three#1', 'app/two#1']);
});

describe('an encryption key whose first decryption ends in trouble', () => {
  beforeEach(async () => {
    await fixture.create('app/box', 'A256GCM');
  });

  it('is proven when it opens its canary after something else of its own', async () => {
    const { token, keys } = fixture;
    let isFirst = true;
    token.fault = ({ kind }) => {
      if (kind !== 'decrypt' || !isFirst) return undefined;
      isFirst = false;
      return trouble;
    };
    const encrypted = token.count('encrypt');
    token.login();
    await keys.settled();
    expect(keys.report(token).proven).toContain('app/box#1');
    expect(token.count('encrypt')).toBe(encrypted + 1);
  });

  it('is out of reach, and not wrong, when it may not encrypt any more', async () => {
    const { token, keys, encryptions } = fixture;
    token.fault = ({ kind }) => (kind === 'decrypt' ? trouble : undefined);
    vi.spyOn(encryptions, 'take').mockImplementation(() => {
      throw new Failure('KEY_UNUSABLE', 'the key is used up');
    });
    token.login();
    await keys.settled();
    expect(keys.report(token).unusable.get('app/box#1')).toContain('SESSION_LOST');
    expect(keys.isRefuted(token, 'app/box#1')).toBe(false);
  });
});
