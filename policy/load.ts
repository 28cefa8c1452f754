/**
 * From the bytes of a policy file to rules that can be decided with: everything that is refused or warned about at
 * load is found here, all at once and each where it stands.
 */
import { GOVERNANCE_RULE } from './authority.ts';
import type { CalendarDates } from './calendar-dates.ts';
import type { CertificateProfile, MethodDecision } from './decision.ts';
import { parseDuration } from './duration.ts';
import { type KnownNames, rulesOverlap, warnOfIdleRules } from './idle-rules.ts';
import { loadProfile } from './load-profile.ts';
import { type LoadedLifecycleRule, loadLifecycle, People } from './load-quorum.ts';
import { type LoadedRule, loadPatterns, loadRule, type RuleContext } from './load-rule.ts';
import { loadDates } from './load-schedule.ts';
import { type Pattern, parseKeyPattern, parseSpiffeIdPattern, patternsOverlap } from './pattern.ts';
import { PatternIndex } from './pattern-index.ts';
import type { Approver, Governance } from './quorum.ts';
import { Report } from './report.ts';
import { NOT_YET_IN_POLICY, type PolicyDocument, policySchema, type RoleDocument } from './schema.ts';
import { spiffeIdOrUndefined } from './scope.ts';
import { type ParsedYaml, parseYamlSource, type YamlPath } from './source.ts';
import { quoteSource, type SourceIssue } from './source-issue.ts';
import { readSource } from './source-schema.ts';
import { ROLE_METHODS, roleMethodMatches } from './vocabulary.ts';
import { MAX_CLOCK_DOUBT_MS } from './windows.ts';

export interface PolicyOptions extends KnownNames {
  /** As the person named it; stands in every issue. */
  readonly file?: string | undefined;
  /** SPIFFE IDs from lastmile.yaml: each may call all of Admin and Audit. */
  readonly administrators?: readonly string[] | undefined;
  /**
   * Milliseconds of the Unix epoch. With it, a policy is taken up now: rules whose time has passed are warned about,
   * and what may only be observed for a while is refused when its end is past or far.
   */
  readonly now?: number | undefined;
}

export interface LoadedRole {
  readonly id: string;
  readonly members: readonly Pattern[];
  readonly methods: readonly string[];
  readonly scope: MethodDecision['scope'];
}

export interface LoadedWeight {
  readonly workloads: readonly Pattern[];
  readonly weight: number;
}

/** Plain data: it crosses threads. */
export interface LoadedPolicy {
  readonly issues: readonly SourceIssue[];
  readonly warnings: readonly SourceIssue[];
  readonly rules: readonly LoadedRule[];
  readonly roles: readonly LoadedRole[];
  readonly weights: readonly LoadedWeight[];
  readonly certificateProfiles: readonly CertificateProfile[];
  readonly approvers: readonly Approver[];
  /** Names to ids of approvers. */
  readonly groups: ReadonlyMap<string, readonly string[]>;
  readonly governance: Governance | undefined;
  readonly lifecycle: readonly LoadedLifecycleRule[];
  /** Milliseconds. */
  readonly maxClockDoubtMs: number;
}

/** Ten thousand rules with a window, limits and a condition each. */
export const MAX_POLICY_BYTES = 8 * 1024 * 1024;
/** The role of the administrators of lastmile.yaml. No role or rule can have this id. */
export const ADMINISTRATORS_ROLE = 'administrators';

/** Never throws for anything the bytes hold. Rules and roles are empty when there are issues. */
export function loadPolicy(bytes: Uint8Array, options: PolicyOptions = {}): LoadedPolicy {
  return loadPolicySource(
    parseYamlSource(bytes, { file: options.file, maxBytes: MAX_POLICY_BYTES }),
    options,
  );
}

