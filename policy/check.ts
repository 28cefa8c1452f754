import type { ExplainedDecision, RuleVerdict } from './decision.ts';
import { type LoadedPolicy, loadPolicy, type PolicyOptions } from './load.ts';
import type { SourceIssue } from './source-issue.ts';

export interface PolicySummary {
  readonly allowRules: number;
  readonly denyRules: number;
  readonly roles: number;
}

export interface PolicyCheck {
  /** Any of them, and the policy is refused whole. */
  readonly issues: readonly SourceIssue[];
  /** What is allowed to be so and probably is not meant. */
  readonly warnings: readonly SourceIssue[];
  /** Undefined when there are issues. Administrators of lastmile.yaml are not counted among the roles. */
  readonly summary: PolicySummary | undefined;
}

/** What `lastmile policy check FILE` says. */
export function checkPolicy(bytes: Uint8Array, options: PolicyOptions = {}): PolicyCheck {
  return describeCheck(loadPolicy(bytes, options), options);
}

/** The same of one that was loaded with these options. */
export function describeCheck(
  { issues, warnings, rules, roles }: LoadedPolicy,
  options: Pick<PolicyOptions, 'administrators'>,
): PolicyCheck {
  if (issues.length > 0) return { issues, warnings, summary: undefined };
  const denyRules = rules.filter((rule) => rule.effect === 'deny').length;
  const ownRoles = roles.length - Number((options.administrators?.length ?? 0) > 0);
  return { issues, warnings, summary: { allowRules: rules.length - denyRules, denyRules, roles: ownRoles } };
}

/** Verdicts shown one by one; the others are counted. */
const SHOWN_VERDICTS = 20;

/** A decision for a terminal: what was decided, by which rule, and how near the others came. */
export function explainText(decision: ExplainedDecision): string {
  const lines = [headline(decision), `policy ${decision.policyHash}`];
  const considered = decision.considered.toSorted((a, b) => nearness(a) - nearness(b));
  for (const verdict of considered.slice(0, SHOWN_VERDICTS)) {
    const missing = verdict.missing.join('; ');
    const left = missing === '' ? '' : `: ${missing}`;
    const finding = verdict.matched ? `matches${left}` : `does not match${left}`;
    lines.push(`  ${verdict.effect.padEnd(5)} ${verdict.rule}  ${finding}`);
  }
  const rest = considered.length - SHOWN_VERDICTS;
  if (rest > 0) lines.push(`  and ${rest} more ${rest === 1 ? 'rule' : 'rules'}, further from matching`);
  return `${lines.join('\n')}\n`;
}

function headline(decision: ExplainedDecision): string {
  const waiting = waitsFor(decision);
  if (waiting !== undefined) return `pending, by the rule ${decision.rule}: ${waiting}`;
  if (decision.rule !== '') return `${decision.effect}, by the rule ${decision.rule}`;
  return decision.considered.length === 0 ? 'deny: the policy has no rules' : 'deny: no rule allows it';
}

/** What a decision waits for before it is one, in words; undefined: nobody has to agree. */
export function waitsFor({ effect, rule, considered }: ExplainedDecision): string | undefined {
  if (effect !== 'allow') return undefined;
  const deciding = considered.find((verdict) => verdict.rule === rule && verdict.matched);
  return deciding?.missing.find((one) => one.startsWith('needs '));
}

// The deciding kind first, then by how much was missing; sorting is stable, so the file's order holds otherwise.
function nearness(verdict: RuleVerdict): number {
  return verdict.missing.length * 2 + Number(verdict.effect === 'allow');
}
