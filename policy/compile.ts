import {
  type Decision,
  type ExplainedDecision,
  type KeyUseQuestion,
  type MethodDecision,
  type MethodQuestion,
  OPERATIONS,
  type Operation,
  type PolicySet,
  type RuleVerdict,
} from './decision.ts';
import { isKeyName, isReservedKeyName } from './key-name.ts';
import {
  type LoadedPolicy,
  type LoadedRole,
  type LoadedRule,
  loadPolicy,
  type PolicyOptions,
} from './load.ts';
import { matchesPattern, spiffeIdSegments } from './pattern.ts';
import { PatternIndex } from './pattern-index.ts';
import { PolicyError } from './policy-error.ts';
import { RecentMemo } from './recent-memo.ts';
import { spiffeIdOrUndefined } from './scope.ts';
import { OPERATION_ALGORITHMS, POLICY_ALGORITHMS, policyAlgorithm, roleMethodMatches } from './vocabulary.ts';

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
const KNOWN_ALGORITHMS: ReadonlySet<string> = new Set(['', ...POLICY_ALGORITHMS]);
const NO_OPERATIONS: readonly Operation[] = Object.freeze([]);

interface DecidingRule extends LoadedRule {
  readonly decision: Decision;
}

/** What one identity and one key have to do with each other: at least one rule. */
interface PairRules {
  /** Deny rules first, each kind by id: the first that matches decides, whatever the order of the file. */
  readonly rules: readonly DecidingRule[];
  readonly decisions: Map<Operation, Map<string, Decision>>;
  usable: readonly Operation[] | undefined;
}

/**
 * Immutable but for its memos, which only remember. They are bounded, and pairs without any rule are not kept, so
 * that a workload asking for names it made up displaces nothing.
 */
class CompiledPolicy implements PolicySet {
  readonly hash: string;
  readonly ruleCount: number;
  readonly #rules: readonly DecidingRule[];
  readonly #roles: readonly LoadedRole[];
  readonly #defaultDeny: Decision;
  readonly #byWorkload = new PatternIndex();
  readonly #byKey = new PatternIndex();
  readonly #byMember = new PatternIndex();
  readonly #identities = new RecentMemo<ReadonlySet<number>>(MEMO_IDENTITIES);
  readonly #pairs = new RecentMemo<PairRules>(MEMO_PAIRS);

  constructor(loaded: LoadedPolicy, hash: string) {
    this.hash = hash;
    this.ruleCount = loaded.rules.length;
    this.#defaultDeny = Object.freeze({ effect: 'deny', rule: '', policyHash: hash });
    this.#rules = loaded.rules.map((rule) => ({
      ...rule,
      decision: Object.freeze({ effect: rule.effect, rule: rule.id, policyHash: hash }),
    }));
    // A role without a scope shows more than one with: it goes first.
    this.#roles = loaded.roles.toSorted(
      (a, b) => Number(a.scope !== undefined) - Number(b.scope !== undefined) || compareText(a.id, b.id),
    );
    for (const rule of this.#rules) {
      for (const pattern of rule.workloads) this.#byWorkload.add(pattern, rule.index);
      for (const pattern of rule.keys) this.#byKey.add(pattern, rule.index);
    }
    for (const [i, role] of this.#roles.entries()) {
      for (const pattern of role.members) this.#byMember.add(pattern, i);
    }
  }

  decide(question: KeyUseQuestion): Decision {
    const { operation } = question;
    if (operation === 'random' && question.key !== '') return this.#defaultDeny;
    const pair = this.#pair(question.spiffeId, question.key);
    if (pair === undefined) return this.#defaultDeny;
    const algorithm = policyAlgorithm(question.algorithm);
    let byAlgorithm = pair.decisions.get(operation);
    const known = byAlgorithm?.get(algorithm);
    if (known !== undefined) return known;
    const rule = pair.rules.find((candidate) => decides(candidate, operation, algorithm));
    const decision = rule?.decision ?? this.#defaultDeny;
    // Callers choose these strings: only the closed lists are remembered.
    if (KNOWN_ALGORITHMS.has(algorithm) && OPERATIONS.includes(operation)) {
      if (byAlgorithm === undefined) {
        byAlgorithm = new Map();
        pair.decisions.set(operation, byAlgorithm);
      }
      byAlgorithm.set(algorithm, decision);
    }
    return decision;
  }

  explain(question: KeyUseQuestion): ExplainedDecision {
    const decision = this.decide(question);
    return { ...decision, considered: this.#rules.map((rule) => verdict(rule, question)) };
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
    pair.usable ??= Object.freeze(
      OPERATIONS.filter((operation) => {
        const algorithms = operation === 'random' ? [''] : OPERATION_ALGORITHMS[operation];
        return algorithms.some(
          (algorithm) => this.decide({ spiffeId, operation, key, algorithm }).effect === 'allow',
        );
      }),
    );
    return pair.usable;
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
      (a, b) => Number(a.effect === 'allow') - Number(b.effect === 'allow') || compareText(a.id, b.id),
    );
    if (rules.length === 0) return undefined;
    const pair: PairRules = { rules, decisions: new Map(), usable: undefined };
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

function decides(rule: LoadedRule, operation: Operation, algorithm: string): boolean {
  return rule.operations.includes(operation) && algorithmHolds(rule, algorithm);
}

/** An algorithm that is not known cannot make an allow rule hold, and cannot get a caller around a deny rule. */
function algorithmHolds(rule: LoadedRule, algorithm: string): boolean {
  if (rule.algorithms === undefined || rule.algorithms.includes(algorithm)) return true;
  return rule.effect === 'deny' && (algorithm === '' || !KNOWN_ALGORITHMS.has(algorithm));
}

function verdict(rule: LoadedRule, question: KeyUseQuestion): RuleVerdict {
  const missing: string[] = [];
  const id = spiffeIdOrUndefined(question.spiffeId);
  if (id === undefined || id.segments.length === 0) missing.push('workload is not a SPIFFE ID');
  else if (!rule.workloads.some((pattern) => matchesPattern(pattern, spiffeIdSegments(id)))) {
    missing.push('workload does not match');
  }
  if (question.operation === 'random') {
    if (question.key !== '') missing.push('random uses no key');
  } else if (!isKeyName(question.key)) missing.push('key is not a key name');
  else if (isReservedKeyName(question.key)) missing.push('key is reserved for the broker');
  else if (!rule.keys.some((pattern) => matchesPattern(pattern, question.key.split('/'))))
    missing.push('key does not match');
  if (!rule.operations.includes(question.operation)) {
    missing.push(`operation ${question.operation} is not among ${rule.operations.join(', ')}`);
  }
  if (!algorithmHolds(rule, policyAlgorithm(question.algorithm))) {
    const asked =
      question.algorithm === ''
        ? 'no algorithm is named, but it must be one of'
        : `algorithm ${question.algorithm} is not among`;
    missing.push(`${asked} ${rule.algorithms?.join(', ')}`);
  }
  return { rule: rule.id, effect: rule.effect, matched: missing.length === 0, missing };
}
