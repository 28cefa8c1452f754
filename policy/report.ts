import type { YamlPath, YamlSource } from './source.ts';
import type { SourceIssue } from './source-issue.ts';

const MAX_ISSUES = 50;

/** What is found wrong, and what is probably not meant, while a policy is read; each where it stands. */
export class Report {
  readonly issues: SourceIssue[] = [];
  readonly warnings: SourceIssue[] = [];
  readonly #source: YamlSource;

  constructor(source: YamlSource) {
    this.#source = source;
  }

  refuse(path: YamlPath, message: string, expected?: string): void {
    if (this.issues.length < MAX_ISSUES) this.issues.push(this.#source.issue(path, message, { expected }));
  }

  /** At a name and not at its value. */
  refuseName(path: YamlPath, message: string): void {
    if (this.issues.length < MAX_ISSUES) this.issues.push(this.#source.issue(path, message, { at: 'key' }));
  }

  /** Inside a text, `offset` code units from its start. */
  refuseWithin(path: YamlPath, offset: number, message: string): void {
    if (this.issues.length < MAX_ISSUES) this.issues.push(this.#source.issueWithin(path, offset, message));
  }

  warn(path: YamlPath, message: string): void {
    if (this.warnings.length < MAX_ISSUES) this.warnings.push(this.#source.issue(path, message));
  }
}
