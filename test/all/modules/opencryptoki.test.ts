import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { opencryptoki } from '../../../hsm-adapters/profiles/opencryptoki.ts';
import { describeAdapter } from '../../conformance/adapters/describe-adapter.ts';
import { type OpenCryptoki, startOpenCryptoki } from './opencryptoki-module.ts';
import { expectOneTry, logInOnce, withWrongPin } from './wrong-pin.ts';

describeAdapter({ profile: opencryptoki, tokens: 2, takesKnownKeys: true, start: startOpenCryptoki });

describe('a token of openCryptoki, which locks at the third wrong PIN', () => {
  let module: OpenCryptoki;
  beforeAll(async () => {
    module = await startOpenCryptoki();
  });
  afterAll(() => module?.stop());

  it('loses one try to a wrong PIN, and shows how many are left, until nobody tries any more', async () => {
    const right = module.tokens[0]!;
    const wrong = withWrongPin(right);
    // Each of these is an operator who says that the PIN is right now, and is mistaken.
    await expectOneTry(module, wrong);
    const second = await logInOnce(module, wrong);
    expect(second).toMatchObject({ attempts: 1, info: { pinCountLow: true, pinFinalTry: false } });
    const third = await logInOnce(module, wrong);
    expect(third).toMatchObject({ attempts: 1, info: { pinFinalTry: true, pinLocked: false } });
    for (const config of [wrong, right]) {
      const locked = await logInOnce(module, config);
      expect(locked).toMatchObject({ state: 'blocked', attempts: 0, info: { pinLocked: true } });
      expect(locked.advice).toContain('locked');
    }
    module.resetPin(0);
    expect(await logInOnce(module, right)).toMatchObject({
      state: 'ready',
      attempts: 1,
      info: { pinCountLow: false, pinFinalTry: false, pinLocked: false },
    });
    // The other token has lost nothing.
    expect(await logInOnce(module, module.tokens[1]!)).toMatchObject({
      state: 'ready',
      info: { pinCountLow: false },
    });
  });
});
