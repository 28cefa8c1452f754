/**
 * Past decisions put to another policy: what would have become of real requests. Entries come one after the other, in
 * the order of the log; what is kept of them is bounded, however many they are.
 */
import { type Circumstances, type KeyUseQuestion, OPERATIONS, type Operation } from './decision.ts';
import { decodeInputs } from './replay-inputs.ts';
import { type PlayedDecision, PolicyPlayer, type ReplayedPolicy, whyDenied } from './replay-player.ts';

/** The request that an entry tells of. */
export interface RecordedRequest {
  readonly leaf: number;
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string;
  readonly question: KeyUseQuestion;
  /** What the policy in force said. */
  readonly effect: 'allow' | 'deny';
  /** People were asked: they had agreed where it was allowed, and had not where it was denied. */
  readonly isAsked: boolean;
  readonly rule: string;
  /** The token was not asked, so that limits and guards got back what they had given. */
  readonly isUnused: boolean;
  /** What conditions look at was not recorded, or is too large to be. */
  readonly isIncomplete: boolean;
  /** The key does not exist: refused whatever a policy says. */
  readonly isKeyAbsent: boolean;
}

export type RecordedEntry =
  | { readonly kind: 'request'; readonly request: RecordedRequest }
  /** Refusals like an earlier one, counted instead of recorded one by one. */
  | { readonly kind: 'repeats'; readonly count: number; readonly first: number | undefined }
  /** No decision of a policy on a key use. */
  | { readonly kind: 'other' };

const OTHER: RecordedEntry = { kind: 'other' };
/** Refusals that are the policy's; all others come before it or after it. */
const POLICY_REASONS: ReadonlySet<unknown> = new Set(['POLICY_DENIED', 'RATE_LIMITED', 'APPROVAL_REQUIRED']);
const TYPED: ReadonlySet<string> = new Set(['sign-jwt', 'sign-certificate', 'sign-dsse']);

/** Reads one entry of the log, parsed as JSON. Never throws: what is not understood is `other`. */
export function readRecordedEntry(entry: unknown): RecordedEntry {
  if (!isRecord(entry)) return OTHER;
  const { kind, decision, reason } = entry;
  if (kind === 'refusals') {
    const { count, first } = isRecord(entry.detail) ? entry.detail : {};
    if (!POLICY_REASONS.has(reason) || !isCount(count)) return OTHER;
    return { kind: 'repeats', count, first: isCount(first) ? first : undefined };
  }
  const operation = OPERATIONS.find((known) => known === entry.operation);
  const { leaf, time, subject, key = '', algorithm = '', rule = '' } = entry;
  if (
    kind !== 'key-use' ||
    operation === undefined ||
    !isCount(leaf) ||
    typeof time !== 'string' ||
    typeof subject !== 'string' ||
    typeof key !== 'string' ||
    typeof algorithm !== 'string' ||
    typeof rule !== 'string' ||
    !(decision === 'allow' || (decision === 'deny' && POLICY_REASONS.has(reason)))
  ) {
    return OTHER;
  }
  const recorded = decodeInputs(entry.inputs);
  const rebuilt = recorded === undefined ? rebuild(entry, operation, time) : undefined;
  const circumstances = recorded?.isTruncated === false ? recorded.circumstances : rebuilt;
  return {
    kind: 'request',
    request: {
      leaf,
      time,
      question: { spiffeId: subject, operation, key, algorithm, circumstances },
      effect: decision,
      isAsked:
        decision === 'deny'
          ? reason === 'APPROVAL_REQUIRED'
          : isRecord(entry.inputs) && isRecord(entry.inputs.approval),
      rule,
      isUnused: decision === 'allow' && entry.performed === 'no',
      isIncomplete: circumstances === undefined,
      isKeyAbsent: isRecord(entry.inputs) && entry.inputs.absent === true,
    },
  };
}

/** Entries from before inputs were recorded hold most of them in their other fields; refusals do not. */
function rebuild(
  entry: { readonly [name: string]: unknown },
  operation: Operation,
  time: string,
): Circumstances | undefined {
  const content = isRecord(entry.input) ? entry.input : entry.output;
  if (TYPED.has(operation) || !isRecord(content) || !isCount(content.bytes)) return undefined;
  const { kind, bytes } = content;
  return {
    now: Date.parse(time),
    clockDoubtMs: 0,
    bytes,
    content:
      kind === 'message' || kind === 'digest' || kind === 'ciphertext' || kind === 'plaintext'
        ? kind
        : 'none',
    version: 0,
    evidence: ['x509-svid'],
    peerAddress:
      typeof entry.peer === 'string' ? entry.peer.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1') : '',
  };
}

/**
 * Requests of one kind that another policy decides otherwise. What now needs approvals counts as denied where it was
 * allowed without, and as allowed where it was refused.
 */
