/**
 * What people see of approvals: an approver those that they may vote on, and who asked their own. Nothing here changes
 * an approval. Owns nothing: rows, votes and what is open are asked each time, and a state that is away is a refusal.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Quorum } from '../../policy/quorum.ts';
import type { ApprovalRow, ApprovalStore } from '../state/approval-rows.ts';
import { type ApprovalState, parseAct } from './act.ts';
import { type ApprovalView, viewOf } from './approval-view.ts';
import { type LiveApprovals, OPEN_STATES } from './live-approvals.ts';
import { reachable } from './refusals.ts';
import { isQuorate } from './tally.ts';
import type { Validity } from './validity.ts';
import type { VoteCheck } from './vote-check.ts';

/** What a view is made of. */
export interface Looking {
  readonly store: ApprovalStore;
  readonly live: LiveApprovals;
  readonly votes: VoteCheck;
  readonly validity: Validity;
}

/** Rows read at once, and at most for one list: those are read in one turn of the event loop. */
const PAGE = 200;
const MAX_LOOKED_AT = 20_000;

export class ApprovalLists {
  readonly #o: Looking;

  constructor(looking: Looking) {
    this.#o = looking;
  }

  /** As it is now, by the policy in force: its row alone does not say whether it is approved. */
  view(row: ApprovalRow): ApprovalView {
    const { store, votes, validity } = this.#o;
    const live = this.#o.live.get(row.id);
    const quorum = JSON.parse(row.quorum) as Quorum;
    const counting = live === undefined ? [] : votes.counting(live, quorum);
    let state = row.state as ApprovalState;
    if (live !== undefined) {
      const isOver = validity.isOver(live) || validity.isVoid(live);
      state = isOver ? 'expired' : isQuorate(counting, quorum) ? 'approved' : 'open';
    }
    return viewOf(
      { ...row, used: row.used - (live?.drawn.length ?? 0) },
      state,
      quorum,
      reachable(() => store.votes(row.id)),
      counting,
    );
  }

  /** For an approver; with `all`, also what was closed, as far back as is looked at. Newest first. */
  list(approver: string, all: boolean, limit: number): readonly ApprovalView[] {
    const views: ApprovalView[] = [];
    for (const row of all ? this.#newestRows() : this.#openRows()) {
      if (views.length >= limit) break;
      if (this.#mayVoteOn(approver, row)) views.push(this.view(row));
    }
    return views;
  }

  /** For an approver who may vote on it, or for who asked. */
  get(
    id: string,
    who: { readonly approver?: string | undefined; readonly spiffeId?: string | undefined },
  ): ApprovalView | undefined {
    const row = reachable(() => this.#o.store.find(id));
    if (row === undefined || row.openedLeaf === null) return undefined;
    const isTheirs = who.spiffeId !== undefined && parseAct(row.act).requester === who.spiffeId;
    const mayVote = who.approver !== undefined && this.#mayVoteOn(who.approver, row);
    return isTheirs || mayVote ? this.view(row) : undefined;
  }

  attachment(id: string, approver: string): Uint8Array | undefined {
    return this.get(id, { approver }) === undefined
      ? undefined
      : reachable(() => this.#o.store.attachment(id));
  }

  /** What has changed for this approver since the cursor; calls `nextChange` while that is nothing. */
  async changes(
    approver: string,
    cursor: number,
    signal: AbortSignal,
    nextChange: (signal: AbortSignal) => Promise<void>,
  ): Promise<{ readonly views: readonly ApprovalView[]; readonly cursor: number }> {
    for (let from = cursor; ; ) {
      const rows = reachable(() => this.#o.store.changedSince(from, PAGE));
      const views = rows.filter((row) => this.#mayVoteOn(approver, row)).map((row) => this.view(row));
      from = rows.at(-1)?.change ?? from;
      if (views.length > 0 || signal.aborted) return { views, cursor: from };
      if (rows.length === 0) await nextChange(signal);
      // Who begins far back and may see little of it reads on in turn with everybody else.
      else await nextTurn();
    }
  }

  get cursor(): number {
    return reachable(() => this.#o.store.lastChange());
  }

  /** What is not on record as asked for is nobody's to see. */
  #mayVoteOn(approver: string, row: ApprovalRow): boolean {
    return row.openedLeaf !== null && this.#o.votes.mayVoteOn(approver, JSON.parse(row.quorum) as Quorum);
  }

  #openRows(): readonly ApprovalRow[] {
    return reachable(() => this.#o.store.inStates(OPEN_STATES)).toReversed();
  }

  /** In pages, as far as somebody reads on. */
  *#newestRows(): Generator<ApprovalRow> {
    let before = Number.MAX_SAFE_INTEGER;
    for (let seen = 0; seen < MAX_LOOKED_AT; seen += PAGE) {
      const rows = reachable(() => this.#o.store.changedBefore(before, PAGE));
      yield* rows;
      if (rows.length < PAGE) return;
      before = rows.at(-1)!.change;
    }
  }
}