/** The same of what `parseYamlSource` made of the file, for who needs its text's own values as well. */
export function loadPolicySource(parsed: ParsedYaml, options: PolicyOptions = {}): LoadedPolicy {
  const refused = (issues: readonly SourceIssue[]): LoadedPolicy => ({
    issues,
    warnings: [],
    rules: [],
    roles: [],
    weights: [],
    certificateProfiles: [],
    approvers: [],
    groups: new Map(),
    governance: undefined,
    lifecycle: [],
    maxClockDoubtMs: 0,
  });
  if (!parsed.ok) return refused(parsed.issues);
  const read = readSource(parsed.source, policySchema, { notYet: NOT_YET_IN_POLICY });
  if (!read.ok) return refused(read.issues);

  const report = new Report(parsed.source);
  const document = read.value;
  const roles = [
    ...administratorRole(options.administrators ?? [], report),
    ...document.roles.map((role, i) => loadRole(role, ['roles', i], report)),
  ];
  const certificateProfiles = document.certificateProfiles.map((profile, i) =>
    loadProfile(profile, ['certificateProfiles', i], report),
  );
  const people = new People(document, report);
  const context: RuleContext = {
    people,
    calendars: loadCalendars(document.calendars, report),
    profiles: new Set(certificateProfiles.map(({ id }) => id)),
    now: options.now,
    report,
  };
  const rules = document.rules.map((rule, i) => loadRule(rule, i, context));
  const callers = (method: string): readonly Pattern[] =>
    roles.flatMap(({ members, methods }) =>
      methods.some((pattern) => roleMethodMatches(pattern, method)) ? members : [],
    );
  const lifecycle = loadLifecycle(document.lifecycle, people, callers, report);
  const governance = loadGovernance(document, people, callers, report);
  checkIds(document, report);
  checkProfileIds(document, report);
  const weights = document.weights.map(({ workloads, weight }, i) => ({
    workloads: loadPatterns(workloads, parseSpiffeIdPattern, ['weights', i, 'workloads'], report),
    weight,
  }));
  const maxClockDoubtMs = loadClock(document, report);
  if (report.issues.length === 0) {
    checkScopes(roles, report);
    checkSeparation(roles, rules, report);
    checkTrials(rules, report);
  }
  if (report.issues.length > 0) return refused(report.issues);
  warnOfIdleRules(rules, { ...options, report });
  return {
    issues: [],
    warnings: report.warnings,
    rules,
    roles,
    weights,
    certificateProfiles,
    approvers: people.approvers,
    groups: people.groups,
    governance,
    lifecycle,
    maxClockDoubtMs,
  };
}

function loadCalendars(
  calendars: PolicyDocument['calendars'],
  report: Report,
): ReadonlyMap<string, readonly CalendarDates[]> {
  return new Map(
    Object.entries(calendars).map(([name, texts]) => [name, loadDates(texts, ['calendars', name], report)]),
  );
}

function checkProfileIds(document: PolicyDocument, report: Report): void {
  const ids = new Set<string>();
  for (const [i, { id }] of document.certificateProfiles.entries()) {
    if (ids.has(id))
      report.refuse(['certificateProfiles', i, 'id'], `the id ${quoteSource(id)} is used already`);
    ids.add(id);
  }
}

function loadClock(document: PolicyDocument, report: Report): number {
  const maxDoubtMs = parseDuration(document.clock.maxDoubt) ?? 0;
  if (maxDoubtMs > MAX_CLOCK_DOUBT_MS) {
    report.refuse(
      ['clock', 'maxDoubt'],
      '`clock.maxDoubt` is more than 5m: that is no clock to keep windows by',
    );
  }
  return maxDoubtMs;
}

function administratorRole(administrators: readonly string[], report: Report): LoadedRole[] {
  const members: Pattern[] = [];
  for (const administrator of administrators) {
    const id = spiffeIdOrUndefined(administrator);
    if (id === undefined || id.segments.length === 0) {
      report.refuse([], `the administrator ${quoteSource(administrator)} is not a SPIFFE ID with a path`);
    } else {
      members.push({ text: id.id, segments: [id.trustDomain, ...id.segments], exact: true });
    }
  }
  if (members.length === 0) return [];
  return [
    {
      id: ADMINISTRATORS_ROLE,
      members,
      methods: ['Admin.*', 'Audit.*', 'Approvals.AcceptState'],
      scope: undefined,
    },
  ];
}

