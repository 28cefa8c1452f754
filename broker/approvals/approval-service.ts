/**
 * Requests for approvals, the votes on them and their uses.
 *
 * Longer than most files because the order of the steps is the security property: it is to be read in one piece. Rows
 * are written before their entry and count only after it; what is used is verified again over the act made from the
 * actual request, by the policy in force, in the same turn of the event loop in which it is consumed.
 */
import { randomBytes } from 'node:crypto';
import type { ApprovalPolicy, Quorum } from '../../policy/quorum.ts';
import { canonicalize } from '../audit/canonical.ts';
import type { AuditLog, EntryDraft } from '../audit/entry.ts';
import { Failure } from '../keyuse/failure.ts';
import { type Act, type ApprovalState, actDocument, actTime, approvalId, type VoteSignature } from './act.ts';
import {
  type Actor,
  closeDraft,
  OPERATIONS,
  openDraft,
  subjectOf,
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
  reachable,
  required,
  requiredOfClosed,
  requireReason,
  SET_BACK,
  unlogged,
} from './refusals.ts';
import { Room, type RoomLimits } from './room.ts';
import { type ApprovalLog, checkState, type StateCheck } from './state-check.ts';
import { approverObjection, type CastVote, isQuorate, keyObjection, presenceObjection } from './tally.ts';
import { Telling, type TellingOptions } from './telling.ts';
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

/** What will be drawn of an approval when one transaction is durable: what was before, less what it uses, in turn. */
interface Draw {
  readonly numbers: number[];
  readonly isLast: boolean;
  readonly used: number;
  readonly taken: number;
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
/** Of a large budget, so much at most is taken at once, and at most one in so many: what a crash can lose. */
const MAX_DRAW = 256;
const DRAW_SHARE = 200;
/** Between two syncs of uses, milliseconds: under load one of them serves many. */
const GATHER_MS = 3;
const PRUNE_TICKS = 600;

export class ApprovalService implements Approvals, AskedApprovals {
  readonly #o: ApprovalServiceOptions;
  readonly #limits: ApprovalLimits;
  readonly #live: LiveApprovals;
  readonly #opening = new Map<string, Promise<string>>();
  readonly #votes: VoteCheck;
  readonly #validity: Validity;
  readonly #authority: Validity['authority'];
  readonly #room: Room;
  readonly #lists: ApprovalLists;
  readonly #telling: Telling;
  #taking: Taking[] = [];
  #consumedAt = Number.NEGATIVE_INFINITY;
  #stopped: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #seenPolicy: ApprovalPolicy | undefined;
  /** What it voids has been closed. */
  #voidedFor: ApprovalPolicy | undefined;
  #ticks = 0;
  #progress = -1;
  #emergencyUses = 0;

