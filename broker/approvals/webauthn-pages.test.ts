import { beforeEach, describe, expect, test } from 'vitest';
import type { ApprovalPolicy, Approver } from '../../policy/quorum.ts';
import { makePasskey, type Passkey, passkeyAssertion } from '../../test/fakes/passkey.ts';
import { Failure } from '../keyuse/failure.ts';
import type { ApprovalDetail, PageAnswer, PageCallName, SignInChallenge } from '../proto/page-calls.ts';
import { ApproverPages, type PageDesk } from './webauthn-pages.ts';
import { SignIns } from './webauthn-sign-in.ts';

const ORIGIN = 'https://localhost:7445';
const PEER = '192.0.2.1';
const DETAIL: ApprovalDetail = {
  id: 'a1',
  operation: 'sign',
  key: 'treasury/settlement',
  requester: 'spiffe://example.org/ns/treasury/sa/settle',
  rule: 'treasury-moves-funds',
  notAfter: '2026-11-21T08:15:00Z',
  approvals: 0,
  approvalsNeeded: 2,
  vote: 'none',
  isEmergency: false,
  state: 'open',
  text: 'pay 100 EUR',
  document: '{"v":1}',
  hasAttachment: true,
  canApprove: true,
};

let ann: Passkey;
let bob: Passkey;
let pages: ApproverPages;
let asked: unknown[][];
let logged: string[];
let failing: Error | undefined;

function person(id: string, { credentialId, publicKey }: Passkey): [string, Approver] {
  return [
    id,
    {
      id,
      keys: [{ method: 'webauthn', credentialId, publicKey }],
      spiffeId: undefined,
      alsoRequestsAs: [],
    },
  ];
}

beforeEach(() => {
  ann = makePasskey();
  bob = makePasskey();
  asked = [];
  logged = [];
  failing = undefined;
  const approvers = new Map([person('ann', ann), person('bob', bob)]);
  const noted = <T>(value: T, ...what: unknown[]): T => {
    asked.push(what);
    if (failing !== undefined) throw failing;
    return value;
  };
  const desk: PageDesk = {
    list: ({ approver }) => noted([DETAIL], 'list', approver),
    get: ({ approver }, id) => noted(id === 'a1' ? DETAIL : undefined, 'get', approver, id),
    attachment: ({ approver }, id) =>
      noted(id === 'a1' ? Buffer.from('content') : undefined, 'attachment', approver, id),
    approve: async ({ approver }, id, signature) => noted('open', 'approve', approver, id, signature),
    reject: async ({ approver }, id, reason) => noted('rejected', 'reject', approver, id, reason),
  };
  pages = new ApproverPages({
    signIns: new SignIns({
      policy: () => ({ approvers }) as unknown as ApprovalPolicy,
      isFrozen: () => false,
      party: () => ({ id: 'localhost', origins: [ORIGIN] }),
    }),
    desk,
    now: () => Date.parse('2026-11-21T08:00:00Z'),
    log: (_level, message) => logged.push(message),
  });
});

const call = (name: PageCallName, body: unknown = {}, signIn?: string): Promise<PageAnswer> =>
  pages.call({ name, peer: PEER, signIn, body: typeof body === 'string' ? body : JSON.stringify(body) });

async function signIn(passkey = ann): Promise<string> {
  const asked = await call('sign-in-challenge');
  if (!asked.ok) throw new Error(asked.message);
  const challenge = Buffer.from((asked.body as SignInChallenge).challenge, 'base64url');
  const answer = await call(
    'sign-in',
    passkeyAssertion(passkey, { challenge, rpId: 'localhost', origin: ORIGIN }),
  );
  if (!answer.ok || typeof answer.signIn !== 'string') throw new Error('not signed in');
  return answer.signIn;
}

describe('before the sign-in', () => {
  test.each<PageCallName>(['approvals', 'approval', 'attachment', 'approve', 'reject'])(
    '%s tells nothing and asks nobody',
    async (name) => {
      for (const secret of [undefined, 'A'.repeat(43)]) {
        expect(await call(name, { id: 'a1', reason: 'no', ...bodyOfAssertion() }, secret)).toEqual({
          ok: false,
          reason: 'signed-out',
          message: 'Sign in with your passkey.',
          signIn: null,
        });
      }
      expect(asked).toEqual([]);
    },
  );

  test('a passkey of nobody is refused, and the operator can see it', async () => {
    const { body } = (await call('sign-in-challenge')) as { body: SignInChallenge };
    const challenge = Buffer.from(body.challenge, 'base64url');
    expect(
      await call(
        'sign-in',
        passkeyAssertion(makePasskey(), { challenge, rpId: 'localhost', origin: ORIGIN }),
      ),
    ).toMatchObject({
      ok: false,
      reason: 'refused',
    });
    expect(logged).toEqual(['a sign-in to the pages is refused']);
  });
});

