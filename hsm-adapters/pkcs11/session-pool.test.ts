import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Borrower,
  type PooledSession,
  type Refusal,
  SessionPool,
  type SessionSource,
} from './session-pool.ts';

/** Hands out numbers, and fails the test when one is used wrongly. */
class FakeSource implements SessionSource<number> {
  readonly open_ = new Set<number>();
  readonly everOpened: number[] = [];
  tokenLimit = Number.POSITIVE_INFINITY;
  fails = false;

  open(): number {
    if (this.fails) throw new Error('token away');
    if (this.open_.size >= this.tokenLimit) throw new Error('limit');
    const handle = this.everOpened.length + 1;
    this.everOpened.push(handle);
    this.open_.add(handle);
    return handle;
  }

  close(handle: number): void {
    if (!this.open_.delete(handle)) throw new Error(`session ${handle} closed twice`);
  }

  isLimit(error: unknown): boolean {
    return (error as Error).message === 'limit';
  }
}

class FakeBorrower implements Borrower<number> {
  readonly deadline: number;
  readonly notSession: number;
  session: PooledSession<number> | undefined;
  refusal: Refusal | undefined;
  onGranted: ((session: PooledSession<number>) => void) | undefined;

  constructor(options: { deadline?: number; notSession?: number } = {}) {
    this.deadline = options.deadline ?? Number.POSITIVE_INFINITY;
    this.notSession = options.notSession ?? -1;
  }

  granted(session: PooledSession<number>): void {
    expect([this.session, this.refusal]).toEqual([undefined, undefined]);
    this.session = session;
    this.onGranted?.(session);
  }

  refused(reason: Refusal): void {
    expect([this.session, this.refusal]).toEqual([undefined, undefined]);
    this.refusal = reason;
  }
}

function makePool(sessions: number, maxQueued = 100) {
  const source = new FakeSource();
  const clock = { now: 0 };
  const closeFailed = (error: unknown) => {
    throw error;
  };
  const pool = new SessionPool<number>(source, { sessions, maxQueued, now: () => clock.now, closeFailed });
  const borrow = (options: { deadline?: number; notSession?: number } = {}) => {
    const borrower = new FakeBorrower(options);
    pool.borrow(borrower);
    return borrower;
  };
  return { pool, source, clock, borrow };
}

