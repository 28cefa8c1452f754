import { beforeEach, describe, expect, test } from 'vitest';
import type { ApprovalPolicy, Approver } from '../../policy/quorum.ts';
import { makePasskey, type Passkey, passkeyAssertion } from '../../test/fakes/passkey.ts';
import { SignInRefused, SignIns } from './webauthn-sign-in.ts';

const ORIGIN = 'https://localhost:7445';
const PEER = '192.0.2.1';
const MINUTE = 60_000;

let now: number;
let approvers: Map<string, Approver>;
let frozen: Set<string>;
let signIns: SignIns;
let ann: Passkey;

function person(id: string, ...passkeys: readonly Passkey[]): Approver {
  return {
    id,
    keys: passkeys.map(({ credentialId, publicKey }) => ({ method: 'webauthn', credentialId, publicKey })),
    spiffeId: undefined,
    alsoRequestsAs: [],
  };
}

function make(): SignIns {
  return new SignIns({
    policy: () => ({ approvers }) as unknown as ApprovalPolicy,
    isFrozen: ({ id }) => frozen.has(id),
    party: () => ({ id: 'localhost', origins: [ORIGIN] }),
    now: () => now,
  });
}

beforeEach(() => {
  now = 1_000_000;
  ann = makePasskey();
  approvers = new Map([['ann', person('ann', ann)]]);
  frozen = new Set();
  signIns = make();
});

const assertion = (passkey: Passkey, of: Parameters<typeof passkeyAssertion>[1]) =>
  passkeyAssertion(passkey, { rpId: 'localhost', ...of });
const signIn = (passkey = ann, peer = PEER) =>
  signIns.signIn(assertion(passkey, { challenge: signIns.challenge(peer), origin: ORIGIN }), peer);

