import type { StateStore } from './state-store.ts';

export type GuardKind = 'monotonic' | 'unique';

/** All values that one guard has seen for one key. */
export interface GuardHistory {
  readonly id: number;
  /** Values of a `unique` guard. */
  readonly count: number;
}

export interface GuardHead {
  readonly guard: string;
  readonly key: string;
  readonly kind: GuardKind;
  readonly count: number;
  /** Of a `monotonic` guard that has one. */
  readonly highest: bigint | undefined;
}

export interface NumberRow {
  readonly value: bigint;
  /** SHA-256 of what was signed with it. */
  readonly content: Uint8Array;
}

/**
 * The values that guards have seen. What is in here may have been signed.
 *
 * A number takes some 60 bytes, and only the last few are kept; a value that may be signed once takes some 90 bytes,
 * for ever. Methods that write belong into a `transaction`; what that returned from is on disk.
 */
export class GuardRows {
  readonly #store: StateStore;

  constructor(store: StateStore) {
    this.#store = store;
  }

  transaction<T>(body: () => T): T {
    return this.#store.transaction(body);
  }

  history(guard: string, key: string, kind: GuardKind): GuardHistory {
    const name = `${kind} ${guard}`;
    const found = this.#store
      .sql('SELECT id, count FROM guard_history WHERE guard = ? AND key = ?')
      .get(name, key);
    const row =
      found ??
      this.#store
        .sql('INSERT INTO guard_history (guard, key, kind, count) VALUES (?, ?, ?, 0) RETURNING id, count')
        .get(name, key, kind);
    return row as unknown as GuardHistory;
  }

  /** Highest first; all that are kept. */
  numbers(history: number): readonly NumberRow[] {
    const statement = this.#store.sql(
      'SELECT value, content FROM guard_number WHERE history = ? ORDER BY value DESC',
    );
    statement.setReadBigInts(true);
    return statement.all(history) as unknown as readonly NumberRow[];
  }

  putNumber(history: number, value: bigint, content: Uint8Array): void {
    this.#store
      .sql('INSERT INTO guard_number (history, value, content) VALUES (?, ?, ?)')
      .run(history, value, content);
  }

  deleteNumber(history: number, value: bigint): void {
    this.#store.sql('DELETE FROM guard_number WHERE history = ? AND value = ?').run(history, value);
  }

  deleteNumbersBelow(history: number, value: bigint): void {
    this.#store.sql('DELETE FROM guard_number WHERE history = ? AND value < ?').run(history, value);
  }

  /** What was signed with this value, or may have been. */
  contentOf(history: number, hash: Uint8Array): Uint8Array | undefined {
    const row = this.#store
      .sql('SELECT content FROM guard_value WHERE history = ? AND hash = ?')
      .get(history, hash);
    return row === undefined ? undefined : (row as { content: Uint8Array }).content;
  }

  putValue(history: number, hash: Uint8Array, content: Uint8Array): void {
    this.#store
      .sql('INSERT INTO guard_value (history, hash, content) VALUES (?, ?, ?)')
      .run(history, hash, content);
    this.#store.sql('UPDATE guard_history SET count = count + 1 WHERE id = ?').run(history);
  }

  deleteValue(history: number, hash: Uint8Array): void {
    const { changes } = this.#store
      .sql('DELETE FROM guard_value WHERE history = ? AND hash = ?')
      .run(history, hash);
    if (changes > 0) this.#store.sql('UPDATE guard_history SET count = count - 1 WHERE id = ?').run(history);
  }

  heads(): readonly GuardHead[] {
    const statement = this.#store.sql(
      `SELECT guard, key, kind, count, (SELECT max(value) FROM guard_number WHERE history = id) AS highest
       FROM guard_history ORDER BY id`,
    );
    statement.setReadBigInts(true);
    const rows = statement.all() as unknown as readonly {
      guard: string;
      key: string;
      kind: GuardKind;
      count: bigint;
      highest: bigint | null;
    }[];
    return rows.map(({ guard, key, kind, count, highest }) => ({
      guard: guard.slice(kind.length + 1),
      key,
      kind,
      count: Number(count),
      highest: highest ?? undefined,
    }));
  }

  /** Entries of the log that these rows are known to agree with. */
  get progress(): number {
    return this.#store.logProgress('guards');
  }

  putProgress(entries: number): void {
    this.#store.putLogProgress('guards', entries);
  }
}
