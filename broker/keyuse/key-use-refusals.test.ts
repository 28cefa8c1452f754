// Longer than most: a refusal tells nothing only if all of them are the same, so they stand side by side.
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  API,
  callerOf,
  callFor,
  everyUse,
  failureOf,
  KEYS,
  KeyUseFixture,
  OTHER,
  USES,
  type UseName,
} from '../../test/fakes/key-use-fixture.ts';
import { AuditError } from '../audit/entry.ts';
import type { KeyState, KeyVersion } from './key-catalog.ts';

const DENIED = {
  reason: 'POLICY_DENIED',
  message: 'the policy does not allow this',
  performed: 'no',
  metadata: {},
};
const NONE = new Uint8Array();
const message = { kind: 'message', bytes: Buffer.from('m') } as const;
const aSecond = (): number => Date.now() + 1_000;
const expired = () => callerOf(API, Date.now() - 1);

let fixture: KeyUseFixture;
let uses: Awaited<ReturnType<typeof everyUse>>;

beforeEach(async () => {
  fixture = new KeyUseFixture();
  uses = await everyUse(fixture);
});
afterEach(() => fixture.close());

const callsOfTokens = (): number => fixture.tokens.reduce((sum, token) => sum + token.calls.length, 0);

const sign = (
  key: string,
  options: { caller?: ReturnType<typeof callerOf>; version?: number; algorithm?: string } = {},
): Promise<unknown> =>
  fixture.keyUse.sign(options.caller ?? callerOf(), callFor(), {
    key,
    version: options.version ?? 0,
    algorithm: options.algorithm ?? 'ES256',
    content: message,
    der: false,
  });

describe('a refusal by policy', () => {
  it.each(USES.filter((use) => use !== 'random'))(
    'of %s is the same for a key that is not there, one that is closed, one of others and one that makes authority',
    async (use) => {
      await fixture.create(
        'app/closed',
        use === 'sign' ? 'ES256' : use.includes('mac') ? 'HS256' : 'A256GCM',
      );
      const own = { sign: KEYS.sign, mac: KEYS.mac, 'verify-mac': KEYS.mac }[use as string] ?? KEYS.encrypt;
      const failures = [
        await failureOf(uses[use](callerOf(OTHER), callFor(), own)),
        await failureOf(uses[use](callerOf(OTHER), callFor(), 'app/nothing')),
        await failureOf(uses[use](callerOf(), callFor(), 'app/nothing')),
        await failureOf(uses[use](callerOf(), callFor(), 'app/closed')),
        await failureOf(uses[use](callerOf(), callFor(), 'treasury/key')),
        await failureOf(uses[use](callerOf(), callFor(), 'lastmile/log')),
      ];
      for (const failure of failures) expect(failure).toMatchObject(DENIED);
      expect(
        fixture.log.refusals.map(({ reason, decision, performed }) => [reason, decision, performed]),
      ).toEqual(failures.map(() => ['POLICY_DENIED', 'deny', 'no']));
      expect(callsOfTokens()).toBe(0);
      expect(fixture.log.uses).toEqual([]);
    },
  );

  it('reveals nothing of state, purpose, algorithm, version, freeze or token to whom it does not name', async () => {
    fixture.freezes.put({ kind: 'key', subject: KEYS.sign, reason: 'drill', by: 'alice', since: 'now' });
    for (const token of fixture.tokens) token.setState('down');
    for (const [key, options] of [
      [KEYS.sign, {}],
      [KEYS.encrypt, {}],
      [KEYS.sign, { algorithm: 'ES512' }],
      [KEYS.sign, { version: 99 }],
    ] as const) {
      expect(await failureOf(sign(key, { ...options, caller: callerOf(OTHER) }))).toMatchObject(DENIED);
    }
  });

  it('covers keys that make authority, whatever a policy says', async () => {
    await fixture.create('lastmile/log', 'ES256');
    const { policy } = fixture;
    fixture.policy = {
      ...policy,
      hash: policy.hash,
      decide: () => ({ effect: 'allow', rule: 'careless', policyHash: policy.hash }),
      usableOperations: () => ['sign', 'verify'],
    };
    expect(await failureOf(sign('lastmile/log'))).toMatchObject(DENIED);
    const asked = { key: 'lastmile/log', version: 0 };
    expect(await failureOf(fixture.keyUse.publicKey(callerOf(), callFor(), asked))).toMatchObject(DENIED);
    const listed = await fixture.keyUse.usableKeys(callerOf(), callFor());
    expect(listed.map(({ version }) => version.name)).not.toContain('lastmile/log');
    expect(callsOfTokens()).toBe(0);
  });

  it('covers a version that is not there', async () => {
    expect(await failureOf(sign(KEYS.sign, { version: 2 }))).toMatchObject(DENIED);
  });

  it('covers random bytes', async () => {
    expect(await failureOf(uses.random(callerOf(OTHER)))).toMatchObject(DENIED);
  });

  it('covers verification and public keys, which need no token', async () => {
    for (const [caller, key] of [
      [OTHER, KEYS.sign],
      [OTHER, 'app/nothing'],
      [API, 'app/nothing'],
      [API, 'lastmile/log'],
    ] as const) {
      const asked = { key, version: 0 };
      expect(await failureOf(fixture.keyUse.publicKey(callerOf(caller), callFor(), asked))).toMatchObject(
        DENIED,
      );
      const verification = {
        ...asked,
        algorithm: 'ES256',
        content: message,
        signature: Buffer.alloc(64, 1),
        der: false,
      };
      expect(await failureOf(fixture.keyUse.verify(callerOf(caller), callFor(), verification))).toMatchObject(
        DENIED,
      );
    }
  });

  it('leaves nothing of others in the list of keys', async () => {
    await fixture.create('app/closed', 'ES256');
    await fixture.create('treasury/key', 'ES256');
    const listed = await fixture.keyUse.usableKeys(callerOf(), callFor());
    expect(listed.map(({ version, operations }) => [version.name, operations])).toEqual([
      [KEYS.encrypt, ['encrypt', 'decrypt', 'generate-data-key']],
      [KEYS.mac, ['mac', 'verify-mac']],
      [KEYS.sign, ['sign', 'verify']],
    ]);
    expect(await fixture.keyUse.usableKeys(callerOf(OTHER), callFor())).toEqual([]);
  });
});

