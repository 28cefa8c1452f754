/**
 * Requests for approvals, the votes on them and their uses.
 *
 * Longer than most files because the order of the steps is the security property: it is to be read in one piece. Rows
 * are written before their entry and count only after it; what is used is verified again over the act made from the
 * actual request, by the policy in force, in the same turn of the event loop in which it is consumed.
 * What is open, whose votes count, and what clock and policy say are files of their own, which take no step themselves.
 */
import { randomBytes } from 'node:crypto';
import type { ApprovalPolicy, Quorum } from '../../policy/quorum.ts';
import { canonicalize } from '../audit/canonical.ts';
import type { AuditLog, EntryDraft } from '../audit/entry.ts';
import { Failure } from '../keyuse/failure.ts';
import { type Act, type ApprovalState, actDocument, actTime, approvalId, type VoteSignature } from './act.ts';
import {
  type Actor,
  acceptDraft,
  closeDraft,
  OPERATIONS,
  openDraft,
  refusalDraft,
  useRecord,
  voteDraft,
} from './approval-entries.ts';
import { ApprovalLists } from './approval-lists.ts';
import type { ApprovalView } from './approval-view.ts';
import type { Approvals, ApprovalUse, AskedApprovals, Petition } from './approvals.ts';
import { type Asked, actOf, askedOf, requestKeyOf } from './asked-act.ts';
import { type LiveApproval, LiveApprovals, OPEN_STATES } from './live-approvals.ts';
import {
  asFailure,
  CHANGED,
  closedAlready,
  durably,
  IS_OVER,
  noSuch,
  PUT_BACK,
  reachable,
  required,
  requiredOfClosed,
  requireReason,
  SET_BACK,
  standing,
  unlogged,
} from './refusals.ts';
import { Room, type RoomLimits } from './room.ts';
import { type ApprovalLog, checkState, type StateCheck } from './state-check.ts';
import { approverObjection, type CastVote, isQuorate, keyObjection, presenceObjection } from './tally.ts';
import { Telling, type TellingOptions } from './telling.ts';
import { Upkeep } from './upkeep.ts';
import { Draws, Gathering, returnDrawn } from './use-drawing.ts';
import { Validity, type ValidityOptions } from './validity.ts';
import { VoteCheck, type VoteCheckOptions } from './vote-check.ts';

export interface ApprovalLimits extends RoomLimits {
  /** How long what was closed can still be looked at. */
  readonly retentionMs: number;
}

export const DEFAULT_LIMITS: ApprovalLimits = {
  perRequesterAndRule: 20,
  perRule: 1000,
  total: 20_000,
  askedPerHour: 240,
  pauseMs: 30_000,
  maxPauseMs: 15 * 60_000,
  retentionMs: 30 * 86_400_000,
};

export interface ApprovalServiceOptions extends ValidityOptions, VoteCheckOptions, TellingOptions {
  readonly audit: Pick<AuditLog, 'append' | 'appendRefusal' | 'origin' | 'failure' | 'size'>;
  readonly policy: ValidityOptions['policy'];
  readonly limits?: Partial<ApprovalLimits> | undefined;
}

/** Who votes: an approver, as the connection or the sign-in says. */
export interface Voter extends Actor {
  readonly approver: string;
}

interface Entitled {
  readonly act: Act;
  readonly quorum: Quorum;
  readonly counting: readonly CastVote[];
}

interface Taking {
  readonly id: string;
  readonly petition: Petition;
  readonly resolve: (use: ApprovalUse) => void;
  readonly reject: (error: unknown) => void;
}

const TICK_MS = 1000;

export class ApprovalService implements Approvals, AskedApprovals {
  readonly #o: ApprovalServiceOptions;
  readonly #live: LiveApprovals;
  readonly #opening = new Map<string, Promise<string>>();
  readonly #votes: VoteCheck;
  readonly #validity: Validity;
  readonly #authority: Validity['authority'];
  readonly #room: Room;
  readonly #lists: ApprovalLists;
  readonly #telling: Telling;
  readonly #upkeep: Upkeep;
  readonly #taking = new Gathering<Taking>((all) => this.#consume(all));
  #stopped: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** What it voids has been closed. */
  #voidedFor: ApprovalPolicy | undefined;
  #progress = -1;
  #emergencyUses = 0;

