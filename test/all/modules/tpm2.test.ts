import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tpm2 } from '../../../hsm-adapters/profiles/tpm2.ts';
import { describeAdapter } from '../../conformance/adapters/describe-adapter.ts';
import { startTpm2, type Tpm2 } from './tpm2-module.ts';
import { expectOneTry, logInOnce, withWrongPin } from './wrong-pin.ts';

describeAdapter({ profile: tpm2, tokens: 2, takesKnownKeys: false, start: startTpm2 });

describe('a TPM, which locks as a whole at the third wrong PIN', () => {
  let module: Tpm2;
  beforeAll(async () => {
    module = await startTpm2();
  });
  afterAll(() => module?.stop());

  it('counts one failure for a wrong PIN, and none for the right one while it is locked', async () => {
    const right = module.tokens[0]!;
    const wrong = withWrongPin(right);
    expect(module.wrongPins()).toBe(0);
    await expectOneTry(module, wrong);
    expect(module.wrongPins()).toBe(1);
    for (const failures of [2, 3]) {
      expect(await logInOnce(module, wrong)).toMatchObject({ state: 'blocked', attempts: 1 });
      expect(module.wrongPins()).toBe(failures);
    }
    // The flags of this token do not say so: what is left is that nobody goes on trying.
    await expectOneTry(module, right);
    expect(module.wrongPins()).toBe(3);
    module.resetLockout();
    expect(await logInOnce(module, right)).toMatchObject({ state: 'ready', attempts: 1 });
  });
});
