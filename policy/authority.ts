/**
 * What gives an approval its meaning, as text: an approval is bound to it. Whatever may change what a rule allows is in
 * it; names of files, descriptions, the order of lists and rules about others are not.
 */
import type { CertificateProfile } from './decision.ts';
import { isKeyName } from './key-name.ts';
import type { LoadedPolicy } from './load.ts';
import type { LoadedLifecycleRule } from './load-quorum.ts';
import type { LoadedRule } from './load-rule.ts';
import { matchesPattern, type Pattern, spiffeIdSegments } from './pattern.ts';
import type { Quorum } from './quorum.ts';
import { spiffeIdOrUndefined } from './scope.ts';
import { isAlwaysOpen } from './windows.ts';

/** The rule of a policy file that is called `governance`. */
export const GOVERNANCE_RULE = 'governance';

type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/**
 * Canonical JSON: names in order, lists whose order means nothing sorted, durations in milliseconds. Empty for a rule
 * that is not there.
 */
export function authorityOf(policy: LoadedPolicy, rule: string, spiffeId: string, key: string): string {
  const meaning = meaningOf(policy, rule, spiffeId, key);
  return meaning === undefined ? '' : canonicalText(meaning);
}

function meaningOf(policy: LoadedPolicy, rule: string, spiffeId: string, key: string): Json | undefined {
  const groups = (names: readonly string[]): Json =>
    Object.fromEntries(names.map((name) => [name, (policy.groups.get(name) ?? []).toSorted()]));
  if (rule === GOVERNANCE_RULE) {
    const { governance } = policy;
    if (governance === undefined) return undefined;
    const { approvals, withinMs, methods } = governance;
    return {
      governance: { approvals, withinMs, methods: methods.toSorted() },
      groups: groups(governance.groups),
    };
  }
  const lifecycle = policy.lifecycle.find(({ id }) => id === rule);
  if (lifecycle !== undefined)
    return { lifecycle: lifecycleJson(lifecycle), groups: groups(lifecycle.quorum.groups) };
  const deciding = policy.rules.find(({ id }) => id === rule);
  if (deciding === undefined) return undefined;
  const denies = policy.rules
    .filter((one) => one.effect === 'deny' && reaches(one, spiffeId, key))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const all = [deciding, ...denies];
  const readsClock = all.some(
    ({ dynamic }) => dynamic !== undefined && (dynamic.when !== undefined || !isAlwaysOpen(dynamic.schedule)),
  );
  return {
    rule: ruleJson(deciding),
    groups: groups(deciding.dynamic?.quorum?.groups ?? []),
    denies: denies.map(ruleJson),
    profiles: profilesOf(policy, deciding),
    ...(readsClock ? { maxClockDoubtMs: policy.maxClockDoubtMs } : {}),
  };
}

/** Beyond doubt not about them: a rule that cannot be told apart from one that is belongs to the meaning. */
function reaches(rule: LoadedRule, spiffeId: string, key: string): boolean {
  const id = spiffeIdOrUndefined(spiffeId);
  return (
    (id === undefined || matchesAny(rule.workloads, spiffeIdSegments(id))) &&
    (!isKeyName(key) || matchesAny(rule.keys, key.split('/')))
  );
}

function matchesAny(patterns: readonly Pattern[], segments: readonly string[]): boolean {
  return patterns.some((pattern) => matchesPattern(pattern, segments));
}

function ruleJson({ id, effect, workloads, keys, operations, algorithms, dynamic }: LoadedRule): Json {
  return {
    id,
    effect,
    workloads: texts(workloads),
    keys: texts(keys),
    operations: operations.toSorted(),
    algorithms: algorithms?.toSorted() ?? null,
    ...(dynamic === undefined ? {} : { terms: termsJson(dynamic) }),
  };
}

/** Field by field, so that a term that is added later cannot be forgotten here without a word of the type checker. */
function termsJson(dynamic: NonNullable<LoadedRule['dynamic']>): Json {
  const { schedule, when, evidence, typed, limits, guards, quorum, observeUntil, ...rest } = dynamic;
  rest satisfies Record<string, never>;
  return {
    schedule: json({ ...schedule, windows: sorted(schedule.windows) }),
    when: when ?? null,
    evidence: evidence.toSorted(),
    typed: json(typed),
    limits: sorted(limits),
    guards: sorted(guards),
    quorum: quorum === undefined ? null : quorumJson(quorum),
    observeUntil: observeUntil ?? null,
  };
}

function quorumJson(quorum: Quorum): Json {
  return json({ ...quorum, groups: quorum.groups.toSorted(), methods: quorum.methods.toSorted() });
}

function lifecycleJson({ id, methods, keys, quorum }: LoadedLifecycleRule): Json {
  return {
    id,
    methods: methods.toSorted(),
    keys: keys === undefined ? null : texts(keys),
    quorum: quorumJson(quorum),
  };
}

function profilesOf({ certificateProfiles }: LoadedPolicy, { dynamic }: LoadedRule): Json {
  const named = dynamic?.typed.certificate?.profiles;
  if (named === undefined) return [];
  return certificateProfiles
    .filter(({ id }) => named.includes(id))
    .map((profile: CertificateProfile) => json(profile));
}

function texts(patterns: readonly Pattern[]): Json {
  return [...new Set(patterns.map(({ text }) => text))].sort();
}

function sorted(values: readonly unknown[]): Json {
  return values.map(json).sort((a, b) => (canonicalText(a) < canonicalText(b) ? -1 : 1));
}

/** What was loaded is plain data; what is not there is left out. */
function json(value: unknown): Json {
  return JSON.parse(JSON.stringify(value)) as Json;
}

function canonicalText(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonicalText(member)}`).join(',')}}`;
}
