import type { StateStore } from './state-store.ts';

/** A policy as the state remembers it. */
export interface KnownPolicy {
  /** `sha256:<hex>` of the file. */
  readonly hash: string;
  /** It has `governance`. */
  readonly isGoverned: boolean;
}

/**
 * Which policy is in force, as the broker itself remembers it beside the log: whoever can write the log's files or its
 * index could otherwise make the broker forget that the policy has `governance`.
 *
 * A change writes `next` before its entry and `in-force` after it. A crash between the two leaves a `next` that the log
 * has or has not: both are the order of things, and anything else is not.
 */
export class PolicyRows {
  readonly #store: StateStore;

  constructor(store: StateStore) {
    this.#store = store;
  }

  /** Undefined: none was ever in force here. */
  get inForce(): KnownPolicy | undefined {
    return this.#read('in-force');
  }

  /** What was about to come into force when the broker ended, or failed to. */
  get next(): KnownPolicy | undefined {
    return this.#read('next');
  }

  /** Before the entry that puts `next` into force. Durable when it returns. */
  begin(inForce: KnownPolicy | undefined, next: KnownPolicy): void {
    this.#store.transaction(() => {
      this.#write('in-force', inForce);
      this.#write('next', next);
    });
  }

  /** The log and the state agree on this; undefined: on none. */
  settle(inForce: KnownPolicy | undefined): void {
    this.#store.transaction(() => {
      this.#write('in-force', inForce);
      this.#write('next', undefined);
    });
  }

  #read(role: 'in-force' | 'next'): KnownPolicy | undefined {
    const row = this.#store.sql('SELECT hash, governed FROM policy_known WHERE role = ?').get(role) as
      | { readonly hash: string; readonly governed: number }
      | undefined;
    return row && { hash: row.hash, isGoverned: row.governed !== 0 };
  }

  #write(role: 'in-force' | 'next', policy: KnownPolicy | undefined): void {
    if (policy === undefined) {
      this.#store.sql('DELETE FROM policy_known WHERE role = ?').run(role);
      return;
    }
    this.#store
      .sql(
        `INSERT INTO policy_known (role, hash, governed) VALUES (?, ?, ?)
         ON CONFLICT DO UPDATE SET hash = excluded.hash, governed = excluded.governed`,
      )
      .run(role, policy.hash, policy.isGoverned ? 1 : 0);
  }
}
