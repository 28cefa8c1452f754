import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ApprovalFixture, petition, SETTLE } from '../../test/fakes/approval-fixture.ts';
import { Failure } from '../keyuse/failure.ts';

let fixture: ApprovalFixture;
beforeEach(async () => {
  fixture = await ApprovalFixture.start();
});
afterEach(() => fixture.close());

async function ask(asked = petition()): Promise<string> {
  const error = await fixture.service.take(asked).catch((reason: unknown) => reason);
  if (!(error instanceof Failure)) throw new Error('it was given');
  return error.metadata['approval'] ?? error.reason;
}

async function approve(id: string, ...who: readonly number[]): Promise<void> {
  for (const at of who) {
    const person = fixture.people[at]!;
    const { document } = fixture.service.get(id, { spiffeId: SETTLE })!;
    await fixture.service.approve(id, person.id, await person.sign(document), person.voter);
  }
}

it('serves on after a restart, with everything that was approved', async () => {
  const id = await ask();
  await approve(id, 0);
  await fixture.restart();
  await approve(id, 1);
  await fixture.restart();
  const { record } = await fixture.service.take(petition());
  await fixture.record(record);
  await fixture.restart();
  expect(fixture.service.stopped).toBeUndefined();
});

it.each([
  [
    'a use',
    async () => {
      const id = await ask();
      await approve(id, 0, 1);
      fixture.copyState('old');
      await fixture.open();
      await fixture.record((await fixture.service.take(petition())).record);
    },
  ],
  [
    'an approval',
    async () => {
      const id = await ask();
      fixture.copyState('old');
      await fixture.open();
      await approve(id, 0);
    },
  ],
  [
    'a rejection',
    async () => {
      const id = await ask();
      await approve(id, 0, 1);
      fixture.copyState('old');
      await fixture.open();
      await fixture.service.reject(id, 'no', fixture.people[2].voter);
    },
  ],
  [
    'a request',
    async () => {
      fixture.copyState('old');
      await fixture.open();
      await ask();
    },
  ],
] as const)(
  'notices a state put back from before %s, and gives nothing until an operator decides',
  async (_what, happens) => {
    await happens();
    await fixture.putBack('old');
    expect(fixture.service.stopped).toContain('older copy');
    expect(await ask()).toBe('BUSY');
    const [alice] = fixture.people;
    await expect(fixture.service.reject('00', 'no', alice.voter)).rejects.toThrow('operator');
    // Looking at it again and again does not make it right.
    await fixture.restart();
    expect(await ask()).toBe('BUSY');
    const admin = { spiffeId: 'spiffe://example.org/human/admin' };
    await fixture.service.acceptState(admin, 'restored after a disk failure, INC-12');
    expect(fixture.log.entries.at(-1)).toMatchObject({
      kind: 'approval',
      subject: admin.spiffeId,
      operation: 'Approvals.AcceptState',
      detail: { why: 'restored after a disk failure, INC-12' },
    });
    // Whatever was open is asked for again, and nothing that was approved passes.
    expect(fixture.service.list('alice')).toEqual([]);
    fixture.now += 3_600_000;
    expect(await ask()).toMatch(/^[0-9a-f]{32}$/);
    await fixture.restart();
    expect(fixture.service.stopped).toBeUndefined();
  },
);

it('notices a state that was deleted, and a log that is shorter than the state knows', async () => {
  await ask();
  fixture.copyState('whole');
  await fixture.open();
  fixture.db.sql('DELETE FROM approval').run();
  fixture.db.sql("DELETE FROM log_progress WHERE what = 'approvals'").run();
  fixture.crash();
  await fixture.open();
  expect(fixture.service.stopped).toContain('lost');
  await fixture.putBack('whole');
  expect(fixture.service.stopped).toBeUndefined();
  fixture.log.entries.length = 0;
  await fixture.restart();
  expect(fixture.service.stopped).toContain('more entries');
});

