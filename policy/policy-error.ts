import { formatSourceIssue, type SourceIssue } from './source-issue.ts';

/** A policy that is refused whole: everything found wrong in it. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
  readonly issues: readonly SourceIssue[];
  constructor(issues: readonly SourceIssue[]) {
    super(issues.map(formatSourceIssue).join('\n'));
    this.issues = issues;
  }
}