describe('the order of the steps', () => {
  it('looks at the form before it looks at who asks, and at who asks before it asks the policy', async () => {
    const malformed = (caller = callerOf()) => sign('not a name', { caller });
    expect((await failureOf(malformed(expired()))).reason).toBe('REQUEST_INVALID');
    expect((await failureOf(sign('treasury/key', { caller: expired() }))).reason).toBe('SVID_EXPIRED');
    fixture.freezes.put({ kind: 'workload', subject: OTHER, reason: 'r', by: 'b', since: 's' });
    expect((await failureOf(sign(KEYS.sign, { caller: callerOf(OTHER) }))).reason).toBe('CREDENTIAL_FROZEN');
    expect(fixture.log.refusals.map(({ reason }) => reason)).toEqual([
      'REQUEST_INVALID',
      'SVID_EXPIRED',
      'CREDENTIAL_FROZEN',
    ]);
  });

  it.each([
    ['workload', API],
    ['trust-domain', 'example.org'],
    ['credential', 'ab'.repeat(32)],
  ] as const)('stops a frozen %s before anything else is known', async (kind, subject) => {
    fixture.freezes.put({ kind, subject, reason: 'r', by: 'b', since: 's' });
    for (const use of USES) {
      expect(await failureOf(uses[use]())).toMatchObject({ reason: 'CREDENTIAL_FROZEN', performed: 'no' });
    }
    expect((await failureOf(fixture.keyUse.identify(callerOf(), callFor(), 'get-receipt'))).reason).toBe(
      'CREDENTIAL_FROZEN',
    );
    expect(callsOfTokens()).toBe(0);
    expect(fixture.log.refusals).toHaveLength(USES.length + 1);
  });

  it('takes an SVID up to the moment of its expiry and not after', async () => {
    await sign(KEYS.sign, { caller: callerOf(API, aSecond()) });
    for (const use of USES) expect((await failureOf(uses[use](expired()))).reason).toBe('SVID_EXPIRED');
    expect((await failureOf(fixture.keyUse.usableKeys(expired(), callFor()))).reason).toBe('SVID_EXPIRED');
  });

  it.each(['AUDIT_UNAVAILABLE', 'AUDIT_INCONSISTENT'] as const)(
    'asks neither policy nor token while the log is %s',
    async (reason) => {
      fixture.log.failure = new AuditError(reason, 'disk full');
      fixture.policy = {
        ...fixture.policy,
        decide: () => {
          throw new Error('policy was asked');
        },
      };
      for (const use of USES) {
        const failure = await failureOf(uses[use]());
        expect(failure).toMatchObject({ reason, performed: 'no' });
        expect(failure.message).not.toContain('disk full');
      }
      expect(callsOfTokens()).toBe(0);
    },
  );

  it('asks the policy with the key’s only algorithm when the caller names none', async () => {
    const asked: string[] = [];
    const { policy } = fixture;
    fixture.policy = {
      ...policy,
      hash: policy.hash,
      usableOperations: (...asked) => policy.usableOperations(...asked),
      decide: (question) => {
        asked.push(question.algorithm);
        return policy.decide(question);
      },
    };
    await fixture.keyUse.encrypt(callerOf(), callFor(), {
      key: KEYS.encrypt,
      version: 0,
      algorithm: '',
      plaintext: Buffer.from('p'),
      associatedData: NONE,
    });
    await failureOf(uses['data-key'](callerOf(), callFor(), 'app/nothing'));
    expect(asked).toEqual(['A256GCM', '']);
  });
});

