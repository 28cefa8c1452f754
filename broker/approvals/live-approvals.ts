/**
 * The approvals that are open, in memory: what its row says, its votes, and the uses that were taken of it in advance.
 * Rows have no authority and memory has no durability: the service writes rows first, and changes this after.
 *
 * `LiveApprovals` owns which of them there are, the way from a request to its approval, and the place that each has in
 * the room. What is in one of them is the service's to change.
 */
import type { ApproverKey, Quorum } from '../../policy/quorum.ts';
import type { ApprovalRow, ApprovalStore } from '../state/approval-rows.ts';
import { type Act, parseAct, type VoteSignature } from './act.ts';
import type { Room } from './room.ts';
import type { CastVote } from './tally.ts';

export interface LiveApproval {
  readonly row: Omit<ApprovalRow, 'state' | 'used' | 'taken'>;
  readonly act: Act;
  readonly quorum: Quorum;
  state: 'open' | 'approved';
  votes: readonly CastVote[];
  nextVote: number;
  isReminded: boolean;
  /** Uses that are taken durably and not used yet; a crash loses them. `isDrawnOut`: there are no others. */
  readonly drawn: number[];
  isDrawnOut: boolean;
  /** What its row says at least, while the broker runs: uses that count, and the highest number. */
  used: number;
  taken: number;
}

/** States of a row that is open. */
export const OPEN_STATES = ['open', 'approved'] as const;
const HOUR_MS = 3_600_000;

export class LiveApprovals {
  readonly #store: ApprovalStore;
  readonly #room: Room;
  readonly #byId = new Map<string, LiveApproval>();
  readonly #byRequest = new Map<string, string>();

  constructor(store: ApprovalStore, room: Room) {
    this.#store = store;
    this.#room = room;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** Whoever goes through them may forget one meanwhile. */
  values(): MapIterator<LiveApproval> {
    return this.#byId.values();
  }

  get(id: string): LiveApproval | undefined {
    return this.#byId.get(id);
  }

  /** The one that this request, asked again, finds. */
  ofRequest(requestKey: string): LiveApproval | undefined {
    return this.#byId.get(this.#byRequest.get(requestKey) ?? '');
  }

  /** Forgets everything, and begins with what the rows say: those that state and log agree on. */
  load(now: number): void {
    this.#byId.clear();
    this.#byRequest.clear();
    this.#room.clear();
    const store = this.#store;
    for (const row of store.inStates(OPEN_STATES)) {
      if (row.openedLeaf === null) continue;
      // Drawn to the last and killed before that was used: nothing is left of it, and a new one can be asked for.
      if (row.used >= parseAct(row.act).uses) store.close(row.id, OPEN_STATES, 'used', '', '', now);
      else this.remember(row);
    }
    const since = now - HOUR_MS;
    const ended = [...store.closedSince('rejected', since), ...store.closedSince('withdrawn', since)];
    for (const { act, closedAt } of ended.sort((a, b) => a.closedAt - b.closedAt))
      this.#room.ended(parseAct(act), closedAt);
    for (const { act, openedAt } of store.openedSince(since)) this.#room.asked(parseAct(act), openedAt);
  }

  /** From its row, once the entry that opened it is durable. */
  remember(row: ApprovalRow): void {
    const votes = this.#store.votes(row.id);
    this.#enter({
      row,
      act: parseAct(row.act),
      quorum: JSON.parse(row.quorum) as Quorum,
      state: row.state as LiveApproval['state'],
      votes: votes.flatMap(({ approver, key, signature, leaf }) =>
        leaf === null
          ? []
          : [
              {
                approver,
                key: JSON.parse(key) as ApproverKey,
                signature: JSON.parse(signature) as VoteSignature,
                leafIndex: leaf,
              },
            ],
      ),
      nextVote: (votes.at(-1)?.number ?? 0) + 1,
      isReminded: false,
      drawn: [],
      isDrawnOut: false,
      used: row.used,
      taken: row.taken,
    });
    this.#byRequest.set(row.requestKey, row.id);
  }

  /** Open again: asked for again meanwhile, the newer one stands; this one is found by its id. */
  hold(live: LiveApproval): void {
    const { id, requestKey } = live.row;
    this.#enter(live);
    if (!this.#byRequest.has(requestKey)) this.#byRequest.set(requestKey, id);
  }

  forget(live: LiveApproval): void {
    const { id, requestKey } = live.row;
    if (this.#byId.delete(id)) this.#room.leave(live.act);
    if (this.#byRequest.get(requestKey) === id) this.#byRequest.delete(requestKey);
  }

  #enter(live: LiveApproval): void {
    if (!this.#byId.has(live.row.id)) this.#room.enter(live.act);
    this.#byId.set(live.row.id, live);
  }
}
