import type { StateStore } from './state-store.ts';

export interface SignedTree {
  readonly treeSize: number;
  readonly rootHash: Uint8Array;
}

const STORE_EVERY_MS = 60_000;

/**
 * The newest tree that the log's key has signed, as the broker itself remembers it: a log that was rewritten and
 * stripped of its checkpoint would pass for one that was never signed.
 *
 * Written at the first signature, then once a minute and at the end: each write waits for the disk. A crash forgets
 * the last minute, never what came before.
 */
export class SignedTreeMemory {
  readonly #store: StateStore;
  readonly #origin: string;
  readonly #now: () => number;
  #storedAt: number | undefined;
  #unstored: SignedTree | undefined;

  constructor(store: StateStore, origin: string, now: () => number = () => performance.now()) {
    this.#store = store;
    this.#origin = origin;
    this.#now = now;
  }

  get last(): SignedTree | undefined {
    const found = this.#store.signedTree(this.#origin);
    return found && { treeSize: found.treeSize, rootHash: Buffer.from(found.rootHash, 'base64') };
  }

  /** @throws when it is time to write it, and it cannot be written */
  signed(tree: SignedTree): void {
    this.#unstored = tree;
    if (this.#storedAt === undefined || this.#now() - this.#storedAt >= STORE_EVERY_MS) this.flush();
  }

  flush(): void {
    if (this.#unstored === undefined) return;
    const { treeSize, rootHash } = this.#unstored;
    this.#store.putSignedTree(this.#origin, treeSize, Buffer.from(rootHash).toString('base64'));
    this.#unstored = undefined;
    this.#storedAt = this.#now();
  }
}
