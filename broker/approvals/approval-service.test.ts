import { generateKeyPairSync } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ApproverKey, Quorum } from '../../policy/quorum.ts';
import { ApprovalFixture, petition, QUORUM, SETTLE } from '../../test/fakes/approval-fixture.ts';
import { makePasskey, passkeyAssertion } from '../../test/fakes/passkey.ts';
import { skPublicKey, skSignature } from '../../test/fakes/ssh-sk.ts';
import { AuditError } from '../audit/entry.ts';
import { Failure } from '../keyuse/failure.ts';
import { ApprovalRows } from '../state/approval-rows.ts';
import { actDigest, actDocument, SSHSIG_NAMESPACE, type VoteSignature } from './act.ts';
import type { ApprovalUse, Petition } from './approvals.ts';

let fixture: ApprovalFixture;
beforeEach(async () => {
  fixture = await ApprovalFixture.start();
});
afterEach(() => fixture.close());

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(outcome instanceof Failure)) throw new Error(`no failure but ${String(outcome)}`);
  return outcome;
}

/** Asks, and says which approval is needed. */
async function ask(asked: Petition = petition()): Promise<string> {
  const failure = await failureOf(fixture.service.take(asked));
  expect(failure).toMatchObject({ reason: 'APPROVAL_REQUIRED', performed: 'no' });
  return failure.metadata['approval']!;
}

const document = (id: string): string => fixture.service.get(id, { spiffeId: SETTLE })!.document;

async function approve(id: string, ...who: readonly number[]): Promise<void> {
  for (const at of who) {
    const person = fixture.people[at]!;
    await fixture.service.approve(id, person.id, await person.sign(document(id)), person.voter);
  }
}

