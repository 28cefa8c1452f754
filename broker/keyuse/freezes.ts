import type { FreezeRow, StateStore } from '../state/state-store.ts';

export const FREEZE_KINDS = ['workload', 'key', 'token', 'trust-domain', 'credential'] as const;
export type FreezeKind = (typeof FREEZE_KINDS)[number];

/**
 * The kill switch: durable in the state store, asked in memory. A change is effective for the very next question,
 * and every operation asks again just before it leaves for a token.
 */
export class Freezes {
  readonly #store: StateStore;
  readonly #rows = new Map<string, FreezeRow>();

  constructor(store: StateStore) {
    this.#store = store;
    for (const row of store.freezes()) this.#rows.set(`${row.kind} ${row.subject}`, row);
  }

  isFrozen(kind: FreezeKind, subject: string): boolean {
    return this.#rows.size !== 0 && this.#rows.has(`${kind} ${subject}`);
  }

  put(row: FreezeRow): void {
    this.#store.putFreeze(row);
    this.#rows.set(`${row.kind} ${row.subject}`, row);
  }

  /** Whether it was frozen. */
  lift(kind: FreezeKind, subject: string): boolean {
    const existed = this.#store.deleteFreeze(kind, subject);
    this.#rows.delete(`${kind} ${subject}`);
    return existed;
  }

  list(): readonly FreezeRow[] {
    return [...this.#rows.values()];
  }
}
