import type { Allowance, Decision, Observation } from '../../policy/decision.ts';
import type { Approvals, ApprovalUse, Petition } from '../approvals/approvals.ts';
import type { EntryValue } from '../audit/entry.ts';
import type { WorkloadIdentity } from '../identity/identity.ts';
import type { Call } from './call.ts';
import { Failure, type PerformedUse } from './failure.ts';
import { encodeGuards } from './guards/guard-entries.ts';
import type { GuardStore, Reservation } from './guards/guards.ts';
import { chargesFor, encodeCharges } from './limits/charges.ts';
import type { Charge, Consumption, LimitCounters } from './limits/limits.ts';

/** Refusals by limits are limited themselves, so that probing is not free. */
export interface RefusalLimiter {
  /** Counts one refusal; milliseconds to wait when there were too many, undefined when there were not. */
  refused(spiffeId: string, nowMs: number): number | undefined;
  /** Milliseconds that this workload has to wait before anything with a limit is looked at; undefined: none. */
  penalty(spiffeId: string, nowMs: number): number | undefined;
}

export interface SpendingOptions {
  readonly limits: LimitCounters;
  readonly guards: GuardStore;
  readonly refusals: RefusalLimiter;
  readonly approvals: Approvals;
  /** Monotonic milliseconds mapped to the epoch. */
  readonly now: () => number;
  /** An entry that consumed something is durable. */
  readonly onUsed?:
    | ((
        leafIndex: number,
        timeMs: number,
        spiffeId: string,
        key: string,
        charges: readonly EntryValue[],
      ) => void)
    | undefined;
}

/** A permitted use, as far as its costs are concerned. */
export interface Purchase {
  readonly decision: Decision;
  readonly identity: WorkloadIdentity;
  readonly key: string;
  readonly bytes: number;
  /** The caller asks for emergency access, where a rule has it. */
  readonly isEmergency: boolean;
  /** What people are to agree to; asked for only when a rule wants them to. */
  readonly petition: () => Omit<Petition, 'allowance'>;
}

/** What a permitted use has taken from limits and guards, until it is known what came of it. */
export interface Spent {
  /** The rule that decided: the first whose limits had room. */
  readonly rule: string;
  readonly allowance: Allowance | undefined;
  /** As the entry says it, so that it is counted again after a restart. */
  readonly charges: readonly EntryValue[];
  readonly guards: readonly EntryValue[];
  readonly approval: ApprovalUse | undefined;
  /** Rules on probation that would have refused, and what they lack. */
  readonly observed: readonly Observation[];
  /**
   * Reserves the guards' values durably for exactly this content (its SHA-256, made only when there are any). Just
   * before the token is asked.
   *
   * @throws Failure POLICY_DENIED
   */
  reserve(contentSha256: () => Uint8Array): void;
  /** Once: `no` gives everything back, anything else uses it up. */
  settle(performed: PerformedUse): void;
}

const NO_CHARGES: readonly EntryValue[] = Object.freeze([]);
const NO_GUARDS: readonly EntryValue[] = Object.freeze([]);
const NOTHING_OBSERVED: readonly Observation[] = Object.freeze([]);

/**
 * What a decision uses up, taken in one step before the token is asked (DESIGN section 4). A use whose outcome is not
 * known stays counted.
 */
export class Spending {
  readonly #o: SpendingOptions;

  constructor(options: SpendingOptions) {
    this.#o = options;
  }

  /** To be told of every durable entry of a use that ran or may have run. */
  recorded(leafIndex: number, spent: Spent, identity: WorkloadIdentity, key: string): void {
    if (spent.charges.length === 0) return;
    this.#o.onUsed?.(leafIndex, this.#o.now(), identity.spiffeId.id, key, spent.charges);
  }

  /** Resolves when people have agreed. @throws Failure when they have not, or nobody waits any longer */
  async approved(id: string, call: Call): Promise<void> {
    const giveUp = new AbortController();
    const stop = (): void => giveUp.abort();
    const timer = setTimeout(stop, Math.max(0, call.deadline - performance.now()));
    call.addEventListener('abort', stop);
    if (call.aborted) stop();
    try {
      await this.#o.approvals.approved(id, giveUp.signal);
    } catch (error) {
      if (!giveUp.signal.aborted) throw error;
      throw call.aborted
        ? new Failure('CANCELLED', 'the caller went away')
        : // Of all that ends a wait, what can still be approved: whoever asks again goes on waiting for the same.
          new Failure('APPROVAL_REQUIRED', 'not yet approved', {
            metadata: { approval: id, state: 'open' },
          });
    } finally {
      clearTimeout(timer);
      call.removeEventListener('abort', stop);
    }
  }

