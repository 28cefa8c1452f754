/** When which policy came into force, as the log tells it. */
import type { PolicySet } from '../../policy/decision.ts';
import type { ApprovalUse } from '../approvals/approvals.ts';
import { canonicalize } from '../audit/canonical.ts';
import type { Appended, AuditError, EntryDraft, EntryValue } from '../audit/entry.ts';
import { BOUNDS } from '../audit/entry-format.ts';
import type { KnownPolicy, PolicyRows } from '../state/policy-rows.ts';
import type { PolicyHistory } from './policy-history.ts';

/** What the holder needs of the log. */
export interface PolicyLog {
  append(draft: EntryDraft): Promise<Appended>;
  /** Undefined while entries can be written; otherwise why not. */
  readonly failure: AuditError | undefined;
  /** Goes by the index. */
  query(filter: {
    readonly kind: string;
    readonly operation: string;
    readonly decision: string;
    readonly limit: number;
  }): Promise<readonly LoggedActivation[]>;
  /** Every durable entry from this one on, without the index. */
  read(fromLeaf: number): AsyncIterable<LoggedActivation & { readonly entry: EntryDraft }>;
}

interface LoggedActivation {
  readonly leafIndex: number;
  readonly entry: {
    readonly time: string;
    readonly detail?: { readonly [name: string]: EntryValue | undefined } | undefined;
  };
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

const ACTIVATION = { kind: 'policy', operation: 'activate', decision: 'allow' } as const;
const MAX_DIFFERENCES = 100;
/** As JSON, and what a mark of further ones may take beside it. */
const MAX_DIFFERENCES_BYTES = 4096;
const FURTHER_BYTES = 64;

/**
 * The entry that tells of one. It is durable before the policy is in force.
 *
 * @throws Error when it has no room for what has to be read from it again
 */
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
  const detail = {
    before,
    after: policy.hash,
    rules: policy.ruleCount,
    ...(by === '' ? {} : { by }),
    ...(policy.governance === undefined ? {} : { governed: true }),
    ...(approval === undefined ? {} : { approval: approval.record }),
  };
  // An entry drops a `detail` beyond its bound as a whole, `governed` with it.
  const room = BOUNDS.detail - Buffer.byteLength(canonicalize(detail)) - FURTHER_BYTES;
  if (room < 0) throw new Error('the entry has no room for the approval of this policy');
  return {
    ...ACTIVATION,
    subject: 'lastmile',
    performed: 'yes',
    policy: policy.hash,
    detail: { ...detail, ...boundedDifferences(differences, Math.min(room, MAX_DIFFERENCES_BYTES)) },
  };
}

/** Newest first; `limit` is 1 to 1000. */
export async function activationsIn(
  audit: PolicyLog,
  history: PolicyHistory,
  limit: number,
): Promise<readonly PolicyActivation[]> {
  const [found, kept] = await Promise.all([audit.query({ ...ACTIVATION, limit }), history.list()]);
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

/** Of the newest activation, read from every entry: the index is a file that grants nothing. Undefined: there is none. */
export async function lastInLog(audit: Pick<PolicyLog, 'read'>): Promise<KnownPolicy | undefined> {
  let last: KnownPolicy | undefined;
  for await (const { entry } of audit.read(0)) {
    const { kind, operation, decision, detail = {} } = entry;
    if (kind === ACTIVATION.kind && operation === ACTIVATION.operation && decision === ACTIVATION.decision)
      last = knownIn(detail);
  }
  return last;
}

/**
 * What was activated last, where the log and the state agree on it. Undefined: nothing was, ever.
 *
 * Where nothing is remembered yet, or the index disagrees with what is, the whole log is read: "no governance" is an
 * answer that the index alone cannot give.
 *
 * @throws Error when log and state disagree; AuditError when the log cannot be gone by anyway
 */
export async function policyInForce(
  audit: PolicyLog,
  rows: Pick<PolicyRows, 'inForce' | 'next'>,
): Promise<KnownPolicy | undefined> {
  const [found] = await audit.query({ ...ACTIVATION, limit: 1 });
  const indexed = found && knownIn(found.entry.detail ?? {});
  const isAgreed = (logged: KnownPolicy | undefined): boolean => policyDispute(logged, rows) === undefined;
  const isRemembered = rows.inForce !== undefined;
  if (isAgreed(indexed) && (isRemembered || indexed?.isGoverned === true)) return indexed;
  const logged = await lastInLog(audit);
  const dispute = policyDispute(logged, rows);
  if (dispute === undefined) return logged;
  throw (
    audit.failure ??
    new Error(
      `${dispute}. Bring the log or the state back from a copy, or decide: \`lastmile audit accept\` goes on with what the log says, on record`,
    )
  );
}

/** How log and state disagree about the policy in force, in words; undefined: they do not. */
export function policyDispute(
  logged: KnownPolicy | undefined,
  { inForce, next }: Pick<PolicyRows, 'inForce' | 'next'>,
): string | undefined {
  // A state from before it remembered policies.
  if (inForce === undefined && next === undefined) return undefined;
  if (isSame(logged, inForce) || (next !== undefined && isSame(logged, next))) return undefined;
  return `the log and the state disagree about the policy in force: by the log it is ${policyInWords(logged)}, by the state ${policyInWords(inForce)}`;
}

export function policyInWords(policy: KnownPolicy | undefined): string {
  if (policy === undefined) return 'none';
  return `${policy.hash} ${policy.isGoverned ? 'with' : 'without'} \`governance\``;
}

/** @throws Error when the entry had no room for it: what it left out is not "no governance" */
function knownIn(detail: { readonly [name: string]: EntryValue | undefined }): KnownPolicy {
  if (detail['omittedBytes'] !== undefined || text(detail['after']) === '')
    throw new Error(
      'the entry of the newest activation does not say which policy came into force: bring the log back from a copy',
    );
  return { hash: text(detail['after']), isGoverned: detail['governed'] === true };
}

function isSame(a: KnownPolicy | undefined, b: KnownPolicy | undefined): boolean {
  return a?.hash === b?.hash && a?.isGoverned === b?.isGoverned;
}

/**
 * What was activated last, where that has governance: log and state say so, and no file that somebody else writes.
 * Undefined: the file decides.
 *
 * @throws Error when it is not kept any more: to go by the file would be a way around governance
 */
export async function governedPolicy(
  last: KnownPolicy | undefined,
  history: PolicyHistory,
): Promise<Uint8Array | undefined> {
  if (last?.isGoverned !== true) return undefined;
  const bytes = await history.read(last.hash);
  if (bytes !== undefined) return bytes;
  throw new Error(
    `the policy in force, ${last.hash}, has \`governance\` and is no longer among the kept policies: bring the directory of policies back from a copy`,
  );
}

/** As much of them as has room in an entry. */
function boundedDifferences(
  lines: readonly string[],
  maxBytes: number,
): { readonly [name: string]: EntryValue } {
  if (lines.length === 0) return {};
  const shown: string[] = [];
  let bytes = 0;
  for (const line of lines) {
    bytes += Buffer.byteLength(JSON.stringify(line)) + 1;
    if (shown.length >= MAX_DIFFERENCES || bytes > maxBytes) break;
    shown.push(line);
  }
  const left = lines.length - shown.length;
  return { differences: shown, ...(left === 0 ? {} : { furtherDifferences: left }) };
}

function text(value: EntryValue | undefined): string {
  return typeof value === 'string' ? value : '';
}
