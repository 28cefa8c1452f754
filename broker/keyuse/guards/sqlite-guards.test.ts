import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Guard } from '../../../policy/decision.ts';
import { GuardRows } from '../../state/guard-rows.ts';
import { StateStore } from '../../state/state-store.ts';
import { decodeGuards, decodeSnapshot, encodeGuards, hashOf } from './guard-entries.ts';
import type { Reservation } from './guards.ts';
import { type GuardLog, type LoggedGuards, SqliteGuards, type SqliteGuardsOptions } from './sqlite-guards.ts';

const KEY = 'validator/consensus';
const A = hashOf('content a');
const B = hashOf('content b');
const rising = (value: bigint): Guard => ({ id: 'r seq', kind: 'monotonic', value });
const once = (value: string): Guard => ({ id: 'r subject', kind: 'unique', value });

let directory: string;
let stores: StateStore[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'lastmile-guards-'));
  stores = [];
});
afterEach(() => {
  for (const store of stores) store.close();
  rmSync(directory, { recursive: true });
});

function open(name = 'state', options?: SqliteGuardsOptions): SqliteGuards {
  const store = new StateStore(join(directory, `${name}.db`));
  stores.push(store);
  return new SqliteGuards(new GuardRows(store), options);
}

/** What a crash leaves: what is on disk at this moment. */
function afterCrash(name = 'state'): SqliteGuards {
  for (const suffix of ['', '-wal'])
    cpSync(join(directory, `${name}.db${suffix}`), join(directory, `${name}-after.db${suffix}`));
  return open(`${name}-after`);
}

function reserved(reservation: Reservation): Reservation & { readonly ok: true } {
  if (!reservation.ok) throw new Error(reservation.message);
  return reservation;
}

describe('a number that must rise', () => {
  it('rises, for each key and guard by itself', () => {
    const guards = open();
    reserved(guards.reserve([rising(5n)], KEY, A)).keep();
    expect(guards.reserve([rising(5n)], KEY, B)).toMatchObject({ ok: false, guard: rising(5n) });
    expect(guards.reserve([rising(4n)], KEY, A).ok).toBe(false);
    expect(guards.reserve([rising(-1n)], KEY, A).ok).toBe(false);
    expect(guards.reserve([rising(4n)], 'another/key', B).ok).toBe(true);
    expect(guards.reserve([{ ...rising(4n), id: 'another guard' }], KEY, B).ok).toBe(true);
    expect(guards.reserve([rising(6n)], KEY, B).ok).toBe(true);
  });

  it('has 64 bits, exactly', () => {
    const guards = open();
    reserved(guards.reserve([rising(2n ** 63n - 2n)], KEY, A)).keep();
    expect(guards.reserve([rising(2n ** 63n - 2n)], KEY, B).ok).toBe(false);
    expect(guards.reserve([rising(2n ** 63n - 1n)], KEY, B).ok).toBe(true);
    expect(guards.reserve([rising(2n ** 63n)], KEY, A).ok).toBe(false);
    expect(guards.reserve([{ id: 'r', kind: 'monotonic', value: '7' }], KEY, A).ok).toBe(false);
  });

  it('does not fall when a higher one is released', () => {
    const guards = open();
    reserved(guards.reserve([rising(5n)], KEY, A)).keep();
    reserved(guards.reserve([rising(9n)], KEY, B)).release();
    expect(guards.reserve([rising(5n)], KEY, B).ok).toBe(false);
    expect(guards.reserve([rising(6n)], KEY, B).ok).toBe(true);
  });

  it('does not fall when several are under way and end in any order', () => {
    const guards = open();
    const six = reserved(guards.reserve([rising(6n)], KEY, A));
    const eight = reserved(guards.reserve([rising(8n)], KEY, A));
    const seven = guards.reserve([rising(7n)], KEY, A);
    expect(seven.ok).toBe(false);
    eight.release();
    six.keep();
    expect(guards.reserve([rising(6n)], KEY, B).ok).toBe(false);
    expect(guards.reserve([rising(7n)], KEY, B).ok).toBe(true);
  });

  it('does not fall when all that are under way are released', () => {
    const guards = open();
    reserved(guards.reserve([rising(5n)], KEY, A)).keep();
    const six = reserved(guards.reserve([rising(6n)], KEY, A));
    const seven = reserved(guards.reserve([rising(7n)], KEY, A));
    seven.release();
    six.release();
    expect(guards.reserve([rising(5n)], KEY, B).ok).toBe(false);
    expect(guards.reserve([rising(6n)], KEY, B).ok).toBe(true);
  });

  it('keeps few rows', () => {
    const guards = open();
    for (let i = 1n; i <= 200n; i++) reserved(guards.reserve([rising(i)], KEY, A)).keep();
    const rows = new GuardRows(stores[0]!);
    expect(rows.numbers(rows.history('r seq', KEY, 'monotonic').id).length).toBeLessThanOrEqual(2);
  });
});