export interface Flip {
  readonly change: 'now denied' | 'now allowed';
  readonly workload: string;
  readonly key: string;
  readonly operation: Operation;
  /** The rule that decided; empty: none. */
  readonly ruleBefore: string;
  readonly ruleAfter: string;
  /** In words, for the first of them. */
  readonly why: string;
  readonly requests: number;
  /** Leaf indexes, the first of them. */
  readonly entries: readonly number[];
  readonly firstTime: string;
  readonly lastTime: string;
}

export interface Unreplayed {
  readonly workload: string;
  readonly key: string;
  readonly operation: Operation;
  readonly requests: number;
  readonly entries: readonly number[];
}

export interface SimulationReport {
  readonly policyHash: string;
  /** Entries read, decisions or not. */
  readonly entries: number;
  /** Requests decided again. */
  readonly requests: number;
  readonly stillAllowed: number;
  readonly stillDenied: number;
  /** Of those still allowed: by another rule. */
  readonly byAnotherRule: number;
  readonly nowDenied: number;
  readonly nowAllowed: number;
  /** What they depend on was not recorded. */
  readonly cannotReplay: number;
  /** Times of the first and the last request; empty: none. */
  readonly firstTime: string;
  readonly lastTime: string;
  readonly flips: readonly Flip[];
  readonly unreplayed: readonly Unreplayed[];
  /** Flips beyond those that are told apart. */
  readonly otherFlips: number;
  /** A `unique` guard met more values than a simulation remembers: it may have let repeats pass. */
  readonly isGuardHistoryCut: boolean;
}

type Outcome = 'still allowed' | 'still denied' | 'now denied' | 'now allowed' | 'cannot replay';

interface FlipGroup {
  readonly flip: Omit<Flip, 'requests' | 'lastTime' | 'entries'>;
  readonly entries: number[];
  requests: number;
  lastTime: string;
}

export interface SimulationOptions {
  /** Kinds of flips told apart. Default 10,000. */
  readonly maxFlips?: number | undefined;
  /** Leaf indexes kept of each. Default 20. */
  readonly entriesPerFlip?: number | undefined;
}

const MAX_FLIPS = 10_000;
const ENTRIES_PER_FLIP = 20;
// An explanation looks at every rule.
const MAX_EXPLAINED = 200;
const STEPS = 1024;
const MAX_GUARD_VALUES = 1_000_000;
const REMEMBERED_REFUSALS = 10_000;

