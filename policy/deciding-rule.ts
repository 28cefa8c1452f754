/**
 * One rule as it decides: whether it concerns a request, what being allowed by it costs, and in words why it does not
 * match.
 */
import type { Decision, Operation, RuleVerdict } from './decision.ts';
import type { DynamicRule, RequestView } from './dynamic-rule.ts';
import { isKeyName, isReservedKeyName } from './key-name.ts';
import type { LoadedRule } from './load-rule.ts';
import { matchesPattern, spiffeIdSegments } from './pattern.ts';
import { quorumWords } from './quorum-words.ts';
import { spiffeIdOrUndefined } from './scope.ts';
import { POLICY_ALGORITHMS, policyAlgorithm } from './vocabulary.ts';

/** The empty one is that of operations that have none, and of callers that name none. */
export const KNOWN_ALGORITHMS: ReadonlySet<string> = new Set(['', ...POLICY_ALGORITHMS]);

export interface DecidingRule extends Omit<LoadedRule, 'dynamic'> {
  readonly decision: Decision;
  readonly dynamic: DynamicRule | undefined;
}

/**
 * What it costs to be allowed by a rule: nothing, ever; nothing, at times; something; what those on probation would cost;
 * the time of people; and that of people in an emergency.
 */
export function cost({ dynamic }: DecidingRule): number {
  if (dynamic === undefined) return 0;
  if (dynamic.quorum !== undefined) return dynamic.quorum.emergency ? 5 : 4;
  if (dynamic.observeUntil !== undefined) return 3;
  return dynamic.isFree ? 1 : 2;
}

/** By operation and algorithm alone: workload and key are looked up. */
export function concerns(rule: DecidingRule, operation: Operation, algorithm: string): boolean {
  return rule.operations.includes(operation) && algorithmHolds(rule, algorithm);
}

/** Of a deny rule that concerns the request. */
export function isDenied({ dynamic }: DecidingRule, view: RequestView): boolean {
  return dynamic === undefined || dynamic.matches(view);
}

/** An algorithm that is not known cannot make an allow rule hold, and cannot get a caller around a deny rule. */
function algorithmHolds(rule: DecidingRule, algorithm: string): boolean {
  if (rule.algorithms === undefined || rule.algorithms.includes(algorithm)) return true;
  return rule.effect === 'deny' && (algorithm === '' || !KNOWN_ALGORITHMS.has(algorithm));
}

/** For `explain`: what was missing for the rule to match, everything at once. */
export function verdictOf(rule: DecidingRule, view: RequestView): RuleVerdict {
  const { question } = view;
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
  const { dynamic } = rule;
  if (missing.length > 0 || dynamic === undefined) {
    return { rule: rule.id, effect: rule.effect, matched: missing.length === 0, missing };
  }
  if (rule.effect === 'deny') {
    const escapes = dynamic.escapes(view);
    return { rule: rule.id, effect: 'deny', matched: escapes.length === 0, missing: escapes };
  }
  const gaps = dynamic.gaps(view, [], true);
  const isObserving = dynamic.isObserving(view);
  if (gaps.length === 0 && dynamic.quorum !== undefined) {
    const needs = [`needs ${quorumWords(dynamic.quorum)}`];
    return { rule: rule.id, effect: 'allow', matched: true, missing: needs };
  }
  return {
    rule: rule.id,
    effect: 'allow',
    matched: gaps.length === 0 || isObserving,
    missing: isObserving ? gaps.map((gap) => `observed only: ${gap}`) : gaps,
  };
}
