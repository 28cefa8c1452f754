import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { AdapterReason } from '../../hsm-adapters/adapter.ts';
import type { FakeToken, TokenFault } from '../../test/fakes/fake-token.ts';
import {
  API,
  callerOf,
  callFor,
  failureOf,
  KeyUseFixture,
  policyOf,
} from '../../test/fakes/key-use-fixture.ts';
import type { Call } from './call.ts';
import type { FreezeKind } from './freezes.ts';

const message = { kind: 'message', bytes: Buffer.from('sign this') } as const;

let fixture: KeyUseFixture;
beforeEach(() => {
  fixture = new KeyUseFixture();
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  await fixture.close();
});

const sign = (call: Call = callFor(), caller = callerOf(), algorithm = 'ES256') =>
  fixture.keyUse.sign(caller, call, { key: 'app/k', version: 0, algorithm, content: message, der: false });

/** The first `times` signatures asked of any token end like this. */
function failFirst(times: number, fault: TokenFault): FakeToken[] {
  const asked: FakeToken[] = [];
  for (const token of fixture.tokens) {
    token.fault = ({ kind }) => {
      if (kind !== 'sign') return undefined;
      asked.push(token);
      return asked.length <= times ? fault : undefined;
    };
  }
  return asked;
}

const attemptsLogged = () =>
  fixture.log.uses.map(({ attempts }) =>
    attempts!.map(({ outcome, performed, reason }) => ({ outcome, performed, reason })),
  );

const AGAIN: Readonly<Record<AdapterReason, boolean>> = {
  REQUEST_INVALID: false,
  CIPHERTEXT_REJECTED: false,
  KEY_UNUSABLE: false,
  KEY_MISSING_ON_TOKEN: true,
  TOKEN_LOGIN_BLOCKED: false,
  SESSION_LOST: true,
  SESSION_LIMIT: true,
  QUEUE_FULL: true,
  TOKEN_UNREACHABLE: true,
  OPERATION_UNSUPPORTED: false,
  INVARIANT_BROKEN: false,
  DEADLINE_EXCEEDED: false,
  CANCELLED: false,
};

describe.each(Object.entries(AGAIN) as [AdapterReason, boolean][])(
  'a token that fails with %s',
  (reason, again) => {
    it.each(['no', 'unknown'] as const)(
      `is ${again ? 'followed by the other token, once' : 'not followed by another'} (performed %s)`,
      async (performed) => {
        await fixture.create('app/k', 'ES256');
        const asked = failFirst(1, { reason, performed, ckr: 'CKR_DEVICE_ERROR' });
        const failed = { outcome: 'failed', performed, reason };
        if (again) {
          await sign();
          expect(new Set(asked).size).toBe(2);
          expect(attemptsLogged()).toEqual([
            [failed, { outcome: 'ok', performed: 'yes', reason: undefined }],
          ]);
          expect(fixture.log.uses[0]).toMatchObject({ performed: 'yes', decision: 'allow' });
          expect(fixture.log.uses[0]!.attempts![0]!.ckr).toBe('CKR_DEVICE_ERROR');
        } else {
          const failure = await failureOf(sign());
          expect(failure.performed).toBe(performed);
          expect(failure.message).not.toContain('CKR_');
          expect(asked).toHaveLength(1);
          expect(attemptsLogged()).toEqual([[failed]]);
          expect(fixture.log.uses[0]).toMatchObject({ reason: failure.reason, performed, decision: 'allow' });
        }
      },
    );
  },
);

