/**
 * The state of approvals against the log, at start. Whatever the log has of approvals was in the rows before: rows are
 * written first. What the log has and the rows have not was lost, or an older copy was put back; what rows have and the
 * log has not was never finished, or somebody else wrote it.
 */

import { canonicalize } from '../audit/canonical.ts';
import type { EntryDraft } from '../audit/entry.ts';
import type { ApprovalRow, ApprovalStore } from '../state/approval-rows.ts';
import { type ApprovalDetail, citedUse, OPERATIONS } from './approval-entries.ts';

export interface ApprovalLog {
  /** Durable entries. */
  readonly size: number;
  /** In their order, from this one on. */
  read(fromLeaf: number): AsyncIterable<{ readonly leafIndex: number; readonly entry: EntryDraft }>;
}

export interface StateCheck {
  /** Why approvals stop until an operator decides; undefined: state and log agree. */
  readonly problem: string | undefined;
  /** Approvals that the rows had and the log had not; they are gone. */
  readonly unfounded: number;
}

/** How far back uses of open approvals are counted again, entries: a few seconds of reading. */
const MAX_RECHECK = 300_000;
const OPEN = ['open', 'approved'] as const;

export async function checkState(store: ApprovalStore, log: ApprovalLog, now: number): Promise<StateCheck> {
  const { progress } = store;
  const size = log.size;
  if (progress > size)
    return { problem: 'the state of approvals has seen more entries than the log has', unfounded: 0 };
  const open = store.inStates(OPEN);
  const oldest = open.reduce((least, { openedLeaf }) => Math.min(least, openedLeaf ?? progress), progress);
  const fromLeaf = Math.max(oldest, Math.min(progress, size - MAX_RECHECK), 0);
  const found = new Findings(store, progress);
  for await (const { leafIndex, entry } of log.read(fromLeaf)) {
    if (leafIndex < fromLeaf || leafIndex >= size) continue;
    found.look(leafIndex, entry);
    if (found.problem !== undefined) return { problem: found.problem, unfounded: 0 };
  }
  let unfounded = 0;
  store.transaction(() => {
    for (const row of open) {
      const current = store.find(row.id);
      if (current === undefined) continue;
      const problem = found.objection(current, fromLeaf);
      if (problem === 'never finished') store.remove(row.id);
      else if (problem !== undefined) {
        unfounded++;
        store.close(row.id, OPEN, 'expired', problem, 'lastmile', now);
      }
    }
    store.putProgress(size);
  });
  return { problem: undefined, unfounded };
}

class Findings {
  problem: string | undefined;
  readonly #store: ApprovalStore;
  readonly #progress: number;
  /** Leaf index of the entry that opened an approval, and of those that say who approved it. */
  readonly #opened = new Map<string, number>();
  readonly #votes = new Map<string, Set<number>>();
  /** Entries that cite an approval, and the numbers of those uses that ran or may have run. */
  readonly #uses = new Map<string, { entries: number; readonly ran: Set<number> }>();

  constructor(store: ApprovalStore, progress: number) {
    this.#store = store;
    this.#progress = progress;
  }

  look(leafIndex: number, entry: EntryDraft): void {
    const use = citedUse(entry);
    if (use !== undefined) this.#used(leafIndex, use.id, use.use, entry.performed !== 'no');
    if (entry.kind !== 'approval' || entry.decision !== 'allow' || entry.detail === undefined) return;
    const detail = entry.detail as unknown as ApprovalDetail;
    const row = this.#store.find(detail.approval);
    const isNew = leafIndex >= this.#progress;
    switch (entry.operation) {
      case OPERATIONS.open:
        if (row === undefined) {
          if (isNew) this.#lost(leafIndex, 'an approval that was asked for');
          return;
        }
        if (canonicalize(detail.act) !== row.act) {
          this.#lost(leafIndex, 'an approval of another act');
          return;
        }
        this.#opened.set(row.id, leafIndex);
        if (row.openedLeaf === null) this.#store.opened(row.id, leafIndex);
        return;
      case OPERATIONS.approve: {
        const vote = this.#store.votes(detail.approval).find(({ number }) => number === detail.number);
        if (vote === undefined || vote.signature !== canonicalize(detail.signature)) {
          if (isNew) this.#lost(leafIndex, 'an approval that was given');
          return;
        }
        if (vote.leaf === null) this.#store.voteLogged(vote.approval, vote.number, leafIndex);
        const leaves = this.#votes.get(vote.approval) ?? new Set();
        this.#votes.set(vote.approval, leaves.add(leafIndex));
        return;
      }
      case OPERATIONS.reject:
      case OPERATIONS.withdraw:
        if (row === undefined ? isNew : OPEN.includes(row.state as 'open'))
          this.#lost(leafIndex, 'an approval that was refused or withdrawn');
        return;
      default:
        return;
    }
  }

  /** Why an open approval is not what the log says; undefined: it is. */
  objection(row: ApprovalRow, fromLeaf: number): string | undefined {
    if (row.openedLeaf === null) return 'never finished';
    if (row.openedLeaf < fromLeaf) return 'opened too long ago to count its uses again after a restart';
    if (this.#opened.get(row.id) !== row.openedLeaf) return 'the log does not know it';
    // A use that ran is never given back: with fewer in the row, somebody else has put them there.
    if (row.used < (this.#uses.get(row.id)?.ran.size ?? 0)) return 'the log has more uses than the state';
    const leaves = this.#votes.get(row.id);
    const isKnown = this.#store
      .votes(row.id)
      .every(({ leaf }) => leaf === null || leaves?.has(leaf) === true);
    return isKnown ? undefined : 'the log does not know one of its approvals';
  }

  #used(leafIndex: number, id: string, use: number, mayHaveRun: boolean): void {
    const uses = this.#uses.get(id) ?? { entries: 0, ran: new Set() };
    this.#uses.set(id, uses);
    uses.entries++;
    // Without a number, every entry is a use of its own: below zero, where no number is.
    if (mayHaveRun) uses.ran.add(use > 0 ? use : -uses.entries);
    const row = this.#store.find(id);
    if (row === undefined) {
      if (leafIndex >= this.#progress) this.#lost(leafIndex, 'an approval that was used');
    } else if (row.taken < (use > 0 ? use : uses.entries)) this.#lost(leafIndex, 'a use of an approval');
  }

  #lost(leafIndex: number, what: string): void {
    this.problem ??= `the log has ${what} (entry ${leafIndex}) and the state has not: it was lost, or an older copy was put back`;
  }
}
