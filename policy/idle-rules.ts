/** Rules that are right and probably not meant: they never match, or change nothing. Warned about, never refused. */
import { type Limit, type Operation, TYPED_OPERATIONS } from './decision.ts';
import { formatDuration } from './duration.ts';
import type { LoadedRule } from './load-rule.ts';
import { matchesPattern, type Pattern, patternCovers, patternsOverlap } from './pattern.ts';
import type { Report } from './report.ts';
import { quoteSource } from './source-issue.ts';
import { OPERATION_ALGORITHMS } from './vocabulary.ts';
import { dayOfInstant, opensWithin } from './windows.ts';

export interface KnownNames {
  /** The trust domain that is served, to warn of rules about others. */
  readonly trustDomain?: string | undefined;
  /** Names of all keys there are, to warn of rules about none of them. */
  readonly knownKeys?: readonly string[] | undefined;
  /** SPIFFE IDs of all workloads that are known, to warn of rules about none of them. */
  readonly knownWorkloads?: readonly string[] | undefined;
}

interface Look extends KnownNames {
  readonly now?: number | undefined;
  readonly report: Report;
}

// Comparing every rule with every other is for warnings only: beyond this it is left out.
const MAX_COVER_CHECKS = 200_000;
// Four years say enough of weekdays and exceptions; only days of every year come round to all weekdays in 28.
const DAYS_LOOKED_AHEAD = 1500;
const DAYS_OF_28_YEARS = 10_228;
/** A policy that is checked without a clock is looked at from here on. */
const SOME_DAY: number = Date.UTC(2026, 0, 1);

export function warnOfIdleRules(rules: readonly LoadedRule[], look: Look): void {
  const denies = rules.filter((rule) => rule.effect === 'deny' && rule.dynamic === undefined);
  const freely = rules.filter((rule) => rule.effect === 'allow' && rule.dynamic === undefined);
  const comparesDenies = denies.length * rules.length <= MAX_COVER_CHECKS;
  const comparesAllows = freely.length * rules.length <= MAX_COVER_CHECKS;
  const typed = rules.filter((rule) => rule.effect === 'allow' && rule.operations.some(isTyped));
  if (typed.length * rules.length <= MAX_COVER_CHECKS) warnOfRawSigning(rules, typed, look.report);
  const approved = rules.filter((rule) => rule.dynamic?.quorum !== undefined);
  if (approved.length * rules.length <= MAX_COVER_CHECKS) warnOfWaysAround(rules, approved, look.report);
  const keys = look.knownKeys?.map((name) => name.split('/'));
  const workloads = look.knownWorkloads?.map((id) => id.slice('spiffe://'.length).split('/'));
  for (const rule of rules) {
    warnOfNames(rule, look, keys, workloads);
    warnOfAlgorithms(rule, look.report);
    if (rule.dynamic !== undefined) {
      warnOfTimes(rule, look);
      warnOfLimits(rule, look.report);
    }
    if (rule.effect === 'deny') continue;
    const path = ['rules', rule.index, 'id'];
    const overruler = comparesDenies ? denies.find((deny) => covers(deny, rule)) : undefined;
    if (overruler !== undefined) {
      look.report.warn(
        path,
        `the rule \`${rule.id}\` allows nothing: the rule \`${overruler.id}\` denies all of it`,
      );
      continue;
    }
    const wider = comparesAllows ? freely.find((allow) => allow !== rule && covers(allow, rule)) : undefined;
    // Of two that say the same, one is enough to be told of.
    if (
      wider !== undefined &&
      (wider.index < rule.index || !covers(rule, wider) || rule.dynamic !== undefined)
    ) {
      look.report.warn(
        path,
        `the rule \`${rule.id}\` changes nothing: the rule \`${wider.id}\` allows all of it, always`,
      );
    }
  }
}

function isTyped(operation: Operation): boolean {
  return (TYPED_OPERATIONS as readonly Operation[]).includes(operation);
}

/** What one rule asks approvals for, another allows without. */
function warnOfWaysAround(
  rules: readonly LoadedRule[],
  approved: readonly LoadedRule[],
  report: Report,
): void {
  for (const rule of approved) {
    const around = rules.find(
      (other) => other.effect === 'allow' && other.dynamic?.quorum === undefined && rulesOverlap(rule, other),
    );
    if (around === undefined) continue;
    report.warn(
      ['rules', rule.index, 'quorum'],
      `the rule \`${around.id}\` allows without approvals some of what the rule \`${rule.id}\` asks approvals for`,
    );
  }
}

function warnOfRawSigning(rules: readonly LoadedRule[], typed: readonly LoadedRule[], report: Report): void {
  for (const rule of rules) {
    if (rule.effect === 'deny' || !rule.operations.includes('sign')) continue;
    const by = typed.find(({ keys }) =>
      rule.keys.every((key) => keys.some((other) => patternCovers(other, key))),
    );
    if (by === undefined) continue;
    const who = by === rule ? 'it also allows' : `the rule \`${by.id}\` allows`;
    report.warn(
      ['rules', rule.index, 'operations'],
      `the rule \`${rule.id}\` allows \`sign\` to nobody: ${who} typed signing with these keys, which then take nothing else`,
    );
  }
}