function loadRole(role: RoleDocument, path: YamlPath, report: Report): LoadedRole {
  const { methods, scope } = role.allow;
  if (scope !== undefined) {
    const at = [...path, 'allow', 'scope'];
    if (Object.keys(scope).length === 0)
      report.refuse(at, 'an empty scope says nothing; leave it out to show everything');
    if (scope.workloads !== undefined)
      loadPatterns(scope.workloads, parseSpiffeIdPattern, [...at, 'workloads'], report);
    if (scope.keys !== undefined) loadPatterns(scope.keys, parseKeyPattern, [...at, 'keys'], report);
    for (const [i, trustDomain] of (scope.trustDomains ?? []).entries()) {
      if (spiffeIdOrUndefined(`spiffe://${trustDomain}`)?.segments.length !== 0) {
        report.refuse(
          [...at, 'trustDomains', i],
          `${quoteSource(trustDomain)} is not the name of a trust domain`,
        );
      }
    }
    // It would not be obeyed there.
    const unscoped = methods.findIndex((method) => !method.startsWith('Audit.'));
    if (unscoped >= 0) {
      report.refuse(
        [...path, 'allow', 'methods', unscoped],
        `a scope limits what of the log is seen and means nothing for ${quoteSource(methods[unscoped] ?? '')}; give that in a role of its own`,
      );
    }
  }
  return {
    id: role.id,
    members: loadPatterns(role.members, parseSpiffeIdPattern, [...path, 'members'], report),
    methods,
    scope:
      scope === undefined
        ? undefined
        : {
            ...(scope.trustDomains === undefined ? {} : { trustDomains: scope.trustDomains }),
            ...(scope.workloads === undefined ? {} : { workloads: scope.workloads }),
            ...(scope.keys === undefined ? {} : { keys: scope.keys }),
          },
  };
}

function loadGovernance(
  { governance }: PolicyDocument,
  people: People,
  callers: (method: string) => readonly Pattern[],
  report: Report,
): Governance | undefined {
  if (governance === undefined) return undefined;
  const before = report.issues.length;
  const { approvals, groups, withinMs, methods } = people.quorum(
    governance,
    ['governance'],
    callers('Admin.ActivatePolicy'),
    report,
  );
  if (report.issues.length === before) warnOfUnmapped(people, groups, ['governance', 'of'], report);
  return { approvals, groups, withinMs, methods };
}

/** Operators have a SPIFFE ID each; an approver whose own is not known may be one of them and approve a proposal of theirs. */
function warnOfUnmapped(people: People, groups: readonly string[], path: YamlPath, report: Report): void {
  const unmapped = people.unmapped(groups);
  if (unmapped.length > 0) {
    report.warn(
      path,
      `who proposes must not approve, but nothing says under which SPIFFE ID ${unmapped.map((id) => quoteSource(id)).join(', ')} would propose: give \`spiffeId\` or \`alsoRequestsAs\``,
    );
  }
}

function checkIds({ roles, rules, lifecycle }: PolicyDocument, report: Report): void {
  const places = new Map<string, string>();
  const note = (id: string, path: YamlPath, place: string): void => {
    const earlier = places.get(id);
    if (id === ADMINISTRATORS_ROLE) {
      report.refuse(
        path,
        `the id \`${ADMINISTRATORS_ROLE}\` stands for the administrators of lastmile.yaml; choose another`,
      );
    } else if (id === GOVERNANCE_RULE) {
      report.refuse(path, `the id \`${GOVERNANCE_RULE}\` stands for \`governance\`; choose another`);
    } else if (earlier !== undefined)
      report.refuse(path, `the id ${quoteSource(id)} is used by ${earlier} already`);
    else places.set(id, place);
  };
  for (const [i, role] of roles.entries()) note(role.id, ['roles', i, 'id'], `roles[${i}]`);
  for (const [i, rule] of rules.entries()) note(rule.id, ['rules', i, 'id'], `rules[${i}]`);
  for (const [i, rule] of lifecycle.entries()) note(rule.id, ['lifecycle', i, 'id'], `lifecycle[${i}]`);
}