  /** @throws Failure RATE_LIMITED with `retry_after`, APPROVAL_REQUIRED with `approval` */
  take(purchase: Purchase): Spent | Promise<Spent> {
    const { alternatives, rule, observed } = purchase.decision;
    if (observed !== undefined) return this.#takeObserved(purchase);
    const first = alternatives?.[0];
    if (first === undefined) return new NothingSpent(rule, undefined);
    if (isFree(first)) return new NothingSpent(first.rule, first);
    return this.#takeFirst(alternatives!, purchase);
  }

  /** Rules on probation count as if they were in force; only what they say has no effect. */
  async #takeObserved(purchase: Purchase): Promise<Spent> {
    const { alternatives, rule, observed = [] } = purchase.decision;
    const seen: Observation[] = [];
    for (const observation of observed) {
      const charges = this.#charges(observation.limits, purchase);
      const counted = charges.length === 0 || (await this.#o.limits.consume(charges, this.#o.now())).ok;
      seen.push(
        counted ? observation : { ...observation, missing: [...observation.missing, 'a limit is used up'] },
      );
    }
    const first = alternatives?.[0];
    const spent =
      first === undefined
        ? new NothingSpent(rule, undefined)
        : isFree(first)
          ? new NothingSpent(first.rule, first)
          : await this.#takeFirst(alternatives!, purchase);
    spent.observed = seen;
    return spent;
  }

  #charges(limits: Allowance['limits'], { identity, key, bytes }: Purchase): readonly Charge[] {
    return chargesFor(limits, { spiffeId: identity.spiffeId.id, key, bytes });
  }

  async #takeFirst(alternatives: readonly Allowance[], purchase: Purchase): Promise<NothingSpent | Taken> {
    const { key } = purchase;
    const { id: spiffeId } = purchase.identity.spiffeId;
    const now = this.#o.now();
    const penalty = this.#o.refusals.penalty(spiffeId, now);
    if (penalty !== undefined) throw rateLimited(penalty);
    // Undefined: no rule will ever have room for this.
    let soonest: number | undefined;
    let needed: Failure | undefined;
    let otherKind: Allowance | undefined;
    for (const allowance of alternatives) {
      const { quorum } = allowance;
      // People are asked under one rule, and under an emergency's only when the caller says that it is one. Under the
      // others a request may use what has been agreed to already.
      if (quorum !== undefined && (needed !== undefined || quorum.emergency !== purchase.isEmergency)) {
        if (!this.#o.approvals.isApproved({ ...purchase.petition(), allowance })) {
          otherKind ??= allowance;
          continue;
        }
      }
      const charges = this.#charges(allowance.limits, purchase);
      const onRecord = encodeCharges(charges);
      const guards = allowance.guards.length === 0 ? NO_GUARDS : encodeGuards(allowance.guards);
      const taken: Consumption | undefined =
        charges.length === 0 ? undefined : await this.#o.limits.consume(charges, now);
      if (taken !== undefined && !taken.ok) {
        if (taken.retryAfterMs !== undefined)
          soonest = Math.min(soonest ?? Number.POSITIVE_INFINITY, taken.retryAfterMs);
        continue;
      }
      try {
        const approval =
          quorum === undefined
            ? undefined
            : await this.#o.approvals.take({ ...purchase.petition(), allowance });
        return new Taken(allowance, onRecord, guards, taken, approval, this.#o.guards, key);
      } catch (error) {
        // What was not approved did not run.
        taken?.giveBack();
        // One rule's refusal hides no other rule; what is broken for all of them is told at once.
        if (!(error instanceof Failure) || error.reason === 'BUSY' || error.reason.startsWith('AUDIT_'))
          throw error;
        if (needed === undefined || needed.reason !== 'APPROVAL_REQUIRED') needed = error;
      }
    }
    if (needed !== undefined) throw needed;
    // Only rules of the other kind are left: say so rather than that a limit is used up.
    if (otherKind !== undefined && soonest === undefined) {
      throw new Failure(
        'APPROVAL_REQUIRED',
        purchase.isEmergency
          ? 'no rule has emergency access for this: ask without it'
          : 'people have to agree, and only a rule for emergencies lets them: ask for emergency access',
      );
    }
    const more = this.#o.refusals.refused(spiffeId, now);
    throw rateLimited(soonest === undefined ? undefined : Math.max(soonest, more ?? 0));
  }
}

