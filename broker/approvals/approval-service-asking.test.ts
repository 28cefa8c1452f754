import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ApprovalFixture, failureOf, petition, QUORUM, SETTLE } from '../../test/fakes/approval-fixture.ts';
import { AuditError } from '../audit/entry.ts';
import { ApprovalRows } from '../state/approval-rows.ts';

let fixture: ApprovalFixture;
beforeEach(async () => {
  fixture = await ApprovalFixture.start();
});
afterEach(() => fixture.close());

describe('a rule', () => {
  it('that has changed voids what was approved under it', async () => {
    const id = await fixture.ask();
    await fixture.approve(id, 0, 1);
    fixture.meanings.set('treasury-moves-funds', 'changed');
    fixture.reload();
    expect(await fixture.ask()).not.toBe(id);
    const [, , carol] = fixture.people;
    const failure = await failureOf(
      fixture.service.approve(id, 'carol', await carol.sign(fixture.document(id)), carol.voter),
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
    const id = await fixture.ask(petition(undefined, { content }, { blind: true }));
    expect(fixture.document(id)).toContain('not-shown');
    const nothing = petition(
      undefined,
      { content: { kind: 'not-shown', sha256: '', bytes: 0 } },
      { blind: true },
    );
    expect((await failureOf(fixture.service.take(nothing))).reason).toBe('REQUEST_INVALID');
  });
});

describe('a flood', () => {
  it('ends at the bound of requester and rule', async () => {
    for (let i = 0; i < 20; i++) await fixture.ask(petition(`pay ${i}`));
    expect(await failureOf(fixture.service.take(petition('one more')))).toMatchObject({
      reason: 'RATE_LIMITED',
      metadata: { retry_after: '60s' },
    });
    await fixture.ask(petition('another requester', { requester: `${SETTLE}2` }));
    expect(fixture.log.of('approval')).toHaveLength(21);
  });

  it('at once does not get past the bound, and asks for the same act once', async () => {
    const asked = await Promise.allSettled(
      Array.from({ length: 30 }, (_, i) => fixture.service.take(petition(`pay ${i}`))),
    );
    const reasons = asked.map((one) => (one as PromiseRejectedResult).reason.reason);
    expect(reasons.filter((reason) => reason === 'APPROVAL_REQUIRED')).toHaveLength(20);
    const again = await Promise.all(Array.from({ length: 5 }, () => fixture.ask(petition('pay 3'))));
    expect(new Set(again).size).toBe(1);
  });
});

describe('taking back', () => {
  const mine = { spiffeId: SETTLE };

  it('makes the pause that a rejection makes, over a restart as well', async () => {
    await fixture.service.withdraw(await fixture.ask(), mine);
    expect(await failureOf(fixture.service.take(petition()))).toMatchObject({
      reason: 'RATE_LIMITED',
      metadata: { retry_after: '30s' },
    });
    await fixture.restart();
    expect((await failureOf(fixture.service.take(petition()))).reason).toBe('RATE_LIMITED');
    // Of this requester, and of no other.
    await fixture.ask(petition(undefined, { requester: `${SETTLE}2` }));
    fixture.now += 30_000;
    const second = await fixture.ask();
    fixture.now += 1;
    await fixture.service.reject(second, 'no', fixture.people[2].voter);
    await fixture.restart();
    expect((await failureOf(fixture.service.take(petition()))).metadata['retry_after']).toBe('60s');
  });

  it('of whatever was asked for ends at the bound of an hour', async () => {
    fixture.close();
    fixture = await ApprovalFixture.start({ limits: { askedPerHour: 3, pauseMs: 0 } });
    for (let i = 0; i < 3; i++) {
      await fixture.service.withdraw(await fixture.ask(), mine);
      fixture.now += 60_000;
    }
    const bound = { reason: 'RATE_LIMITED', metadata: { retry_after: '3420s' } };
    expect(await failureOf(fixture.service.take(petition()))).toMatchObject(bound);
    await fixture.restart();
    expect(await failureOf(fixture.service.take(petition()))).toMatchObject(bound);
    await fixture.ask(petition(undefined, { requester: `${SETTLE}2` }));
    fixture.now += 3_420_000;
    await fixture.ask();
    expect((await failureOf(fixture.service.take(petition('another')))).reason).toBe('RATE_LIMITED');
  });

  it('and everything else that ends makes room', async () => {
    fixture.close();
    const limits = { perRequesterAndRule: 2, perRule: 2, total: 2, pauseMs: 0 };
    fixture = await ApprovalFixture.start({ limits });
    const full = async (): Promise<void> =>
      expect((await failureOf(fixture.service.take(petition('more')))).reason).toBe('RATE_LIMITED');
    const first = await fixture.ask(petition('first'));
    const second = await fixture.ask(petition('second'));
    await full();
    await fixture.service.withdraw(first, mine);
    const third = await fixture.ask(petition('third'));
    await full();
    await fixture.service.reject(third, 'no', fixture.people[2].voter);
    await fixture.approve(second, 0, 1);
    const use = await fixture.service.take(petition('second'));
    const fourth = await fixture.ask(petition('fourth'));
    use.giveBack();
    await full();
    await fixture.restart();
    await full();
    await fixture.service.withdraw(fourth, mine);
    fixture.log.rejection = () => new AuditError('AUDIT_UNAVAILABLE', 'disk full');
    await failureOf(fixture.service.take(petition('fifth')));
    fixture.log.rejection = () => undefined;
    await fixture.ask(petition('fifth'));
    await full();
    fixture.now += QUORUM.withinMs;
    fixture.service.tick();
    await fixture.ask(petition('sixth'));
    await fixture.ask(petition('seventh'));
    await full();
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
    const id = await fixture.ask();
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
    const id = await fixture.ask();
    const waiting = fixture.service.approved(id, signal);
    await fixture.approve(id, 0, 1);
    await waiting;
    const other = await fixture.ask(petition('other'));
    const refused = failureOf(fixture.service.approved(other, signal));
    await fixture.service.reject(other, 'no', fixture.people[2].voter);
    expect(await refused).toMatchObject({
      reason: 'APPROVAL_REQUIRED',
      message: expect.stringContaining('rejected: no'),
    });
    const gone = new AbortController();
    fixture.now += 60_000;
    const third = failureOf(fixture.service.approved(await fixture.ask(petition('third')), gone.signal));
    gone.abort();
    expect(await third).toMatchObject({ reason: 'APPROVAL_REQUIRED', message: 'not yet approved' });
  });

  it('says nothing to who has given up, not even that it is approved', async () => {
    const id = await fixture.ask();
    await fixture.approve(id, 0, 1);
    expect(await failureOf(fixture.service.approved(id, AbortSignal.abort()))).toMatchObject({
      reason: 'APPROVAL_REQUIRED',
      message: 'not yet approved',
    });
  });

  it('says what has changed since a cursor, to whom it concerns', async () => {
    const { cursor } = fixture.service;
    const { signal } = new AbortController();
    const next = fixture.service.changes('alice', cursor, signal);
    const id = await fixture.ask();
    const first = await next;
    expect(first.views.map((view) => [view.id, view.state])).toEqual([[id, 'open']]);
    const stop = new AbortController();
    const nothing = fixture.service.changes('mallory', cursor, stop.signal);
    await fixture.approve(id, 0, 1);
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
    const id = await fixture.ask();
    others(1000);
    const newest = await fixture.ask(petition('newest'));
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
    await fixture.ask();
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
    const id = await fixture.ask(grant);
    await fixture.approve(id, 0, 1);
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
    const id = await fixture.ask();
    await fixture.approve(id, 0);
    fixture.log.rejection = ({ operation }) =>
      operation === 'Approvals.Approve' ? new AuditError('AUDIT_UNAVAILABLE', 'disk full') : undefined;
    const [, bob] = fixture.people;
    expect(
      (await failureOf(fixture.service.approve(id, 'bob', await bob.sign(fixture.document(id)), bob.voter)))
        .reason,
    ).toBe('AUDIT_UNAVAILABLE');
    fixture.log.rejection = () => undefined;
    expect(await fixture.ask()).toBe(id);
    await fixture.restart();
    expect(fixture.service.stopped).toBeUndefined();
    expect(await fixture.ask()).toBe(id);
    await fixture.approve(id, 1);
    await fixture.service.take(petition());
  });
});