describe('two of three', () => {
  it('are asked, agree, and the act is done once', async () => {
    const id = await ask();
    expect(id).toMatch(/^[0-9a-f]{32}$/);
    expect(await ask()).toBe(id);
    await approve(id, 0);
    expect((await failureOf(fixture.service.take(petition()))).message).toContain('1 of 2');
    await approve(id, 2);
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
    const id = await ask();
    await approve(id, 0, 1);
    const [opened, first] = fixture.log.of('approval');
    expect(opened).toMatchObject({ subject: SETTLE, operation: 'Approvals.Open', detail: { approval: id } });
    expect(first).toMatchObject({
      subject: 'spiffe://example.org/human/alice',
      operation: 'Approvals.Approve',
      detail: { approval: id, approver: 'alice', key: fixture.people[0].key, signature: { method: 'jws' } },
    });
    expect(actDocument(first!.detail!['act'] as never)).toBe(document(id));
  });

  it('give no second use to a replay, to other content, another key, version, algorithm or requester', async () => {
    const id = await ask();
    await approve(id, 0, 1);
    const others: Petition[] = [
      petition('pay 101 to DE02'),
      petition(undefined, { key: 'treasury/other' }),
      petition(undefined, { version: 2 }),
      petition(undefined, { algorithm: 'ES384' }),
      petition(undefined, { operation: 'sign-jwt' }),
      petition(undefined, { requester: `${SETTLE}2` }),
      petition(undefined, { catalogEntry: '{"key":"changed"}' }),
    ];
    for (const other of others) expect(await ask(other)).not.toBe(id);
    await fixture.service.take(petition());
    expect(await ask()).not.toBe(id);
  });

  it('are people, not keys: the same one counts once, and not for somebody else', async () => {
    const [alice, bob] = fixture.people;
    const more = new (alice.constructor as new (id: string) => typeof alice)('alice');
    fixture.approvers.set('alice', { ...alice.approver, keys: [alice.key, more.key] });
    const id = await ask();
    await approve(id, 0);
    const again = await failureOf(
      fixture.service.approve(id, 'alice', await more.sign(document(id)), alice.voter),
    );
    expect(again.message).toContain('another person');
    const forged = await failureOf(
      fixture.service.approve(id, 'bob', await more.sign(document(id)), bob.voter),
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
    const id = await ask();
    const view = await fixture.service.approve(id, 'bob', await bob.sign(document(id)), alice.voter);
    expect(view.votes).toMatchObject([{ approver: 'bob', counts: true }]);
    await approve(id, 0);
    await fixture.service.take(petition());
  });

  it('are not who asks', async () => {
    const [alice] = fixture.people;
    fixture.ownRequests = (approver) => approver === 'alice';
    const id = await ask();
    expect(
      (await failureOf(fixture.service.approve(id, 'alice', await alice.sign(document(id)), alice.voter)))
        .message,
    ).toContain('is who asks');
    await approve(id, 1);
    expect((await failureOf(fixture.service.take(petition()))).reason).toBe('APPROVAL_REQUIRED');
  });

  it('count while they are enrolled, in the group and not frozen: at the moment of use', async () => {
    const id = await ask();
    await approve(id, 0, 1);
    const [alice] = fixture.people;
    fixture.frozen.add(alice.spiffeId);
    expect(await ask()).toBe(id);
    fixture.frozen.clear();
    const treasury = fixture.groups.get('treasury')!;
    fixture.groups.set('treasury', new Set(['bob', 'carol']));
    expect(await ask()).toBe(id);
    fixture.groups.set('treasury', treasury);
    fixture.approvers.delete('alice');
    expect(await ask()).toBe(id);
    fixture.approvers.set('alice', { ...alice.approver, keys: [] });
    expect(await ask()).toBe(id);
    fixture.approvers.set('alice', alice.approver);
    await fixture.service.take(petition());
  });

  it('sign with no key that the broker can use itself', async () => {
    const [alice] = fixture.people;
    const id = await ask();
    fixture.tokenKeys.push(alice.publicKey.export({ type: 'spki', format: 'der' }));
    const failure = await failureOf(
      fixture.service.approve(id, 'alice', await alice.sign(document(id)), alice.voter),
    );
    expect(failure.message).toContain('token');
    fixture.tokenKeys.pop();
    await approve(id, 0, 1);
    fixture.tokenKeys.push(alice.publicKey.export({ type: 'spki', format: 'der' }));
    expect(await ask()).toBe(id);
  });

  it('sign by the methods of the rule', async () => {
    const id = await ask(petition(undefined, {}, { methods: ['sshsig', 'webauthn'] }));
    const [alice] = fixture.people;
    const failure = await failureOf(
      fixture.service.approve(id, 'alice', await alice.sign(document(id)), alice.voter),
    );
    expect(failure.message).toContain('jws, which the rule does not take');
  });

  it('do not sign for another broker, another act, or a document of their own', async () => {
    const [alice] = fixture.people;
    const id = await ask();
    for (const wrong of [
      document(id).replace(fixture.log.origin, 'log.example.org/other'),
      document(await ask(petition('another'))),
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

describe('what people have agreed to', () => {
  const agreed = (asked = petition()): boolean => fixture.service.isApproved(asked);

  it('is that while it stands: in time, and while those who agreed count', async () => {
    expect(agreed()).toBe(false);
    const id = await ask();
    await approve(id, 0);
    expect(agreed()).toBe(false);
    await approve(id, 1);
    expect(agreed()).toBe(true);
    await fixture.restart();
    expect(agreed()).toBe(true);
    expect(agreed(petition('other'))).toBe(false);
    expect(agreed(petition(undefined, {}, { approvals: 3 }))).toBe(false);
    const [alice] = fixture.people;
    fixture.approvers.delete(alice.id);
    expect(agreed()).toBe(false);
    fixture.approvers.set(alice.id, alice.approver);
    expect(agreed()).toBe(true);
    fixture.now += QUORUM.withinMs;
    expect(agreed()).toBe(false);
  });

  it('is nothing that nobody can be asked about, and no error', () => {
    const blind = { kind: 'not-shown', sha256: 'a'.repeat(43), bytes: 32 } as const;
    expect(agreed(petition(undefined, { content: blind }))).toBe(false);
    expect(agreed(petition(undefined, { content: { ...blind, sha256: '' } }, { blind: true }))).toBe(false);
    expect(agreed(petition(undefined, {}, { approvals: 0 }))).toBe(false);
    expect(agreed({ ...petition(), allowance: { rule: 'treasury-moves-funds' } })).toBe(false);
    fixture.meanings.clear();
    fixture.reload();
    expect(agreed()).toBe(false);
  });
});

describe('between asking and using', () => {
  /** Everything of `take` but the use itself, which is done in the next turn of the event loop. */
  const almost = async (): Promise<{ readonly use: Promise<unknown> }> => {
    const use = fixture.service.take(petition());
    use.catch(() => undefined);
    for (let i = 0; i < 10; i++) await new Promise(process.nextTick);
    return { use };
  };

  it.each([
    ['time is over', () => (fixture.now += QUORUM.withinMs)],
    [
      'the rule changes',
      () => {
        fixture.meanings.set('treasury-moves-funds', 'changed');
        fixture.reload();
      },
    ],
    ['an approver is removed', () => fixture.approvers.delete('alice')],
    ['an approver is frozen', () => fixture.frozen.add(fixture.people[0].spiffeId)],
    ['the approval is rejected', () => fixture.service.reject(id, 'no', fixture.people[2].voter)],
  ] as const)('nothing passes when %s', async (_what, happens) => {
    id = await ask();
    await approve(id, 0, 1);
    const { use } = await almost();
    void happens();
    expect(await failureOf(use)).toMatchObject({ reason: 'APPROVAL_REQUIRED' });
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.used).toBe(0);
  });
  let id = '';

  it('it passes when nothing happens', async () => {
    await approve(await ask(), 0, 1);
    await (await almost()).use;
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
    const id = await ask(asked);
    const message = document(id);
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

describe('a rule', () => {
  it('that has changed voids what was approved under it', async () => {
    const id = await ask();
    await approve(id, 0, 1);
    fixture.meanings.set('treasury-moves-funds', 'changed');
    fixture.reload();
    expect(await ask()).not.toBe(id);
    const [, , carol] = fixture.people;
    const failure = await failureOf(
      fixture.service.approve(id, 'carol', await carol.sign(document(id)), carol.voter),
    );
    expect(failure.message).toContain('changed');
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.state).toBe('expired');
  });

  it('that is gone, or asks for nobody, lets nothing pass', async () => {
    for (const approvals of [0, -1, Number.NaN, 0.5])
      expect((await failureOf(fixture.service.take(petition(undefined, {}, { approvals })))).reason).toBe(
        'POLICY_DENIED',
      );
    const none = { ...petition(), allowance: { rule: 'treasury-moves-funds' } };
    expect((await failureOf(fixture.service.take(none))).reason).toBe('POLICY_DENIED');
    fixture.meanings.clear();
    fixture.reload();
    expect((await failureOf(fixture.service.take(petition()))).reason).toBe('POLICY_DENIED');
  });

  it('takes no bare digest but a blind one does, and nothing without a digest', async () => {
    const content = {
      kind: 'not-shown',
      sha256: petition().content.kind === 'message' ? (petition().content as { sha256: string }).sha256 : '',
      bytes: 32,
    } as const;
    expect((await failureOf(fixture.service.take(petition(undefined, { content })))).reason).toBe(
      'POLICY_DENIED',
    );
    const id = await ask(petition(undefined, { content }, { blind: true }));
    expect(document(id)).toContain('not-shown');
    const nothing = petition(
      undefined,
      { content: { kind: 'not-shown', sha256: '', bytes: 0 } },
      { blind: true },
    );
    expect((await failureOf(fixture.service.take(nothing))).reason).toBe('REQUEST_INVALID');
  });
});

describe('time', () => {
  it('ends an approval, also one that has its approvals', async () => {
    const id = await ask();
    await approve(id, 0, 1);
    fixture.now += QUORUM.withinMs;
    expect(await ask()).not.toBe(id);
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.state).toBe('expired');
  });

  it('in doubt shortens, and in more doubt than the policy bears stops', async () => {
    const id = await ask();
    await approve(id, 0, 1);
    fixture.doubtMs = 5001;
    expect(await failureOf(fixture.service.take(petition()))).toMatchObject({ reason: 'BUSY' });
    fixture.doubtMs = Number.POSITIVE_INFINITY;
    fixture.service.tick();
    expect(await failureOf(fixture.service.take(petition()))).toMatchObject({ reason: 'BUSY' });
    fixture.doubtMs = 4000;
    fixture.now += QUORUM.withinMs - 4000;
    expect(await ask()).not.toBe(id);
  });

  it('that goes back behind the beginning uses nothing', async () => {
    const id = await ask();
    await approve(id, 0, 1);
    fixture.now -= 60_000;
    expect(await ask()).not.toBe(id);
  });

  it('reminds once before the end, and tells of it', async () => {
    const id = await ask();
    fixture.service.tick();
    fixture.now += QUORUM.withinMs * 0.9;
    fixture.service.tick();
    fixture.service.tick();
    fixture.now += QUORUM.withinMs * 0.1;
    fixture.service.tick();
    await vi.waitUntil(() => fixture.notices.length >= 3, { interval: 1 });
    expect(fixture.notices.map(({ kind, approval }) => [kind, approval])).toEqual([
      ['opened', id],
      ['reminder', id],
      ['expired', id],
    ]);
  });
});

describe('no', () => {
  it('is final, has a reason, and makes a pause', async () => {
    const id = await ask();
    await approve(id, 0, 1);
    const [, , carol] = fixture.people;
    expect((await failureOf(fixture.service.reject(id, ' ', carol.voter))).reason).toBe('REQUEST_INVALID');
    const waiting = failureOf(
      fixture.service.approved(
        await ask(petition('waits', {}, { approvals: 3 })),
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
      (await failureOf(fixture.service.approve(id, 'alice', await alice.sign(document(id)), alice.voter)))
        .message,
    ).toContain('rejected already');
    await fixture.restart();
    expect((await failureOf(fixture.service.take(petition()))).reason).toBe('RATE_LIMITED');
    fixture.now += 30_000;
    expect(await ask()).not.toBe(id);
    const other = await ask(petition('other'));
    await fixture.service.reject(other, 'no', carol.voter);
    fixture.now += 30_000;
    expect((await failureOf(fixture.service.take(petition('third')))).reason).toBe('RATE_LIMITED');
    fixture.now += 30_000;
    await ask(petition('third'));
    waiting.catch(() => undefined);
  });

  it('comes from approvers of the rule alone', async () => {
    const id = await ask();
    const stranger = { approver: 'mallory', spiffeId: 'spiffe://example.org/human/mallory' };
    expect((await failureOf(fixture.service.reject(id, 'no', stranger))).reason).toBe('REQUEST_INVALID');
    expect((await failureOf(fixture.service.withdraw(id, stranger))).reason).toBe('REQUEST_INVALID');
    expect(await fixture.service.withdraw(id, { spiffeId: SETTLE })).toMatchObject({ state: 'withdrawn' });
  });

  it('is what nobody else hears of', async () => {
    const id = await ask();
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

describe('a flood', () => {
  it('ends at the bound of requester and rule', async () => {
    for (let i = 0; i < 20; i++) await ask(petition(`pay ${i}`));
    expect(await failureOf(fixture.service.take(petition('one more')))).toMatchObject({
      reason: 'RATE_LIMITED',
      metadata: { retry_after: '60s' },
    });
    await ask(petition('another requester', { requester: `${SETTLE}2` }));
    expect(fixture.log.of('approval')).toHaveLength(21);
  });

  it('at once does not get past the bound, and asks for the same act once', async () => {
    const asked = await Promise.allSettled(
      Array.from({ length: 30 }, (_, i) => fixture.service.take(petition(`pay ${i}`))),
    );
    const reasons = asked.map((one) => (one as PromiseRejectedResult).reason.reason);
    expect(reasons.filter((reason) => reason === 'APPROVAL_REQUIRED')).toHaveLength(20);
    const again = await Promise.all(Array.from({ length: 5 }, () => ask(petition('pay 3'))));
    expect(new Set(again).size).toBe(1);
  });
});

describe('taking back', () => {
  const mine = { spiffeId: SETTLE };

  it('makes the pause that a rejection makes, over a restart as well', async () => {
    await fixture.service.withdraw(await ask(), mine);
    expect(await failureOf(fixture.service.take(petition()))).toMatchObject({
      reason: 'RATE_LIMITED',
      metadata: { retry_after: '30s' },
    });
    await fixture.restart();
    expect((await failureOf(fixture.service.take(petition()))).reason).toBe('RATE_LIMITED');
    // Of this requester, and of no other.
    await ask(petition(undefined, { requester: `${SETTLE}2` }));
    fixture.now += 30_000;
    const second = await ask();
    fixture.now += 1;
    await fixture.service.reject(second, 'no', fixture.people[2].voter);
    await fixture.restart();
    expect((await failureOf(fixture.service.take(petition()))).metadata['retry_after']).toBe('60s');
  });

  it('of whatever was asked for ends at the bound of an hour', async () => {
    fixture.close();
    fixture = await ApprovalFixture.start({ limits: { askedPerHour: 3, pauseMs: 0 } });
    for (let i = 0; i < 3; i++) {
      await fixture.service.withdraw(await ask(), mine);
      fixture.now += 60_000;
    }
    const bound = { reason: 'RATE_LIMITED', metadata: { retry_after: '3420s' } };
    expect(await failureOf(fixture.service.take(petition()))).toMatchObject(bound);
    await fixture.restart();
    expect(await failureOf(fixture.service.take(petition()))).toMatchObject(bound);
    await ask(petition(undefined, { requester: `${SETTLE}2` }));
    fixture.now += 3_420_000;
    await ask();
    expect((await failureOf(fixture.service.take(petition('another')))).reason).toBe('RATE_LIMITED');
  });

  it('and everything else that ends makes room', async () => {
    fixture.close();
    const limits = { perRequesterAndRule: 2, perRule: 2, total: 2, pauseMs: 0 };
    fixture = await ApprovalFixture.start({ limits });
    const full = async (): Promise<void> =>
      expect((await failureOf(fixture.service.take(petition('more')))).reason).toBe('RATE_LIMITED');
    const first = await ask(petition('first'));
    const second = await ask(petition('second'));
    await full();
    await fixture.service.withdraw(first, mine);
    const third = await ask(petition('third'));
    await full();
    await fixture.service.reject(third, 'no', fixture.people[2].voter);
    await approve(second, 0, 1);
    const use = await fixture.service.take(petition('second'));
    const fourth = await ask(petition('fourth'));
    use.giveBack();
    await full();
    await fixture.restart();
    await full();
    await fixture.service.withdraw(fourth, mine);
    fixture.log.rejection = () => new AuditError('AUDIT_UNAVAILABLE', 'disk full');
    await failureOf(fixture.service.take(petition('fifth')));
    fixture.log.rejection = () => undefined;
    await ask(petition('fifth'));
    await full();
    fixture.now += QUORUM.withinMs;
    fixture.service.tick();
    await ask(petition('sixth'));
    await ask(petition('seventh'));
    await full();
  });
});

describe('a budget', () => {
  const grant = petition(undefined, {}, { covers: 'rule', uses: 10 });
  const race = async (count: number): Promise<ApprovalUse[]> => {
    const all = await Promise.allSettled(
      Array.from({ length: count }, (_, i) =>
        fixture.service.take(petition(`pay ${i}`, {}, { covers: 'rule', uses: 10 })),
      ),
    );
    return all.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  };

  it('of a standing grant covers what the rule allows, and exactly its uses in a race of fifty', async () => {
    const id = await ask(grant);
    expect(document(id)).toContain('"content":{"kind":"any"}');
    await approve(id, 0, 1);
    const uses = await race(50);
    expect(uses).toHaveLength(10);
    expect(new Set(uses.map(({ record }) => (record as { use: number }).use)).size).toBe(10);
  });

  it('of one use is one use in a race of fifty', async () => {
    const id = await ask();
    await approve(id, 0, 1);
    const all = await Promise.allSettled(Array.from({ length: 50 }, () => fixture.service.take(petition())));
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('that is large is drawn in parts, to the very end, and what was not used comes back at an orderly end', async () => {
    const large = petition(undefined, {}, { covers: 'rule', uses: 1000 });
    const id = await ask(large);
    await approve(id, 0, 1);
    const numbers = new Set<number>();
    const use = async (): Promise<ApprovalUse> => {
      const taken = await fixture.service.take(large);
      const { use: number } = taken.record as { use: number };
      expect(numbers.has(number)).toBe(false);
      numbers.add(number);
      return taken;
    };
    for (let i = 0; i < 12; i++) await use();
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.used).toBe(12);
    // Orderly, nothing is lost; killed, what was drawn is.
    await fixture.restart();
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.used).toBe(12);
    await use();
    fixture.crash();
    await fixture.open();
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.used).toBe(17);
    (await use()).giveBack();
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.used).toBe(17);
    numbers.clear();
    const rest = await Promise.allSettled(Array.from({ length: 1100 }, () => fixture.service.take(large)));
    const given = rest.filter(({ status }) => status === 'fulfilled');
    expect(given).toHaveLength(983);
    expect(fixture.service.get(id, { spiffeId: SETTLE })).toMatchObject({ state: 'used', used: 1000 });
    (given[0] as PromiseFulfilledResult<ApprovalUse>).value.giveBack();
    await fixture.service.take(large);
    expect(await ask(large)).not.toBe(id);
  });

  it('that was drawn to the last is over after a kill: a new one can be asked for', async () => {
    const large = petition(undefined, {}, { covers: 'rule', uses: 400 });
    const id = await ask(large);
    await approve(id, 0, 1);
    for (let i = 0; i < 399; i++) await fixture.service.take(large);
    fixture.crash();
    await fixture.open();
    expect(fixture.service.get(id, { spiffeId: SETTLE })).toMatchObject({ state: 'used', used: 400 });
    const waiting = fixture.service.approved(id, new AbortController().signal);
    expect((await failureOf(waiting)).message).toContain('used');
    expect(await ask(large)).not.toBe(id);
  });

  it('whose end could not be written is closed by who finds it empty', async () => {
    const id = await ask(grant);
    await approve(id, 0, 1);
    fixture.db.sql('UPDATE approval SET used = 10, taken = 10').run();
    // Whoever comes first is told; nobody goes on waiting for it.
    expect((await failureOf(fixture.service.take(grant))).message).toContain('used up');
    const waiting = fixture.service.approved(id, new AbortController().signal);
    expect((await failureOf(waiting)).message).toContain('used');
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.state).toBe('used');
    expect(await ask(grant)).not.toBe(id);
  });

  it.each([
    ['uses', 'used = 0'],
    ['numbers', 'taken = 0'],
  ])('whose %s somebody sets back while the broker runs gives nothing more', async (_what, change) => {
    const id = await ask(grant);
    await approve(id, 0, 1);
    const uses = await race(3);
    uses[0]!.giveBack();
    expect(await race(1)).toHaveLength(1);
    fixture.db.sql(`UPDATE approval SET ${change}`).run();
    expect((await failureOf(fixture.service.take(grant))).message).toContain('set its uses back');
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.state).toBe('expired');
    expect(await ask(grant)).not.toBe(id);
  });

  it('that cannot be given back at an orderly end keeps nothing else from ending', async () => {
    const large = (requester: string): Petition =>
      petition(undefined, { requester }, { covers: 'rule', uses: 400 });
    const ids: string[] = [];
    for (const requester of [SETTLE, `${SETTLE}2`]) {
      const id = await ask(large(requester));
      for (const person of fixture.people.slice(0, 2)) {
        const { document: text } = fixture.service.get(id, { spiffeId: requester })!;
        await fixture.service.approve(id, person.id, await person.sign(text), person.voter);
      }
      await fixture.service.take(large(requester));
      ids.push(id);
    }
    fixture.db
      .sql(
        `CREATE TEMP TRIGGER away BEFORE UPDATE OF used ON main.approval WHEN old.id = '${ids[0]}'
         BEGIN SELECT RAISE(ABORT, 'disk full'); END`,
      )
      .run();
    await fixture.restart();
    const used = ids.map(
      (id, i) => fixture.service.get(id, { spiffeId: i === 0 ? SETTLE : `${SETTLE}2` })!.used,
    );
    expect(used).toEqual([2, 1]);
  });

  it('comes back when nothing was done, and does not otherwise, over a restart as well', async () => {
    const id = await ask(grant);
    await approve(id, 0, 1);
    const uses = await race(10);
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.state).toBe('used');
    uses[0]!.giveBack();
    expect(fixture.service.get(id, { spiffeId: SETTLE })).toMatchObject({ state: 'approved', used: 9 });
    await fixture.restart();
    const more = await race(5);
    expect(more.map(({ record }) => (record as { use: number }).use)).toEqual([11]);
  });

  it('is gone when the broker is killed after it was taken', async () => {
    const id = await ask();
    await approve(id, 0, 1);
    await fixture.service.take(petition());
    fixture.crash();
    await fixture.open();
    expect(fixture.service.stopped).toBeUndefined();
    expect(await ask()).not.toBe(id);
  });

  it('does not change when the state cannot be written', async () => {
    const id = await ask();
    await approve(id, 0, 1);
    fixture.crash();
    expect(await failureOf(fixture.service.take(petition()))).toMatchObject({ reason: 'BUSY' });
    await fixture.open();
    await fixture.service.take(petition());
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.used).toBe(1);
  });
});

describe('emergency access', () => {
  it('is loud', async () => {
    const urgent = petition(undefined, {}, { approvals: 1, emergency: true });
    const id = await ask(urgent);
    await approve(id, 0);
    expect(await fixture.service.take(urgent)).toMatchObject({
      isEmergency: true,
      record: { emergency: true },
    });
    await vi.waitUntil(() => fixture.notices.some(({ kind }) => kind === 'emergency-used'), { interval: 1 });
  });

  it('is counted, and told before everything that waits to be told', async () => {
    fixture.notify = () => Promise.reject(new Error('courier is away'));
    for (let i = 0; i < 20; i++) await ask(petition(`pay ${i}`));
    const urgent = petition(undefined, { requester: `${SETTLE}2` }, { approvals: 1, emergency: true });
    const failure = await failureOf(fixture.service.take(urgent));
    const id = failure.metadata['approval']!;
    const [alice] = fixture.people;
    const { document: text } = fixture.service.get(id, { approver: alice.id })!;
    await fixture.service.approve(id, alice.id, await alice.sign(text), alice.voter);
    expect(fixture.service.emergencyUses).toBe(0);
    fixture.now += 1000;
    await fixture.service.take(urgent);
    expect(fixture.service.emergencyUses).toBe(1);
    const told: string[] = [];
    fixture.notify = ({ kind }) => {
      told.push(kind);
      return Promise.resolve();
    };
    await vi.waitUntil(
      () => {
        fixture.service.tick();
        return told.length >= 22;
      },
      { interval: 1 },
    );
    expect(told[0]).toBe('emergency-used');
  });
});

describe('telling', () => {
  it('goes on until somebody has taken it', async () => {
    let attempts = 0;
    const taken: string[] = [];
    fixture.notify = ({ id }) => {
      if (++attempts < 3) return Promise.reject(new Error('courier is away'));
      taken.push(id);
      return Promise.resolve();
    };
    const id = await ask();
    await vi.waitUntil(
      () => {
        fixture.service.tick();
        return taken.length > 0;
      },
      { interval: 1 },
    );
    expect(taken[0]).toContain(`${id}:opened`);
  });

  it('wakes who waits: approved, rejected, gone', async () => {
    const { signal } = new AbortController();
    const id = await ask();
    const waiting = fixture.service.approved(id, signal);
    await approve(id, 0, 1);
    await waiting;
    const other = await ask(petition('other'));
    const refused = failureOf(fixture.service.approved(other, signal));
    await fixture.service.reject(other, 'no', fixture.people[2].voter);
    expect(await refused).toMatchObject({
      reason: 'APPROVAL_REQUIRED',
      message: expect.stringContaining('rejected: no'),
    });
    const gone = new AbortController();
    fixture.now += 60_000;
    const third = failureOf(fixture.service.approved(await ask(petition('third')), gone.signal));
    gone.abort();
    expect(await third).toMatchObject({ reason: 'APPROVAL_REQUIRED', message: 'not yet approved' });
  });

  it('says nothing to who has given up, not even that it is approved', async () => {
    const id = await ask();
    await approve(id, 0, 1);
    expect(await failureOf(fixture.service.approved(id, AbortSignal.abort()))).toMatchObject({
      reason: 'APPROVAL_REQUIRED',
      message: 'not yet approved',
    });
  });

  it('says what has changed since a cursor, to whom it concerns', async () => {
    const { cursor } = fixture.service;
    const { signal } = new AbortController();
    const next = fixture.service.changes('alice', cursor, signal);
    const id = await ask();
    const first = await next;
    expect(first.views.map((view) => [view.id, view.state])).toEqual([[id, 'open']]);
    const stop = new AbortController();
    const nothing = fixture.service.changes('mallory', cursor, stop.signal);
    await approve(id, 0, 1);
    stop.abort();
    expect((await nothing).views).toEqual([]);
    expect((await fixture.service.changes('bob', first.cursor, signal)).views).toMatchObject([
      { id, state: 'approved' },
    ]);
  });
});

describe('many rows', () => {
  /** As many more that others asked for and that were used, by people whom nobody here is one of. */
  const others = (count: number): unknown =>
    fixture.db
      .sql(
        `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
         INSERT INTO approval (id, request_key, act, catalog_entry, quorum, state, reason, closed_by, opened_at,
           not_after, closed_at, used, taken, change, opened_leaf)
         SELECT id || i, request_key || i, act, catalog_entry, replace(quorum, 'treasury', 'elsewhere'), 'used', '',
           '', opened_at, not_after, opened_at, 1, 1, change + i, opened_leaf FROM approval, n`,
      )
      .run(count);

  it('are read as far as a list goes, the newest first', async () => {
    const id = await ask();
    others(1000);
    const newest = await ask(petition('newest'));
    const reads = vi.spyOn(ApprovalRows.prototype, 'changedBefore');
    const listed = (limit: number): readonly string[] =>
      fixture.service.list('alice', { all: true, limit }).map((view) => view.id);
    expect(listed(1)).toEqual([newest]);
    expect(reads.mock.results.map(({ value }) => value.length)).toEqual([200]);
    expect(listed(100)).toEqual([newest, id]);
    expect(fixture.service.list('alice').map((view) => view.id)).toEqual([newest, id]);
    reads.mockRestore();
  });

  it('keep nobody else waiting while somebody looks for changes among them', async () => {
    await ask();
    others(1000);
    const giveUp = new AbortController();
    let turns = 0;
    const reads = vi.spyOn(ApprovalRows.prototype, 'changedSince');
    const nothing = fixture.service.changes('mallory', 0, giveUp.signal);
    // Five pages, one with the rest, and one that is empty: others have had a turn between each two of them.
    while (reads.mock.calls.length < 7) {
      await nextTurn();
      turns++;
    }
    expect(turns).toBeGreaterThanOrEqual(6);
    await nextTurn();
    expect(reads).toHaveBeenCalledTimes(7);
    giveUp.abort();
    expect((await nothing).views).toEqual([]);
    reads.mockRestore();
  });

  it('of uses wake nobody who waits for something else, and the last one does', async () => {
    const grant = petition(undefined, {}, { covers: 'rule', uses: 3 });
    const id = await ask(grant);
    await approve(id, 0, 1);
    const giveUp = new AbortController();
    const waiting = fixture.service.changes('alice', fixture.service.cursor, giveUp.signal);
    const reads = vi.spyOn(ApprovalRows.prototype, 'changedSince');
    for (let i = 0; i < 2; i++) await fixture.service.take(grant);
    await nextTurn();
    expect(reads).not.toHaveBeenCalled();
    await fixture.service.take(grant);
    expect((await waiting).views).toMatchObject([{ id, state: 'used' }]);
    reads.mockRestore();
  });
});

describe('a log that cannot be written', () => {
  it('opens nothing and counts nobody', async () => {
    fixture.log.rejection = () => new AuditError('AUDIT_UNAVAILABLE', 'disk full');
    expect(await failureOf(fixture.service.take(petition()))).toMatchObject({ reason: 'AUDIT_UNAVAILABLE' });
    fixture.log.rejection = () => undefined;
    const id = await ask();
    await approve(id, 0);
    fixture.log.rejection = ({ operation }) =>
      operation === 'Approvals.Approve' ? new AuditError('AUDIT_UNAVAILABLE', 'disk full') : undefined;
    const [, bob] = fixture.people;
    expect(
      (await failureOf(fixture.service.approve(id, 'bob', await bob.sign(document(id)), bob.voter))).reason,
    ).toBe('AUDIT_UNAVAILABLE');
    fixture.log.rejection = () => undefined;
    expect(await ask()).toBe(id);
    await fixture.restart();
    expect(fixture.service.stopped).toBeUndefined();
    expect(await ask()).toBe(id);
    await approve(id, 1);
    await fixture.service.take(petition());
  });
});