describe('what depends on the key, told to whom the policy allows it', () => {
  it('is that it is frozen', async () => {
    fixture.freezes.put({ kind: 'key', subject: KEYS.sign, reason: 'r', by: 'b', since: 's' });
    expect(await failureOf(sign(KEYS.sign))).toMatchObject({ reason: 'KEY_UNUSABLE', performed: 'no' });
  });

  it('is what it is for', async () => {
    expect(await failureOf(sign(KEYS.encrypt))).toMatchObject({
      reason: 'REQUEST_INVALID',
      message: 'the key is for encrypt',
    });
    expect((await failureOf(uses.encrypt(callerOf(), callFor(), KEYS.sign))).reason).toBe('REQUEST_INVALID');
    expect((await failureOf(uses.mac(callerOf(), callFor(), KEYS.sign))).reason).toBe('REQUEST_INVALID');
  });

  it('is its algorithm', async () => {
    for (const algorithm of ['ES384', 'RS256', 'Ed25519']) {
      expect(await failureOf(sign(KEYS.sign, { algorithm }))).toMatchObject({
        reason: 'REQUEST_INVALID',
        message: 'algorithm does not fit the key, which is for ES256',
      });
    }
    expect(callsOfTokens()).toBe(0);
  });

  it.each([
    ['pre-activation', false],
    ['suspended', false],
    ['deactivated', true],
    ['compromised', false],
    ['destroyed', false],
  ] as readonly (readonly [KeyState, boolean])[])(
    'is that it is %s: it makes nothing new, and reads only when deactivated',
    async (state, reads) => {
      const version = fixture.catalog.find(KEYS.sign, 1)!;
      fixture.catalog.add({ ...elsewhere(version), version: 2, id: `${version.name}#2`, state });
      expect(await failureOf(sign(KEYS.sign, { version: 2 }))).toMatchObject({
        reason: 'KEY_UNUSABLE',
        message: `this version of the key is ${state}`,
      });
      const { signature } = (await sign(KEYS.sign)) as { signature: Uint8Array };
      const verifying = fixture.keyUse.verify(callerOf(), callFor(), {
        key: KEYS.sign,
        version: 2,
        algorithm: 'ES256',
        content: message,
        signature,
        der: false,
      });
      if (reads) expect(await verifying).toEqual({ valid: true, version: 2 });
      else expect((await failureOf(verifying)).reason).toBe('KEY_UNUSABLE');
    },
  );

  it('is that it only decrypts', async () => {
    const version = fixture.catalog.find(KEYS.encrypt, 1)!;
    fixture.catalog.add({ ...elsewhere(version), name: 'app/old', id: 'app/old#1', decryptOnly: true });
    for (const use of ['encrypt', 'data-key'] as const) {
      expect((await failureOf(uses[use](callerOf(), callFor(), 'app/old'))).reason).toBe('KEY_UNUSABLE');
    }
    expect(callsOfTokens()).toBe(0);
  });
});

