/**
 * A policy evaluator that is too simple to be wrong and too slow to be used: what the real one is compared with.
 * It shares no code with it.
 */
import type { Circumstances, KeyUseQuestion } from '../../../policy/decision.ts';

export interface NaiveRule {
  readonly id: string;
  readonly effect?: 'allow' | 'deny';
  readonly workloads: readonly string[];
  readonly keys?: readonly string[];
  readonly operations: readonly string[];
  readonly algorithms?: readonly string[];
  readonly windows?: readonly NaiveWindow[];
  readonly 'not-before'?: string;
  readonly 'not-after'?: string;
  /** One of `NAIVE_CONDITIONS`. */
  readonly when?: string;
  readonly evidence?: { readonly has: readonly string[] };
  readonly limits?: readonly object[];
  readonly mode?: string;
  readonly until?: string;
}

export interface NaiveWindow {
  readonly days: string;
  readonly from: string;
  readonly to: string;
  readonly zone: string;
  readonly dates?: readonly string[];
  readonly except?: readonly string[];
}

/** Expressions, and what they come to. Undefined: an error. */
export const NAIVE_CONDITIONS: Readonly<Record<string, (asked: Circumstances) => boolean | undefined>> = {
  true: () => true,
  false: () => false,
  'request.bytes > 100': ({ bytes }) => bytes > 100,
  '"x509-svid" in evidence': ({ evidence }) => evidence.includes('x509-svid'),
  'connection.peerAddress.matches("^10[.]")': ({ peerAddress }) => peerAddress.startsWith('10.'),
  '100 / request.bytes > 0': ({ bytes }) => (bytes === 0 ? undefined : bytes <= 100),
  'request.content == "digest" || 1 / request.bytes == 5': ({ content, bytes }) =>
    content === 'digest' ? true : bytes === 0 ? undefined : false,
  'now < timestamp("2026-10-25T01:00:00Z")': ({ now, clockDoubtMs }) =>
    clockDoubtMs <= MAX_DOUBT_MS ? now < Date.parse('2026-10-25T01:00:00Z') : undefined,
};

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

const MAX_DOUBT_MS = 1000;
const DAY_MS = 86_400_000;
const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
/** Of the policies in these tests. */
export const NAIVE_CALENDARS: Readonly<Record<string, readonly string[]>> = {
  freeze: ['2026-10-26..2026-10-27', '03-29'],
};

/** What a clock on the wall shows: `2026-10-25`, `sun`, `02:30`. */
function wallClock(instant: number, zone: string): { date: string; day: string; time: string } {
  const parts = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone,
    weekday: 'short',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).formatToParts(instant);
  const of = (type: string): string => parts.find((part) => part.type === type)?.value ?? '';
  return {
    date: `${of('year')}-${of('month')}-${of('day')}`,
    day: of('weekday').toLowerCase(),
    time: `${of('hour')}:${of('minute')}`,
  };
}

const dayBefore = (date: string): string => new Date(Date.parse(date) - DAY_MS).toISOString().slice(0, 10);
const weekdayOf = (date: string): string => DAYS[(new Date(date).getUTCDay() + 6) % 7] ?? '';

function isAmong(date: string, dates: readonly string[]): boolean {
  return dates.some((one) => {
    const [from = '', to = from] = one.split('..');
    return one.length === 5 ? date.endsWith(one) : from <= date && date <= to;
  });
}

function naiveWindowIsOpen(window: NaiveWindow, instant: number): boolean {
  const { date, time } = wallClock(instant, window.zone);
  const except = (window.except ?? []).flatMap((name) => NAIVE_CALENDARS[name] ?? []);
  const [first = '', last = first] = window.days.split('-');
  const [from, to] = [DAYS.indexOf(first), DAYS.indexOf(last)];
  const begins = (on: string): boolean => {
    const day = DAYS.indexOf(weekdayOf(on));
    const isDay = from <= to ? from <= day && day <= to : day >= from || day <= to;
    return isDay && (window.dates === undefined || isAmong(on, window.dates)) && !isAmong(on, except);
  };
  if (isAmong(date, except)) return false;
  if (window.from < window.to) return window.from <= time && time < window.to && begins(date);
  return (window.from <= time && begins(date)) || (time < window.to && begins(dayBefore(date)));
}

