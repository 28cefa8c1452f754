import { afterEach, beforeEach, expect, it } from 'vitest';
import type { KeyVersion } from '../../../broker/keyuse/key-catalog.ts';
import { kindOf } from '../../../broker/keyuse/token-object.ts';
import { AdapterError } from '../../../hsm-adapters/adapter.ts';
import { callFor, failureOf } from '../../fakes/key-use-fixture.ts';
import { becomes, type FaultyToken, FaultyTokens } from './harness.ts';

/** Keys that somebody with the PIN has replaced: the same CKA_ID, label and attributes, other material. */

let all: FaultyTokens;
beforeEach(async () => {
  all = await FaultyTokens.start({ tokens: ['one'] });
});
afterEach(() => all.close());

async function create(key: string, algorithm: string): Promise<KeyVersion> {
  return await all.administration.create({
    key,
    purpose: '',
    algorithms: [algorithm],
    tokens: ['one'],
    modulusBits: 0,
    verify: '',
  });
}

async function replaceMaterial({ adapter }: FaultyToken, version: KeyVersion): Promise<void> {
  const { ckaId } = version.objects[0]!;
  await adapter.administration.destroy({ ckaId, kind: kindOf(version) });
  const { spec, purpose, id } = version;
  await adapter.administration.generate({ ckaId, label: id, spec, purpose });
}

async function restart({ module, adapter }: FaultyToken): Promise<void> {
  const { loginGeneration } = adapter;
  module.crash('C_GenerateRandom');
  await expect(adapter.random(8, callFor())).rejects.toBeInstanceOf(AdapterError);
  await becomes(adapter, (token) => token.loginGeneration > loginGeneration);
  await all.keys.settled();
}

const choose = async (version: KeyVersion) => all.pool.choose('a', version, callFor());

it.each(['ES256', 'RS256', 'Ed25519', 'HS256', 'A256GCM'])(
  'of %s are found out at the next login, callers are told that it is the key, and the token serves on',
  async (algorithm) => {
    const [token] = all.tokens as [FaultyToken];
    const replaced = [
      await create('app/a', algorithm),
      await create('app/b', algorithm),
      await create('app/c', algorithm),
    ];
    for (const version of replaced) await replaceMaterial(token, version);
    await restart(token);
    const { loginGeneration } = token.adapter;
    // What ended in a token's trouble is tried again; a finding stands.
    all.keys.proveAgain();
    await all.keys.settled();
    for (const { id } of replaced) {
      expect(all.keys.isRefuted(token.adapter, id)).toBe(true);
      expect(all.keys.bindings(id)).toEqual([]);
    }
    expect(await failureOf(choose(replaced[0]!))).toMatchObject({
      reason: 'KEY_UNUSABLE',
      performed: 'no',
    });
    expect((await all.sign()).failure).toBeUndefined();
    expect(token.adapter.loginGeneration).toBe(loginGeneration);
  },
);
