import { loadPolicy, type PolicyOptions } from '../../policy/load.ts';
import { formatSourceIssue } from '../../policy/source-issue.ts';

export const policyBytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A policy of these rules, each on a line of its own; the first is the third line of the file. */
export const rules = (...lines: string[]): string =>
  `version: 1\nrules:\n${lines.map((line) => `  - ${line}\n`).join('')}`;

/** The middle of a rule: for a workload and a key that are the same in all. */
export const base = (operations: string): string =>
  `workloads: ["spiffe://example.org/w"], keys: [k], operations: [${operations}]`;
/** Of a rule that is fine. */
export const OK: string = base('sign');
export const JWT: string = base('sign-jwt');

/** All that is wrong, a line for each. */
export const refusals = (text: string, options: PolicyOptions = {}): string =>
  loadPolicy(policyBytes(text), { file: 'p.yaml', ...options })
    .issues.map(formatSourceIssue)
    .join('\n');