/** At every whole second that it may be, and at both ends. Undefined: nobody knows. */
function naiveTimes(rule: NaiveRule, { now, clockDoubtMs }: Circumstances): readonly boolean[] | undefined {
  if (rule.windows === undefined && rule['not-before'] === undefined && rule['not-after'] === undefined)
    return [true];
  if (!(clockDoubtMs <= MAX_DOUBT_MS)) return undefined;
  const instants = [now - clockDoubtMs, now + clockDoubtMs];
  for (let t = Math.ceil((now - clockDoubtMs) / 1000) * 1000; t <= now + clockDoubtMs; t += 1000)
    instants.push(t);
  return instants.map(
    (instant) =>
      (rule['not-before'] === undefined || instant >= Date.parse(rule['not-before'])) &&
      (rule['not-after'] === undefined || instant < Date.parse(rule['not-after'])) &&
      (rule.windows === undefined || rule.windows.some((window) => naiveWindowIsOpen(window, instant))),
  );
}

function naiveDenies(rule: NaiveRule, asked: Circumstances | undefined): boolean {
  if (asked === undefined) return true;
  const times = naiveTimes(rule, asked);
  if (times !== undefined && !times.includes(true)) return false;
  return rule.when === undefined || NAIVE_CONDITIONS[rule.when]?.(asked) !== false;
}

function naiveAllows(rule: NaiveRule, asked: Circumstances | undefined): boolean {
  if (asked === undefined) {
    return ['windows', 'not-before', 'not-after', 'when', 'evidence'].every((name) => !(name in rule));
  }
  const times = naiveTimes(rule, asked);
  return (
    times !== undefined &&
    !times.includes(false) &&
    (rule.when === undefined || NAIVE_CONDITIONS[rule.when]?.(asked) === true) &&
    (rule.evidence?.has ?? []).every((kind) => asked.evidence.includes(kind))
  );
}

function naiveObserves(rule: NaiveRule, asked: Circumstances | undefined): boolean {
  if (rule.mode !== 'observe' || asked === undefined || !(asked.clockDoubtMs <= MAX_DOUBT_MS)) return false;
  const until = Date.parse(rule.until ?? '');
  return asked.now + asked.clockDoubtMs < until && asked.now - asked.clockDoubtMs >= until - 14 * DAY_MS;
}

function naiveCost(rule: NaiveRule): number {
  if (rule.mode === 'observe') return 3;
  if (rule.limits !== undefined) return 2;
  return ['windows', 'not-before', 'not-after', 'when', 'evidence'].some((name) => name in rule) ? 1 : 0;
}

export interface NaiveDecision {
  readonly effect: string;
  readonly rule: string;
}

export function naiveDecision(rules: readonly NaiveRule[], question: KeyUseQuestion): NaiveDecision {
  const { effect, rule } = naiveExplanation(rules, question);
  return { effect, rule };
}

/** With every allow rule that holds, in the order in which they are tried. */
export function naiveExplanation(
  rules: readonly NaiveRule[],
  question: KeyUseQuestion,
): NaiveDecision & { readonly allowing: readonly string[]; readonly observed: readonly string[] } {
  const deny = { effect: 'deny', rule: '', allowing: [], observed: [] };
  const { spiffeId, key, circumstances } = question;
  if (!/^spiffe:\/\/[a-z0-9._-]+(\/[A-Za-z0-9._-]+)+$/.test(spiffeId)) return deny;
  if (question.operation !== 'random' && !/^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/.test(key)) return deny;
  if (key.split('/')[0] === 'lastmile') return deny;
  const about = rules.filter((rule) => naiveRuleHolds(rule, question));
  const [denier] = about
    .filter((rule) => rule.effect === 'deny' && naiveDenies(rule, circumstances))
    .map((rule) => rule.id)
    .toSorted();
  if (denier !== undefined) return { ...deny, rule: denier };
  const observed = about.filter((rule) => naiveObserves(rule, circumstances)).map((rule) => rule.id);
  const allowing = about
    .filter(
      (rule) => rule.effect !== 'deny' && (naiveAllows(rule, circumstances) || observed.includes(rule.id)),
    )
    .toSorted((a, b) => naiveCost(a) - naiveCost(b) || (a.id < b.id ? -1 : 1))
    .map((rule) => rule.id);
  const [first] = allowing;
  return first === undefined ? deny : { effect: 'allow', rule: first, allowing, observed };
}