const bodyOfAssertion = () =>
  passkeyAssertion(ann, { challenge: new Uint8Array(32), rpId: 'localhost', origin: ORIGIN });

describe('a signed-in approver', () => {
  test('sees what is open for this person, and nobody else’s', async () => {
    const secret = await signIn(bob);
    expect(await call('approvals', {}, secret)).toEqual({
      ok: true,
      body: {
        approver: 'bob',
        credentialIds: [bob.credentialId],
        signedInUntil: expect.stringMatching(/^2026-11-21T08:1[45]:/),
        open: [DETAIL],
      },
    });
    expect(await call('approval', { id: 'a1' }, secret)).toEqual({ ok: true, body: DETAIL });
    expect(await call('approval', { id: 'a2' }, secret)).toMatchObject({ reason: 'not-found' });
    expect(await call('attachment', { id: 'a1' }, secret)).toEqual({
      ok: true,
      body: { content: Buffer.from('content').toString('base64') },
    });
    expect(asked.map(([, person]) => person)).toEqual(['bob', 'bob', 'bob', 'bob']);
  });

  test('approves with the passkey’s own signature, handed on as it is', async () => {
    const secret = await signIn();
    const assertion = bodyOfAssertion();
    expect(await call('approve', { id: 'a1', ...assertion }, secret)).toEqual({
      ok: true,
      body: { state: 'open' },
    });
    expect(asked).toEqual([['approve', 'ann', 'a1', { method: 'webauthn', ...assertion }]]);
  });

  test('does not approve with a passkey of somebody else', async () => {
    const secret = await signIn();
    const assertion = passkeyAssertion(bob, {
      challenge: new Uint8Array(32),
      rpId: 'localhost',
      origin: ORIGIN,
    });
    expect(await call('approve', { id: 'a1', ...assertion }, secret)).toMatchObject({
      ok: false,
      reason: 'refused',
    });
    expect(asked).toEqual([]);
  });

  test('rejects with a reason, and not without', async () => {
    const secret = await signIn();
    for (const reason of ['', '  ', 7, undefined, 'x'.repeat(501)])
      expect(await call('reject', { id: 'a1', reason }, secret)).toMatchObject({ reason: 'request-invalid' });
    expect(asked).toEqual([]);
    expect(await call('reject', { id: 'a1', reason: ' not ours ' }, secret)).toMatchObject({ ok: true });
    expect(asked).toEqual([['reject', 'ann', 'a1', 'not ours']]);
  });

  test('is told what the approvals refuse, and nothing of what broke', async () => {
    const secret = await signIn();
    failing = new Failure('POLICY_DENIED', 'you asked for this yourself');
    expect(await call('approve', { id: 'a1', ...bodyOfAssertion() }, secret)).toMatchObject({
      reason: 'refused',
      message: 'you asked for this yourself',
    });
    failing = new Error('a secret cause');
    expect(await call('approvals', {}, secret)).toEqual({
      ok: false,
      reason: 'unavailable',
      message: 'internal error',
    });
    expect(logged).toContain('internal error');
  });

  test('signs out, and is signed out when the gateway is gone', async () => {
    const secret = await signIn();
    expect(await call('sign-out', {}, secret)).toEqual({ ok: true, body: {}, signIn: null });
    expect(await call('approvals', {}, secret)).toMatchObject({ reason: 'signed-out' });
    const another = await signIn();
    pages.gatewayGone();
    expect(await call('approvals', {}, another)).toMatchObject({ reason: 'signed-out' });
  });
});

test.each(['nothing', '[]', 'null', '"text"', '{"__proto__": {"id": "a1"}}'])(
  'a body that no page sends is refused: %s',
  async (body) => {
    const secret = await signIn();
    expect(await call('approval', body, secret)).toMatchObject({ ok: false, reason: 'request-invalid' });
    expect(asked).toEqual([]);
  },
);
