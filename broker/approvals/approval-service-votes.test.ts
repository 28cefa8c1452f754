import { generateKeyPairSync } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ApproverKey, Quorum } from '../../policy/quorum.ts';
import { ApprovalFixture, failureOf, petition, SETTLE } from '../../test/fakes/approval-fixture.ts';
import { makePasskey, passkeyAssertion } from '../../test/fakes/passkey.ts';
import { skPublicKey, skSignature } from '../../test/fakes/ssh-sk.ts';
import { actDigest, actDocument, SSHSIG_NAMESPACE, type VoteSignature } from './act.ts';
import type { Petition } from './approvals.ts';

let fixture: ApprovalFixture;
beforeEach(async () => {
  fixture = await ApprovalFixture.start();
});
afterEach(() => fixture.close());

describe('two of three', () => {
  it('are asked, agree, and the act is done once', async () => {
    const id = await fixture.ask();
    expect(id).toMatch(/^[0-9a-f]{32}$/);
    expect(await fixture.ask()).toBe(id);
    await fixture.approve(id, 0);
    expect((await failureOf(fixture.service.take(petition()))).message).toContain('1 of 2');
    await fixture.approve(id, 2);
    expect(fixture.service.get(id, { spiffeId: SETTLE })).toMatchObject({ state: 'approved', approvals: 2 });
    const use = await fixture.service.take(petition());
    expect(use).toMatchObject({ id, votes: [1, 2], isEmergency: false });
    expect(use.record).toMatchObject({
      id,
      use: 1,
      votes: [1, 2],
      signatures: [expect.any(String), expect.any(String)],
    });
    expect(fixture.service.get(id, { spiffeId: SETTLE })).toMatchObject({ state: 'used', used: 1 });
  });

  it('leave entries that anybody can check again', async () => {
    const id = await fixture.ask();
    await fixture.approve(id, 0, 1);
    const [opened, first] = fixture.log.of('approval');
    expect(opened).toMatchObject({ subject: SETTLE, operation: 'Approvals.Open', detail: { approval: id } });
    expect(first).toMatchObject({
      subject: 'spiffe://example.org/human/alice',
      operation: 'Approvals.Approve',
      detail: { approval: id, approver: 'alice', key: fixture.people[0].key, signature: { method: 'jws' } },
    });
    expect(actDocument(first!.detail!['act'] as never)).toBe(fixture.document(id));
  });

  it('give no second use to a replay, to other content, another key, version, algorithm or requester', async () => {
    const id = await fixture.ask();
    await fixture.approve(id, 0, 1);
    const others: Petition[] = [
      petition('pay 101 to DE02'),
      petition(undefined, { key: 'treasury/other' }),
      petition(undefined, { version: 2 }),
      petition(undefined, { algorithm: 'ES384' }),
      petition(undefined, { operation: 'sign-jwt' }),
      petition(undefined, { requester: `${SETTLE}2` }),
      petition(undefined, { catalogEntry: '{"key":"changed"}' }),
    ];
    for (const other of others) expect(await fixture.ask(other)).not.toBe(id);
    await fixture.service.take(petition());
    expect(await fixture.ask()).not.toBe(id);
  });

  it('are people, not keys: the same one counts once, and not for somebody else', async () => {
    const [alice, bob] = fixture.people;
    const more = new (alice.constructor as new (id: string) => typeof alice)('alice');
    fixture.approvers.set('alice', { ...alice.approver, keys: [alice.key, more.key] });
    const id = await fixture.ask();
    await fixture.approve(id, 0);
    const again = await failureOf(
      fixture.service.approve(id, 'alice', await more.sign(fixture.document(id)), alice.voter),
    );
    expect(again.message).toContain('another person');
    const forged = await failureOf(
      fixture.service.approve(id, 'bob', await more.sign(fixture.document(id)), bob.voter),
    );
    expect(forged).toMatchObject({ reason: 'POLICY_DENIED' });
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.approvals).toBe(1);
    expect(fixture.log.refusals).toMatchObject([
      { operation: 'Approvals.Approve', decision: 'deny' },
      { operation: 'Approvals.Approve', decision: 'deny', reason: 'POLICY_DENIED' },
    ]);
  });

  it('may hand in for each other: the signature says whose it is', async () => {
    const [alice, bob] = fixture.people;
    const id = await fixture.ask();
    const view = await fixture.service.approve(id, 'bob', await bob.sign(fixture.document(id)), alice.voter);
    expect(view.votes).toMatchObject([{ approver: 'bob', counts: true }]);
    await fixture.approve(id, 0);
    await fixture.service.take(petition());
  });

  it('are not who asks', async () => {
    const [alice] = fixture.people;
    fixture.ownRequests = (approver) => approver === 'alice';
    const id = await fixture.ask();
    expect(
      (
        await failureOf(
          fixture.service.approve(id, 'alice', await alice.sign(fixture.document(id)), alice.voter),
        )
      ).message,
    ).toContain('is who asks');
    await fixture.approve(id, 1);
    expect((await failureOf(fixture.service.take(petition()))).reason).toBe('APPROVAL_REQUIRED');
  });

  it('count while they are enrolled, in the group and not frozen: at the moment of use', async () => {
    const id = await fixture.ask();
    await fixture.approve(id, 0, 1);
    const [alice] = fixture.people;
    fixture.frozen.add(alice.spiffeId);
    expect(await fixture.ask()).toBe(id);
    fixture.frozen.clear();
    const treasury = fixture.groups.get('treasury')!;
    fixture.groups.set('treasury', new Set(['bob', 'carol']));
    expect(await fixture.ask()).toBe(id);
    fixture.groups.set('treasury', treasury);
    fixture.approvers.delete('alice');
    expect(await fixture.ask()).toBe(id);
    fixture.approvers.set('alice', { ...alice.approver, keys: [] });
    expect(await fixture.ask()).toBe(id);
    fixture.approvers.set('alice', alice.approver);
    await fixture.service.take(petition());
  });

  it('sign with no key that the broker can use itself', async () => {
    const [alice] = fixture.people;
    const id = await fixture.ask();
    fixture.tokenKeys.push(alice.publicKey.export({ type: 'spki', format: 'der' }));
    const failure = await failureOf(
      fixture.service.approve(id, 'alice', await alice.sign(fixture.document(id)), alice.voter),
    );
    expect(failure.message).toContain('token');
    fixture.tokenKeys.pop();
    await fixture.approve(id, 0, 1);
    fixture.tokenKeys.push(alice.publicKey.export({ type: 'spki', format: 'der' }));
    expect(await fixture.ask()).toBe(id);
  });

  it('sign by the methods of the rule', async () => {
    const id = await fixture.ask(petition(undefined, {}, { methods: ['sshsig', 'webauthn'] }));
    const [alice] = fixture.people;
    const failure = await failureOf(
      fixture.service.approve(id, 'alice', await alice.sign(fixture.document(id)), alice.voter),
    );
    expect(failure.message).toContain('jws, which the rule does not take');
  });

  it('do not sign for another broker, another act, or a document of their own', async () => {
    const [alice] = fixture.people;
    const id = await fixture.ask();
    for (const wrong of [
      fixture.document(id).replace(fixture.log.origin, 'log.example.org/other'),
      fixture.document(await fixture.ask(petition('another'))),
      '{}',
    ])
      expect(
        (await failureOf(fixture.service.approve(id, 'alice', await alice.sign(wrong), alice.voter))).reason,
      ).toBe('POLICY_DENIED');
    const garbage = fixture.service.approve(
      id,
      'alice',
      { method: 'jws', signature: 'garbage' },
      alice.voter,
    );
    expect((await failureOf(garbage)).reason).toBe('REQUEST_INVALID');
  });
});

