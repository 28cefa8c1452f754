/**
 * What changes from one policy to another, for whom, in words: rule by rule and field by field as people wrote them,
 * and then what it comes to, computed over names that stand for the patterns of both files.
 */
import { type AccessChange, accessChanges } from './diff-access.ts';
import { type PartChange, partChanges } from './diff-parts.ts';
import type { PolicyOptions } from './load.ts';
import { type PolicyText, readPolicyText } from './policy-text.ts';
import type { SourceIssue } from './source-issue.ts';

export interface PolicyDiff {
  readonly parts: readonly PartChange[];
  readonly access: readonly AccessChange[];
  /** More combinations of names than are computed: `access` is not all. */
  readonly isCut: boolean;
}

export type PolicyDiffResult =
  | { readonly ok: true; readonly diff: PolicyDiff }
  | { readonly ok: false; readonly issues: readonly SourceIssue[] };

/** @returns the issues of the first of the two that is not right */
export function diffPolicies(
  before: Uint8Array,
  after: Uint8Array,
  options: { readonly before?: PolicyOptions; readonly after?: PolicyOptions } = {},
): PolicyDiffResult {
  const old = readPolicyText(before, options.before);
  if (old.loaded.issues.length > 0) return { ok: false, issues: old.loaded.issues };
  return diffPolicyTexts(old, readPolicyText(after, options.after));
}

/** @param maxPairs of names that access is computed for; 20,000 by default */
export function diffPolicyTexts(before: PolicyText, after: PolicyText, maxPairs?: number): PolicyDiffResult {
  for (const { loaded } of [before, after]) {
    if (loaded.issues.length > 0) return { ok: false, issues: loaded.issues };
  }
  const parts = partChanges(before.document, after.document);
  return { ok: true, diff: { parts, ...accessChanges(before, after, parts, maxPairs) } };
}
