import type { ApproverKey } from '../../policy/quorum.ts';
import { type Act, ActError, actDocument, actOf, approvalId, type VoteSignature } from '../approvals/act.ts';
import { signatureDigest, VoteFormatError, verifyVote } from '../approvals/vote-signature.ts';
import { printable } from './output.ts';

export type LoggedValue = Readonly<Record<string, unknown>>;

export interface CheckedVote {
  readonly leafIndex: number;
  /** What is wrong; undefined: it is an approval of what the entry did. */
  readonly problem: string | undefined;
  readonly approver: string;
  readonly method: string;
  /** Of a passkey: the page it was used on, by its own words. */
  readonly page?: string | undefined;
}

interface Cited {
  readonly id: string;
  readonly votes: readonly number[];
  readonly signatures: readonly string[];
}

/** The approval that this entry says it used; undefined: none. */
export function citedApproval(entry: LoggedValue): Cited | undefined {
  const inputs = entry['inputs'] as LoggedValue | undefined;
  const detail = entry['detail'] as LoggedValue | undefined;
  for (const value of [inputs?.['approval'], detail?.['approval']]) {
    const cited = value as Partial<Cited> | undefined;
    if (typeof cited === 'object' && typeof cited.id === 'string' && Array.isArray(cited.votes))
      return {
        id: cited.id,
        votes: cited.votes,
        signatures: Array.isArray(cited.signatures) ? cited.signatures : [],
      };
  }
  return undefined;
}

/** Whether a vote that an entry cites is a signature over the act of that id, about what the entry did. */
export async function checkVote(
  entry: LoggedValue,
  cited: Cited,
  at: number,
  vote: LoggedValue,
): Promise<CheckedVote> {
  const leafIndex = cited.votes[at]!;
  const detail = (vote['detail'] ?? {}) as LoggedValue;
  const signature = detail['signature'] as VoteSignature;
  const key = detail['key'] as ApproverKey;
  const page = pageOf(signature);
  const about = {
    leafIndex,
    approver: String(detail['approver'] ?? ''),
    method: String(signature?.method ?? ''),
    ...(page === undefined ? {} : { page: page.origin }),
  };
  const bad = (problem: string): CheckedVote => ({ ...about, problem });
  if (vote['kind'] !== 'approval' || vote['operation'] !== 'Approvals.Approve') return bad('is no approval');
  let act: Act;
  try {
    act = actOf(detail['act']);
  } catch (error) {
    if (error instanceof ActError) return bad(`has no act: it ${error.message}`);
    throw error;
  }
  const document = actDocument(act);
  if (approvalId(document) !== cited.id) return bad('is of another act');
  const difference = otherThan(entry, act);
  if (difference !== undefined) return bad(`is of another ${difference}`);
  if (cited.signatures[at] !== undefined && cited.signatures[at] !== signatureDigest(signature))
    return bad('has another signature than the one that was counted');
  try {
    const party = page === undefined ? undefined : { id: page.hostname, origins: [page.origin] };
    const found = await verifyVote(signature, key, document, party);
    return found === undefined ? bad('does not verify') : { ...about, problem: undefined };
  } catch (error) {
    if (error instanceof VoteFormatError) return bad(`has a signature that ${error.message}`);
    throw error;
  }
}

/** What the act says otherwise than the entry that used it; a standing grant leaves open what it allows. */
function otherThan(entry: LoggedValue, act: Act): string | undefined {
  const isGrant = act.content.kind === 'any';
  if (act.requester !== entry['subject']) return 'requester';
  if (!isGrant && entry['kind'] === 'key-use' && act.operation !== entry['operation']) return 'operation';
  if (act.key !== '' && act.key !== entry['key']) return 'key';
  if (entry['kind'] === 'key-use' && act.rule !== entry['rule']) return 'rule';
  const input = entry['input'] as LoggedValue | undefined;
  const { content } = act;
  if (content.kind !== 'message' && content.kind !== 'attached') return undefined;
  return input?.['kind'] === 'message' && input['sha256'] !== undefined && input['sha256'] !== content.sha256
    ? 'content'
    : undefined;
}

/** Where a passkey says that it was used. Who runs that page is for the reader to know. */
function pageOf(signature: VoteSignature | undefined): URL | undefined {
  if (signature?.method !== 'webauthn') return undefined;
  try {
    const { origin } = JSON.parse(Buffer.from(signature.clientDataJson, 'base64url').toString('utf8')) as {
      origin: string;
    };
    return new URL(origin);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
}

export function voteLine({ leafIndex, approver, method, page, problem }: CheckedVote): string {
  const by = `${printable(approver)} (${printable(method)}${page === undefined ? '' : ` at ${printable(page)}`}, entry ${leafIndex})`;
  return problem === undefined
    ? `approved by ${by}: the signature verifies\n`
    : `approval of ${by} ${problem}\n`;
}
