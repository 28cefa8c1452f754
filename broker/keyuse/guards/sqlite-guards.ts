import type { Guard } from '../../../policy/decision.ts';
import type { EntryValue } from '../../audit/entry.ts';
import type { GuardRows } from '../../state/guard-rows.ts';
import { Failure } from '../failure.ts';
import { guardName, hashOf, isKeepable, type LoggedGuard, snapshotsOf } from './guard-entries.ts';
import type { GuardStore, Reservation } from './guards.ts';

export interface SqliteGuardsOptions {
  /** Values that one `unique` guard remembers for one key; 10,000,000, which take about 1 GB. Then it refuses. */
  readonly maxUniqueValues?: number | undefined;
  /** A value could not be released: it stays used. */
  readonly onError?: ((message: string, cause: unknown) => void) | undefined;
}

/** Of an entry whose operation ran or may have run (`performed: yes` or `unknown`), or of a snapshot. */
export interface LoggedGuards {
  readonly leafIndex: number;
  readonly key: string;
  readonly guards: readonly LoggedGuard[];
  /** SHA-256 of what was signed, where the entry has it: nothing else may be tried again with these values. */
  readonly content?: Uint8Array | undefined;
}

/** The log, as far as guards are concerned. */
export interface GuardLog {
  /** Durable entries. */
  readonly size: number;
  /** Entries in their order; those without guards may be left out. */
  read(fromLeaf: number): AsyncIterable<LoggedGuards>;
}

export interface GuardCheck {
  readonly fromLeaf: number;
  /** Values that the log has and the state had not: it was lost, or put back from an old copy. They are there now. */
  readonly missing: number;
  /** The first entry that had one. */
  readonly firstMissingLeaf: number | undefined;
  /** The state has seen more entries than the log has. */
  readonly isAheadOfLog: boolean;
}

/** A row that this process is using. */
interface Hold {
  holders: number;
  /** Made by one of them, and none of them may have signed with it. */
  isFresh: boolean;
  readonly remove: () => void;
}

const CONTENT_BYTES = 32;
const UNKNOWN_CONTENT = new Uint8Array(CONTENT_BYTES);
const LONGEST_BATCH = 1000;
const ANOTHER_CONTENT = 'this may be signed once, and was signed before or may have been';
const NOT_HIGHER = 'the number has to rise: this one or a higher one was signed before or may have been';

/**
 * What signatures must agree with, durable before a token is asked.
 *
 * A row is written by `reserve` and means: this may have been signed, with this content. `keep` has nothing to write,
 * and a row found at start, left by a crash between the two, means the same: only `release` takes it away, which is
 * for operations that provably did not run. The identical content may be tried again with the same value, also while
 * the first try is under way: the row goes when nobody needs it and none of them may have signed.
 *
 * Two tokens, sessions or requests cannot come between: a reservation is one transaction in one process, and the state
 * is locked against others.
 */
export class SqliteGuards implements GuardStore {
  readonly #rows: GuardRows;
  readonly #maxUniqueValues: number;
  readonly #onError: (message: string, cause: unknown) => void;
  readonly #holds = new Map<string, Hold>();

  constructor(rows: GuardRows, options: SqliteGuardsOptions = {}) {
    this.#rows = rows;
    this.#maxUniqueValues = options.maxUniqueValues ?? 10_000_000;
    this.#onError = options.onError ?? (() => undefined);
  }

