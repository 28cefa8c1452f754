/**
 * From the bytes of a policy file to rules that can be decided with: everything that is refused or warned about at
 * load is found here, all at once and each where it stands.
 */
import { type MethodDecision, OPERATIONS, type Operation } from './decision.ts';
import {
  type Pattern,
  PatternError,
  parseKeyPattern,
  parseSpiffeIdPattern,
  patternCovers,
  patternsOverlap,
} from './pattern.ts';
import { NOT_YET_IN_POLICY, policySchema, type RoleDocument, type RuleDocument } from './schema.ts';
import { spiffeIdOrUndefined } from './scope.ts';
import { parseYamlSource, type YamlPath, type YamlSource } from './source.ts';
import { quoteSource, type SourceIssue } from './source-issue.ts';
import { readSource } from './source-schema.ts';
import { OPERATION_ALGORITHMS, policyAlgorithm, ROLE_METHODS, roleMethodMatches } from './vocabulary.ts';

export interface PolicyOptions {
  /** As the person named it; stands in every issue. */
  readonly file?: string | undefined;
  /** SPIFFE IDs from lastmile.yaml: each may call all of Admin and Audit. */
  readonly administrators?: readonly string[] | undefined;
  /** The trust domain that is served, to warn of rules about others. */
  readonly trustDomain?: string | undefined;
}

export interface LoadedRule {
  readonly index: number;
  readonly id: string;
  readonly effect: 'allow' | 'deny';
  readonly workloads: readonly Pattern[];
  readonly keys: readonly Pattern[];
  readonly operations: readonly Operation[];
  /** Undefined: every one. */
  readonly algorithms: readonly string[] | undefined;
}

export interface LoadedRole {
  readonly id: string;
  readonly members: readonly Pattern[];
  readonly methods: readonly string[];
  readonly scope: MethodDecision['scope'];
}

export interface LoadedPolicy {
  readonly issues: readonly SourceIssue[];
  readonly warnings: readonly SourceIssue[];
  readonly rules: readonly LoadedRule[];
  readonly roles: readonly LoadedRole[];
}

/** Ten thousand rules with a sentence each. */
export const MAX_POLICY_BYTES = 4 * 1024 * 1024;
/** The role of the administrators of lastmile.yaml. No role or rule can have this id. */
export const ADMINISTRATORS_ROLE = 'administrators';

const MAX_ISSUES = 50;
// Comparing every deny rule with every allow rule is for warnings only: beyond this it is left out.
const MAX_COVER_CHECKS = 200_000;

/** Never throws for anything the bytes hold. Rules and roles are empty when there are issues. */
export function loadPolicy(bytes: Uint8Array, options: PolicyOptions = {}): LoadedPolicy {
  const refused = (issues: readonly SourceIssue[]): LoadedPolicy => ({
    issues,
    warnings: [],
    rules: [],
    roles: [],
  });
  const parsed = parseYamlSource(bytes, { file: options.file, maxBytes: MAX_POLICY_BYTES });
  if (!parsed.ok) return refused(parsed.issues);
  const read = readSource(parsed.source, policySchema, { notYet: NOT_YET_IN_POLICY });
  if (!read.ok) return refused(read.issues);

  const report = new Report(parsed.source);
  const roles = [
    ...administratorRole(options.administrators ?? [], report),
    ...read.value.roles.map((role, i) => loadRole(role, ['roles', i], report)),
  ];
  const rules = read.value.rules.map((rule, i) => loadRule(rule, i, report));
  checkIds(read.value.roles, read.value.rules, report);
  if (report.issues.length === 0) {
    checkScopes(roles, report);
    checkSeparation(roles, rules, report);
  }
  if (report.issues.length > 0) return refused(report.issues);
  warnOfIdleRules(rules, options.trustDomain, report);
  return { issues: [], warnings: report.warnings, rules, roles };
}

class Report {
  readonly issues: SourceIssue[] = [];
  readonly warnings: SourceIssue[] = [];
  readonly #source: YamlSource;

  constructor(source: YamlSource) {
    this.#source = source;
  }

