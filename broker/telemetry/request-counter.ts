/** How requests ended, by method and outcome, since the start. What `status` and the metrics are read from. */
export class RequestCounter {
  readonly #counts = new Map<string, Map<string, number>>();

  /**
   * @param method as in an entry's operation, `KeyUse.Sign`
   * @param outcome `OK`, or the reason that the caller was told
   */
  count(method: string, outcome: string): void {
    let outcomes = this.#counts.get(method);
    if (outcomes === undefined) {
      outcomes = new Map();
      this.#counts.set(method, outcomes);
    }
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }

  get(method: string, outcome: string): number {
    return this.#counts.get(method)?.get(outcome) ?? 0;
  }

  *all(): Iterable<{ readonly method: string; readonly outcome: string; readonly count: number }> {
    for (const [method, outcomes] of this.#counts)
      for (const [outcome, count] of outcomes) yield { method, outcome, count };
  }
}