describe('two attempts', () => {
  it.each([
    ['no', 'no', 'no'],
    ['unknown', 'no', 'unknown'],
    ['no', 'unknown', 'unknown'],
    ['unknown', 'unknown', 'unknown'],
  ] as const)('are the most: performed %s, then %s, is told as %s', async (first, second, told) => {
    await fixture.create('app/k', 'ES256');
    const performed = [first, second];
    let asked = 0;
    for (const token of fixture.tokens) {
      token.fault = () => ({ reason: 'SESSION_LOST', performed: performed[asked++]! });
    }
    expect(await failureOf(sign())).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: told });
    expect(asked).toBe(2);
    expect(attemptsLogged()).toEqual([
      [first, second].map((each) => ({ outcome: 'failed', performed: each, reason: 'SESSION_LOST' })),
    ]);
    expect(fixture.log.uses[0]!.performed).toBe(told);
  });

  it('are made on the one token where there is one', async () => {
    await fixture.create('app/k', 'ES256', { tokens: ['two'] });
    failFirst(1, { reason: 'SESSION_LOST', performed: 'no' });
    await sign();
    expect(fixture.tokens.map((token) => token.count('sign'))).toEqual([0, 2]);
  });

  it('are made on two tokens although the first one looks better', async () => {
    await fixture.create('app/k', 'ES256');
    const [preferred, other] = fixture.tokens as [FakeToken, FakeToken];
    other.setState('degraded');
    failFirst(1, { reason: 'SESSION_LOST', performed: 'no' });
    await sign();
    expect([preferred.count('sign'), other.count('sign')]).toEqual([1, 1]);
  });

  it('are one when the deadline passed during the first', async () => {
    await fixture.create('app/k', 'ES256');
    const call = callFor(15);
    for (const token of fixture.tokens) {
      token.fault = () => {
        while (performance.now() < call.deadline);
        return { reason: 'SESSION_LOST', performed: 'unknown' };
      };
    }
    expect((await failureOf(sign(call))).performed).toBe('unknown');
    expect(fixture.tokens.reduce((sum, token) => sum + token.count('sign'), 0)).toBe(1);
  });

  it('are one when the key was frozen during the first: what that one did is still told', async () => {
    await fixture.create('app/k', 'ES256');
    for (const token of fixture.tokens) {
      token.fault = () => {
        freeze('key', 'app/k');
        return { reason: 'SESSION_LOST', performed: 'unknown' };
      };
    }
    expect(await failureOf(sign())).toMatchObject({ reason: 'KEY_UNUSABLE', performed: 'unknown' });
    expect(attemptsLogged()[0]).toHaveLength(1);
  });

  it('are one when something unforeseen was thrown, which only the operator hears of', async () => {
    await fixture.create('app/k', 'ES256');
    const asked = failFirst(1, { throws: Object.assign(new Error('CKR_PIN_INCORRECT'), { code: 7 }) });
    expect(await failureOf(sign())).toMatchObject({
      reason: 'INTERNAL',
      message: 'internal error',
      performed: 'unknown',
    });
    expect(asked).toHaveLength(1);
    expect(JSON.stringify(fixture.lines)).toContain('CKR_PIN_INCORRECT');
    expect(fixture.log.uses[0]).toMatchObject({ reason: 'INTERNAL', performed: 'unknown' });
  });
});

it('takes a key out of service on a token that has lost it, there alone', async () => {
  await fixture.create('app/k', 'ES256');
  const asked = failFirst(1, { reason: 'KEY_MISSING_ON_TOKEN', performed: 'no' });
  await sign();
  const [loser, other] = asked as [FakeToken, FakeToken];
  expect(fixture.keys.bindings('app/k#1').map(({ token }) => token)).toEqual([other]);
  expect(fixture.keys.report(loser).unusable.get('app/k#1')).toBe('the object is gone');
  for (let i = 0; i < 4; i++) await sign();
  expect(loser.count('sign')).toBe(1);
});

describe('a signature that does not verify', () => {
  it.each(['ES256', 'ES384', 'ES512', 'Ed25519', 'RS256', 'PS256'])(
    'of %s is withheld, its token leaves service, and the other one signs',
    async (algorithm) => {
      await fixture.create('app/k', algorithm);
      const [liar, honest] = [failFirst(1, 'wrong-bytes'), fixture.tokens];
      const { signature } = await sign(callFor(), callerOf(), algorithm);
      const verified = await fixture.keyUse.verify(callerOf(), callFor(), {
        key: 'app/k',
        version: 0,
        algorithm,
        content: message,
        signature,
        der: false,
      });
      expect(verified.valid).toBe(true);
      expect(attemptsLogged()).toEqual([
        [
          { outcome: 'mismatch', performed: 'yes', reason: undefined },
          { outcome: 'ok', performed: 'yes', reason: undefined },
        ],
      ]);
      expect(liar[0]!.findings).toEqual(['a signature of app/k#1 does not verify']);
      expect(liar[0]!.state).toBe('blocked');
      expect(honest.filter(({ state }) => state === 'ready')).toHaveLength(1);
      expect(fixture.log.of('token')).toMatchObject([
        { operation: 'quarantine', decision: 'deny', detail: { token: liar[0]!.info.serial } },
      ]);
      expect(fixture.lines.some(({ level }) => level === 'error')).toBe(true);
    },
  );

  it('from both tokens is an internal error: performed, withheld, and both leave service', async () => {
    await fixture.create('app/k', 'ES256');
    failFirst(2, 'wrong-bytes');
    expect(await failureOf(sign())).toMatchObject({ reason: 'INTERNAL', performed: 'yes' });
    expect(fixture.tokens.map(({ state }) => state)).toEqual(['blocked', 'blocked']);
    expect(fixture.log.uses).toMatchObject([{ reason: 'INTERNAL', performed: 'yes' }]);
    expect(fixture.log.uses[0]!.output).toBeUndefined();
  });

  it('is of the wrong length too, and may be none at all', async () => {
    await fixture.create('app/k', 'ES256');
    failFirst(2, 'short');
    expect((await failureOf(sign())).performed).toBe('yes');
  });

  it('is not looked for where the operator said never', async () => {
    await fixture.create('app/k', 'ES256', { verify: 'never' });
    failFirst(1, 'wrong-bytes');
    expect((await sign()).signature).toHaveLength(64);
    expect(fixture.tokens.every(({ state }) => state === 'ready')).toBe(true);
  });

  it('is looked for where the operator said sampled and the draw falls on it', async () => {
    await fixture.create('app/k', 'ES256', { verify: 'sampled' });
    failFirst(2, 'wrong-bytes');
    await sign();
    fixture.isSampled = true;
    await sign();
    expect(attemptsLogged()[1]![0]!.outcome).toBe('mismatch');
  });

  it('is what a signature is taken for that nobody could verify', async () => {
    await fixture.create('app/k', 'ES256');
    await fixture.verifier.close();
    const failure = await failureOf(sign());
    expect(failure.reason).toBe('INTERNAL');
    expect(failure.performed).not.toBe('no');
    expect(fixture.log.uses[0]!.output).toBeUndefined();
  });
});

