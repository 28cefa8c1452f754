import { parseSpiffeId } from '../../policy/spiffe-id.ts';
import type { FreezeRow, StateStore } from '../state/state-store.ts';
import { Failure } from './failure.ts';

export const FREEZE_KINDS = ['workload', 'key', 'token', 'trust-domain', 'credential', 'approver'] as const;
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

  /** By its id, its SPIFFE ID or its trust domain: an approver who has no SPIFFE ID is stopped by the first alone. */
  isApproverFrozen({
    id,
    spiffeId,
  }: {
    readonly id: string;
    readonly spiffeId?: string | undefined;
  }): boolean {
    if (this.#rows.size === 0) return false;
    return (
      this.isFrozen('approver', id) ||
      (spiffeId !== undefined &&
        (this.isFrozen('workload', spiffeId) ||
          this.isFrozen('trust-domain', parseSpiffeId(spiffeId).trustDomain)))
    );
  }

  get(kind: FreezeKind, subject: string): FreezeRow | undefined {
    return this.#rows.get(`${kind} ${subject}`);
  }

  /**
   * In force when it returns, and when it throws too: who freezes in an emergency is not refused because a disk is full.
   *
   * @throws Failure when it is in force until the broker ends, and not beyond
   */
  put(row: FreezeRow): void {
    this.#rows.set(`${row.kind} ${row.subject}`, row);
    try {
      this.#store.putFreeze(row);
    } catch (cause) {
      throw new Failure(
        'AUDIT_UNAVAILABLE',
        'frozen, but not durable: the freeze is in force until the broker restarts. Its state cannot be written: make that work, then freeze again',
        { performed: 'yes', metadata: { durable: 'no' }, cause },
      );
    }
  }

  /** Whether it was lifted: not when somebody has frozen the same again since `row` was read. */
  lift(row: FreezeRow): boolean {
    const subject = `${row.kind} ${row.subject}`;
    if (this.#rows.get(subject) !== row) return false;
    this.#store.deleteFreeze(row.kind, row.subject);
    this.#rows.delete(subject);
    return true;
  }

  list(): readonly FreezeRow[] {
    return [...this.#rows.values()];
  }
}
