/** One rule of a policy file, and everything that can be wrong in it. */
import type { CalendarDates } from './calendar-dates.ts';
import { compileExpression, type ExpressionKind } from './condition/expression.ts';
import { type Limit, OPERATIONS, type Operation, TYPED_OPERATIONS } from './decision.ts';
import { formatDuration, parseDuration } from './duration.ts';
import type { People } from './load-quorum.ts';
import { loadInstant, loadSchedule } from './load-schedule.ts';
import { type Pattern, PatternError, parseKeyPattern, parseSpiffeIdPattern } from './pattern.ts';
import type { Quorum } from './quorum.ts';
import type { Report } from './report.ts';
import type { RuleDocument } from './schema.ts';
import type { YamlPath } from './source.ts';
import { quoteSource } from './source-issue.ts';
import type { TypedConstraints } from './typed-rule.ts';
import { policyAlgorithm } from './vocabulary.ts';
import type { Schedule } from './windows.ts';

/** Plain data: it crosses threads. Expressions are texts that compile. */
export interface LoadedRule {
  readonly index: number;
  readonly id: string;
  readonly effect: 'allow' | 'deny';
  readonly workloads: readonly Pattern[];
  readonly keys: readonly Pattern[];
  readonly operations: readonly Operation[];
  /** Undefined: every one. */
  readonly algorithms: readonly string[] | undefined;
  /** Undefined: nothing but the above. Most rules. */
  readonly dynamic: DynamicParts | undefined;
}

/** What of a rule depends on more than who asks for what. */
export interface DynamicParts {
  readonly schedule: Schedule;
  readonly when: string | undefined;
  readonly evidence: readonly string[];
  readonly typed: TypedConstraints;
  readonly limits: readonly Limit[];
  readonly guards: readonly LoadedGuard[];
  /** Undefined: nobody has to agree. */
  readonly quorum: Quorum | undefined;
  /** Milliseconds of the Unix epoch; undefined: the rule is enforced. */
  readonly observeUntil: number | undefined;
}

export interface LoadedGuard {
  readonly id: string;
  readonly kind: 'monotonic' | 'unique';
  readonly expression: string;
}

/** Named lists of dates, and whether a policy file is read now (`now`) or at no particular time. */
export interface RuleContext {
  readonly calendars: ReadonlyMap<string, readonly CalendarDates[]>;
  readonly profiles: ReadonlySet<string>;
  readonly people: People;
  readonly now: number | undefined;
  readonly report: Report;
}

/** An observing rule refuses nothing: it is for a trial, not for good. */
export const MAX_OBSERVATION_MS: number = 14 * 86_400_000;
const MAX_LIMIT_MS = 366 * 86_400_000;
const NO_TYPED: TypedConstraints = Object.freeze({});

export function loadPatterns(
  texts: readonly string[],
  parse: (text: string) => Pattern,
  path: YamlPath,
  report: Report,
): Pattern[] {
  const patterns: Pattern[] = [];
  for (const [i, text] of texts.entries()) {
    try {
      patterns.push(parse(text));
    } catch (error) {
      if (!(error instanceof PatternError)) throw error;
      report.refuse([...path, i], `${quoteSource(text)} ${error.message}`, error.expected);
    }
  }
  return patterns;
}

export function loadRule(rule: RuleDocument, index: number, context: RuleContext): LoadedRule {
  const { report } = context;
  const path = ['rules', index];
  checkRandom(rule, path, report);
  const loaded = {
    index,
    id: rule.id,
    effect: rule.effect,
    workloads: loadPatterns(rule.workloads, parseSpiffeIdPattern, [...path, 'workloads'], report),
    keys: loadPatterns(rule.keys ?? [], parseKeyPattern, [...path, 'keys'], report),
    operations: OPERATIONS.filter((operation) => rule.operations.includes(operation)),
    algorithms:
      rule.algorithms === undefined ? undefined : [...new Set(rule.algorithms.map(policyAlgorithm))],
  };
  return { ...loaded, dynamic: loadDynamicParts(rule, path, loaded, context) };
}