describe('just before an operation leaves for the token', () => {
  /** As much as the only token takes is running, and one more waits. */
  async function waiting(call = callFor(), caller = callerOf()) {
    await fixture.create('app/k', 'ES256', { tokens: ['one'] });
    fixture.token.capacity = 1;
    const gate = fixture.token.hold('sign');
    const running = Array.from({ length: 4 }, () => sign());
    await gate.reached;
    const outcome = failureOf(sign(call, caller));
    outcome.catch(() => undefined);
    await vi.waitUntil(() => fixture.pool.waiting === 1, { interval: 1 });
    return {
      outcome,
      finish: async () => {
        gate.release();
        await Promise.allSettled(running);
      },
    };
  }

  const neverReached = (reason: string): void => {
    expect(fixture.token.count('sign')).toBe(4);
    expect(fixture.log.refusals).toMatchObject([{ reason, performed: 'no', attempts: [] }]);
  };

  it.each([
    ['workload', API, 'CREDENTIAL_FROZEN'],
    ['trust-domain', 'example.org', 'CREDENTIAL_FROZEN'],
    ['credential', 'ab'.repeat(32), 'CREDENTIAL_FROZEN'],
    ['key', 'app/k', 'KEY_UNUSABLE'],
    ['token', 'one', 'TOKEN_UNREACHABLE'],
  ] as const)('a freeze of its %s stops it', async (kind, subject, reason) => {
    const { outcome, finish } = await waiting();
    freeze(kind, subject);
    await finish();
    expect(await outcome).toMatchObject({ reason, performed: 'no' });
    neverReached(reason);
  });

  it('the expiry of its SVID stops it', async () => {
    const { outcome, finish } = await waiting(callFor(), callerOf(API, Date.now() + 60_000));
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 60_000 });
    await finish();
    expect((await outcome).reason).toBe('SVID_EXPIRED');
    neverReached('SVID_EXPIRED');
  });

  it('a policy that no longer allows it stops it', async () => {
    const { outcome, finish } = await waiting();
    fixture.policy = policyOf('version: 1\nrules: []\n', 'sha256:second');
    await finish();
    expect(await outcome).toMatchObject({
      reason: 'POLICY_DENIED',
      message: 'the policy does not allow this',
    });
    neverReached('POLICY_DENIED');
  });

  it('a call that is over when it comes in never gets there', async () => {
    await fixture.create('app/k', 'ES256');
    const cancelled = callFor();
    cancelled.cancel();
    expect(await failureOf(sign(cancelled))).toMatchObject({ reason: 'CANCELLED', performed: 'no' });
    expect(await failureOf(sign(callFor(0)))).toMatchObject({ reason: 'DEADLINE_EXCEEDED', performed: 'no' });
    expect(fixture.tokens.map((token) => token.count('sign'))).toEqual([0, 0]);
    expect(fixture.log.refusals).toHaveLength(2);
  });

  it('a caller who went away stops it', async () => {
    const call = callFor();
    const { outcome, finish } = await waiting(call);
    call.cancel();
    await finish();
    expect((await outcome).reason).toBe('CANCELLED');
    neverReached('CANCELLED');
  });

  it('its deadline stops it, while the token is still busy', async () => {
    const { outcome, finish } = await waiting(callFor(20));
    expect(await outcome).toMatchObject({ reason: 'DEADLINE_EXCEEDED', performed: 'no' });
    neverReached('DEADLINE_EXCEEDED');
    await finish();
  });

  it('a policy that still allows it does not', async () => {
    await fixture.create('app/k', 'ES256', { tokens: ['one'] });
    fixture.token.capacity = 1;
    const gate = fixture.token.hold('sign');
    const all = Array.from({ length: 6 }, () => sign());
    await gate.reached;
    fixture.policy = policyOf((await import('../../test/fakes/key-use-fixture.ts')).POLICY, 'sha256:second');
    gate.release();
    expect(await Promise.all(all)).toHaveLength(6);
  });
});

function freeze(kind: FreezeKind, subject: string): void {
  fixture.freezes.put({ kind, subject, reason: 'drill', by: 'alice', since: 'now' });
}
