/** When which policy came into force, as the log tells it. */
import type { PolicySet } from '../../policy/decision.ts';
import type { ApprovalUse } from '../approvals/approvals.ts';
import type { Appended, EntryDraft, EntryValue } from '../audit/entry.ts';
import type { PolicyHistory } from './policy-history.ts';

/** What the holder needs of the log. */
export interface PolicyLog {
  append(draft: EntryDraft): Promise<Appended>;
  query(filter: {
    readonly kind: string;
    readonly operation: string;
    readonly decision: string;
    readonly limit: number;
  }): Promise<
    readonly {
      readonly leafIndex: number;
      readonly entry: {
        readonly time: string;
        readonly detail?: { readonly [name: string]: EntryValue | undefined } | undefined;
      };
    }[]
  >;
}

/** One time that a policy came into force, as the log tells it. */
export interface PolicyActivation {
  readonly policyHash: string;
  /** Of the policy that it replaced; empty for the first. */
  readonly before: string;
  /** RFC 3339. */
  readonly at: string;
  /** SPIFFE ID of who activated it by its hash; empty: the file was changed. */
  readonly by: string;
  readonly rules: number;
  readonly leafIndex: number;
  readonly differences: readonly string[];
  /** It has `governance`: from then on a changed file alone changed nothing. */
  readonly isGoverned: boolean;
  /** It can be read and activated again. */
  readonly isKept: boolean;
}

const MAX_DIFFERENCES = 100;
const MAX_DIFFERENCES_LENGTH = 4096;

/** The entry that tells of one. It is durable before the policy is in force. */
export function activationEntry(activation: {
  /** Hash of the policy that is replaced; empty: none. */
  readonly before: string;
  readonly policy: PolicySet;
  readonly differences: readonly string[];
  /** SPIFFE ID; empty: the file was changed. */
  readonly by: string;
  readonly approval?: ApprovalUse | undefined;
}): EntryDraft {
  const { before, policy, differences, by, approval } = activation;
  return {
    kind: 'policy',
    subject: 'lastmile',
    operation: 'activate',
    decision: 'allow',
    performed: 'yes',
    policy: policy.hash,
    detail: {
      before,
      after: policy.hash,
      rules: policy.ruleCount,
      ...(by === '' ? {} : { by }),
      ...(policy.governance === undefined ? {} : { governed: true }),
      ...(approval === undefined ? {} : { approval: approval.record }),
      ...boundedDifferences(differences),
    },
  };
}

/** Newest first; `limit` is 1 to 1000. */
export async function activationsIn(
  audit: PolicyLog,
  history: PolicyHistory,
  limit: number,
): Promise<readonly PolicyActivation[]> {
  const [found, kept] = await Promise.all([
    audit.query({ kind: 'policy', operation: 'activate', decision: 'allow', limit }),
    history.list(),
  ]);
  return found.map(({ leafIndex, entry: { time, detail = {} } }) => ({
    policyHash: text(detail.after),
    before: text(detail.before),
    at: time,
    by: text(detail.by),
    rules: typeof detail.rules === 'number' ? detail.rules : 0,
    leafIndex,
    differences: Array.isArray(detail.differences) ? detail.differences.map(text) : [],
    isGoverned: detail.governed === true,
    isKept: kept.has(text(detail.after)),
  }));
}

/**
 * What was activated last, where that has governance: the log says so, which whoever writes files cannot change.
 * Undefined: the file decides.
 *
 * @throws Error when it is not kept any more: to go by the file would be a way around governance
 */
export async function governedPolicy(
  last: PolicyActivation | undefined,
  history: PolicyHistory,
): Promise<Uint8Array | undefined> {
  if (last?.isGoverned !== true) return undefined;
  const bytes = await history.read(last.policyHash);
  if (bytes !== undefined) return bytes;
  throw new Error(
    `the policy in force, ${last.policyHash}, has \`governance\` and is no longer among the kept policies: bring the directory of policies back from a copy`,
  );
}

/** As much of them as has room in an entry. */
function boundedDifferences(lines: readonly string[]): { readonly [name: string]: EntryValue } {
  if (lines.length === 0) return {};
  const shown: string[] = [];
  let length = 0;
  for (const line of lines) {
    length += line.length;
    if (shown.length >= MAX_DIFFERENCES || length > MAX_DIFFERENCES_LENGTH) break;
    shown.push(line);
  }
  const left = lines.length - shown.length;
  return { differences: shown, ...(left === 0 ? {} : { furtherDifferences: left }) };
}

function text(value: EntryValue | undefined): string {
  return typeof value === 'string' ? value : '';
}
