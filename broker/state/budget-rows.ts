import type { StateStore } from './state-store.ts';

export interface BudgetUse {
  readonly counter: string;
  readonly subject: string;
  readonly amount: number;
}

/** What was used of budgets that never come back. Durable before a method returns. */
export class BudgetRows {
  readonly #store: StateStore;

  constructor(store: StateStore) {
    this.#store = store;
  }

  /** Undefined when nothing was ever used. */
  used(counter: string, subject: string): number | undefined {
    const row = this.#store
      .sql('SELECT used FROM limit_budget WHERE counter = ? AND subject = ?')
      .get(counter, subject);
    return row === undefined ? undefined : (row as { used: number }).used;
  }

  subjects(counter: string): number {
    const row = this.#store
      .sql('SELECT count(*) AS subjects FROM limit_budget WHERE counter = ?')
      .get(counter);
    return (row as { subjects: number }).subjects;
  }

  /** All of them or none. Negative amounts give back. */
  add(uses: readonly BudgetUse[]): void {
    this.#store.transaction(() => {
      for (const { counter, subject, amount } of uses) {
        this.#store
          .sql(
            `INSERT INTO limit_budget (counter, subject, used) VALUES (?, ?, max(0, ?))
             ON CONFLICT DO UPDATE SET used = max(0, used + ?)`,
          )
          .run(counter, subject, amount, amount);
      }
    });
  }

  /** Never lowers one. How many it raised. */
  raise(totals: Iterable<BudgetUse>): number {
    return this.#store.transaction(() => {
      let raised = 0;
      for (const { counter, subject, amount } of totals) {
        const { changes } = this.#store
          .sql(
            `INSERT INTO limit_budget (counter, subject, used) VALUES (?, ?, ?)
             ON CONFLICT DO UPDATE SET used = excluded.used WHERE used < excluded.used`,
          )
          .run(counter, subject, amount);
        raised += Number(changes);
      }
      return raised;
    });
  }
}