function checkRandom(rule: RuleDocument, path: YamlPath, report: Report): void {
  if (rule.operations.includes('random')) {
    const alone =
      'gives random bytes, which need no key and no algorithm: write it as a rule of its own with `operations: [random]`';
    if (rule.operations.length > 1) report.refuse([...path, 'operations'], `\`random\` ${alone}`);
    else if (rule.keys !== undefined)
      report.refuse([...path, 'keys'], `a rule for \`random\` ${alone}, without \`keys\``);
    else if (rule.algorithms !== undefined) {
      report.refuse([...path, 'algorithms'], `a rule for \`random\` ${alone}, without \`algorithms\``);
    }
  } else if (rule.keys === undefined) {
    report.refuse(
      [...path, 'keys'],
      `${quoteSource(`rules[${path[1]}].keys`)} is missing`,
      'a list of key names or patterns',
    );
  }
}

const ALLOW_ONLY = ['limits', 'guards', 'quorum', 'evidence', 'jwt', 'certificate', 'dsse', 'until'] as const;
const NOT_CONDITIONS: ReadonlySet<string> = new Set(['until', 'limits', 'guards', 'quorum']);
const DYNAMIC = ['windows', 'not-before', 'not-after', 'when', ...ALLOW_ONLY] as const;

function loadDynamicParts(
  rule: RuleDocument,
  path: YamlPath,
  loaded: Pick<LoadedRule, 'effect' | 'operations' | 'workloads' | 'keys'>,
  context: RuleContext,
): DynamicParts | undefined {
  if (rule.mode === 'enforce' && DYNAMIC.every((name) => rule[name] === undefined)) return undefined;
  const { report } = context;
  if (rule.effect === 'deny') {
    for (const name of ALLOW_ONLY) {
      if (rule[name] !== undefined) {
        const instead = NOT_CONDITIONS.has(name) ? '' : '; say it with `when`';
        report.refuseName([...path, name], `a deny rule has no \`${name}\`${instead}`);
      }
    }
    if (rule.mode !== 'enforce') report.refuse([...path, 'mode'], 'a deny rule is always enforced');
  }
  if (rule.when !== undefined)
    checkExpression(rule.when, 'condition', [...path, 'when'], rule.operations, report);
  return {
    schedule: loadSchedule(rule, path, context),
    when: rule.when,
    evidence: rule.evidence?.has ?? [],
    typed: loadTyped(rule, path, context),
    limits: loadLimits(rule, path, report),
    guards: loadGuards(rule, path, report),
    quorum: loadQuorum(rule, path, loaded, context),
    observeUntil: loadObservation(rule, path, loaded, context),
  };
}

const TYPE_OF = { jwt: 'sign-jwt', x509: 'sign-certificate', dsse: 'sign-dsse' } as const;

function checkExpression(
  text: string,
  kind: ExpressionKind,
  path: YamlPath,
  operations: readonly Operation[],
  report: Report,
): void {
  const compiled = compileExpression(text, kind);
  if (!compiled.ok) {
    report.refuseWithin(
      path,
      compiled.offset,
      `the expression: ${compiled.message}${placeIn(text, compiled.offset)}`,
    );
    return;
  }
  for (const type of compiled.expression.types) {
    if (!operations.includes(TYPE_OF[type])) {
      report.refuse(
        path,
        `\`request.${type}\` is only there for \`${TYPE_OF[type]}\`, which is none of its operations`,
      );
    }
  }
}

// A text of several lines is placed at its start in the file.
function placeIn(text: string, offset: number): string {
  if (!text.trimEnd().includes('\n')) return '';
  const before = text.slice(0, offset).split('\n');
  return ` (line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1} of the expression)`;
}

