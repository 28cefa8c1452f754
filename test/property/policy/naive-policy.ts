/**
 * A policy evaluator that is too simple to be wrong and too slow to be used: what the real one is compared with.
 * It shares no code with it.
 */
import type { KeyUseQuestion } from '../../../policy/decision.ts';

export interface NaiveRule {
  readonly id: string;
  readonly effect?: 'allow' | 'deny';
  readonly workloads: readonly string[];
  readonly keys?: readonly string[];
  readonly operations: readonly string[];
  readonly algorithms?: readonly string[];
}

export function naiveMatches(pattern: readonly string[], name: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return name.length === 0;
  if (first === '**')
    return naiveMatches(rest, name) || (name.length > 0 && naiveMatches(pattern, name.slice(1)));
  return name.length > 0 && (first === '*' || first === name[0]) && naiveMatches(rest, name.slice(1));
}

const KNOWN = /^(ES(256|384|512)|Ed25519|[RPH]S(256|384|512)|A256GCM|RSA-OAEP-256)$/;
const modern = (algorithm: string): string => (algorithm === 'EdDSA' ? 'Ed25519' : algorithm);

function naiveRuleHolds(rule: NaiveRule, { spiffeId, operation, key, algorithm }: KeyUseQuestion): boolean {
  const workload = rule.workloads.some((pattern) => naiveMatches(pattern.split('/'), spiffeId.split('/')));
  const keyHolds =
    operation === 'random'
      ? key === ''
      : (rule.keys ?? []).some((pattern) => naiveMatches(pattern.split('/'), key.split('/')));
  const asked = modern(algorithm);
  const algorithmHolds =
    rule.algorithms === undefined ||
    rule.algorithms.map(modern).includes(asked) ||
    (rule.effect === 'deny' && !KNOWN.test(asked));
  return workload && keyHolds && rule.operations.includes(operation) && algorithmHolds;
}

export function naiveDecision(
  rules: readonly NaiveRule[],
  question: KeyUseQuestion,
): { effect: string; rule: string } {
  const deny = { effect: 'deny', rule: '' };
  const { spiffeId, key } = question;
  if (!/^spiffe:\/\/[a-z0-9._-]+(\/[A-Za-z0-9._-]+)+$/.test(spiffeId)) return deny;
  if (question.operation !== 'random' && !/^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/.test(key)) return deny;
  if (key.split('/')[0] === 'lastmile') return deny;
  const holding = rules.filter((rule) => naiveRuleHolds(rule, question));
  const denying = holding.filter((rule) => rule.effect === 'deny');
  const [decider] = (denying.length > 0 ? denying : holding).map((rule) => rule.id).toSorted();
  return decider === undefined ? deny : { effect: denying.length > 0 ? 'deny' : 'allow', rule: decider };
}