it('gives nothing for rows that somebody else wrote', async () => {
  const id = await ask();
  await approve(id, 0, 1);
  await fixture.record((await fixture.service.take(petition())).record);
  // Uses and progress set back: as who can write the state would do it.
  fixture.db.sql("UPDATE approval SET used = 0, taken = 0, state = 'approved', closed_at = 0").run();
  await fixture.restart();
  expect(await ask()).toBe('BUSY');
});

it('drops a used approval that somebody else has opened again', async () => {
  const id = await ask();
  await approve(id, 0, 1);
  await fixture.record((await fixture.service.take(petition())).record);
  fixture.db.sql("UPDATE approval SET used = 0, state = 'approved', closed_at = 0").run();
  await fixture.restart();
  expect(fixture.service.get(id, { spiffeId: SETTLE })).toMatchObject({
    state: 'expired',
    reason: 'the log has more uses than the state',
  });
  expect(await ask()).not.toBe(id);
});

it.each([
  [1, 2],
  [400, 401],
])('does not count a use of %i that did not run, also when its number is used again', async (uses, next) => {
  const grant = petition(undefined, {}, { covers: 'rule', uses });
  const id = await ask(grant);
  await approve(id, 0, 1);
  const first = await fixture.service.take(grant);
  first.giveBack();
  await fixture.record(first.record, 'no');
  for (let i = 1; i < uses; i++) await fixture.record((await fixture.service.take(grant)).record);
  // One is left, whichever number it has: neither more nor fewer.
  await fixture.restart();
  expect(fixture.service.stopped).toBeUndefined();
  const last = await fixture.service.take(grant);
  expect(last).toMatchObject({ id, record: { use: next } });
  await fixture.record(last.record);
  await fixture.restart();
  expect(fixture.service.get(id, { spiffeId: SETTLE })).toMatchObject({ state: 'used', used: uses });
});

it('drops an approval that the log does not know', async () => {
  const id = await ask();
  await approve(id, 0, 1);
  const entries = fixture.log.entries;
  const at = entries.findIndex(({ operation }) => operation === 'Approvals.Open');
  entries[at] = { kind: 'log', subject: 'lastmile', operation: 'other', decision: 'allow' };
  await fixture.restart();
  expect(fixture.service.get(id, { spiffeId: SETTLE })).toMatchObject({
    state: 'expired',
    reason: 'the log does not know it',
  });
  expect(await ask()).not.toBe(id);
});

it('drops a vote whose row was changed: it verifies over this act or not at all', async () => {
  const id = await ask();
  await approve(id, 0);
  fixture.db
    .sql(
      `INSERT INTO approval_vote (approval, number, approver, key, signature, leaf)
       SELECT approval, 9, 'bob', key, signature, leaf FROM approval_vote`,
    )
    .run();
  await fixture.restart();
  expect(await ask()).toBe(id);
  expect(fixture.service.get(id, { spiffeId: SETTLE })!.approvals).toBe(1);
});

it('finishes what was on record when the broker was killed, and forgets what was not', async () => {
  const id = await ask();
  await approve(id, 0);
  const [, bob] = fixture.people;
  const { document } = fixture.service.get(id, { spiffeId: SETTLE })!;
  const signature = await bob.sign(document);
  const gate = fixture.log.hold();
  const pending = Promise.allSettled([
    fixture.service.approve(id, 'bob', signature, bob.voter),
    fixture.service.take(petition('other')),
  ]);
  // The vote's row is durable and its entry is not: killed here, it does not count.
  const unlogged = () =>
    fixture.db.sql('SELECT count(*) AS n FROM approval_vote WHERE leaf IS NULL').get()!['n'];
  await vi.waitUntil(() => unlogged() === 1, { interval: 1 });
  fixture.crash();
  gate.release();
  // Its entry is durable now, and its row was never told: after the restart it counts.
  expect((await pending).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  await fixture.open();
  expect(fixture.service.stopped).toBeUndefined();
  expect(fixture.service.get(id, { spiffeId: SETTLE })).toMatchObject({ approvals: 2, state: 'approved' });
  await fixture.service.take(petition());
});