function loadTyped(rule: RuleDocument, path: YamlPath, { profiles, report }: RuleContext): TypedConstraints {
  const { jwt, certificate, dsse } = rule;
  if (jwt === undefined && certificate === undefined && dsse === undefined) return NO_TYPED;
  const needs = [
    ['jwt', jwt, 'sign-jwt'],
    ['certificate', certificate, 'sign-certificate'],
    ['dsse', dsse, 'sign-dsse'],
  ] as const;
  for (const [name, constraint, operation] of needs) {
    if (constraint === undefined) continue;
    if (!rule.operations.includes(operation)) {
      report.refuseName(
        [...path, name],
        `\`${name}\` is about \`${operation}\`, which is none of the operations`,
      );
    }
    if (Object.keys(constraint).length === 0) {
      report.refuse([...path, name], `an empty \`${name}\` says nothing; leave it out to allow everything`);
    }
  }
  for (const [i, profile] of (certificate?.profiles ?? []).entries()) {
    if (!profiles.has(profile)) {
      report.refuse(
        [...path, 'certificate', 'profiles', i],
        `there is no certificate profile ${quoteSource(profile)}`,
      );
    }
  }
  const { maxLifetime: jwtLifetime, ...jwtRest } = jwt ?? {};
  return {
    ...(jwt === undefined ? {} : { jwt: { ...jwtRest, maxLifetimeMs: durationMs(jwtLifetime) } }),
    ...(certificate === undefined
      ? {}
      : {
          certificate: { profiles: certificate.profiles, maxLifetimeMs: durationMs(certificate.maxLifetime) },
        }),
    ...(dsse === undefined ? {} : { dsse }),
  };
}

// The schema has seen to the form.
function durationMs(text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseDuration(text);
}

function loadLimits(rule: RuleDocument, path: YamlPath, report: Report): Limit[] {
  const limits: Limit[] = [];
  for (const [i, { max, per, by, unit, window, burst }] of (rule.limits ?? []).entries()) {
    const at = [...path, 'limits', i];
    const perMs = per === 'life' ? undefined : parseDuration(per);
    if (per !== 'life' && (perMs === undefined || perMs < 1000 || perMs > MAX_LIMIT_MS)) {
      report.refuse(
        [...at, 'per'],
        `${quoteSource(per)} is not a length of time for a limit`,
        '1s to 366d, or life',
      );
    }
    if (burst !== undefined && (window === 'fixed' || perMs === undefined)) {
      report.refuseName([...at, 'burst'], '`burst` is for smooth windows only');
    } else if (burst !== undefined && burst > max) {
      report.refuse([...at, 'burst'], '`burst` is more than `max`');
    }
    if (rule.operations.includes('random') && by.includes('key')) {
      report.refuse([...at, 'by'], '`random` uses no key to count by', 'workload, trust-domain or rule');
    }
    const id = `${rule.id}/${by}/${unit}/${perMs === undefined ? 'life' : formatDuration(perMs)}/${window}`;
    if (limits.some((other) => other.id === id)) {
      report.refuse(at, 'an earlier limit counts the same; one of them says nothing');
    }
    limits.push({ id, max, perMs, by, unit, window, ...(burst === undefined ? {} : { burst }) });
  }
  return limits;
}

function loadGuards(rule: RuleDocument, path: YamlPath, report: Report): LoadedGuard[] {
  const guards: LoadedGuard[] = [];
  if (rule.guards !== undefined && !rule.operations.every((operation) => isTyped(operation))) {
    report.refuseName(
      [...path, 'guards'],
      '`guards` are for typed signing only: of other requests nothing is understood',
    );
    return [];
  }
  for (const [i, { monotonic, unique }] of (rule.guards ?? []).entries()) {
    const at = [...path, 'guards', i];
    if ((monotonic === undefined) === (unique === undefined)) {
      report.refuse(at, 'a guard is either `monotonic` or `unique`');
      continue;
    }
    const kind = monotonic === undefined ? 'unique' : 'monotonic';
    const expression = monotonic ?? unique ?? '';
    checkExpression(expression, kind, [...at, kind], rule.operations, report);
    const id = `${rule.id}/${kind}/${expression}`;
    if (guards.some((other) => other.id === id)) report.refuse(at, 'an earlier guard says the same');
    guards.push({ id, kind, expression });
  }
  return guards;
}