describe('a malformed request', () => {
  const request = { key: KEYS.sign as string, version: 0, algorithm: 'ES256', content: message, der: false };
  const bytes = (n: number) => new Uint8Array(n).fill(7);
  const reserved = Buffer.from('lastmile-proof-v1\0anything');

  it.each([
    ['no key', { key: '' }, 'key name is missing'],
    ['a key name with a space', { key: 'app/ sign' }, 'key name is malformed'],
    ['a key name that climbs', { key: 'app/../sign' }, 'key name is malformed'],
    ['neither message nor digest', { content: undefined }, 'neither message nor digest is given'],
    ['an empty message', { content: { kind: 'message', bytes: NONE } }, 'message is empty'],
    [
      'a message over 1 MiB',
      { content: { kind: 'message', bytes: bytes(1024 * 1024 + 1) } },
      'message is over 1 MiB. Send its SHA256 digest instead',
    ],
    [
      'a digest too short',
      { content: { kind: 'digest', bytes: bytes(31) } },
      'digest must be 32 bytes for ES256',
    ],
    [
      'a digest too long',
      { content: { kind: 'digest', bytes: bytes(64) } },
      'digest must be 32 bytes for ES256',
    ],
    [
      'a digest for Ed25519',
      { algorithm: 'Ed25519', content: { kind: 'digest', bytes: bytes(32) } },
      'Ed25519 signs messages, not digests',
    ],
    ['DER of Ed25519', { algorithm: 'EdDSA', der: true }, 'only ECDSA signatures have a DER form'],
    [
      'an algorithm that encrypts',
      { algorithm: 'A256GCM' },
      'algorithm is not one that signs: name it as JOSE does, such as ES256',
    ],
    [
      'no algorithm',
      { algorithm: '' },
      'algorithm is not one that signs: name it as JOSE does, such as ES256',
    ],
    [
      'what the broker reserves for its proofs',
      { content: { kind: 'message', bytes: reserved } },
      'message begins with a prefix that is reserved for proofs of keys',
    ],
  ] as const)('to sign with %s is refused', async (_what, change, text) => {
    const failure = await failureOf(
      fixture.keyUse.sign(callerOf(), callFor(), { ...request, ...change } as typeof request),
    );
    expect(failure).toMatchObject({ reason: 'REQUEST_INVALID', message: text, performed: 'no' });
    expect(fixture.log.refusals).toHaveLength(1);
    expect(callsOfTokens()).toBe(0);
  });

  it('tells a large Ed25519 message what fits the algorithm', async () => {
    const failure = await failureOf(
      fixture.keyUse.sign(callerOf(), callFor(), {
        ...request,
        algorithm: 'Ed25519',
        content: { kind: 'message', bytes: bytes(1024 * 1024 + 1) },
      }),
    );
    expect(failure.message).toContain('sign a digest or manifest of it as the message');
  });

  it('to encrypt, authenticate, open or draw is refused', async () => {
    const { keyUse } = fixture;
    const box = { key: KEYS.encrypt, version: 0, algorithm: 'A256GCM', associatedData: NONE };
    const mac = { key: KEYS.mac, version: 0, algorithm: 'HS256' };
    const attempts = [
      keyUse.encrypt(callerOf(), callFor(), { ...box, plaintext: NONE }),
      keyUse.encrypt(callerOf(), callFor(), { ...box, plaintext: bytes(64 * 1024 + 1) }),
      keyUse.encrypt(callerOf(), callFor(), {
        ...box,
        plaintext: bytes(1),
        associatedData: bytes(64 * 1024 + 1),
      }),
      keyUse.generateDataKey(callerOf(), callFor(), { ...box, length: 33 }),
      keyUse.mac(callerOf(), callFor(), { ...mac, message: NONE }),
      keyUse.mac(callerOf(), callFor(), { ...mac, message: reserved }),
      keyUse.verifyMac(callerOf(), callFor(), { ...mac, message: reserved, mac: bytes(32) }),
      keyUse.decrypt(callerOf(), callFor(), { ...box, ciphertext: NONE }),
      keyUse.decrypt(callerOf(), callFor(), { ...box, ciphertext: bytes(64 * 1024 + 513) }),
      keyUse.random(callerOf(), callFor(), 0),
      keyUse.random(callerOf(), callFor(), 1025),
    ];
    for (const attempt of attempts) expect((await failureOf(attempt)).reason).toBe('REQUEST_INVALID');
    expect(fixture.log.refusals).toHaveLength(attempts.length);
    expect(callsOfTokens()).toBe(0);
  });
});

describe('a refusal that cannot be written', () => {
  it.each(USES as readonly UseName[])('is not told: %s fails as the log does', async (use) => {
    fixture.log.rejection = () => new AuditError('AUDIT_UNAVAILABLE', 'disk full');
    expect(await failureOf(uses[use](callerOf(OTHER)))).toMatchObject({
      reason: 'AUDIT_UNAVAILABLE',
      performed: 'no',
    });
    expect(await failureOf(uses[use](expired()))).toMatchObject({ reason: 'AUDIT_UNAVAILABLE' });
  });
});

/** The same key in other objects: an object belongs to one version. */
function elsewhere(version: KeyVersion): KeyVersion {
  const objects = version.objects.map((object) => ({ ...object, ckaId: randomBytes(16).toString('hex') }));
  return { ...version, objects };
}