/** What another policy would have said to what the log tells of. */
export class Simulation {
  readonly #player: PolicyPlayer;
  readonly #maxFlips: number;
  readonly #entriesPerFlip: number;
  readonly #counts = {
    'still allowed': 0,
    'still denied': 0,
    'now denied': 0,
    'now allowed': 0,
    'cannot replay': 0,
  };
  readonly #flips = new Map<string, FlipGroup>();
  readonly #unreplayed = new Map<string, { entries: number[]; requests: number; of: KeyUseQuestion }>();
  /** Of the newest refusals: what became of them, for the counts of their repeats. */
  readonly #refusals = new Map<number, (count: number) => void>();
  #entries = 0;
  #byAnotherRule = 0;
  #otherFlips = 0;
  #firstTime = '';
  #lastTime = '';

  constructor(policy: ReplayedPolicy, options: SimulationOptions = {}) {
    this.#player = new PolicyPlayer(policy, { steps: STEPS, maxGuardValues: MAX_GUARD_VALUES });
    this.#maxFlips = options.maxFlips ?? MAX_FLIPS;
    this.#entriesPerFlip = options.entriesPerFlip ?? ENTRIES_PER_FLIP;
  }

  /** @param entry parsed as JSON; in the order of the log */
  add(entry: unknown): void {
    this.#entries++;
    const recorded = readRecordedEntry(entry);
    switch (recorded.kind) {
      case 'other':
        return;
      case 'repeats': {
        const again = recorded.first === undefined ? undefined : this.#refusals.get(recorded.first);
        if (again === undefined) this.#counts['cannot replay'] += recorded.count;
        else again(recorded.count);
        return;
      }
      case 'request':
        this.#replay(recorded.request);
        return;
      default:
        recorded satisfies never;
    }
  }

  #replay(request: RecordedRequest): void {
    if (this.#firstTime === '') this.#firstTime = request.time;
    this.#lastTime = request.time;
    const count = this.#decideAgain(request);
    count(1);
    if (request.effect === 'allow') return;
    this.#refusals.set(request.leaf, count);
    if (this.#refusals.size > REMEMBERED_REFUSALS) this.#refusals.delete(this.#refusals.keys().next().value!);
  }

  /** Decides, and returns what counts requests of this outcome. */
  #decideAgain(request: RecordedRequest): (requests: number) => void {
    const { question, effect } = request;
    const { policy } = this.#player;
    if (request.isKeyAbsent) return this.#counting('still denied');
    if (request.isIncomplete && policy.decide(question).effect === 'deny') {
      // Nothing of conditions, windows and typed rules held here. If they could make a difference, nobody knows.
      if (policy.usableOperations(question.spiffeId, question.key).includes(question.operation)) {
        return this.#withoutReplay(request);
      }
    }
    const played = this.#player.play(question, effect === 'allow' && request.isAsked);
    if (played.effect === 'allow' && request.isUnused) played.giveBack();
    if (leave(played.effect, played.quorum !== '') !== leave(effect, request.isAsked))
      return this.#flip(request, played);
    if (effect === 'deny') return this.#counting('still denied');
    if (played.rule !== request.rule) this.#byAnotherRule++;
    return this.#counting('still allowed');
  }

  #counting(outcome: Outcome): (requests: number) => void {
    return (requests) => {
      this.#counts[outcome] += requests;
    };
  }

  #withoutReplay({ question, leaf }: RecordedRequest): (requests: number) => void {
    const name = JSON.stringify([question.spiffeId, question.key, question.operation]);
    let group = this.#unreplayed.get(name);
    if (group === undefined && this.#unreplayed.size < this.#maxFlips) {
      group = { entries: [], requests: 0, of: { ...question, circumstances: undefined } };
      this.#unreplayed.set(name, group);
    }
    if (group !== undefined && group.entries.length < this.#entriesPerFlip) group.entries.push(leaf);
    return (requests) => {
      this.#counts['cannot replay'] += requests;
      if (group !== undefined) group.requests += requests;
    };
  }

  #flip(request: RecordedRequest, played: PlayedDecision): (requests: number) => void {
    const { question, leaf, time, rule } = request;
    const before = leave(request.effect, request.isAsked);
    const after = leave(played.effect, played.quorum !== '');
    const change = after < before ? 'now denied' : 'now allowed';
    const { spiffeId: workload, key, operation } = question;
    const name = JSON.stringify([change, workload, key, operation, rule, played.rule, after]);
    let group = this.#flips.get(name);
    if (group === undefined && this.#flips.size < this.#maxFlips) {
      const why =
        after === WITH_APPROVALS
          ? `needs ${played.quorum}`
          : after === FREELY
            ? before === WITH_APPROVALS
              ? 'without approvals'
              : ''
            : played.why !== ''
              ? played.why
              : this.#explain(question);
      group = {
        flip: {
          change,
          workload,
          key,
          operation,
          ruleBefore: rule,
          ruleAfter: played.rule,
          why,
          firstTime: time,
        },
        entries: [],
        requests: 0,
        lastTime: time,
      };
      this.#flips.set(name, group);
    }
    if (group !== undefined && group.entries.length < this.#entriesPerFlip) group.entries.push(leaf);
    return (requests) => {
      this.#counts[change] += requests;
      if (group === undefined) this.#otherFlips += requests;
      else {
        group.requests += requests;
        group.lastTime = time;
      }
    };
  }

  #explain(question: KeyUseQuestion): string {
    return this.#flips.size < MAX_EXPLAINED ? whyDenied(this.#player.policy.explain(question)) : '';
  }

  report(): SimulationReport {
    const counts = this.#counts;
    return {
      policyHash: this.#player.policy.hash,
      entries: this.#entries,
      requests:
        counts['still allowed'] + counts['still denied'] + counts['now denied'] + counts['now allowed'],
      stillAllowed: counts['still allowed'],
      stillDenied: counts['still denied'],
      byAnotherRule: this.#byAnotherRule,
      nowDenied: counts['now denied'],
      nowAllowed: counts['now allowed'],
      cannotReplay: counts['cannot replay'],
      firstTime: this.#firstTime,
      lastTime: this.#lastTime,
      flips: [...this.#flips.values()]
        .map(({ flip, entries, requests, lastTime }) => ({ ...flip, entries, requests, lastTime }))
        .sort(
          (a, b) =>
            Number(a.change === 'now allowed') - Number(b.change === 'now allowed') ||
            b.requests - a.requests,
        ),
      unreplayed: [...this.#unreplayed.values()]
        .map(({ of, entries, requests }) => ({
          workload: of.spiffeId,
          key: of.key,
          operation: of.operation,
          requests,
          entries,
        }))
        .sort((a, b) => b.requests - a.requests),
      otherFlips: this.#otherFlips,
      isGuardHistoryCut: this.#player.guards.isFull,
    };
  }
}

const [NOT_AT_ALL, WITH_APPROVALS, FREELY] = [0, 1, 2] as const;

/** How much of a leave it is, so that more and less can be told apart: whether people agree is theirs, not the policy's. */
function leave(effect: PlayedDecision['effect'], isAsked: boolean): 0 | 1 | 2 {
  if (isAsked) return WITH_APPROVALS;
  return effect === 'allow' ? FREELY : NOT_AT_ALL;
}

function isRecord(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