  refuse(path: YamlPath, message: string, expected?: string): void {
    if (this.issues.length < MAX_ISSUES) this.issues.push(this.#source.issue(path, message, { expected }));
  }

  warn(path: YamlPath, message: string): void {
    if (this.warnings.length < MAX_ISSUES) this.warnings.push(this.#source.issue(path, message));
  }
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
  return [{ id: ADMINISTRATORS_ROLE, members, methods: ['Admin.*', 'Audit.*'], scope: undefined }];
}

function loadPatterns(
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

function loadRule(rule: RuleDocument, index: number, report: Report): LoadedRule {
  const path = ['rules', index];
  const { operations } = rule;
  if (operations.includes('random')) {
    const alone =
      'gives random bytes, which need no key and no algorithm: write it as a rule of its own with `operations: [random]`';
    if (operations.length > 1) report.refuse([...path, 'operations'], `\`random\` ${alone}`);
    else if (rule.keys !== undefined)
      report.refuse([...path, 'keys'], `a rule for \`random\` ${alone}, without \`keys\``);
    else if (rule.algorithms !== undefined) {
      report.refuse([...path, 'algorithms'], `a rule for \`random\` ${alone}, without \`algorithms\``);
    }
  } else if (rule.keys === undefined) {
    report.refuse(
      [...path, 'keys'],
      `${quoteSource(`rules[${index}].keys`)} is missing`,
      'a list of key names or patterns',
    );
  }
  return {
    index,
    id: rule.id,
    effect: rule.effect,
    workloads: loadPatterns(rule.workloads, parseSpiffeIdPattern, [...path, 'workloads'], report),
    keys: loadPatterns(rule.keys ?? [], parseKeyPattern, [...path, 'keys'], report),
    operations: OPERATIONS.filter((operation) => operations.includes(operation)),
    algorithms:
      rule.algorithms === undefined ? undefined : [...new Set(rule.algorithms.map(policyAlgorithm))],
  };
}

function checkIds(roles: readonly RoleDocument[], rules: readonly RuleDocument[], report: Report): void {
  const places = new Map<string, string>();
  const note = (id: string, path: YamlPath, place: string): void => {
    const earlier = places.get(id);
    if (id === ADMINISTRATORS_ROLE) {
      report.refuse(
        path,
        `the id \`${ADMINISTRATORS_ROLE}\` stands for the administrators of lastmile.yaml; choose another`,
      );
    } else if (earlier !== undefined)
      report.refuse(path, `the id ${quoteSource(id)} is used by ${earlier} already`);
    else places.set(id, place);
  };
  for (const [i, role] of roles.entries()) note(role.id, ['roles', i, 'id'], `roles[${i}]`);
  for (const [i, rule] of rules.entries()) note(rule.id, ['rules', i, 'id'], `rules[${i}]`);
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

function describeOverlap(role: LoadedRole, member: Pattern): string {
  const name = quoteSource(member.text);
  return role.id === ADMINISTRATORS_ROLE
    ? `the administrator ${name} of lastmile.yaml`
    : `${name} of the role \`${role.id}\``;
}

function warnOfIdleRules(
  rules: readonly LoadedRule[],
  trustDomain: string | undefined,
  report: Report,
): void {
  const denies = rules.filter((rule) => rule.effect === 'deny');
  const compareWithDenies = denies.length * rules.length <= MAX_COVER_CHECKS;
  for (const rule of rules) {
    const path = ['rules', rule.index];
    if (trustDomain !== undefined && rule.workloads.every((pattern) => pattern.segments[0] !== trustDomain)) {
      report.warn(
        [...path, 'workloads'],
        `the rule \`${rule.id}\` never matches: only workloads of ${quoteSource(trustDomain)} are served`,
      );
    }
    const { algorithms } = rule;
    if (algorithms !== undefined) {
      for (const operation of rule.operations) {
        if (!OPERATION_ALGORITHMS[operation].some((algorithm) => algorithms.includes(algorithm))) {
          report.warn(
            [...path, 'algorithms'],
            `the rule \`${rule.id}\` never matches ${operation}: none of its algorithms can do that`,
          );
        }
      }
    }
    const overruler =
      rule.effect === 'allow' && compareWithDenies ? denies.find((deny) => overrules(deny, rule)) : undefined;
    if (overruler !== undefined) {
      report.warn(
        [...path, 'id'],
        `the rule \`${rule.id}\` allows nothing: the rule \`${overruler.id}\` denies all of it`,
      );
    }
  }
}

function overrules(deny: LoadedRule, allow: LoadedRule): boolean {
  const { algorithms } = deny;
  return (
    allow.operations.every((operation) => deny.operations.includes(operation)) &&
    (algorithms === undefined ||
      (allow.algorithms?.every((algorithm) => algorithms.includes(algorithm)) ?? false)) &&
    allow.workloads.every((narrow) => deny.workloads.some((wide) => patternCovers(wide, narrow))) &&
    allow.keys.every((narrow) => deny.keys.some((wide) => patternCovers(wide, narrow)))
  );
}