describe('signing in', () => {
  test('with an enrolled passkey gives a secret that finds the person, from that address', async () => {
    const { secret, signIn: made } = await signIn();
    expect(secret).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(made.approver.id).toBe('ann');
    expect(signIns.find(secret, PEER)?.approver.id).toBe('ann');
    expect(signIns.find(`${secret.slice(1)}A`, PEER)).toBeUndefined();
    expect(signIns.find(undefined, PEER)).toBeUndefined();
  });

  test('is refused in the same words for a passkey that nobody has enrolled, a frozen person and a bad answer', async () => {
    const challenge = () => signIns.challenge(PEER);
    const attempts = [
      assertion(makePasskey(), { challenge: challenge(), origin: ORIGIN }),
      assertion(ann, { challenge: challenge(), origin: 'https://evil.example' }),
      assertion(ann, { challenge: challenge(), origin: ORIGIN, rpId: 'evil.example' }),
      assertion(ann, { challenge: challenge(), origin: ORIGIN, flags: 0x01 }),
      assertion(ann, { challenge: challenge(), origin: ORIGIN, flags: 0x04 }),
      assertion(ann, { challenge: challenge(), origin: ORIGIN, crossOrigin: true }),
      assertion(ann, { challenge: challenge(), origin: ORIGIN, type: 'webauthn.create' }),
      { ...assertion(ann, { challenge: challenge(), origin: ORIGIN }), clientDataJson: 'bm8' },
      // Another one's key under this credential's id.
      {
        ...assertion(makePasskey(), { challenge: challenge(), origin: ORIGIN }),
        credentialId: ann.credentialId,
      },
    ];
    const words = new Set<string>();
    for (const attempt of attempts) {
      const refusal = await signIns.signIn(attempt, PEER).catch((error: unknown) => error);
      expect(refusal).toBeInstanceOf(SignInRefused);
      words.add((refusal as Error).message);
    }
    frozen.add('ann');
    await signIn().catch((error: Error) => words.add(error.message));
    expect([...words]).toEqual(['this passkey is not enrolled here, or its answer came too late']);
  });

  test('takes only challenges of this broker, for three minutes, and each once', async () => {
    await expect(
      signIns.signIn(assertion(ann, { challenge: new Uint8Array(56), origin: ORIGIN }), PEER),
    ).rejects.toThrow(SignInRefused);
    const foreign = make().challenge(PEER);
    await expect(
      signIns.signIn(assertion(ann, { challenge: foreign, origin: ORIGIN }), PEER),
    ).rejects.toThrow();
    const late = signIns.challenge(PEER);
    now += 3 * MINUTE;
    await expect(signIns.signIn(assertion(ann, { challenge: late, origin: ORIGIN }), PEER)).rejects.toThrow();

    const challenge = signIns.challenge(PEER);
    const answer = assertion(ann, { challenge, origin: ORIGIN });
    const both = await Promise.allSettled([signIns.signIn(answer, PEER), signIns.signIn(answer, PEER)]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    now += 2 * MINUTE;
    // The window of the counters has passed; the challenge is remembered for as long as it would serve.
    signIns.challenge(PEER);
    await expect(signIns.signIn(answer, PEER)).rejects.toThrow();
  });

  test('is bounded by address, by IPv6 network, and over all', () => {
    for (let i = 0; i < 20; i++) signIns.challenge(PEER);
    expect(() => signIns.challenge(PEER)).toThrow('too many');
    for (let i = 0; i < 20; i++) signIns.challenge(`2001:db8:1:2::${i}`);
    expect(() => signIns.challenge('2001:db8:1:2:ffff::1')).toThrow('too many');
    signIns.challenge('2001:db8:1:3::1');
    now += MINUTE;
    signIns.challenge(PEER);
    for (let i = 0; i < 599; i++) signIns.challenge(`10.0.${i >> 8}.${i & 255}`);
    expect(() => signIns.challenge('10.1.1.1')).toThrow('too many');
  });
});

describe('a sign-in', () => {
  test('ends after 5 minutes without use, and after 15 in any case', async () => {
    const idle = await signIn();
    now += 5 * MINUTE;
    expect(signIns.find(idle.secret, PEER)).toBeUndefined();
    const busy = await signIn();
    for (let i = 1; i < 15; i++) {
      now += MINUTE;
      expect(signIns.find(busy.secret, PEER)?.leftMs).toBe((15 - i) * MINUTE);
    }
    now += MINUTE;
    expect(signIns.find(busy.secret, PEER)).toBeUndefined();
  });

  test('ends when it comes from another address', async () => {
    const { secret } = await signIn();
    expect(signIns.find(secret, '192.0.2.2')).toBeUndefined();
    expect(signIns.find(secret, PEER)).toBeUndefined();
  });

  test.each<[string, () => void]>([
    ['the person is removed', () => approvers.clear()],
    ['the passkey is removed', () => approvers.set('ann', person('ann', makePasskey()))],
    ['the person is frozen', () => frozen.add('ann')],
    [
      'the passkey becomes another person’s',
      () => {
        approvers.clear();
        approvers.set('bob', person('bob', ann));
      },
    ],
  ])('ends at once when %s', async (_what, change) => {
    const { secret } = await signIn();
    change();
    expect(signIns.find(secret, PEER)).toBeUndefined();
  });

  test('ends when its person signs out, and with the gateway that saw it', async () => {
    const first = await signIn();
    const second = await signIn();
    signIns.end(first.secret);
    expect(signIns.find(first.secret, PEER)).toBeUndefined();
    expect(signIns.find(second.secret, PEER)?.approver.id).toBe('ann');
    signIns.endAll();
    expect(signIns.find(second.secret, PEER)).toBeUndefined();
  });

  test('is one of four at most: a fifth ends the oldest', async () => {
    const secrets: string[] = [];
    for (let i = 0; i < 5; i++) secrets.push((await signIn()).secret);
    expect(secrets.map((secret) => signIns.find(secret, PEER) !== undefined)).toEqual([
      false,
      true,
      true,
      true,
      true,
    ]);
  });

  test('asks at most 120 times a minute', async () => {
    const { secret } = await signIn();
    for (let i = 0; i < 120; i++) expect(signIns.find(secret, PEER)).toBeDefined();
    expect(() => signIns.find(secret, PEER)).toThrow('too many');
    now += MINUTE;
    expect(signIns.find(secret, PEER)).toBeDefined();
  });
});