describe('a thing that may be signed once', () => {
  it('is signed once, whoever asks', () => {
    const guards = open();
    reserved(guards.reserve([once('x')], KEY, A)).keep();
    expect(guards.reserve([once('x')], KEY, B)).toMatchObject({ ok: false, guard: once('x') });
    expect(guards.reserve([once('y')], KEY, B).ok).toBe(true);
    expect(guards.reserve([once('x')], 'another/key', B).ok).toBe(true);
  });

  it('may be signed after all when the first try provably did not run', () => {
    const guards = open();
    reserved(guards.reserve([once('x')], KEY, A)).release();
    expect(guards.reserve([once('x')], KEY, B).ok).toBe(true);
  });

  it('refuses when no more can be remembered, and still knows what it has', () => {
    const guards = open('state', { maxUniqueValues: 2 });
    reserved(guards.reserve([once('x')], KEY, A)).keep();
    reserved(guards.reserve([once('y')], KEY, A)).release();
    reserved(guards.reserve([once('y')], KEY, A)).keep();
    expect(guards.reserve([once('z')], KEY, A).ok).toBe(false);
    expect(guards.reserve([once('y')], KEY, A).ok).toBe(true);
    expect(guards.reserve([once('y')], KEY, B).ok).toBe(false);
  });
});

describe('guards', () => {
  it('reserve all or nothing', () => {
    const guards = open();
    reserved(guards.reserve([once('x')], KEY, A)).keep();
    expect(guards.reserve([rising(5n), once('x')], KEY, B)).toMatchObject({ ok: false, guard: once('x') });
    expect(guards.reserve([rising(5n), once('y')], KEY, B).ok).toBe(true);
  });

  it('hold after a crash between reserving and the token’s answer, and let only the identical content through', () => {
    const guards = open();
    guards.reserve([rising(5n), once('x')], KEY, A);
    const after = afterCrash();
    expect(after.reserve([rising(5n)], KEY, B).ok).toBe(false);
    expect(after.reserve([once('x')], KEY, B).ok).toBe(false);
    const again = reserved(after.reserve([rising(5n), once('x')], KEY, A));
    // The second try did not run; the first may have.
    again.release();
    expect(after.reserve([rising(5n)], KEY, B).ok).toBe(false);
    expect(after.reserve([once('x')], KEY, B).ok).toBe(false);
    expect(after.reserve([rising(5n), once('x')], KEY, A).ok).toBe(true);
  });

  it('stay used when the identical content is tried twice at once and one of them may have run', () => {
    const both = [rising(5n), once('x')];
    for (const order of ['kept first', 'released first'] as const) {
      const guards = open(order);
      const first = reserved(guards.reserve(both, KEY, A));
      const second = reserved(guards.reserve(both, KEY, A));
      if (order === 'kept first') first.keep();
      second.release();
      if (order === 'released first') first.keep();
      expect(guards.reserve([rising(5n)], KEY, B).ok).toBe(false);
      expect(guards.reserve([once('x')], KEY, B).ok).toBe(false);
    }
  });

  it('are free again when all tries at once did not run, and not before', () => {
    const guards = open();
    const first = reserved(guards.reserve([once('x')], KEY, A));
    const second = reserved(guards.reserve([once('x')], KEY, A));
    first.release();
    first.release();
    expect(guards.reserve([once('x')], KEY, B).ok).toBe(false);
    second.release();
    second.keep();
    expect(guards.reserve([once('x')], KEY, B).ok).toBe(true);
  });

  it('count what cannot be written as not reserved, and what cannot be released as used', () => {
    const errors: string[] = [];
    const guards = open('state', { onError: (message) => errors.push(message) });
    const reservation = reserved(guards.reserve([once('x')], KEY, A));
    stores[0]!.close();
    stores = [];
    reservation.release();
    expect(errors).toHaveLength(1);
    expect(() => guards.reserve([once('y')], KEY, A)).toThrow(expect.objectContaining({ reason: 'BUSY' }));
    const next = open();
    expect(next.reserve([once('x')], KEY, B).ok).toBe(false);
    expect(() => next.reserve([once('z')], KEY, new Uint8Array(3))).toThrow(TypeError);
  });

  it('never let two contents be signed with one value, whatever happens when', () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('reserve' as const),
        value: fc.integer({ min: 1, max: 4 }),
        content: fc.constantFrom(A, B),
      }),
      fc.record({
        kind: fc.constantFrom('runs' as const, 'unknown' as const, 'fails' as const),
        which: fc.nat(5),
      }),
      fc.constant({ kind: 'crash' as const }),
    );
    let run = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
        let name = `run${run++}`;
        let guards = open(name);
        let underWay: { value: number; content: Uint8Array; reservation: Reservation & { ok: true } }[] = [];
        const signed = new Map<number, Uint8Array>();
        let highest = 0;
        for (const now of steps) {
          if (now.kind === 'reserve') {
            const reservation = guards.reserve(
              [rising(BigInt(now.value)), once(String(now.value))],
              KEY,
              now.content,
            );
            if (!reservation.ok) continue;
            // What it was let through with may now be signed at any moment.
            const other = signed.get(now.value);
            if (other !== undefined) expect(other).toBe(now.content);
            expect(now.value).toBeGreaterThanOrEqual(highest);
            underWay.push({ ...now, reservation });
          } else if (now.kind === 'crash') {
            // Whatever was under way may have been signed.
            for (const { value, content } of underWay) {
              signed.set(value, content);
              highest = Math.max(highest, value);
            }
            underWay = [];
            guards = afterCrash(name);
            name = `${name}-after`;
          } else {
            const [use] = underWay.splice(now.which % Math.max(1, underWay.length), 1);
            if (use === undefined) continue;
            if (now.kind === 'fails') use.reservation.release();
            else {
              use.reservation.keep();
              if (signed.has(use.value)) expect(signed.get(use.value)).toBe(use.content);
              signed.set(use.value, use.content);
              highest = Math.max(highest, use.value);
            }
          }
        }
      }),
      { numRuns: 40 },
    );
  });
});

