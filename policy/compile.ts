import { authorityOf } from './authority.ts';
import { concerns, cost, type DecidingRule, isDenied, KNOWN_ALGORITHMS, verdictOf } from './deciding-rule.ts';
import {
  type Allowance,
  type CertificateProfile,
  type Decision,
  type ExplainedDecision,
  type Guard,
  type KeyUseQuestion,
  type MethodDecision,
  type MethodQuestion,
  type Observation,
  OPERATIONS,
  type Operation,
  type PolicySet,
  TYPED_OPERATIONS,
} from './decision.ts';
import { DynamicRule, RequestView } from './dynamic-rule.ts';
import { isKeyName, isReservedKeyName } from './key-name.ts';
import { type LoadedPolicy, type LoadedRole, loadPolicy, type PolicyOptions } from './load.ts';
import { matchesPattern, type Pattern, parseSpiffeIdPattern, spiffeIdSegments } from './pattern.ts';
import { PatternIndex } from './pattern-index.ts';
import { PolicyError } from './policy-error.ts';
import { RecentMemo } from './recent-memo.ts';
import { DEFAULT_WEIGHT } from './schema.ts';
import { spiffeIdOrUndefined } from './scope.ts';
import { OPERATION_ALGORITHMS, policyAlgorithm, roleMethodMatches } from './vocabulary.ts';

export interface CompileOptions extends PolicyOptions {
  /** `sha256:<hex>` of the bytes; the caller makes it. */
  readonly hash: string;
}

/**
 * A policy that decides. All of the file is right, or nothing of it is used.
 *
 * @throws PolicyError with every issue found
 */
export function compilePolicy(bytes: Uint8Array, options: CompileOptions): PolicySet {
  return compileLoadedPolicy(loadPolicy(bytes, options), options.hash);
}

/**
 * The second half alone. Reading the text takes nearly all of the time (a second for ten thousand rules), and what
 * `loadPolicy` returns is plain data: a broker that must not pause can have it read in another thread.
 *
 * @throws PolicyError
 */
export function compileLoadedPolicy(loaded: LoadedPolicy, hash: string): PolicySet {
  if (loaded.issues.length > 0) throw new PolicyError(loaded.issues);
  return new CompiledPolicy(loaded, hash);
}

const MEMO_IDENTITIES = 8192;
const MEMO_PAIRS = 32_768;
const MEMO_KEYS = 4096;
const NOBODY: ReadonlySet<string> = new Set();
const NO_OPERATIONS: readonly Operation[] = Object.freeze([]);

/** What one identity and one key have to do with each other: at least one rule. */
interface PairRules {
  /** In the order in which they are considered, whatever the order of the file. */
  readonly rules: readonly DecidingRule[];
  readonly plans: Map<Operation, Map<string, Plan>>;
  usable: readonly Operation[] | undefined;
}

/** What is left to decide once identity, key, operation and algorithm are known. */
type Plan =
  | { readonly decision: Decision }
  | {
      readonly decision: undefined;
      /** Deny rules that look at the moment or the request. */
      readonly denies: readonly DecidingRule[];
      /** In the order of `Decision.alternatives`. */
      readonly allows: readonly DecidingRule[];
    };

/**
 * Immutable but for its memos, which only remember. They are bounded, and pairs without any rule are not kept, so
 * that a workload asking for names it made up displaces nothing.
 */
class CompiledPolicy implements PolicySet {
  readonly hash: string;
  readonly ruleCount: number;
  readonly observing: PolicySet['observing'];
  readonly maxClockDoubtMs: number;
  readonly approvers: PolicySet['approvers'];
  readonly governance: PolicySet['governance'];
  readonly #loaded: LoadedPolicy;
  readonly #groups: ReadonlyMap<string, ReadonlySet<string>>;
  readonly #requestsAs: ReadonlyMap<string, readonly Pattern[]>;
  readonly #rules: readonly DecidingRule[];
  readonly #roles: readonly LoadedRole[];
  readonly #defaultDeny: Decision;
  readonly #byWorkload = new PatternIndex();
  readonly #byKey = new PatternIndex();
  readonly #byMember = new PatternIndex();
  readonly #byTypedKey = new PatternIndex();
  readonly #byWeighted = new PatternIndex();
  readonly #weights: readonly number[];
  readonly #profiles: ReadonlyMap<string, CertificateProfile>;
  readonly #takesRaw = new RecentMemo<boolean>(MEMO_KEYS);
  readonly #weightOf = new RecentMemo<number>(MEMO_IDENTITIES);
  readonly #identities = new RecentMemo<ReadonlySet<number>>(MEMO_IDENTITIES);
  readonly #pairs = new RecentMemo<PairRules>(MEMO_PAIRS);