function warnOfNames(
  rule: LoadedRule,
  { trustDomain, report }: Look,
  keys: readonly (readonly string[])[] | undefined,
  workloads: readonly (readonly string[])[] | undefined,
): void {
  const path = ['rules', rule.index];
  if (trustDomain !== undefined && rule.workloads.every((pattern) => pattern.segments[0] !== trustDomain)) {
    report.warn(
      [...path, 'workloads'],
      `the rule \`${rule.id}\` never matches: only workloads of ${quoteSource(trustDomain)} are served`,
    );
  } else if (workloads !== undefined && !matchAny(rule.workloads, workloads)) {
    report.warn([...path, 'workloads'], `the rule \`${rule.id}\` matches no workload that is known`);
  }
  if (keys !== undefined && rule.keys.length > 0 && !matchAny(rule.keys, keys)) {
    report.warn([...path, 'keys'], `the rule \`${rule.id}\` matches no key that there is`);
  }
}

function matchAny(patterns: readonly Pattern[], names: readonly (readonly string[])[]): boolean {
  return patterns.some((pattern) => names.some((name) => matchesPattern(pattern, name)));
}

function warnOfAlgorithms(rule: LoadedRule, report: Report): void {
  const { algorithms } = rule;
  if (algorithms === undefined) return;
  for (const operation of rule.operations) {
    if (!OPERATION_ALGORITHMS[operation].some((algorithm) => algorithms.includes(algorithm))) {
      report.warn(
        ['rules', rule.index, 'algorithms'],
        `the rule \`${rule.id}\` never matches ${operation}: none of its algorithms can do that`,
      );
    }
  }
}

function warnOfTimes(rule: LoadedRule, { now, report }: Look): void {
  const schedule = rule.dynamic?.schedule;
  if (schedule === undefined) return;
  const path = ['rules', rule.index];
  if (now !== undefined && schedule.notAfter !== undefined && schedule.notAfter <= now) {
    report.warn([...path, 'not-after'], `the rule \`${rule.id}\` has ended`);
    return;
  }
  const from = dayOfInstant(Math.max(now ?? SOME_DAY, schedule.notBefore ?? 0)) - 1;
  const until =
    schedule.notAfter === undefined ? Number.POSITIVE_INFINITY : dayOfInstant(schedule.notAfter) + 1;
  for (const [i, window] of schedule.windows.entries()) {
    const ahead = window.dates === undefined ? DAYS_LOOKED_AHEAD : DAYS_OF_28_YEARS;
    if (!opensWithin(window, from, until, ahead)) {
      report.warn([...path, 'windows', i], `the window ${quoteSource(window.text)} never opens`);
    }
  }
}

function warnOfLimits(rule: LoadedRule, report: Report): void {
  const limits = rule.dynamic?.limits ?? [];
  for (const [i, limit] of limits.entries()) {
    const tighter = limits.find((other) => other !== limit && endsFirst(other, limit));
    if (tighter !== undefined) {
      report.warn(
        ['rules', rule.index, 'limits', i, 'max'],
        `the limit of ${words(limit)} is never reached: ${words(tighter)} ends first`,
      );
    }
  }
}

/** Whether `other`, over at least as long a time and counting at least as much, has no more room. */
function endsFirst(other: Limit, limit: Limit): boolean {
  if (other.unit !== limit.unit || other.max > limit.max) return false;
  const length = (one: Limit): number => one.perMs ?? Number.POSITIVE_INFINITY;
  if (length(other) < length(limit)) return false;
  if (other.max === limit.max && length(other) === length(limit) && other.by === limit.by) return false;
  return other.by === limit.by || other.by === 'rule';
}

function words({ max, unit, perMs }: Limit): string {
  return `${max} ${unit} ${perMs === undefined ? 'for life' : `per ${formatDuration(perMs)}`}`;
}

/** Whether some request is about both. Exact but for algorithms that no operation in question has. */
export function rulesOverlap(a: LoadedRule, b: LoadedRule): boolean {
  const [fewer, more] = [a.algorithms, b.algorithms];
  return (
    a.operations.some((operation) => b.operations.includes(operation)) &&
    (fewer === undefined || more === undefined || fewer.some((algorithm) => more.includes(algorithm))) &&
    a.keys.some((key) => b.keys.some((other) => patternsOverlap(key, other))) &&
    a.workloads.some((workload) => b.workloads.some((other) => patternsOverlap(workload, other)))
  );
}

/** Whether `wide` surely matches whatever `narrow` does. */
function covers(wide: LoadedRule, narrow: LoadedRule): boolean {
  const { algorithms } = wide;
  return (
    narrow.operations.every((operation) => wide.operations.includes(operation)) &&
    (algorithms === undefined ||
      (narrow.algorithms?.every((algorithm) => algorithms.includes(algorithm)) ?? false)) &&
    narrow.workloads.every((one) => wide.workloads.some((other) => patternCovers(other, one))) &&
    narrow.keys.every((one) => wide.keys.some((other) => patternCovers(other, one)))
  );
}