/** Operations that nobody can be asked about: they sign nothing, open nothing, and some run without the token. */
const NEEDS_NOBODY: ReadonlySet<Operation> = new Set(['verify', 'verify-mac', 'random']);

function loadQuorum(
  rule: RuleDocument,
  path: YamlPath,
  { workloads }: Pick<LoadedRule, 'workloads'>,
  { people, report }: RuleContext,
): Quorum | undefined {
  if (rule.quorum === undefined || rule.effect === 'deny') return undefined;
  const free = rule.operations.findIndex((operation) => NEEDS_NOBODY.has(operation));
  if (free >= 0) {
    report.refuse(
      [...path, 'operations', free],
      `\`${rule.operations[free]}\` needs nobody's approval: give it a rule of its own without \`quorum\``,
    );
  }
  const at = [...path, 'quorum'];
  const unseen = rule.operations.find((operation) => !operation.startsWith('sign'));
  if (unseen !== undefined && (rule.quorum.covers ?? 'act') === 'act') {
    report.refuse(
      [...at, 'covers'],
      `nobody can be shown what \`${unseen}\` is asked for: let people agree to the use of the key, with \`covers: rule\``,
    );
  }
  const before = report.issues.length;
  const quorum = people.quorum(rule.quorum, at, workloads, report);
  const alone = people.onlyRequester(quorum.groups, workloads);
  if (alone !== undefined && report.issues.length === before) {
    report.refuse(
      [...at, 'of'],
      `${quoteSource(alone)} is the only one who asks for this, and nobody approves what they asked for themselves`,
    );
  }
  return quorum;
}

function isTyped(operation: Operation): boolean {
  return (TYPED_OPERATIONS as readonly Operation[]).includes(operation);
}

/** Until when a rule is on probation. It refuses nothing, so it must be about one workload, one key, and not for long. */
function loadObservation(
  rule: RuleDocument,
  path: YamlPath,
  loaded: Pick<LoadedRule, 'workloads' | 'keys'>,
  { now, report }: RuleContext,
): number | undefined {
  const until = loadInstant(rule.until, [...path, 'until'], report);
  if (rule.mode === 'enforce') {
    if (rule.until !== undefined && rule.effect === 'allow') {
      report.refuseName(
        [...path, 'until'],
        '`until` is for `mode: observe`; the end of a rule is `not-after`',
      );
    }
    return undefined;
  }
  if (until === undefined) {
    report.refuse([...path, 'until'], '`mode: observe` needs its end', '`until`, at most 14 days away');
  }
  for (const [name, patterns] of [
    ['workloads', loaded.workloads],
    ['keys', loaded.keys],
  ] as const) {
    const wild = patterns.findIndex((pattern) => !pattern.exact);
    if (wild >= 0) {
      report.refuse(
        [...path, name, wild],
        `\`mode: observe\` names ${name} without wildcards: it refuses nothing`,
      );
    }
  }
  for (const name of ['guards', 'quorum'] as const) {
    if (rule[name] !== undefined) report.refuseName([...path, name], `\`${name}\` is never only observed`);
  }
  if (until !== undefined && now !== undefined) {
    if (until <= now) report.refuse([...path, 'until'], 'the end of `mode: observe` has passed');
    else if (until - now > MAX_OBSERVATION_MS) {
      report.refuse([...path, 'until'], 'the end of `mode: observe` is more than 14 days away');
    }
  }
  return until;
}
