import { expect, it } from 'vitest';
import { FakeToken } from '../../test/fakes/fake-token.ts';
import { KeyUseFixture } from '../../test/fakes/key-use-fixture.ts';
import { TokenKeys } from './token-keys.ts';

it('a second token of the same serial is not used: what is recorded of the one would be believed of the other', async () => {
  const fixture = new KeyUseFixture(['one']);
  const { id } = await fixture.create('app/k', 'ES256');
  const twin = new FakeToken('twin', { serial: fixture.token.info.serial });
  const said: string[] = [];
  const keys = new TokenKeys({
    tokens: [fixture.token, twin],
    catalog: fixture.catalog,
    audit: fixture.log,
    origin: fixture.log.origin,
    encryptions: fixture.encryptions,
    log: (_level, message) => said.push(message),
    onChange: () => undefined,
  });
  await keys.settled();
  expect(keys.bindings(id).map(({ token }) => token.name)).toEqual(['one']);
  expect(keys.report(twin).unusable.get(id)).toBe(
    'token twin has the serial of token one: they cannot be told apart',
  );
  expect(twin.calls).toEqual([]);
  expect(said).toContain('a token is not used');
  await fixture.close();
});
