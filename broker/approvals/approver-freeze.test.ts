import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ApprovalFixture, petition } from '../../test/fakes/approval-fixture.ts';
import { Failure } from '../keyuse/failure.ts';

let fixture: ApprovalFixture;

beforeEach(async () => {
  fixture = await ApprovalFixture.start();
});
afterEach(() => fixture.close());

async function refusalOf(promise: Promise<unknown>): Promise<Failure> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof Failure)) throw new Error('it was not refused');
  return error;
}

async function ask(): Promise<string> {
  return (await refusalOf(fixture.service.take(petition()))).metadata['approval']!;
}

async function approve(id: string, ...who: readonly number[]): Promise<void> {
  const { requester } = petition();
  for (const at of who) {
    const person = fixture.people[at]!;
    const { document } = fixture.service.get(id, { spiffeId: requester })!;
    await fixture.service.approve(id, person.id, await person.sign(document), person.voter);
  }
}

describe('an approver who is frozen by id', () => {
  // Whoever has a passkey alone has no SPIFFE ID that could be frozen.
  beforeEach(() => {
    const [alice] = fixture.people;
    fixture.approvers.set('alice', { ...alice.approver, spiffeId: undefined });
    fixture.reload();
  });

  it('counts no more, at the moment of use', async () => {
    const id = await ask();
    await approve(id, 0, 1);
    fixture.frozen.add('alice');
    expect((await refusalOf(fixture.service.take(petition()))).message).toContain('1 of 2');
    fixture.frozen.clear();
    expect((await fixture.service.take(petition())).id).toBe(id);
  });

  it('is refused', async () => {
    const id = await ask();
    fixture.frozen.add('alice');
    expect((await refusalOf(approve(id, 0))).reason).toBe('POLICY_DENIED');
  });

  it('is nobody for the API either', () => {
    const { spiffeId } = fixture.people[1].approver;
    expect(fixture.service.approverOf(spiffeId!)).toBe('bob');
    fixture.frozen.add('bob');
    expect(fixture.service.approverOf(spiffeId!)).toBeUndefined();
  });
});

it('asking opens a request once, says whether people have agreed, and uses nothing', async () => {
  const asked = await fixture.service.ask(petition());
  expect(asked.isApproved).toBe(false);
  await approve(asked.id, 0, 1);
  for (let i = 0; i < 2; i++)
    expect(await fixture.service.ask(petition())).toEqual({ id: asked.id, isApproved: true });
  fixture.frozen.add('alice');
  expect((await fixture.service.ask(petition())).isApproved).toBe(false);
  fixture.frozen.clear();
  expect((await fixture.service.take(petition())).id).toBe(asked.id);
});

it('a use cites as many approvals as it takes, the first ones', async () => {
  const id = await ask();
  await approve(id, 0, 1, 2);
  const use = await fixture.service.take(petition());
  expect(use.votes).toEqual([1, 2]);
  expect(use.record).toMatchObject({ votes: [1, 2] });
});
