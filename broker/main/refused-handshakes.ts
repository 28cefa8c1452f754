import type { Clock } from '../audit/clock.ts';
import type { AuditLog } from '../audit/entry.ts';
import type { Refusal } from '../gateway/edge-frames.ts';

export interface RefusedHandshakesOptions {
  readonly audit: Pick<AuditLog, 'append'>;
  readonly clock: Clock;
  readonly windowMs: number;
  /** Counts could not be written; they go on with the next window. */
  readonly onFailure: (error: unknown) => void;
}

/**
 * Connections that were refused before anybody was authenticated. Strangers can make as many as they like, so there is
 * one entry a window for all of them together, with a count for each reason; without any, none.
 *
 * A crash loses the open window's counts, which the log's own entry at the next start says of all counts.
 */
export class RefusedHandshakes {
  readonly #options: RefusedHandshakesOptions;
  readonly #sinceStart = new Map<Refusal, number>();
  readonly #window = new Map<Refusal, number>();
  #from = 0;
  #to = 0;
  #callOff: (() => void) | undefined;

  constructor(options: RefusedHandshakesOptions) {
    this.#options = options;
  }

  get sinceStart(): ReadonlyMap<Refusal, number> {
    return this.#sinceStart;
  }

  count(reason: Refusal, count: number): void {
    const { clock } = this.#options;
    this.#to = clock.now();
    if (this.#window.size === 0) this.#from = this.#to;
    add(this.#sinceStart, reason, count);
    add(this.#window, reason, count);
    this.#schedule();
  }

  /** Writes what is counted, as at shutdown. Before the log is closed. */
  async close(): Promise<void> {
    this.#callOff?.();
    this.#callOff = undefined;
    await this.#write();
  }

  #schedule(): void {
    this.#callOff ??= this.#options.clock.after(this.#options.windowMs, () => {
      this.#callOff = undefined;
      void this.#write();
    });
  }

  async #write(): Promise<void> {
    if (this.#window.size === 0) return;
    const counts = new Map(this.#window);
    const from = this.#from;
    this.#window.clear();
    try {
      await this.#options.audit.append({
        kind: 'refusals',
        subject: 'lastmile',
        operation: 'gateway.handshake',
        decision: 'deny',
        detail: {
          count: [...counts.values()].reduce((sum, count) => sum + count, 0),
          from: new Date(from).toISOString(),
          to: new Date(this.#to).toISOString(),
          reasons: Object.fromEntries(counts),
        },
      });
    } catch (error) {
      for (const [reason, count] of counts) add(this.#window, reason, count);
      this.#from = from;
      this.#options.onFailure(error);
      this.#schedule();
    }
  }
}

function add(counts: Map<Refusal, number>, reason: Refusal, count: number): void {
  counts.set(reason, (counts.get(reason) ?? 0) + count);
}