  constructor(options: ApprovalServiceOptions) {
    this.#o = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#room = new Room(this.#limits);
    this.#live = new LiveApprovals(options.store, this.#room);
    this.#votes = new VoteCheck(options);
    this.#validity = new Validity(options);
    this.#authority = (...of) => this.#validity.authority(...of);
    this.#lists = new ApprovalLists({
      store: options.store,
      live: this.#live,
      votes: this.#votes,
      validity: this.#validity,
    });
    this.#telling = new Telling(options, (row) => this.#lists.view(row));
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
    for (const live of this.#live.values()) {
      const unused = live.drawn.splice(0);
      if (unused.length === 0) continue;
      try {
        this.#o.store.giveUses(live.row.id, unused.length);
      } catch (error) {
        // As after a kill: they stay used. What else ends with the broker does not wait for it.
        this.#o.log('warn', 'unused uses of an approval could not be given back, and stay used', {
          approval: live.row.id,
          uses: unused.length,
          error: String(error),
        });
      }
    }
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
      if (this.#taking.push({ id, petition, resolve, reject }) === 1) this.#consumeSoon();
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

  /** A sync stops everything for as long as it takes: at once when there was none just now, else with what comes. */
  #consumeSoon(): void {
    const waitMs = this.#consumedAt + GATHER_MS - performance.now();
    if (waitMs <= 0) setImmediate(() => this.#consume());
    else setTimeout(() => this.#consume(), waitMs);
  }

  /** Everything that waits, in one transaction and one sync. */
  #consume(): void {
    const taking = this.#taking;
    this.#taking = [];
    this.#consumedAt = performance.now();
    const outcomes: (() => void)[] = [];
    const draws = new Map<LiveApproval, Draw>();
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
    for (const [live, { numbers, isLast, used, taken }] of draws) {
      live.drawn.splice(0, live.drawn.length, ...numbers);
      live.isDrawnOut = isLast;
      live.used = used;
      live.taken = taken;
    }
    for (const live of exhausted) this.#live.forget(live);
    for (const settle of outcomes) settle();
    // A use wakes nobody: all who wait would look again at what has not changed for them.
    if (this.#live.size < openBefore) this.#telling.changed();
    else if ([...draws.keys()].some(({ quorum }) => quorum.emergency)) void this.#telling.deliver();
  }

  /** Inside the transaction. */
  #takeOne(
    { id, petition }: Taking,
    draws: Map<LiveApproval, Draw>,
    exhausted: Set<LiveApproval>,
  ): () => ApprovalUse {
    const live = this.#live.get(id);
    if (live === undefined) throw required(id, 'the approval was closed while you asked');
    const entitled = this.#entitled(live, petition);
    const { act, quorum } = entitled;
    const now = this.#o.clock.now();
    // A copy: what this transaction uses stays drawn when it is not durable.
    let draw = draws.get(live) ?? {
      numbers: [...live.drawn],
      isLast: live.isDrawnOut,
      used: live.used,
      taken: live.taken,
    };
    if (draw.numbers.length === 0) {
      const count = quorum.emergency ? 1 : Math.max(1, Math.min(MAX_DRAW, Math.floor(act.uses / DRAW_SHARE)));
      const taken = this.#o.store.takeUses(id, act.uses, count);
      if (taken === undefined) {
        // Nothing will ever come of it, whatever its row says: left open, it would keep a new one from being asked for.
        this.#o.store.close(id, OPEN_STATES, 'used', '', '', now);
        exhausted.add(live);
        throw required(id, 'the approval is used up');
      }
      const { numbers, used } = taken;
      if (used - numbers.length < draw.used || numbers[0]! <= draw.taken) {
        this.#o.store.close(id, OPEN_STATES, 'expired', SET_BACK, 'lastmile', now);
        exhausted.add(live);
        throw required(id, SET_BACK);
      }
      draw = { numbers: [...numbers], isLast: used >= act.uses, used, taken: numbers.at(-1)! };
    }
    draws.set(live, draw);
    const number = draw.numbers.shift()!;
    const isUsedUp = draw.isLast && draw.numbers.length === 0;
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
    if (!isQuorate(counting, quorum)) throw required(id, this.#standing(live, counting));
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
      if (live === undefined)
        throw requiredOfClosed(
          id,
          reachable(() => this.#o.store.find(id)),
        );
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
      const objection = approverObjection(
        by.approver,
        live.quorum,
        live.act.requester,
        this.#votes.context(),
      );
      if (objection !== undefined) throw new Failure('POLICY_DENIED', `\`${by.approver}\` ${objection}`);
      this.#close(live, 'rejected', reason, by.approver);
      this.#room.ended(live.act, this.#o.clock.now());
      await this.#append(closeDraft(OPERATIONS.reject, id, live.act, by, by.approver, reason));
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
    for (const live of this.#live.values()) {
      if (this.#validity.isVoid(live)) this.#close(live, 'expired', CHANGED, 'lastmile');
    }
    this.#voidedFor = policy;
  }

  /** Once a second: what has expired, what is to be reminded of, what nobody has been told yet. */
  tick(): void {
    try {
      const now = this.#o.clock.now();
      const policy = this.#o.policy();
      const hasChanged = policy !== this.#seenPolicy;
      const ended: (readonly [LiveApproval, string])[] = [];
      const reminded: LiveApproval[] = [];
      for (const live of this.#live.values()) {
        if (this.#validity.isCertainlyOver(live)) ended.push([live, IS_OVER]);
        else if (hasChanged && this.#validity.isVoid(live)) ended.push([live, CHANGED]);
        else if (this.#isReminderDue(live, now)) reminded.push(live);
      }
      if (ended.length + reminded.length > 0)
        this.#o.store.transaction(() => {
          for (const [{ row }, why] of ended)
            if (this.#o.store.close(row.id, OPEN_STATES, 'expired', why, 'lastmile', now))
              this.#telling.tell(row.id, 'expired', now);
          for (const { row } of reminded) this.#telling.tell(row.id, 'reminder', row.notAfter);
        });
      // Not before what it voids is on disk.
      this.#seenPolicy = policy;
      for (const [live] of ended) this.#live.forget(live);
      for (const live of reminded) live.isReminded = true;
      if (ended.length > 0 || hasChanged) this.#telling.changed();
      if (this.#ticks++ % PRUNE_TICKS === 0) {
        this.#o.store.prune(now - this.#limits.retentionMs);
        this.#room.sweep(now);
      }
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

  #isReminderDue(live: LiveApproval, now: number): boolean {
    if (live.isReminded || live.state !== 'open') return false;
    const { openedAt, notAfter } = live.row;
    return now >= notAfter - (notAfter - openedAt) / 5;
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
    const draft: EntryDraft = {
      kind: 'approval',
      subject: by.spiffeId,
      credential: by.credential,
      peer: by.peer,
      operation: OPERATIONS.accept,
      decision: 'allow',
      performed: 'yes',
      detail: { why, problem: this.#stopped, voided: open.length },
    };
    const leafIndex = await this.#append(draft);
    durably(this.#o.store, () => {
      for (const { id } of open)
        this.#o.store.close(
          id,
          OPEN_STATES,
          'expired',
          'the state was put back',
          by.spiffeId,
          this.#o.clock.now(),
        );
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

  #standing(live: LiveApproval, counting: readonly CastVote[]): string {
    return `${counting.length} of ${live.quorum.approvals} approvals are there; until ${live.act.notAfter}`;
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
  async #onRecord<T>(by: Voter, operation: string, id: string, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      if (
        error instanceof Failure &&
        (error.reason === 'POLICY_DENIED' || error.reason === 'REQUEST_INVALID')
      ) {
        await this.#o.audit.appendRefusal({
          kind: 'approval',
          subject: subjectOf(by, by.approver),
          credential: by.credential,
          peer: by.peer,
          operation,
          decision: 'deny',
          reason: error.reason,
          performed: 'no',
          detail: { approval: id.slice(0, 64), approver: by.approver, why: error.message },
        });
      }
      throw error;
    }
  }
}