/** One identity, one method, two different scopes: which of them holds must not depend on the order of a file. */
function checkScopes(roles: readonly LoadedRole[], report: Report): void {
  const scoped = roles.filter((role) => role.scope !== undefined);
  const first = roles.findIndex((role) => role.id !== ADMINISTRATORS_ROLE);
  for (const [i, a] of scoped.entries()) {
    for (const b of scoped.slice(i + 1)) {
      const shared = ROLE_METHODS.find((method) =>
        [a, b].every((role) => role.methods.some((m) => roleMethodMatches(m, method))),
      );
      if (shared === undefined || sameScope(a, b)) continue;
      if (a.members.some((member) => b.members.some((other) => patternsOverlap(member, other)))) {
        report.refuse(
          ['roles', roles.indexOf(b) - first, 'members'],
          `an identity can be in both \`${a.id}\` and \`${b.id}\`, which give ${shared} different scopes`,
        );
      }
    }
  }
}

function sameScope(a: LoadedRole, b: LoadedRole): boolean {
  const text = ({ scope }: LoadedRole): string =>
    JSON.stringify(
      [scope?.trustDomains, scope?.workloads, scope?.keys].map((names) => names?.toSorted() ?? null),
    );
  return text(a) === text(b);
}

/**
 * Nobody both uses keys and operates the broker. Deny rules allow nothing, so that `spiffe://example.org/**` may be
 * denied a key without a word about operators.
 */
function checkSeparation(roles: readonly LoadedRole[], rules: readonly LoadedRule[], report: Report): void {
  const members = roles.flatMap((role) => role.members.map((pattern) => ({ role, pattern })));
  if (members.length === 0) return;
  const checked = new Map<string, string | undefined>();
  for (const rule of rules) {
    if (rule.effect === 'deny') continue;
    for (const [i, workload] of rule.workloads.entries()) {
      let finding = checked.get(workload.text);
      if (finding === undefined && !checked.has(workload.text)) {
        const hit = members.find(({ pattern }) => patternsOverlap(pattern, workload));
        if (hit !== undefined) finding = describeOverlap(hit.role, hit.pattern);
        checked.set(workload.text, finding);
      }
      if (finding !== undefined) {
        report.refuse(
          ['rules', rule.index, 'workloads', i],
          `${quoteSource(workload.text)} also matches ${finding}: no identity may both use keys and operate or audit`,
        );
      }
    }
  }
}

/**
 * A rule on probation refuses nothing: next to a rule with a quorum it would let pass what people have to agree to, next
 * to one with guards what may not be signed twice.
 */
function checkTrials(rules: readonly LoadedRule[], report: Report): void {
  const strict = new PatternIndex();
  for (const { index, keys, dynamic } of rules) {
    if (dynamic === undefined || (dynamic.quorum === undefined && dynamic.guards.length === 0)) continue;
    for (const key of keys) strict.add(key, index);
  }
  for (const trial of rules) {
    if (trial.dynamic?.observeUntil === undefined) continue;
    // Without wildcards, so that a key is the name of one.
    const near = trial.keys.flatMap((key) => [...strict.find(key.segments)]);
    const rule = near.map((index) => rules[index]).find((other) => other && rulesOverlap(trial, other));
    if (rule !== undefined) {
      const does = rule.dynamic?.quorum === undefined ? 'guards' : 'asks for approvals of';
      report.refuse(
        ['rules', trial.index, 'mode'],
        `\`mode: observe\` refuses nothing, and the rule \`${rule.id}\` ${does} the same`,
      );
    }
  }
}

function describeOverlap(role: LoadedRole, member: Pattern): string {
  const name = quoteSource(member.text);
  return role.id === ADMINISTRATORS_ROLE
    ? `the administrator ${name} of lastmile.yaml`
    : `${name} of the role \`${role.id}\``;
}
