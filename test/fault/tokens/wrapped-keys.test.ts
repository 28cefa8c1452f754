import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { KeyVersion } from '../../../broker/keyuse/key-catalog.ts';
import { failureOf } from '../../fakes/key-use-fixture.ts';
import { type FaultyToken, FaultyTokens } from './harness.ts';

/** Keys that travel between tokens, with one bit of what was wrapped changed by the module that wrapped it. */

/** Of no key. */
const REF = 0xffff_fff0;

let all: FaultyTokens;
beforeAll(async () => {
  all = await FaultyTokens.start();
});
afterEach(() => {
  for (const { module } of all.tokens) module.heal();
});
afterAll(() => all?.close());

const create = (key: string, algorithm: string): Promise<KeyVersion> =>
  all.administration.create({
    key,
    purpose: '',
    algorithms: [algorithm],
    tokens: ['one', 'two'],
    modulusBits: 0,
    verify: '',
  });

/** One bit of what the so-many-th C_WrapKey from now returns is wrong: it is held up until the order is given. */
async function corruptWrap(at: number): Promise<void> {
  const [{ module }] = all.tokens as [FaultyToken];
  module.delay('C_WrapKey', 100);
  await module.called('C_WrapKey', at + 1);
  module.corrupt('C_WrapKey');
}

/** The source wraps in this order. */
describe.each([
  ['the key that wraps', 0],
  ['the key on its way to the other token', 1],
  ['the key on its way to its own token', 2],
] as const)('one bit changed of %s', (_, at) => {
  it.each([
    ['ES256', 'private'],
    ['A256GCM', 'secret'],
    ['HS256', 'secret'],
  ] as const)('%s: there is no such key on any token, until it is made anew', async (algorithm, kind) => {
    const [{ module }] = all.tokens as [FaultyToken];
    const key = `app/wrapped-${at}-${algorithm}`;
    const sessions = all.tokens.map((token) => token.module.sessions);
    const fired = module.fired('C_WrapKey');
    const [failure] = await Promise.all([failureOf(create(key, algorithm)), corruptWrap(at)]);
    expect(module.fired('C_WrapKey')).toBe(fired + 1);
    expect(failure.message).toContain(`token ${at === 2 ? 'one' : 'two'}: C_UnwrapKey: `);
    for (const { adapter } of all.tokens) {
      await expect(adapter.administration.bind(REF, { label: `${key}#1`, kind })).rejects.toMatchObject({
        reason: 'KEY_MISSING_ON_TOKEN',
      });
    }
    // What travelled was of sessions, and those are closed.
    expect(all.tokens.map((token) => token.module.sessions)).toEqual(sessions);

    module.heal();
    const { objects } = await create(key, algorithm);
    expect(objects).toHaveLength(2);
    expect((await all.sign()).failure).toBeUndefined();
  });
});
