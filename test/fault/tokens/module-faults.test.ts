import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AdapterError } from '../../../hsm-adapters/adapter.ts';
import { ALWAYS, type Call } from '../../fakes/faulty-cryptoki.ts';
import { callerOf, callFor } from '../../fakes/key-use-fixture.ts';
import { FaultyTokens, type Outcome } from './harness.ts';

/** Every code of the list at every call, in a module between the worker and SoftHSM2. Two tokens, real workers. */

const CODES = [
  'CKR_SESSION_HANDLE_INVALID',
  'CKR_DEVICE_ERROR',
  'CKR_DEVICE_REMOVED',
  'CKR_USER_NOT_LOGGED_IN',
  'CKR_HOST_MEMORY',
  'CKR_FUNCTION_FAILED',
  'CKR_SESSION_COUNT',
  'CKR_OPERATION_ACTIVE',
] as const;
const LANES = 12;

let all: FaultyTokens;
beforeAll(async () => {
  all = await FaultyTokens.start();
});
afterEach(() => {
  for (const { module } of all.tokens) module.heal();
});
afterAll(() => all?.close());

/**
 * Signatures under load, some before `during` and at least so many in all, until `isOver`. What came of all of them
 * must hold.
 */
async function underLoad(
  during: () => void = () => undefined,
  isOver: () => boolean = () => true,
  wanted = 80,
): Promise<readonly Outcome[]> {
  all.log.entries.length = 0;
  all.log.refusals.length = 0;
  const end = performance.now() + 15_000;
  let made = 0;
  let isBegun = false;
  const outcomes = await all.load(LANES, () => {
    made++;
    if (made > 20 && !isBegun) {
      isBegun = true;
      during();
    }
    return performance.now() > end || (made > wanted && isBegun && isOver());
  });
  expect(all.findings(outcomes)).toEqual([]);
  expect(isOver()).toBe(true);
  return outcomes;
}

const failed = (outcomes: readonly Outcome[]) => outcomes.flatMap(({ failure }) => failure ?? []);

describe.each(CODES)('%s', (code) => {
  // Calls of a millisecond run on threads of the worker, shorter ones on its own (pkcs11/call-placement.ts).
  describe.each([0, 1])('in a call %d ms longer', (delayMs) => {
    it.each(['C_SignInit', 'C_Sign'] as const)(
      'at %s costs one attempt, on record, and no caller',
      async (call) => {
        const { module, adapter } = all.tokens[0]!;
        module.delay('C_Sign', delayMs);
        const before = module.fired(call);
        const outcomes = await underLoad(
          () => module.fail(call, code),
          () => module.fired(call) > before,
        );
        const attempts = all.uses.flatMap((use) => use.attempts ?? []);
        const [told, ...more] = attempts.filter(({ ckr }) => ckr === code);
        expect(told).toMatchObject({ token: adapter.info!.serial, outcome: 'failed' });
        // A code from *Init came before the key was used.
        if (call === 'C_SignInit') expect(told!.performed).toBe('no');
        expect(more).toEqual([]);
        expect(failed(outcomes)).toEqual([]);
        await all.recovered();
      },
    );

    it('of C_Sign that did sign: no signature that nobody has is one that somebody has', async () => {
      const { module } = all.tokens[0]!;
      module.delay('C_Sign', delayMs);
      const before = module.fired('C_Sign');
      const outcomes = await underLoad(
        () => module.fail('C_Sign', code, 2, 'after'),
        () => module.fired('C_Sign') > before,
      );
      expect(failed(outcomes)).toEqual([]);
      module.heal();
      await all.recovered();
    });
  });

  it('at every signature of one token leaves the other to serve, and the token comes back', async () => {
    const { module, adapter } = all.tokens[0]!;
    const before = module.fired('C_Sign');
    const outcomes = await underLoad(
      () => module.fail('C_Sign', code, ALWAYS),
      () => module.fired('C_Sign') > before + 3 || adapter.state === 'down',
      400,
    );
    expect(failed(outcomes)).toEqual([]);
    module.heal();
    // It failed the proofs of its keys, or was given up: the next worker proves them.
    module.crash('C_GenerateRandom');
    await adapter.random(8, callFor()).catch((error: unknown) => expect(error).toBeInstanceOf(AdapterError));
    await all.recovered();
    await serves(0);
  });

  it.each(['C_EncryptInit', 'C_Encrypt', 'C_DecryptInit', 'C_Decrypt', 'C_GenerateRandom'] as const)(
    'at %s: what is encrypted opens, or its caller is told the truth',
    async (call) => {
      const { module } = all.tokens[0]!;
      const before = module.fired(call);
      module.fail(call, code);
      await untilFired(call, before);
      await all.recovered();
    },
  );

  it.each([
    'C_Initialize',
    'C_GetSlotList',
    'C_GetTokenInfo',
    'C_OpenSession',
    'C_FindObjectsInit',
    'C_FindObjects',
    'C_GetAttributeValue',
  ] as const)('at %s, while a worker starts: its keys come back', async (call: Call) => {
    const { module, adapter } = all.tokens[0]!;
    const before = module.fired(call);
    module.fail(call, code);
    module.crash('C_GenerateRandom');
    await adapter.random(8, callFor()).catch((error: unknown) => expect(error).toBeInstanceOf(AdapterError));
    await underLoad(
      () => undefined,
      () => module.fired(call) > before,
    );
    await serves(0);
    await all.recovered();
  });
});

/** Encrypts and opens until the module has failed this call. */
async function untilFired(call: Call, before: number, opens = true): Promise<void> {
  const { module } = all.tokens[0]!;
  const plaintext = Buffer.from('a secret');
  const associatedData = new Uint8Array();
  const end = performance.now() + 15_000;
  while (module.fired(call) === before) {
    expect(performance.now()).toBeLessThan(end);
    await Promise.all(
      Array.from({ length: LANES }, async () => {
        const { ciphertext } = await all.keyUse.encrypt(callerOf(), callFor(), {
          key: 'app/box',
          version: 0,
          algorithm: 'A256GCM',
          plaintext,
          associatedData,
        });
        if (!opens) return;
        const opened = await all.keyUse.decrypt(callerOf(), callFor(), {
          key: 'app/box',
          ciphertext,
          associatedData,
        });
        expect(Buffer.from(opened.plaintext)).toEqual(plaintext);
      }),
    );
  }
}

/** Until the token signs for callers again. */
async function serves(index: number): Promise<void> {
  const { module } = all.tokens[index]!;
  const before = module.calls('C_Sign');
  await underLoad(
    () => undefined,
    () => module.calls('C_Sign') > before + LANES,
  );
}

describe('one bit changed on the way', () => {
  it.each(['C_Sign', 'C_Encrypt', 'C_Decrypt'] as const)(
    'of what %s returns: nothing of it is released, and the token leaves service',
    async (call) => {
      const { module, adapter } = all.tokens[0]!;
      const before = module.fired(call);
      module.corrupt(call);
      if (call === 'C_Sign') {
        const outcomes = await underLoad(
          () => undefined,
          () => module.fired(call) > before,
        );
        expect(failed(outcomes)).toEqual([]);
        expect(all.uses.flatMap(({ attempts }) => attempts ?? []).map(({ outcome }) => outcome)).toContain(
          'mismatch',
        );
        // What a caller has decrypted, nobody can compare with anything: what was just encrypted, the broker can.
      } else await untilFired(call, before, false);
      expect(adapter.state).toBe('blocked');
      expect(all.log.of('token').at(-1)).toMatchObject({ operation: 'quarantine', decision: 'deny' });
      await adapter.unblock();
      await all.recovered();
    },
  );
});