describe('presence', () => {
  const party = { id: 'localhost', origins: ['https://localhost:7445'] };
  const sk = generateKeyPairSync('ed25519');
  const passkey = makePasskey();
  const alone = (more: Partial<Quorum> = {}): Petition => petition(undefined, {}, { approvals: 1, ...more });

  async function vote(flags: number, method: 'sshsig' | 'webauthn', asked: Petition): Promise<unknown> {
    const [alice] = fixture.people;
    const keys: ApproverKey[] = [
      { method: 'sshsig', publicKey: skPublicKey(sk.publicKey, 'ssh:') },
      { method: 'webauthn', credentialId: passkey.credentialId, publicKey: passkey.publicKey },
    ];
    fixture.approvers.set('alice', { ...alice.approver, keys });
    const id = await fixture.ask(asked);
    const message = fixture.document(id);
    const signature: VoteSignature =
      method === 'sshsig'
        ? {
            method,
            signature: skSignature(sk, {
              application: 'ssh:',
              namespace: SSHSIG_NAMESPACE,
              message,
              flags,
              counter: 1,
            }),
          }
        : {
            method,
            ...passkeyAssertion(passkey, {
              challenge: actDigest(message),
              rpId: party.id,
              origin: party.origins[0]!,
              flags,
            }),
          };
    await fixture.service.approve(id, 'alice', signature, alice.voter);
    return fixture.service.take(asked);
  }

  beforeEach(async () => {
    fixture.close();
    fixture = await ApprovalFixture.start({ relyingParty: party });
  });

  it('is asked of FIDO keys: a touch, and of passkeys who it was as well', async () => {
    expect((await failureOf(vote(0, 'sshsig', alone()))).message).toContain('without anybody present');
    expect((await failureOf(vote(0, 'webauthn', alone()))).message).toContain('without anybody present');
    expect((await failureOf(vote(1, 'webauthn', alone()))).message).toContain('did not verify its user');
    await vote(1, 'sshsig', alone());
    await vote(5, 'webauthn', alone());
  });

  it('is not asked for where the rule says so', async () => {
    await vote(0, 'sshsig', alone({ withoutPresence: true }));
    await vote(0, 'webauthn', alone({ withoutPresence: true }));
  });
});