  constructor(options: ApprovalServiceOptions) {
    this.#o = options;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#room = new Room(limits);
    this.#live = new LiveApprovals(options.store, this.#room);
    this.#votes = new VoteCheck(options);
    this.#validity = new Validity(options);
    this.#authority = (...of) => this.#validity.authority(...of);
    const parts = { store: options.store, live: this.#live, votes: this.#votes, validity: this.#validity };
    this.#lists = new ApprovalLists(parts);
    this.#telling = new Telling(options, (row) => this.#lists.view(row));
    this.#upkeep = new Upkeep({
      ...parts,
      policy: options.policy,
      room: this.#room,
      telling: this.#telling,
      retentionMs: limits.retentionMs,
    });
  }

  /** Compares the state with the log and begins to serve. Before it, nothing can be approved. */
  async start(log: ApprovalLog): Promise<StateCheck> {
    const check = await checkState(this.#o.store, log, this.#o.clock.now());
    this.#stopped = check.problem;
    this.#progress = this.#o.store.progress;
    this.#live.load(this.#o.clock.now());
    for (const live of this.#live.values()) await this.#votes.verify(live);
    this.#timer = setInterval(() => this.tick(), TICK_MS).unref();
    return check;
  }

  /** Why nothing can be approved until an operator decides; undefined: it can. */
  get stopped(): string | undefined {
    return this.#stopped;
  }

  /** Uses of emergency access since the broker started, whatever came of them. */
  get emergencyUses(): number {
    return this.#emergencyUses;
  }

  get openCount(): number {
    return this.#live.size;
  }

  close(): void {
    clearInterval(this.#timer);
    try {
      this.#putProgress();
    } catch (error) {
      this.#o.log('warn', 'how much of the log approvals have seen is not written', { error: String(error) });
    }
    this.#timer = undefined;
    returnDrawn(this.#live.values(), this.#o);
  }

  // Asking ----------------------------------------------------------------------------------------------------------

  async take(petition: Petition): Promise<ApprovalUse> {
    this.#requireState();
    this.#noticePolicy();
    const asked = askedOf(petition, this.#authority);
    this.#validity.now();
    const id = await this.#findOrOpen(asked, petition);
    const live = this.#live.get(id);
    if (live !== undefined) await this.#votes.verify(live);
    // Drawn before, and durable: nothing has to be written for it.
    if (live !== undefined && live.drawn.length > 0) return this.#useDrawn(live, petition);
    return await new Promise<ApprovalUse>((resolve, reject) => {
      this.#taking.add({ id, petition, resolve, reject });
    });
  }

  async ask(petition: Petition): Promise<{ readonly id: string; readonly isApproved: boolean }> {
    this.#requireState();
    this.#noticePolicy();
    const asked = askedOf(petition, this.#authority);
    this.#validity.now();
    const id = await this.#findOrOpen(asked, petition);
    const live = this.#live.get(id);
    if (live === undefined) return { id, isApproved: false };
    await this.#votes.verify(live);
    const quorum = petition.allowance.quorum!;
    return { id, isApproved: isQuorate(this.#votes.counting(live, quorum), quorum) };
  }

  isApproved(petition: Petition): boolean {
    const { quorum } = petition.allowance;
    if (this.#stopped !== undefined || quorum === undefined) return false;
    this.#noticePolicy();
    let asked: Asked;
    try {
      asked = askedOf(petition, this.#authority);
    } catch (error) {
      // What nobody can be asked about, nobody has agreed to: it hides no other rule of the request.
      if (error instanceof Failure) return false;
      throw error;
    }
    const live = this.#live.ofRequest(requestKeyOf(asked));
    return (
      live !== undefined &&
      !this.#validity.isOver(live) &&
      !this.#validity.isVoid(live) &&
      isQuorate(this.#votes.counting(live, quorum), quorum)
    );
  }

  async #findOrOpen(asked: Asked, petition: Petition): Promise<string> {
    const requestKey = requestKeyOf(asked);
    const live = this.#live.ofRequest(requestKey);
    if (live !== undefined) {
      if (!this.#validity.isOver(live)) return live.row.id;
      this.#close(live, 'expired', IS_OVER, 'lastmile');
    }
    return this.#opening.get(requestKey) ?? this.#open(requestKey, asked, petition);
  }

  #open(requestKey: string, asked: Asked, petition: Petition): Promise<string> {
    const quorum = petition.allowance.quorum!;
    const now = this.#validity.now();
    this.#room.demand(asked, now);
    const act = actOf(this.#o.audit.origin, asked, {
      notBefore: actTime(now),
      notAfter: actTime(now + quorum.withinMs),
      nonce: randomBytes(16).toString('base64url'),
    });
    const document = actDocument(act);
    const id = approvalId(document);
    const attachment = asked.content.kind === 'attached' ? petition.attachment : undefined;
    durably(this.#o.store, () =>
      this.#o.store.insert(
        {
          id,
          requestKey,
          act: document,
          catalogEntry: petition.catalogEntry,
          quorum: JSON.stringify(quorum),
          state: 'open',
          openedAt: now,
          notAfter: Date.parse(act.notAfter),
          openedLeaf: null,
        },
        attachment,
      ),
    );
    this.#room.asked(asked, now);
    // Its place while its entry is on the way; then what is open has one of its own.
    this.#room.enter(asked);
    const opened = this.#append(openDraft(id, act, quorum))
      .then((leafIndex) => {
        durably(this.#o.store, () => {
          this.#o.store.opened(id, leafIndex);
          this.#telling.tell(id, 'opened', now);
        });
        this.#live.remember(this.#o.store.find(id)!);
        this.#telling.changed();
        return id;
      })
      .finally(() => {
        this.#opening.delete(requestKey);
        this.#room.leave(asked);
      });
    this.#opening.set(requestKey, opened);
    return opened;
  }

  // Using -----------------------------------------------------------------------------------------------------------

  /** Everything that waits, in one transaction and one sync. */
  #consume(taking: readonly Taking[]): void {
    const outcomes: (() => void)[] = [];
    const draws = new Draws(this.#o.store);
    const exhausted = new Set<LiveApproval>();
    const openBefore = this.#live.size;
    try {
      this.#requireState();
      this.#o.store.transaction(() => {
        for (const one of taking) {
          try {
            const use = this.#takeOne(one, draws, exhausted);
            outcomes.push(() => one.resolve(use()));
          } catch (error) {
            if (!(error instanceof Failure)) throw error;
            outcomes.push(() => one.reject(error));
          }
        }
      });
    } catch (cause) {
      const failure = asFailure(cause);
      for (const { reject } of taking) reject(failure);
      return;
    }
    const drawn = draws.apply();
    for (const live of exhausted) this.#live.forget(live);
    for (const settle of outcomes) settle();
    // A use wakes nobody: all who wait would look again at what has not changed for them.
    if (this.#live.size < openBefore) this.#telling.changed();
    else if (drawn.some(({ quorum }) => quorum.emergency)) void this.#telling.deliver();
  }

  /** Inside the transaction. */
  #takeOne({ id, petition }: Taking, draws: Draws, exhausted: Set<LiveApproval>): () => ApprovalUse {
    const live = this.#live.get(id);
    if (live === undefined) throw required(id, 'the approval was closed while you asked');
    const entitled = this.#entitled(live, petition);
    const { act, quorum } = entitled;
    const now = this.#o.clock.now();
    const drawn = draws.next(live, act.uses, quorum.emergency);
    if (drawn === 'used-up') {
      // Nothing will ever come of it, whatever its row says: left open, it would keep a new one from being asked for.
      this.#o.store.close(id, OPEN_STATES, 'used', '', '', now);
      exhausted.add(live);
      throw required(id, 'the approval is used up');
    }
    if (drawn === 'set-back') {
      this.#o.store.close(id, OPEN_STATES, 'expired', SET_BACK, 'lastmile', now);
      exhausted.add(live);
      throw required(id, SET_BACK);
    }
    const { number, isLast: isUsedUp } = drawn;
    if (isUsedUp) this.#o.store.close(id, OPEN_STATES, 'used', '', '', now);
    if (quorum.emergency) this.#telling.tell(id, 'emergency-used', now);
    return () => {
      if (isUsedUp) this.#live.forget(live);
      return this.#use(live, entitled, number);
    };
  }

  /** @throws Failure APPROVAL_REQUIRED */
  #useDrawn(live: LiveApproval, petition: Petition): ApprovalUse {
    this.#requireState();
    const { id } = live.row;
    if (this.#live.get(id) !== live) throw required(id, 'the approval was closed while you asked');
    const entitled = this.#entitled(live, petition);
    const use = this.#use(live, entitled, live.drawn.shift()!);
    if (live.isDrawnOut && live.drawn.length === 0) {
      try {
        this.#close(live, 'used', '', '');
      } catch (error) {
        // Nothing is left of it, whatever its row says.
        this.#o.log('warn', 'that an approval is used up is not written', {
          approval: id,
          error: String(error),
        });
      }
    }
    return use;
  }

  /**
   * Whether this very petition may use the approval now. Nothing of what was found before is believed but the pure
   * results of checking signatures. @throws Failure APPROVAL_REQUIRED
   */
  #entitled(live: LiveApproval, petition: Petition): Entitled {
    const { id } = live.row;
    const quorum = petition.allowance.quorum!;
    const act = actOf(this.#o.audit.origin, askedOf(petition, this.#authority), live.act);
    const withinMs = Date.parse(act.notAfter) - Date.parse(act.notBefore);
    if (actDocument(act) !== live.row.act || withinMs > quorum.withinMs + 1000)
      throw required(id, 'what is asked for is not what was approved');
    if (this.#validity.isOver(live)) throw required(id, 'the approval has expired');
    const counting = this.#votes.counting(live, quorum);
    if (!isQuorate(counting, quorum)) throw required(id, standing(live, counting));
    // As many as it takes: an entry has no room for everybody who may have agreed.
    return { act, quorum, counting: counting.slice(0, quorum.approvals) };
  }

  #use(live: LiveApproval, { act, quorum, counting }: Entitled, number: number): ApprovalUse {
    const { id } = live.row;
    if (quorum.emergency) {
      this.#emergencyUses++;
      this.#o.log('warn', 'emergency access was used', {
        approval: id,
        rule: act.rule,
        requester: act.requester,
      });
    }
    return {
      id,
      votes: counting.map(({ leafIndex }) => leafIndex),
      isEmergency: quorum.emergency,
      record: useRecord(id, number, counting, quorum.emergency),
      giveBack: () => this.#giveBack(live, number),
    };
  }

  #giveBack(live: LiveApproval, number: number): void {
    const { id } = live.row;
    if (live.drawn.length > 0 && this.#live.get(id) === live) {
      live.drawn.push(number);
      return;
    }
    try {
      this.#o.store.transaction(() => {
        this.#o.store.giveUses(id, 1);
        this.#o.store.reopen(id);
      });
    } catch (error) {
      this.#o.log('error', 'a use of an approval could not be given back, and stays used', {
        approval: id,
        error: String(error),
      });
      return;
    }
    live.isDrawnOut = false;
    live.used--;
    const state = this.#o.store.find(id)?.state;
    if (this.#stopped !== undefined || (state !== 'approved' && state !== 'open')) return;
    this.#live.hold(live);
  }

  async approved(id: string, signal: AbortSignal): Promise<void> {
    for (;;) {
      // First: an approval that is there says nothing to somebody whose time is over.
      if (signal.aborted) throw required(id, 'not yet approved');
      this.#requireState();
      const live = this.#live.get(id);
      if (live === undefined) throw requiredOfClosed(id, this.#o.store);
      await this.#votes.verify(live);
      if (this.#validity.isOver(live)) throw required(id, 'the approval has expired');
      if (this.#validity.isVoid(live)) {
        this.#close(live, 'expired', CHANGED, 'lastmile');
        throw required(id, 'the rule or the key has changed since: ask again');
      }
      if (isQuorate(this.#votes.counting(live, live.quorum), live.quorum)) return;
      await this.#telling.nextChange(signal);
    }
  }

  // Voting ----------------------------------------------------------------------------------------------------------

  /**
   * Takes an approver's signature: by whoever hands it in, for the person whose key made it.
   *
   * @param person whose signature it is; `by` may hand in another's
   * @throws Failure
   */
  async approve(id: string, person: string, signature: VoteSignature, by: Voter): Promise<ApprovalView> {
    return this.#onRecord(by, OPERATIONS.approve, id, async () => {
      this.#requireState();
      const live = this.#votable(id, by);
      const context = this.#votes.context();
      const objection = approverObjection(person, live.quorum, live.act.requester, context);
      if (objection !== undefined) throw new Failure('POLICY_DENIED', `\`${person}\` ${objection}`);
      const { key, found } = await this.#votes.keyOf(person, signature, live);
      const problem =
        keyObjection(person, key, live.quorum, context) ??
        presenceObjection({ signature }, found, live.quorum);
      if (problem !== undefined) throw new Failure('POLICY_DENIED', `\`${person}\` ${problem}`);
      // The signature was read meanwhile: a rejection may have come between.
      this.#votable(id, by);
      if (this.#votes.counting(live, live.quorum).some(({ approver }) => approver === person))
        throw new Failure(
          'REQUEST_INVALID',
          `\`${person}\` has approved this already: another person is needed`,
        );
      const number = live.nextVote++;
      durably(this.#o.store, () =>
        this.#o.store.insertVote({
          approval: id,
          number,
          approver: person,
          key: JSON.stringify(key),
          signature: canonicalize(signature),
          leaf: null,
        }),
      );
      const leafIndex = await this.#append(
        voteDraft(id, live.act, by, { number, approver: person, key, signature }),
      );
      const vote: CastVote = { approver: person, key, signature, leafIndex };
      this.#votes.verified(vote, found);
      const isOpen = this.#live.get(id) === live;
      const votes = [...live.votes, vote];
      const isApproved =
        isOpen &&
        live.state === 'open' &&
        isQuorate(this.#votes.counting({ ...live, votes }, live.quorum), live.quorum);
      durably(this.#o.store, () => {
        this.#o.store.voteLogged(id, number, leafIndex);
        if (isApproved) {
          this.#o.store.setState(id, 'open', 'approved');
          this.#telling.tell(id, 'approved', this.#o.clock.now());
        } else this.#o.store.touch(id);
      });
      live.votes = votes;
      if (isApproved) live.state = 'approved';
      this.#telling.changed();
      return this.#lists.view(this.#o.store.find(id)!);
    });
  }

  /** Final. Needs no signature: it makes nothing possible, and one over the act would read as an approval. */
  async reject(id: string, reason: string, by: Voter): Promise<ApprovalView> {
    return this.#onRecord(by, OPERATIONS.reject, id, async () => {
      this.#requireState();
      requireReason(reason);
      const live = this.#votable(id, by);
      const { quorum, act } = live;
      const objection = approverObjection(by.approver, quorum, act.requester, this.#votes.context());
      if (objection !== undefined) throw new Failure('POLICY_DENIED', `\`${by.approver}\` ${objection}`);
      this.#close(live, 'rejected', reason, by.approver);
      this.#room.ended(act, this.#o.clock.now());
      await this.#append(closeDraft(OPERATIONS.reject, id, act, by, by.approver, reason));
      return this.#lists.view(this.#o.store.find(id)!);
    });
  }

  /** By who asked. */
  async withdraw(id: string, by: Actor): Promise<ApprovalView> {
    this.#requireState();
    const live = this.#live.get(id);
    if (live === undefined || live.act.requester !== by.spiffeId) throw noSuch();
    this.#close(live, 'withdrawn', 'by who asked', by.spiffeId);
    // As after a rejection: whoever asks and takes back in turn would still have told approvers each time.
    this.#room.ended(live.act, this.#o.clock.now());
    await this.#append(closeDraft(OPERATIONS.withdraw, id, live.act, by, undefined, 'by who asked'));
    return this.#lists.view(this.#o.store.find(id)!);
  }

  /** @throws Failure */
  #votable(id: string, by: Voter): LiveApproval {
    const live = this.#live.get(id);
    if (live === undefined) {
      const row = this.#o.store.find(id);
      if (row === undefined || !this.#votes.mayVoteOn(by.approver, JSON.parse(row.quorum) as Quorum))
        throw noSuch();
      throw closedAlready(row);
    }
    if (!this.#votes.mayVoteOn(by.approver, live.quorum)) throw noSuch();
    this.#validity.now();
    if (this.#validity.isOver(live)) throw new Failure('REQUEST_INVALID', 'the approval has expired');
    if (this.#validity.isVoid(live)) {
      this.#close(live, 'expired', CHANGED, 'lastmile');
      throw new Failure(
        'REQUEST_INVALID',
        'the rule or the key has changed since: it has to be asked for again',
      );
    }
    return live;
  }

  // Looking ---------------------------------------------------------------------------------------------------------

  /** The approver that this SPIFFE ID is; undefined: none. A frozen one is none. */
  approverOf(spiffeId: string): string | undefined {
    return this.#votes.approverOf(spiffeId);
  }

  /** What this approver may vote on; with `all`, also what was closed, of the newest 20,000. Newest first. */
  list(
    approver: string,
    options: { readonly all?: boolean; readonly limit?: number } = {},
  ): readonly ApprovalView[] {
    return this.#lists.list(approver, options.all ?? false, options.limit ?? 100);
  }

  /** For an approver who may vote on it, or for who asked. */
  get(
    id: string,
    who: { readonly approver?: string | undefined; readonly spiffeId?: string | undefined },
  ): ApprovalView | undefined {
    return this.#lists.get(id, who);
  }

  attachment(id: string, approver: string): Uint8Array | undefined {
    return this.#lists.attachment(id, approver);
  }

  /** What has changed for this approver since the cursor; waits for something until the signal fires. */
  changes(
    approver: string,
    cursor: number,
    signal: AbortSignal,
  ): Promise<{ readonly views: readonly ApprovalView[]; readonly cursor: number }> {
    return this.#lists.changes(approver, cursor, signal, (of) => this.#telling.nextChange(of));
  }

  /** Where `changes` would begin to be told only what comes. */
  get cursor(): number {
    return this.#lists.cursor;
  }

  // Time and state ---------------------------------------------------------------------------------------------------

  /** What another policy has voided stays void, also when the one before it comes back within the second. */
  #noticePolicy(): void {
    const policy = this.#o.policy();
    if (policy === this.#voidedFor) return;
    for (const live of this.#live.values())
      if (this.#validity.isVoid(live)) this.#close(live, 'expired', CHANGED, 'lastmile');
    this.#voidedFor = policy;
  }

  /** Once a second: what has expired, what is to be reminded of, what nobody has been told yet. */
  tick(): void {
    try {
      this.#upkeep.run(this.#o.clock.now());
      this.#putProgress();
    } catch (error) {
      this.#o.log('warn', 'the state of approvals cannot be written', { error: String(error) });
    }
    void this.#telling.deliver();
  }

  /** All durable entries have their rows: those come first. */
  #putProgress(): void {
    const { size } = this.#o.audit;
    if (this.#stopped !== undefined || this.#timer === undefined || size <= this.#progress) return;
    this.#o.store.putProgress(size);
    this.#progress = size;
  }

  /**
   * An operator has looked into why state and log disagree: everything that is open is void, and is asked for again.
   *
   * @throws Failure
   */
  async acceptState(
    by: Actor,
    why: string,
  ): Promise<{ readonly voided: number; readonly leafIndex: number }> {
    requireReason(why);
    if (this.#stopped === undefined)
      throw new Failure('REQUEST_INVALID', 'state and log agree: there is nothing to accept');
    const open = reachable(() => this.#o.store.inStates(OPEN_STATES));
    const leafIndex = await this.#append(acceptDraft(by, why, this.#stopped, open.length));
    durably(this.#o.store, () => {
      const now = this.#o.clock.now();
      for (const { id } of open) this.#o.store.close(id, OPEN_STATES, 'expired', PUT_BACK, by.spiffeId, now);
      this.#o.store.putProgress(leafIndex + 1);
    });
    this.#stopped = undefined;
    this.#progress = leafIndex + 1;
    this.#live.load(this.#o.clock.now());
    this.#telling.changed();
    return { voided: open.length, leafIndex };
  }

  #close(live: LiveApproval, state: ApprovalState, reason: string, by: string): void {
    const { id } = live.row;
    const now = this.#o.clock.now();
    durably(this.#o.store, () => {
      if (!this.#o.store.close(id, OPEN_STATES, state, reason, by, now)) return;
      if (state === 'rejected' || state === 'expired' || state === 'withdrawn')
        this.#telling.tell(id, state, now);
    });
    this.#live.forget(live);
    this.#telling.changed();
  }

  #requireState(): void {
    if (this.#timer === undefined) throw new Failure('BUSY', 'approvals are not yet served');
    if (this.#stopped !== undefined)
      throw new Failure('BUSY', 'approvals are stopped until an operator has looked at their state');
  }

  async #append(draft: EntryDraft): Promise<number> {
    try {
      return (await this.#o.audit.append(draft)).leafIndex;
    } catch (cause) {
      throw unlogged(cause);
    }
  }

  /** A vote that is refused is on record as well. */
  async #onRecord<T>(
    by: Voter,
    operation: Parameters<typeof refusalDraft>[0],
    id: string,
    run: () => Promise<T>,
  ): Promise<T> {
    try {
      return await run();
    } catch (error) {
      if (
        error instanceof Failure &&
        (error.reason === 'POLICY_DENIED' || error.reason === 'REQUEST_INVALID')
      ) {
        await this.#o.audit.appendRefusal(refusalDraft(operation, id, by, error));
      }
      throw error;
    }
  }
}
