import { hash, randomFillSync } from 'node:crypto';
import type { Appended, AuditError, EntryDraft } from './entry.ts';
import { BOUNDS, boundString, type Entry, formatEntry } from './entry-format.ts';
import { MAX_ENTRY_BYTES } from './tlog/tile.ts';

/** Where a subject's chain ends: what its next entry goes on from. */
export interface SubjectHead {
  /** Of its newest entry. */
  readonly seq: number;
  /** Leaf hash of its newest entry, base64url. */
  readonly prev: string;
}

/** What the index and the publisher need to know of an entry without reading it. */
export interface EntryRow {
  readonly leaf: number;
  readonly time: string;
  readonly subject: string;
  readonly seq: number;
  /** Leaf hash, base64url. */
  readonly hash: string;
  readonly key: string | undefined;
  readonly kind: string;
  readonly operation: string;
  readonly decision: string;
}

export interface Waiter {
  readonly leafIndex: number;
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: AuditError) => void;
}

/** Entries that become durable together. */
export interface Batch {
  readonly firstLeaf: number;
  /** As in an entry bundle: (u16be length · entry)*. */
  readonly body: Buffer;
  readonly rows: readonly EntryRow[];
  /** Those who wait for it; emptied when they were answered. */
  readonly waiters: Waiter[];
}

const SALT_BYTES = 16;
const FIRST_CAPACITY = 256 * 1024;

/**
 * Gives entries their place and collects them until the next write.
 *
 * What was added stays added: a place once given is never given again, so that a batch whose write failed is
 * written again as it is.
 */
export class BatchBuilder {
  #nextLeaf: number;
  readonly #heads: Map<string, SubjectHead>;
  #bytes = Buffer.allocUnsafeSlow(FIRST_CAPACITY);
  #length = 0;
  #firstLeaf: number;
  #rows: EntryRow[] = [];
  #waiters: Waiter[] = [];
  readonly #salts = Buffer.allocUnsafeSlow(SALT_BYTES * 256);
  #saltAt = SALT_BYTES * 256;
  #timeMs = Number.NaN;
  #time = '';

  /** @param heads owned by the builder from now on */
  constructor(nextLeaf: number, heads: Map<string, SubjectHead>) {
    this.#nextLeaf = nextLeaf;
    this.#firstLeaf = nextLeaf;
    this.#heads = heads;
  }

  get nextLeaf(): number {
    return this.#nextLeaf;
  }

  get bytes(): number {
    return this.#length;
  }

  /**
   * @returns bytes that the entry takes in the log
   * @throws TypeError for a draft that cannot be written; nothing has changed then
   */
  add(draft: EntryDraft, timeMs: number, resolve: Waiter['resolve'], reject: Waiter['reject']): number {
    const leaf = this.#nextLeaf;
    const subject = boundString(draft.subject, BOUNDS.subject);
    const head = this.#heads.get(subject);
    const seq = head === undefined ? 0 : head.seq + 1;
    const time = this.#timeText(timeMs);
    const text = formatEntry(draft, { leaf, time, salt: this.#salt(), seq, prev: head?.prev ?? '' });

    this.#reserve(2 + text.length * 3);
    const at = this.#length;
    const written = this.#bytes.write(text, at + 2);
    if (written > MAX_ENTRY_BYTES) throw new TypeError('entry is larger than 65,535 bytes');
    // The leaf hash is over 0x00 and the entry: the length's second byte stands in for the 0x00 for a moment.
    this.#bytes[at + 1] = 0;
    const leafHash = hash('sha256', this.#bytes.subarray(at + 1, at + 2 + written), 'base64url');
    this.#bytes.writeUInt16BE(written, at);

    this.#length = at + 2 + written;
    this.#nextLeaf = leaf + 1;
    this.#heads.set(subject, { seq, prev: leafHash });
    const { kind, operation, decision } = draft;
    const key = draft.key === undefined ? undefined : boundString(draft.key, BOUNDS.key);
    this.#rows.push({ leaf, time, subject, seq, hash: leafHash, key, kind, operation, decision });
    this.#waiters.push({ leafIndex: leaf, resolve, reject });
    return 2 + written;
  }

  /** What was added since the last call. */
  seal(): Batch | undefined {
    if (this.#rows.length === 0) return undefined;
    const body = Buffer.from(this.#bytes.subarray(0, this.#length));
    const batch = { firstLeaf: this.#firstLeaf, body, rows: this.#rows, waiters: this.#waiters };
    this.#rows = [];
    this.#waiters = [];
    this.#length = 0;
    this.#firstLeaf = this.#nextLeaf;
    return batch;
  }

  /** Those who wait for what is not sealed yet. */
  takeWaiters(): Waiter[] {
    return this.#waiters.splice(0);
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#length + more));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }

  #salt(): string {
    if (this.#saltAt === this.#salts.length) {
      randomFillSync(this.#salts);
      this.#saltAt = 0;
    }
    const from = this.#saltAt;
    this.#saltAt += SALT_BYTES;
    return this.#salts.toString('base64url', from, this.#saltAt);
  }

  #timeText(timeMs: number): string {
    if (timeMs !== this.#timeMs) {
      this.#timeMs = timeMs;
      this.#time = new Date(timeMs).toISOString();
    }
    return this.#time;
  }
}

export function rowOf(entry: Entry, hash: string): EntryRow {
  const { leaf, time, subject, seq, key, kind, operation, decision } = entry;
  return { leaf, time, subject, seq, hash, key, kind, operation, decision };
}