describe('guards and the log', () => {
  class FakeLog implements GuardLog {
    readonly entries: LoggedGuards[] = [];
    get size(): number {
      return this.entries.length;
    }
    append(guards: LoggedGuards['guards'], content?: Uint8Array): void {
      this.entries.push({ leafIndex: this.size, key: KEY, guards, content });
    }
    async *read(fromLeaf: number): AsyncGenerator<LoggedGuards> {
      yield* this.entries.slice(fromLeaf);
    }
  }

  it('notice a state that is behind, and add what it had lost', async () => {
    const log = new FakeLog();
    const first = open('first');
    for (let i = 1n; i <= 5n; i++) {
      reserved(first.reserve([rising(i), once(`v${i}`)], KEY, A)).keep();
      log.append(
        [
          { guard: 'r seq', kind: 'monotonic', value: i },
          { guard: 'r subject', kind: 'unique', hash: hashOf(`v${i}`) },
        ],
        A,
      );
      if (i === 3n) first.markChecked(log.size);
    }
    expect(await first.checkAgainst(log)).toEqual({
      fromLeaf: 3,
      missing: 0,
      firstMissingLeaf: undefined,
      isAheadOfLog: false,
    });
    const long: Guard = { id: `r/unique/${'x'.repeat(500)}`, kind: 'unique', value: 'z' };
    reserved(first.reserve([long], KEY, A)).keep();
    log.append(decodeGuards(encodeGuards([long])), A);
    expect(await first.checkAgainst(log)).toMatchObject({ missing: 0 });
    log.entries.pop();
    const lost = open('lost');
    expect(await lost.checkAgainst(log)).toMatchObject({ fromLeaf: 0, missing: 10, firstMissingLeaf: 0 });
    expect(lost.reserve([rising(5n)], KEY, B).ok).toBe(false);
    expect(lost.reserve([once('v2')], KEY, B).ok).toBe(false);
    expect(lost.reserve([rising(5n), once('v5')], KEY, A).ok).toBe(true);
    expect(await lost.checkAgainst(log)).toMatchObject({ fromLeaf: 5, missing: 0 });
  });

  it('let nothing be tried again whose content the log does not know', async () => {
    const log = new FakeLog();
    log.append([{ guard: 'r subject', kind: 'unique', hash: hashOf('x') }]);
    const guards = open();
    await guards.checkAgainst(log);
    expect(guards.reserve([once('x')], KEY, A).ok).toBe(false);
    expect(guards.reserve([once('y')], KEY, A).ok).toBe(true);
  });

  it('look at the whole log when it is shorter than the state says', async () => {
    const log = new FakeLog();
    log.append([{ guard: 'r seq', kind: 'monotonic', value: 9n }]);
    const guards = open();
    guards.markChecked(100);
    expect(await guards.checkAgainst(log)).toMatchObject({ isAheadOfLog: true, fromLeaf: 0, missing: 1 });
  });

  it('have numbers put back by a snapshot', async () => {
    const guards = open();
    reserved(guards.reserve([rising(77n), once('x')], KEY, A)).keep();
    const [list] = [...guards.snapshots()];
    const log = new FakeLog();
    for (const { key, ...logged } of decodeSnapshot(list)) {
      expect(key).toBe(KEY);
      log.append([logged]);
    }
    const lost = open('lost');
    expect(await lost.checkAgainst(log)).toMatchObject({ missing: 1 });
    expect(lost.reserve([rising(77n)], KEY, A).ok).toBe(false);
    expect(lost.reserve([rising(78n)], KEY, A).ok).toBe(true);
  });
});
