import { closeSync, constants, openSync, readdirSync, readFileSync, unlinkSync, writeSync } from 'node:fs';
import { isUrgent, MAX_NOTICE_BYTES, type Notice, readNotice } from './notice.ts';

/** One notice on its way to one destination. */
export interface Delivery {
  /** Name of its file. */
  readonly file: string;
  readonly destination: string;
  readonly notice: Notice;
  /** Milliseconds of the Unix epoch. */
  readonly queuedAt: number;
}

export class QueueFullError extends Error {
  override readonly name = 'QueueFullError';
}

/** Kept for what is urgent. */
const RESERVE = 0.1;
const FILE = /^(\d{13})-(\d{10})-([a-z0-9][a-z0-9-]{0,62})\.json$/;

/**
 * Deliveries on disk, a file each, in the process's working directory.
 *
 * Under the permission model there is no fsync: files are opened with O_DSYNC instead, so that a write returns when its
 * bytes are on disk. A crash while a file is written leaves one that does not parse; it was never acknowledged, the broker
 * tells it again, and it is deleted at the next start. A crash between delivery and deletion delivers twice.
 */
export class Queue {
  readonly #maxQueued: number;
  readonly #now: () => number;
  readonly #deliveries = new Map<string, Delivery>();
  #lastNumber = 0;

  constructor(maxQueued: number, now: () => number) {
    this.#maxQueued = maxQueued;
    this.#now = now;
  }

  get size(): number {
    return this.#deliveries.size;
  }

  /** Takes up what an earlier process left. Returns the files that held no delivery, which are deleted. */
  open(): { readonly deliveries: readonly Delivery[]; readonly unreadable: readonly string[] } {
    const unreadable: string[] = [];
    for (const file of readdirSync('.').sort()) {
      const [, queuedAt, number, destination] = FILE.exec(file) ?? [];
      if (queuedAt === undefined || number === undefined || destination === undefined) continue;
      this.#lastNumber = Math.max(this.#lastNumber, Number(number));
      try {
        const notice = readNotice(readFileSync(file, 'utf8'));
        this.#deliveries.set(file, { file, destination, notice, queuedAt: Number(queuedAt) });
      } catch (error) {
        if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
        unreadable.push(file);
        unlinkSync(file);
      }
    }
    return { deliveries: [...this.#deliveries.values()], unreadable };
  }

  /**
   * Durable when it returns.
   *
   * @throws QueueFullError, or the system's error
   */
  add(destination: string, notice: Notice): Delivery {
    const room = isUrgent(notice) ? this.#maxQueued : Math.floor(this.#maxQueued * (1 - RESERVE));
    if (this.#deliveries.size >= room) throw new QueueFullError(`${this.#deliveries.size} deliveries wait`);
    const bytes = Buffer.from(JSON.stringify(notice));
    if (bytes.length > MAX_NOTICE_BYTES) throw new TypeError('the notice is too long');
    const queuedAt = this.#now();
    this.#lastNumber += 1;
    const file = `${String(queuedAt).padStart(13, '0')}-${String(this.#lastNumber).padStart(10, '0')}-${destination}.json`;
    write(file, bytes);
    const delivery: Delivery = { file, destination, notice, queuedAt };
    this.#deliveries.set(file, delivery);
    return delivery;
  }

  /** Made, or given up. */
  done({ file }: Delivery): void {
    if (this.#deliveries.delete(file)) unlinkSync(file);
  }
}

function write(file: string, bytes: Uint8Array): void {
  const { O_WRONLY, O_CREAT, O_EXCL, O_DSYNC } = constants;
  const descriptor = openSync(file, O_WRONLY | O_CREAT | O_EXCL | O_DSYNC, 0o600);
  let written = 0;
  try {
    while (written < bytes.length) written += writeSync(descriptor, bytes, written);
  } finally {
    closeSync(descriptor);
    // A full disk: half a file is none, and makes room.
    if (written < bytes.length) unlinkSync(file);
  }
}