  /** @throws Failure BUSY when the state cannot be written: nothing is reserved then */
  reserve(guards: readonly Guard[], key: string, content: Uint8Array): Reservation {
    if (content.length !== CONTENT_BYTES) throw new TypeError('content is a SHA-256');
    const taken = new Map<string, Hold>();
    let refusal: (Reservation & { readonly ok: false }) | undefined;
    try {
      this.#rows.transaction(() => {
        for (const guard of guards) {
          const message =
            guard.kind === 'monotonic'
              ? this.#takeNumber(guard, key, content, taken)
              : this.#takeValue(guard, key, content, taken);
          if (message === undefined) continue;
          refusal = { ok: false, guard, message };
          throw new Refused();
        }
      });
    } catch (cause) {
      if (refusal !== undefined && cause instanceof Refused) return refusal;
      throw new Failure('BUSY', 'guards cannot be recorded', { cause });
    }
    for (const [name, hold] of taken) {
      const held = this.#holds.get(name);
      if (held === undefined) this.#holds.set(name, hold);
      else held.holders++;
    }
    let isSettled = false;
    const settle = (mayHaveSigned: boolean): void => {
      if (isSettled) return;
      isSettled = true;
      this.#settle([...taken.keys()], mayHaveSigned);
    };
    return { ok: true, release: () => settle(false), keep: () => settle(true) };
  }

  /** Where all guards stand, for entries that are never pruned. */
  snapshots(): Generator<readonly EntryValue[]> {
    return snapshotsOf(this.#rows.heads());
  }

  /**
   * Compares the state with what the log has since the last time, and adds what is missing. To be called at start,
   * before anything is reserved: a state that was lost, or put back from an old copy, would sign twice.
   *
   * @throws what reading the log throws; guarded keys must not be used then
   */
  async checkAgainst(log: GuardLog): Promise<GuardCheck> {
    const target = log.size;
    const { progress } = this.#rows;
    const isAheadOfLog = progress > target;
    const fromLeaf = isAheadOfLog ? 0 : progress;
    let missing = 0;
    let firstMissingLeaf: number | undefined;
    let batch: LoggedGuards[] = [];
    const absorb = (upTo: number): void => {
      this.#rows.transaction(() => {
        for (const logged of batch) {
          const added = this.#absorb(logged);
          missing += added;
          if (added > 0) firstMissingLeaf ??= logged.leafIndex;
        }
        this.#rows.putProgress(upTo);
      });
      batch = [];
    };
    for await (const logged of log.read(fromLeaf)) {
      if (logged.leafIndex < fromLeaf || logged.leafIndex >= target) continue;
      batch.push(logged);
      if (batch.length >= LONGEST_BATCH) absorb(logged.leafIndex + 1);
    }
    absorb(target);
    return { fromLeaf, missing, firstMissingLeaf, isAheadOfLog };
  }

  /**
   * Notes that the state agrees with so many entries, so that the next start reads fewer. It does with all that are
   * durable: a value is reserved before its entry is written.
   */
  markChecked(logSize: number): void {
    this.#rows.putProgress(logSize);
  }

  #takeNumber(guard: Guard, key: string, content: Uint8Array, taken: Map<string, Hold>): string | undefined {
    const { value } = guard;
    if (!isKeepable(value)) return 'the number has to be a whole one of at most 64 bits';
    const { id } = this.#rows.history(guardName(guard.id), key, 'monotonic');
    const numbers = this.#rows.numbers(id);
    const [highest] = numbers;
    const name = `m ${id} ${value}`;
    if (highest !== undefined && value <= highest.value) {
      if (value < highest.value || !isEqual(highest.content, content)) return NOT_HIGHER;
      if (!taken.has(name))
        taken.set(
          name,
          this.#hold(false, () => this.#rows.deleteNumber(id, value)),
        );
      return undefined;
    }
    this.#rows.putNumber(id, value, content);
    // The highest that may have been signed with stays: what is above it may still be released.
    const signed = numbers.find((row) => this.#holds.get(`m ${id} ${row.value}`)?.isFresh !== true);
    if (signed !== undefined) this.#rows.deleteNumbersBelow(id, signed.value);
    taken.set(
      name,
      this.#hold(true, () => this.#rows.deleteNumber(id, value)),
    );
    return undefined;
  }

  #takeValue(guard: Guard, key: string, content: Uint8Array, taken: Map<string, Hold>): string | undefined {
    if (typeof guard.value !== 'string') return 'the value has to be a text';
    const { id, count } = this.#rows.history(guardName(guard.id), key, 'unique');
    const hash = hashOf(guard.value);
    const name = `u ${id} ${Buffer.from(hash).toString('base64url')}`;
    const remove = (): void => this.#rows.deleteValue(id, hash);
    const found = this.#rows.contentOf(id, hash);
    if (found !== undefined) {
      if (!isEqual(found, content)) return ANOTHER_CONTENT;
      if (!taken.has(name)) taken.set(name, this.#hold(false, remove));
      return undefined;
    }
    if (count >= this.#maxUniqueValues) return 'no more values can be remembered for this key';
    this.#rows.putValue(id, hash, content);
    taken.set(name, this.#hold(true, remove));
    return undefined;
  }

  #hold(isFresh: boolean, remove: () => void): Hold {
    return { holders: 1, isFresh, remove };
  }

  #settle(names: readonly string[], mayHaveSigned: boolean): void {
    const removals: (() => void)[] = [];
    for (const name of names) {
      const hold = this.#holds.get(name)!;
      hold.holders--;
      if (mayHaveSigned) hold.isFresh = false;
      if (hold.holders > 0) continue;
      this.#holds.delete(name);
      if (hold.isFresh) removals.push(hold.remove);
    }
    if (removals.length === 0) return;
    try {
      this.#rows.transaction(() => {
        for (const remove of removals) remove();
      });
    } catch (cause) {
      this.#onError('a guarded value could not be released and stays used', cause);
    }
  }

  #absorb({ key, guards, content = UNKNOWN_CONTENT }: LoggedGuards): number {
    let added = 0;
    for (const logged of guards) {
      const { id } = this.#rows.history(logged.guard, key, logged.kind);
      if (logged.kind === 'monotonic') {
        const [highest] = this.#rows.numbers(id);
        if (highest !== undefined && highest.value >= logged.value) continue;
        this.#rows.putNumber(id, logged.value, content);
        this.#rows.deleteNumbersBelow(id, logged.value);
      } else {
        if (this.#rows.contentOf(id, logged.hash) !== undefined) continue;
        this.#rows.putValue(id, logged.hash, content);
      }
      added++;
    }
    return added;
  }
}

/** Ends a transaction that is to leave nothing behind. */
class Refused extends Error {
  override readonly name = 'Refused';
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
