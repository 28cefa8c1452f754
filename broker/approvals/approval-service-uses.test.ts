import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ApprovalFixture, failureOf, petition, QUORUM, SETTLE } from '../../test/fakes/approval-fixture.ts';
import type { ApprovalUse, Petition } from './approvals.ts';

let fixture: ApprovalFixture;
beforeEach(async () => {
  fixture = await ApprovalFixture.start();
});
afterEach(() => fixture.close());

describe('what people have agreed to', () => {
  const agreed = (asked = petition()): boolean => fixture.service.isApproved(asked);

  it('is that while it stands: in time, and while those who agreed count', async () => {
    expect(agreed()).toBe(false);
    const id = await fixture.ask();
    await fixture.approve(id, 0);
    expect(agreed()).toBe(false);
    await fixture.approve(id, 1);
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
    id = await fixture.ask();
    await fixture.approve(id, 0, 1);
    const { use } = await almost();
    void happens();
    expect(await failureOf(use)).toMatchObject({ reason: 'APPROVAL_REQUIRED' });
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.used).toBe(0);
  });
  let id = '';

  it('it passes when nothing happens', async () => {
    await fixture.approve(await fixture.ask(), 0, 1);
    await (await almost()).use;
  });
});

describe('time', () => {
  it('ends an approval, also one that has its approvals', async () => {
    const id = await fixture.ask();
    await fixture.approve(id, 0, 1);
    fixture.now += QUORUM.withinMs;
    expect(await fixture.ask()).not.toBe(id);
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.state).toBe('expired');
  });

  it('in doubt shortens, and in more doubt than the policy bears stops', async () => {
    const id = await fixture.ask();
    await fixture.approve(id, 0, 1);
    fixture.doubtMs = 5001;
    expect(await failureOf(fixture.service.take(petition()))).toMatchObject({ reason: 'BUSY' });
    fixture.doubtMs = Number.POSITIVE_INFINITY;
    fixture.service.tick();
    expect(await failureOf(fixture.service.take(petition()))).toMatchObject({ reason: 'BUSY' });
    fixture.doubtMs = 4000;
    fixture.now += QUORUM.withinMs - 4000;
    expect(await fixture.ask()).not.toBe(id);
  });

  it('that goes back behind the beginning uses nothing', async () => {
    const id = await fixture.ask();
    await fixture.approve(id, 0, 1);
    fixture.now -= 60_000;
    expect(await fixture.ask()).not.toBe(id);
  });

  it('reminds once before the end, and tells of it', async () => {
    const id = await fixture.ask();
    fixture.service.tick();
    fixture.now += QUORUM.withinMs * 0.9;
    fixture.service.tick();
    // A notice that waits is one notice, however often it is written: the second reminder would come after it.
    await vi.waitUntil(() => fixture.notices.length >= 2, { interval: 1 });
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
    const id = await fixture.ask(grant);
    expect(fixture.document(id)).toContain('"content":{"kind":"any"}');
    await fixture.approve(id, 0, 1);
    const uses = await race(50);
    expect(uses).toHaveLength(10);
    expect(new Set(uses.map(({ record }) => (record as { use: number }).use)).size).toBe(10);
  });

  it('of one use is one use in a race of fifty', async () => {
    const id = await fixture.ask();
    await fixture.approve(id, 0, 1);
    const all = await Promise.allSettled(Array.from({ length: 50 }, () => fixture.service.take(petition())));
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('that is large is drawn in parts, to the very end, and what was not used comes back at an orderly end', async () => {
    const large = petition(undefined, {}, { covers: 'rule', uses: 1000 });
    const id = await fixture.ask(large);
    await fixture.approve(id, 0, 1);
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
    expect(await fixture.ask(large)).not.toBe(id);
  });

  it('that was drawn to the last is over after a kill: a new one can be asked for', async () => {
    const large = petition(undefined, {}, { covers: 'rule', uses: 400 });
    const id = await fixture.ask(large);
    await fixture.approve(id, 0, 1);
    for (let i = 0; i < 399; i++) await fixture.service.take(large);
    fixture.crash();
    await fixture.open();
    expect(fixture.service.get(id, { spiffeId: SETTLE })).toMatchObject({ state: 'used', used: 400 });
    const waiting = fixture.service.approved(id, new AbortController().signal);
    expect((await failureOf(waiting)).message).toContain('used');
    expect(await fixture.ask(large)).not.toBe(id);
  });

  it('whose end could not be written is closed by who finds it empty', async () => {
    const id = await fixture.ask(grant);
    await fixture.approve(id, 0, 1);
    fixture.db.sql('UPDATE approval SET used = 10, taken = 10').run();
    // Whoever comes first is told; nobody goes on waiting for it.
    expect((await failureOf(fixture.service.take(grant))).message).toContain('used up');
    const waiting = fixture.service.approved(id, new AbortController().signal);
    expect((await failureOf(waiting)).message).toContain('used');
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.state).toBe('used');
    expect(await fixture.ask(grant)).not.toBe(id);
  });

  it.each([
    ['uses', 'used = 0'],
    ['numbers', 'taken = 0'],
  ])('whose %s somebody sets back while the broker runs gives nothing more', async (_what, change) => {
    const id = await fixture.ask(grant);
    await fixture.approve(id, 0, 1);
    const uses = await race(3);
    uses[0]!.giveBack();
    expect(await race(1)).toHaveLength(1);
    fixture.db.sql(`UPDATE approval SET ${change}`).run();
    expect((await failureOf(fixture.service.take(grant))).message).toContain('set its uses back');
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.state).toBe('expired');
    expect(await fixture.ask(grant)).not.toBe(id);
  });

  it('that cannot be given back at an orderly end keeps nothing else from ending', async () => {
    const large = (requester: string): Petition =>
      petition(undefined, { requester }, { covers: 'rule', uses: 400 });
    const ids: string[] = [];
    for (const requester of [SETTLE, `${SETTLE}2`]) {
      const id = await fixture.ask(large(requester));
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
    const id = await fixture.ask(grant);
    await fixture.approve(id, 0, 1);
    const uses = await race(10);
    expect(fixture.service.get(id, { spiffeId: SETTLE })!.state).toBe('used');
    uses[0]!.giveBack();
    expect(fixture.service.get(id, { spiffeId: SETTLE })).toMatchObject({ state: 'approved', used: 9 });
    await fixture.restart();
    const more = await race(5);
    expect(more.map(({ record }) => (record as { use: number }).use)).toEqual([11]);
  });

  it('is gone when the broker is killed after it was taken', async () => {
    const id = await fixture.ask();
    await fixture.approve(id, 0, 1);
    await fixture.service.take(petition());
    fixture.crash();
    await fixture.open();
    expect(fixture.service.stopped).toBeUndefined();
    expect(await fixture.ask()).not.toBe(id);
  });

  it('does not change when the state cannot be written', async () => {
    const id = await fixture.ask();
    await fixture.approve(id, 0, 1);
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
    const id = await fixture.ask(urgent);
    await fixture.approve(id, 0);
    expect(await fixture.service.take(urgent)).toMatchObject({
      isEmergency: true,
      record: { emergency: true },
    });
    await vi.waitUntil(() => fixture.notices.some(({ kind }) => kind === 'emergency-used'), { interval: 1 });
  });

  it('is counted, and told before everything that waits to be told', async () => {
    fixture.notify = () => Promise.reject(new Error('courier is away'));
    for (let i = 0; i < 20; i++) await fixture.ask(petition(`pay ${i}`));
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