function isFree({ limits, guards, quorum }: Allowance): boolean {
  return limits.length === 0 && guards.length === 0 && quorum === undefined;
}

/** Of a rule that costs nothing. */
export class NothingSpent implements Spent {
  readonly rule: string;
  readonly allowance: Allowance | undefined;
  readonly charges = NO_CHARGES;
  readonly guards = NO_GUARDS;
  readonly approval = undefined;
  observed = NOTHING_OBSERVED;

  constructor(rule: string, allowance: Allowance | undefined) {
    this.rule = rule;
    this.allowance = allowance;
  }

  reserve(): void {
    // Nothing is guarded.
  }

  settle(): void {
    // Nothing was taken.
  }
}

class Taken implements Spent {
  readonly allowance: Allowance;
  readonly charges: readonly EntryValue[];
  readonly guards: readonly EntryValue[];
  readonly approval: ApprovalUse | undefined;
  observed = NOTHING_OBSERVED;
  readonly #consumption: (Consumption & { readonly ok: true }) | undefined;
  readonly #store: GuardStore;
  readonly #key: string;
  #reservation: (Reservation & { readonly ok: true }) | undefined;
  #reservedFor: Buffer | undefined;
  #isSettled = false;

  constructor(
    allowance: Allowance,
    charges: readonly EntryValue[],
    guards: readonly EntryValue[],
    consumption: (Consumption & { readonly ok: true }) | undefined,
    approval: ApprovalUse | undefined,
    store: GuardStore,
    key: string,
  ) {
    this.allowance = allowance;
    this.charges = charges;
    this.guards = guards;
    this.approval = approval;
    this.#consumption = consumption;
    this.#store = store;
    this.#key = key;
  }

  get rule(): string {
    return this.allowance.rule;
  }

  reserve(makeContent: () => Uint8Array): void {
    const { guards } = this.allowance;
    if (guards.length === 0) return;
    const contentSha256 = makeContent();
    if (this.#reservedFor !== undefined) {
      // A second attempt holds what the first one reserved, for the identical bytes alone.
      if (this.#reservedFor.equals(contentSha256)) return;
      throw new Failure('POLICY_DENIED', 'only the identical bytes may be tried again');
    }
    const reservation = this.#store.reserve(guards, this.#key, contentSha256);
    if (!reservation.ok) throw new Failure('POLICY_DENIED', reservation.message);
    this.#reservation = reservation;
    this.#reservedFor = Buffer.from(contentSha256);
  }

  settle(performed: PerformedUse): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    if (performed === 'no') {
      this.#consumption?.giveBack();
      this.#reservation?.release();
      this.approval?.giveBack();
    } else this.#reservation?.keep();
  }
}

function rateLimited(retryAfterMs: number | undefined): Failure {
  if (retryAfterMs === undefined) {
    return new Failure(
      'RATE_LIMITED',
      'a limit of the policy is used up for good, or smaller than this request',
    );
  }
  const seconds = Math.max(1, Math.ceil(retryAfterMs)) / 1000;
  return new Failure('RATE_LIMITED', `a limit of the policy is used up: try again in ${seconds} s`, {
    metadata: { retry_after: `${seconds}s` },
  });
}

/** For a broker that keeps no counters: what needs them is refused, everything else is free. */
export const NOTHING_TO_SPEND: SpendingOptions = {
  limits: {
    consume: () => {
      throw new Failure('BUSY', 'limits cannot be counted now');
    },
  },
  guards: {
    reserve: ([guard]) => ({
      ok: false,
      guard: guard ?? { id: '', kind: 'unique', value: '' },
      message: 'the history of the key cannot be read now',
    }),
  },
  refusals: { refused: () => undefined, penalty: () => undefined },
  approvals: {
    take: () => Promise.reject(new Failure('BUSY', 'approvals cannot be looked up now')),
    isApproved: () => false,
    approved: () => Promise.reject(new Failure('BUSY', 'approvals cannot be looked up now')),
  },
  now: () => performance.now(),
};