  constructor(loaded: LoadedPolicy, hash: string) {
    this.hash = hash;
    this.ruleCount = loaded.rules.length;
    this.#defaultDeny = Object.freeze({ effect: 'deny', rule: '', policyHash: hash });
    this.maxClockDoubtMs = loaded.maxClockDoubtMs;
    this.approvers = new Map(loaded.approvers.map((one) => [one.id, one]));
    this.governance = loaded.governance;
    this.#loaded = loaded;
    this.#groups = new Map([...loaded.groups].map(([name, members]) => [name, new Set(members)]));
    this.#requestsAs = new Map(
      loaded.approvers.map(({ id, spiffeId, alsoRequestsAs }) => [
        id,
        [...(spiffeId === undefined ? [] : [spiffeId]), ...alsoRequestsAs].map(parseSpiffeIdPattern),
      ]),
    );
    this.#rules = loaded.rules.map((rule) => ({
      ...rule,
      dynamic: rule.dynamic === undefined ? undefined : new DynamicRule(rule.dynamic),
      decision: Object.freeze({ effect: rule.effect, rule: rule.id, policyHash: hash }),
    }));
    // A role without a scope shows more than one with: it goes first.
    this.#roles = loaded.roles.toSorted(
      (a, b) => Number(a.scope !== undefined) - Number(b.scope !== undefined) || compareText(a.id, b.id),
    );
    for (const rule of this.#rules) {
      for (const pattern of rule.workloads) this.#byWorkload.add(pattern, rule.index);
      const isTyped =
        rule.effect === 'allow' && TYPED_OPERATIONS.some((typed) => rule.operations.includes(typed));
      for (const pattern of rule.keys) {
        this.#byKey.add(pattern, rule.index);
        if (isTyped) this.#byTypedKey.add(pattern, rule.index);
      }
    }
    this.#weights = loaded.weights.map(({ weight }) => weight);
    for (const [i, { workloads }] of loaded.weights.entries()) {
      for (const pattern of workloads) this.#byWeighted.add(pattern, i);
    }
    this.#profiles = new Map(loaded.certificateProfiles.map((profile) => [profile.id, profile]));
    this.observing = Object.freeze(
      loaded.rules.flatMap(({ id, dynamic }) =>
        dynamic?.observeUntil === undefined ? [] : [{ rule: id, until: dynamic.observeUntil }],
      ),
    );
    for (const [i, role] of this.#roles.entries()) {
      for (const pattern of role.members) this.#byMember.add(pattern, i);
    }
  }

  decide(question: KeyUseQuestion): Decision {
    const { operation } = question;
    if (operation === 'random' && question.key !== '') return this.#defaultDeny;
    const pair = this.#pair(question.spiffeId, question.key);
    if (pair === undefined) return this.#defaultDeny;
    const plan = this.#plan(pair, operation, policyAlgorithm(question.algorithm));
    return plan.decision ?? this.#decideNow(plan.denies, plan.allows, question);
  }

  explain(question: KeyUseQuestion): ExplainedDecision {
    const decision = this.decide(question);
    const view = new RequestView(question, this.maxClockDoubtMs);
    return { ...decision, considered: this.#rules.map((rule) => verdictOf(rule, view)) };
  }

  decideMethod(question: MethodQuestion): MethodDecision {
    const id = spiffeIdOrUndefined(question.spiffeId);
    if (id === undefined || id.segments.length === 0) return this.#defaultDeny;
    const found = this.#byMember.find(spiffeIdSegments(id));
    const role = this.#roles.find(
      ({ methods }, i) =>
        found.has(i) && methods.some((method) => roleMethodMatches(method, question.method)),
    );
    if (role === undefined) return this.#defaultDeny;
    return { effect: 'allow', rule: role.id, policyHash: this.hash, scope: role.scope };
  }

  usableOperations(spiffeId: string, key: string): readonly Operation[] {
    const pair = this.#pair(spiffeId, key);
    if (pair === undefined) return NO_OPERATIONS;
    // Reads show a key to whoever may do something with it at some time; only a denial for good hides it.
    pair.usable ??= Object.freeze(
      OPERATIONS.filter((operation) => {
        if (operation === 'random' && key !== '') return false;
        const algorithms = operation === 'random' ? [''] : OPERATION_ALGORITHMS[operation];
        return algorithms.some((algorithm) => {
          const plan = this.#plan(pair, operation, algorithm);
          return plan.decision === undefined ? plan.allows.length > 0 : plan.decision.effect === 'allow';
        });
      }),
    );
    return pair.usable;
  }

  takesRawSigning(key: string): boolean {
    const known = this.#takesRaw.get(key);
    if (known !== undefined) return known;
    if (!isKeyName(key)) return false;
    const takes = this.#byTypedKey.find(key.split('/')).size === 0;
    this.#takesRaw.set(key, takes);
    return takes;
  }

  weight(spiffeId: string): number {
    if (this.#weights.length === 0) return DEFAULT_WEIGHT;
    const known = this.#weightOf.get(spiffeId);
    if (known !== undefined) return known;
    const id = spiffeIdOrUndefined(spiffeId);
    if (id === undefined) return DEFAULT_WEIGHT;
    const found = [...this.#byWeighted.find(spiffeIdSegments(id))].map(
      (i) => this.#weights[i] ?? DEFAULT_WEIGHT,
    );
    const weight = found.length === 0 ? DEFAULT_WEIGHT : Math.min(...found);
    this.#weightOf.set(spiffeId, weight);
    return weight;
  }

  groupMembers(group: string): ReadonlySet<string> {
    return this.#groups.get(group) ?? NOBODY;
  }

  isOwnRequest(approver: string, spiffeId: string): boolean {
    const patterns = this.#requestsAs.get(approver);
    const id = spiffeIdOrUndefined(spiffeId);
    if (patterns === undefined || id === undefined) return true;
    return patterns.some((pattern) => matchesPattern(pattern, spiffeIdSegments(id)));
  }

  authorityOf(rule: string, spiffeId: string, key: string): string {
    return authorityOf(this.#loaded, rule, spiffeId, key);
  }

  lifecycleQuorum(method: string, key: string): ReturnType<PolicySet['lifecycleQuorum']> {
    const found = this.#loaded.lifecycle.find(({ methods, keys }) => {
      if (!methods.some((one) => one === method)) return false;
      // A name that cannot be one is refused later: here it must not get around anything.
      return keys === undefined || !isKeyName(key) || keys.some((one) => matchesPattern(one, key.split('/')));
    });
    return found === undefined ? undefined : { rule: found.id, quorum: found.quorum };
  }

  certificateProfile(id: string): CertificateProfile | undefined {
    return this.#profiles.get(id);
  }

  #plan(pair: PairRules, operation: Operation, algorithm: string): Plan {
    let byAlgorithm = pair.plans.get(operation);
    const known = byAlgorithm?.get(algorithm);
    if (known !== undefined) return known;
    const plan = this.#makePlan(pair.rules.filter((rule) => concerns(rule, operation, algorithm)));
    // Callers choose these strings: only the closed lists are remembered.
    if (KNOWN_ALGORITHMS.has(algorithm) && OPERATIONS.includes(operation)) {
      if (byAlgorithm === undefined) {
        byAlgorithm = new Map();
        pair.plans.set(operation, byAlgorithm);
      }
      byAlgorithm.set(algorithm, plan);
    }
    return plan;
  }

  #makePlan(rules: readonly DecidingRule[]): Plan {
    const denies = rules.filter(({ effect }) => effect === 'deny');
    const allows = rules.filter(({ effect }) => effect === 'allow');
    const [first] = allows;
    const surely = denies.find(({ dynamic }) => dynamic === undefined);
    if (surely !== undefined && denies.every(({ dynamic }) => dynamic === undefined)) return surely;
    if (first === undefined && denies.length === 0) return { decision: this.#defaultDeny };
    const isObserved = allows.some(({ dynamic }) => dynamic?.observeUntil !== undefined);
    if (first !== undefined && first.dynamic === undefined && denies.length === 0 && !isObserved)
      return first;
    return { decision: undefined, denies, allows };
  }

  #decideNow(
    denies: readonly DecidingRule[],
    allows: readonly DecidingRule[],
    question: KeyUseQuestion,
  ): Decision {
    const view = new RequestView(question, this.maxClockDoubtMs);
    for (const deny of denies) if (isDenied(deny, view)) return deny.decision;
    const alternatives: Allowance[] = [];
    const observed: Observation[] = [];
    for (const rule of allows) {
      const { dynamic } = rule;
      const guards: Guard[] = [];
      const isObserving = dynamic?.isObserving(view) === true;
      const gaps = dynamic?.gaps(view, guards, isObserving) ?? [];
      if (isObserving) observed.push({ rule: rule.id, missing: gaps, limits: dynamic.limits });
      else if (gaps.length > 0) continue;
      alternatives.push({
        rule: rule.id,
        limits: isObserving ? [] : (dynamic?.limits ?? []),
        guards,
        ...(dynamic?.quorum === undefined ? {} : { quorum: dynamic.quorum }),
        isOpenAt: (now, clockDoubtMs) => {
          const then = view.at(now, clockDoubtMs);
          if (denies.some((deny) => isDenied(deny, then))) return false;
          if (dynamic === undefined) return true;
          return isObserving ? dynamic.isObserving(then) : dynamic.stillHolds(then);
        },
      });
    }
    const [first] = alternatives;
    if (first === undefined) return this.#defaultDeny;
    return {
      effect: 'allow',
      rule: first.rule,
      policyHash: this.hash,
      alternatives,
      ...(observed.length === 0 ? {} : { observed }),
    };
  }

  /** The rules about this identity and this key (empty: those for `random`); undefined when there are none. */
  #pair(spiffeId: string, key: string): PairRules | undefined {
    // Neither a well-formed SPIFFE ID nor a key name holds a space, and only well-formed ones are remembered.
    const name = `${spiffeId} ${key}`;
    const known = this.#pairs.get(name);
    if (known !== undefined) return known;
    if (key !== '' && (!isKeyName(key) || isReservedKeyName(key))) return undefined;
    const mine = this.#identity(spiffeId);
    if (mine === undefined || mine.size === 0) return undefined;
    const rules = this.#candidates(mine, key).sort(
      (a, b) =>
        Number(a.effect === 'allow') - Number(b.effect === 'allow') ||
        (a.effect === 'allow' ? cost(a) - cost(b) : 0) ||
        compareText(a.id, b.id),
    );
    if (rules.length === 0) return undefined;
    const pair: PairRules = { rules, plans: new Map(), usable: undefined };
    this.#pairs.set(name, pair);
    return pair;
  }

  #candidates(mine: ReadonlySet<number>, key: string): DecidingRule[] {
    const candidates: DecidingRule[] = [];
    if (key === '') {
      for (const index of mine) {
        const rule = this.#rules[index];
        if (rule?.operations.includes('random')) candidates.push(rule);
      }
      return candidates;
    }
    const ofKey = this.#byKey.find(key.split('/'));
    const [fewer, more] = ofKey.size < mine.size ? [ofKey, mine] : [mine, ofKey];
    for (const index of fewer) {
      const rule = this.#rules[index];
      if (rule !== undefined && more.has(index)) candidates.push(rule);
    }
    return candidates;
  }

  #identity(spiffeId: string): ReadonlySet<number> | undefined {
    const known = this.#identities.get(spiffeId);
    if (known !== undefined) return known;
    const id = spiffeIdOrUndefined(spiffeId);
    if (id === undefined || id.segments.length === 0) return undefined;
    const rules = this.#byWorkload.find(spiffeIdSegments(id));
    this.#identities.set(spiffeId, rules);
    return rules;
  }
}

// By code unit: the same on every machine.
function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
