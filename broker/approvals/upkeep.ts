/**
 * What time does to approvals: closes those that are over or void, reminds once of those that soon are, and forgets what
 * was closed long ago. What is asked meanwhile does not rely on it: whoever uses an approval looks at its validity.
 *
 * Owns which policy it has seen, and how often it ran.
 */
import type { ApprovalPolicy } from '../../policy/quorum.ts';
import type { ApprovalStore } from '../state/approval-rows.ts';
import { type LiveApproval, type LiveApprovals, OPEN_STATES } from './live-approvals.ts';
import { CHANGED, IS_OVER } from './refusals.ts';
import type { Room } from './room.ts';
import type { Telling } from './telling.ts';
import type { Validity } from './validity.ts';

export interface UpkeepOptions {
  readonly store: Pick<ApprovalStore, 'transaction' | 'close' | 'prune'>;
  readonly policy: () => ApprovalPolicy;
  readonly live: LiveApprovals;
  readonly validity: Validity;
  readonly room: Room;
  readonly telling: Telling;
  /** How long what was closed can still be looked at, milliseconds. */
  readonly retentionMs: number;
}

/** Runs from one look at what was closed long ago to the next. */
const PRUNE_RUNS = 600;
/** The last part of the time that an approval has, one in so many: then it is to be reminded of. */
const REMINDER_SHARE = 5;

export class Upkeep {
  readonly #o: UpkeepOptions;
  #seenPolicy: ApprovalPolicy | undefined;
  #runs = 0;

  constructor(options: UpkeepOptions) {
    this.#o = options;
  }

  /** Once a second. Throws what the state throws: nothing of it was written then, and the next run does it all. */
  run(now: number): void {
    const { store, live: all, validity, telling } = this.#o;
    const policy = this.#o.policy();
    const hasChanged = policy !== this.#seenPolicy;
    const ended: (readonly [LiveApproval, string])[] = [];
    const reminded: LiveApproval[] = [];
    for (const live of all.values()) {
      if (validity.isCertainlyOver(live)) ended.push([live, IS_OVER]);
      else if (hasChanged && validity.isVoid(live)) ended.push([live, CHANGED]);
      else if (isReminderDue(live, now)) reminded.push(live);
    }
    if (ended.length + reminded.length > 0)
      store.transaction(() => {
        for (const [{ row }, why] of ended)
          if (store.close(row.id, OPEN_STATES, 'expired', why, 'lastmile', now))
            telling.tell(row.id, 'expired', now);
        for (const { row } of reminded) telling.tell(row.id, 'reminder', row.notAfter);
      });
    // Not before what it voids is on disk.
    this.#seenPolicy = policy;
    for (const [live] of ended) all.forget(live);
    for (const live of reminded) live.isReminded = true;
    if (ended.length > 0 || hasChanged) telling.changed();
    if (this.#runs++ % PRUNE_RUNS === 0) {
      store.prune(now - this.#o.retentionMs);
      this.#o.room.sweep(now);
    }
  }
}

function isReminderDue({ isReminded, state, row }: LiveApproval, now: number): boolean {
  if (isReminded || state !== 'open') return false;
  const { openedAt, notAfter } = row;
  return now >= notAfter - (notAfter - openedAt) / REMINDER_SHARE;
}
