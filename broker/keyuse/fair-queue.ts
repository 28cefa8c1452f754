/**
 * Weighted fair queueing by start tags (start-time fair queueing; Goyal, Vin and Cheng, 1996): each flow gets its
 * share of what is dispatched, whatever the others ask for, and one that was idle has nothing saved up.
 *
 * A flow is a workload. Items of one flow keep their order unless one cannot be served now.
 */
export class FairQueue<T> {
  readonly #flows = new Map<string, Flow<T>>();
  /** Binary heap of flows with items, the smallest start tag first. */
  readonly #heap: Flow<T>[] = [];
  readonly #weightOf: (flow: string) => number;
  /** Start tag of what was dispatched last. */
  #virtualTime = 0;
  #size = 0;

  /** `weightOf` is asked for every item: at least 1. */
  constructor(weightOf: (flow: string) => number) {
    this.#weightOf = weightOf;
  }

  get size(): number {
    return this.#size;
  }

  lengthOf(flow: string): number {
    return this.#flows.get(flow)?.length ?? 0;
  }

  get flows(): number {
    return this.#heap.length;
  }

  /** How many items are taken, at the least, before one that `name` would push now. */
  ahead(name: string): number {
    const own = this.lengthOf(name);
    if (own === 0) return 0;
    const weight = Math.max(1, this.#weightOf(name));
    let total = own;
    for (const other of this.#heap) {
      if (other.name === name) continue;
      total += Math.min(other.length, Math.floor((own * Math.max(1, this.#weightOf(other.name))) / weight));
    }
    return total;
  }

  push(name: string, item: T): void {
    let flow = this.#flows.get(name);
    if (flow === undefined) {
      flow = new Flow(name, this.#virtualTime);
      this.#flows.set(name, flow);
    }
    flow.push(item);
    this.#size++;
    if (flow.length === 1) {
      flow.tag = Math.max(flow.tag, this.#virtualTime);
      this.#add(flow);
    }
  }

  /**
   * Takes the first item, in fair order, that `serve` accepts; a flow whose next item it does not is passed over.
   * Whether one was taken.
   */
  take(serve: (item: T) => boolean): boolean {
    const passed: Flow<T>[] = [];
    let taken = false;
    for (;;) {
      const flow = this.#removeFirst();
      if (flow === undefined) break;
      if (!serve(flow.first)) {
        passed.push(flow);
        continue;
      }
      taken = true;
      this.#virtualTime = flow.tag;
      flow.shift();
      this.#size--;
      flow.tag += 1 / Math.max(1, this.#weightOf(flow.name));
      if (flow.length > 0) this.#add(flow);
      else this.#retire(flow);
      break;
    }
    for (const flow of passed) this.#add(flow);
    return taken;
  }

  /** Removes what `isDone` says is over, wherever it waits: it costs its flow nothing. */
  sweep(isDone: (item: T) => boolean): void {
    const before = this.#heap.splice(0);
    for (const flow of before) {
      this.#size -= flow.remove(isDone);
      if (flow.length > 0) this.#add(flow);
    }
    // Only now: retiring forgets every flow when nobody waits, and those behind were not back in their places.
    for (const flow of before) if (flow.length === 0) this.#retire(flow);
    // Only a flow that is ahead of the others has something to be remembered for.
    for (const [name, flow] of this.#flows) {
      if (flow.length === 0 && flow.tag <= this.#virtualTime) this.#flows.delete(name);
    }
  }

  #retire(flow: Flow<T>): void {
    // With nobody waiting there is nobody to be fair to: tags may start over.
    if (this.#heap.length === 0) {
      this.#flows.clear();
      this.#virtualTime = 0;
      return;
    }
    if (flow.tag <= this.#virtualTime) this.#flows.delete(flow.name);
  }

  #add(flow: Flow<T>): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(flow);
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (heap[above]!.tag <= flow.tag) break;
      heap[at] = heap[above]!;
      at = above;
    }
    heap[at] = flow;
  }

  #removeFirst(): Flow<T> | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || first === last) return first;
    let at = 0;
    for (;;) {
      let below = at * 2 + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && heap[below + 1]!.tag < heap[below]!.tag) below++;
      if (heap[below]!.tag >= last.tag) break;
      heap[at] = heap[below]!;
      at = below;
    }
    heap[at] = last;
    return first;
  }
}

class Flow<T> {
  readonly name: string;
  /** Virtual time at which its next item starts. */
  tag: number;
  #items: T[] = [];
  #head = 0;

  constructor(name: string, tag: number) {
    this.name = name;
    this.tag = tag;
  }

  get length(): number {
    return this.#items.length - this.#head;
  }

  get first(): T {
    return this.#items[this.#head]!;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): void {
    this.#head++;
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head > 1024) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
  }

  remove(isDone: (item: T) => boolean): number {
    const before = this.length;
    this.#items = this.#items.slice(this.#head).filter((item) => !isDone(item));
    this.#head = 0;
    return before - this.#items.length;
  }
}