describe('session pool', () => {
  it('opens sessions only when needed, and lends the same one again', () => {
    const { pool, source, borrow } = makePool(4);
    expect(source.everOpened).toEqual([]);
    for (let round = 0; round < 5; round += 1) pool.giveBack(borrow().session!);
    expect(source.everOpened).toEqual([1]);
  });

  it('serves those who wait in order', () => {
    const { pool, borrow } = makePool(1);
    const [first, second, third] = [borrow(), borrow(), borrow()];
    expect(second.session).toBeUndefined();
    pool.giveBack(first.session!);
    expect([second.session !== undefined, third.session]).toEqual([true, undefined]);
    pool.giveBack(second.session!);
    expect(third.session).toBeDefined();
  });

  it('never lends a session again that an operation failed on', () => {
    const { pool, source, borrow } = makePool(1);
    const first = borrow();
    pool.discard(first.session!);
    const second = borrow();
    expect(second.session?.handle).not.toBe(first.session?.handle);
    expect(source.open_.size).toBe(1);
  });

  it('replaces a session without giving the place away', () => {
    const { pool, source, borrow } = makePool(1);
    const first = borrow();
    const waiting = borrow();
    const fresh = pool.replace(first.session!);
    expect([source.open_.has(first.session!.handle), waiting.session]).toEqual([false, undefined]);
    pool.giveBack(fresh);
    expect(waiting.session).toBe(fresh);
  });

  it('throws when a session comes back twice', () => {
    const { pool, borrow } = makePool(2);
    const { session } = borrow();
    pool.giveBack(session!);
    expect(() => pool.giveBack(session!)).toThrow('not lent');
  });

  it('refuses beyond its queue', () => {
    const { borrow } = makePool(1, 2);
    expect([borrow(), borrow(), borrow(), borrow()].map(({ refusal }) => refusal)).toEqual([
      undefined,
      undefined,
      undefined,
      'QUEUE_FULL',
    ]);
  });

  it('does not begin what is past its deadline, whether it is noticed by the clock or in turn', () => {
    const { pool, clock, borrow } = makePool(1);
    const first = borrow();
    const inTurn = borrow({ deadline: 10 });
    const patient = borrow();
    clock.now = 10;
    pool.giveBack(first.session!);
    expect([inTurn.refusal, patient.session !== undefined]).toEqual(['DEADLINE_EXCEEDED', true]);
    const swept = borrow({ deadline: 20 });
    const behind = borrow();
    clock.now = 20;
    pool.refuseExpired();
    expect([swept.refusal, behind.refusal]).toEqual(['DEADLINE_EXCEEDED', undefined]);
    pool.giveBack(patient.session!);
    expect(behind.session).toBeDefined();
  });

  it('cancels who waits, and nobody else', () => {
    const { pool, borrow } = makePool(1);
    const [first, second] = [borrow(), borrow()];
    expect([pool.cancel(second), second.refusal, pool.cancel(second)]).toEqual([true, 'CANCELLED', false]);
    expect([pool.cancel(first), first.refusal]).toEqual([false, undefined]);
  });

  it('lends another session than the one named, where there is another', () => {
    const two = makePool(2);
    const first = two.borrow();
    const avoided = first.session!.ordinal;
    two.pool.giveBack(first.session!);
    const other = two.borrow({ notSession: avoided });
    expect(other.session?.ordinal).not.toBe(avoided);
    const waits = two.borrow({ notSession: other.session!.ordinal });
    expect(waits.session?.ordinal).toBe(avoided);
    const one = makePool(1);
    expect(one.borrow({ notSession: 0 }).session?.ordinal).toBe(0);
  });

  it('lets others pass somebody who waits for another session', () => {
    const { pool, borrow } = makePool(2);
    const [first, second] = [borrow(), borrow()];
    const picky = borrow({ notSession: first.session!.ordinal });
    const easy = borrow();
    pool.giveBack(first.session!);
    expect([picky.session, easy.session?.ordinal]).toEqual([undefined, first.session!.ordinal]);
    pool.giveBack(second.session!);
    expect(picky.session?.ordinal).toBe(second.session!.ordinal);
  });

  it('makes do with the sessions that the token grants', () => {
    const { pool, source, borrow } = makePool(8);
    source.tokenLimit = 2;
    const [first, , third] = [borrow(), borrow(), borrow()];
    expect([third.session, third.refusal, pool.limit]).toEqual([undefined, undefined, 2]);
    pool.giveBack(first.session!);
    expect(third.session).toBeDefined();
  });

  it('tells a borrower when no session can be opened at all', () => {
    const { source, borrow } = makePool(2);
    source.fails = true;
    expect(borrow().refusal).toBe('NO_SESSION');
    source.fails = false;
    expect(borrow().session).toBeDefined();
  });

  it('closed, it refuses who waits and closes what comes back', () => {
    const { pool, source, borrow } = makePool(1);
    const [first, second] = [borrow(), borrow()];
    pool.close();
    expect([second.refusal, borrow().refusal]).toEqual(['TOKEN_UNREACHABLE', 'TOKEN_UNREACHABLE']);
    pool.giveBack(first.session!);
    expect(source.open_.size).toBe(0);
  });

  it('goes through a long queue of failures without deep recursion', () => {
    const { pool, borrow } = makePool(1, 100_000);
    const first = borrow();
    const failing = Array.from({ length: 50_000 }, () => {
      const borrower = new FakeBorrower();
      borrower.onGranted = (session) => pool.discard(session);
      pool.borrow(borrower);
      return borrower;
    });
    pool.giveBack(first.session!);
    expect(failing.every(({ session }) => session !== undefined)).toBe(true);
    expect(pool.lent).toBe(0);
  });

  it('keeps its invariants whatever is done to it', () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('borrow' as const),
        notSession: fc.integer({ min: -1, max: 4 }),
        wait: fc.nat(5),
      }),
      fc.record({
        kind: fc.constantFrom('giveBack' as const, 'discard' as const, 'replace' as const, 'cancel' as const),
        pick: fc.nat(),
      }),
      fc.record({ kind: fc.constant('pass' as const), time: fc.nat(3) }),
      fc.record({
        kind: fc.constant('token' as const),
        limit: fc.integer({ min: 1, max: 5 }),
        fails: fc.boolean(),
      }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 80 }), (sessions, steps) => {
        const { pool, source, clock, borrow } = makePool(sessions, 6);
        const borrowers: FakeBorrower[] = [];
        const returned = new Set<FakeBorrower>();
        const dead = new Set<number>();
        const holders = () => borrowers.filter((each) => each.session !== undefined && !returned.has(each));
        for (const each of steps) {
          if (each.kind === 'borrow') {
            borrowers.push(borrow({ notSession: each.notSession, deadline: clock.now + each.wait }));
          } else if (each.kind === 'pass') {
            clock.now += each.time;
            pool.refuseExpired();
          } else if (each.kind === 'token') {
            source.tokenLimit = each.limit;
            source.fails = each.fails;
          } else if (each.kind === 'cancel') {
            const waiting = borrowers.filter(
              ({ session, refusal }) => session === undefined && refusal === undefined,
            );
            if (waiting.length > 0) expect(pool.cancel(waiting[each.pick % waiting.length]!)).toBe(true);
          } else {
            const held = holders();
            const holder = held[each.pick % held.length];
            if (holder === undefined) continue;
            const session = holder.session!;
            if (each.kind !== 'replace') returned.add(holder);
            if (each.kind !== 'giveBack') dead.add(session.handle);
            if (each.kind !== 'replace') pool[each.kind](session);
            else {
              try {
                holder.session = pool.replace(session);
              } catch {
                returned.add(holder);
              }
            }
          }
          const lent = holders().map(({ session }) => session!);
          expect(new Set(lent.map(({ handle }) => handle)).size).toBe(lent.length);
          expect(new Set(lent.map(({ ordinal }) => ordinal)).size).toBe(lent.length);
          expect(lent.every(({ handle }) => !dead.has(handle) && source.open_.has(handle))).toBe(true);
          expect(lent.every(({ ordinal }) => ordinal >= 0 && ordinal < sessions)).toBe(true);
          expect(pool.lent).toBe(lent.length);
          expect(source.open_.size).toBe(pool.open);
          expect(pool.open).toBeLessThanOrEqual(sessions);
          expect(pool.queued).toBe(
            borrowers.filter(({ session, refusal }) => session === undefined && refusal === undefined).length,
          );
        }
      }),
      { numRuns: 300 },
    );
  });
});