describe('no', () => {
  it('is final, has a reason, and makes a pause', async () => {
    const id = await fixture.ask();
    await fixture.approve(id, 0, 1);
    const [, , carol] = fixture.people;
    expect((await failureOf(fixture.service.reject(id, ' ', carol.voter))).reason).toBe('REQUEST_INVALID');
    const waiting = failureOf(
      fixture.service.approved(
        await fixture.ask(petition('waits', {}, { approvals: 3 })),
        new AbortController().signal,
      ),
    );
    expect(await fixture.service.reject(id, 'wrong account', carol.voter)).toMatchObject({
      state: 'rejected',
      reason: 'wrong account',
      closedBy: 'carol',
    });
    expect((await failureOf(fixture.service.take(petition()))).reason).toBe('RATE_LIMITED');
    const [alice] = fixture.people;
    expect(
      (
        await failureOf(
          fixture.service.approve(id, 'alice', await alice.sign(fixture.document(id)), alice.voter),
        )
      ).message,
    ).toContain('rejected already');
    await fixture.restart();
    expect((await failureOf(fixture.service.take(petition()))).reason).toBe('RATE_LIMITED');
    fixture.now += 30_000;
    expect(await fixture.ask()).not.toBe(id);
    const other = await fixture.ask(petition('other'));
    await fixture.service.reject(other, 'no', carol.voter);
    fixture.now += 30_000;
    expect((await failureOf(fixture.service.take(petition('third')))).reason).toBe('RATE_LIMITED');
    fixture.now += 30_000;
    await fixture.ask(petition('third'));
    waiting.catch(() => undefined);
  });

  it('comes from approvers of the rule alone', async () => {
    const id = await fixture.ask();
    const stranger = { approver: 'mallory', spiffeId: 'spiffe://example.org/human/mallory' };
    expect((await failureOf(fixture.service.reject(id, 'no', stranger))).reason).toBe('REQUEST_INVALID');
    expect((await failureOf(fixture.service.withdraw(id, stranger))).reason).toBe('REQUEST_INVALID');
    expect(await fixture.service.withdraw(id, { spiffeId: SETTLE })).toMatchObject({ state: 'withdrawn' });
  });

  it('is what nobody else hears of', async () => {
    const id = await fixture.ask();
    expect(fixture.service.list('alice')).toHaveLength(1);
    expect(fixture.service.list('mallory')).toHaveLength(0);
    expect(
      fixture.service.get(id, { approver: 'mallory', spiffeId: 'spiffe://example.org/ns/other' }),
    ).toBeUndefined();
    fixture.groups.set('treasury', new Set(['bob', 'carol']));
    expect(fixture.service.list('alice')).toHaveLength(0);
    expect(fixture.service.approverOf('spiffe://example.org/human/bob')).toBe('bob');
    fixture.frozen.add('spiffe://example.org/human/bob');
    expect(fixture.service.approverOf('spiffe://example.org/human/bob')).toBeUndefined();
  });
});
