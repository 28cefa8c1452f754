/**
 * A bounded memo in two halves: when the newer is full the older is forgotten, and what is still asked for moves over.
 * Near enough to least-recently-used, without touching the map on every hit.
 */
export class RecentMemo<V> {
  readonly #half: number;
  #newer = new Map<string, V>();
  #older = new Map<string, V>();

  /** Holds at most `limit` values. */
  constructor(limit: number) {
    this.#half = Math.max(1, Math.floor(limit / 2));
  }

  get size(): number {
    return this.#newer.size + this.#older.size;
  }

  get(name: string): V | undefined {
    const value = this.#newer.get(name);
    if (value !== undefined) return value;
    const older = this.#older.get(name);
    if (older !== undefined) this.set(name, older);
    return older;
  }

  set(name: string, value: V): void {
    if (this.#newer.size >= this.#half) {
      this.#older = this.#newer;
      this.#newer = new Map();
    }
    this.#newer.set(name, value);
  }
}
