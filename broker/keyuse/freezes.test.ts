import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StateStore } from '../state/state-store.ts';
import { FREEZE_KINDS, Freezes } from './freezes.ts';

const row = (kind: string, subject: string) => ({
  kind,
  subject,
  reason: 'drill',
  by: 'alice',
  since: 'now',
});

describe('Freezes', () => {
  let store: StateStore;
  beforeEach(() => {
    store = new StateStore(':memory:');
  });
  afterEach(() => store.close());

  it.each(FREEZE_KINDS)('holds a frozen %s from the next question on, alone of its kind', (kind) => {
    const freezes = new Freezes(store);
    expect(freezes.isFrozen(kind, 'x')).toBe(false);
    freezes.put(row(kind, 'x'));
    for (const asked of FREEZE_KINDS) expect(freezes.isFrozen(asked, 'x')).toBe(asked === kind);
    expect(freezes.isFrozen(kind, 'y')).toBe(false);
  });

  it.each([
    ['approver', 'anna'],
    ['workload', 'spiffe://example.org/human/anna'],
    ['trust-domain', 'example.org'],
  ] as const)('stops an approver whose %s is frozen', (kind, subject) => {
    const freezes = new Freezes(store);
    const anna = { id: 'anna', spiffeId: 'spiffe://example.org/human/anna' };
    const others = [{ id: 'ben', spiffeId: 'spiffe://example.com/human/ben' }, { id: 'carl' }];
    freezes.put(row('key', 'anna'));
    expect(freezes.isApproverFrozen(anna)).toBe(false);
    freezes.put(row(kind, subject));
    expect(freezes.isApproverFrozen(anna)).toBe(true);
    expect(freezes.isApproverFrozen({ id: 'anna' })).toBe(kind === 'approver');
    expect(others.some((other) => freezes.isApproverFrozen(other))).toBe(false);
  });

  it('holds after a restart, and so does what was lifted', () => {
    const before = new Freezes(store);
    before.put(row('key', 'a'));
    before.put(row('key', 'b'));
    expect(before.lift(before.get('key', 'b')!)).toBe(true);
    const after = new Freezes(store);
    expect([after.isFrozen('key', 'a'), after.isFrozen('key', 'b')]).toEqual([true, false]);
    expect(after.list()).toEqual([row('key', 'a')]);
  });

  it('does not lift what was frozen again meanwhile, or was lifted already', () => {
    const freezes = new Freezes(store);
    const [older, newer] = [row('key', 'a'), { ...row('key', 'a'), since: 'later', by: 'bob' }];
    freezes.put(older);
    freezes.put(newer);
    expect(freezes.lift(older)).toBe(false);
    expect(freezes.isFrozen('key', 'a')).toBe(true);
    expect(new Freezes(store).list()).toEqual([newer]);
    expect(freezes.lift(newer)).toBe(true);
    expect(freezes.lift(newer)).toBe(false);
  });

  it('is in force though it could not be made durable, and says so', () => {
    const freezes = new Freezes(store);
    store.close();
    expect(() => freezes.put(row('key', 'a'))).toThrow('in force until the broker restarts');
    expect(freezes.isFrozen('key', 'a')).toBe(true);
    store = new StateStore(':memory:');
  });

  it('stays frozen when the lifting could not be made durable', () => {
    const freezes = new Freezes(store);
    freezes.put(row('key', 'a'));
    store.close();
    expect(() => freezes.lift(freezes.get('key', 'a')!)).toThrow();
    expect(freezes.isFrozen('key', 'a')).toBe(true);
    store = new StateStore(':memory:');
  });
});
