/** Approvals as entries of the log: what makes them count, and what anybody can check again. */
import type { ApproverKey } from '../../policy/quorum.ts';
import type { EntryDraft, EntryValue } from '../audit/entry.ts';
import type { Failure } from '../keyuse/failure.ts';
import type { Act, VoteSignature } from './act.ts';
import type { CastVote } from './tally.ts';
import { signatureDigest } from './vote-signature.ts';

/** Who did something, as the connection says. */
export interface Actor {
  /** Empty for who signed in to the pages and has none. */
  readonly spiffeId: string;
  /** SHA-256 of the leaf certificate, hex; absent for who signed in to the pages. */
  readonly credential?: string | undefined;
  readonly peer?: string | undefined;
}

export const OPERATIONS = {
  open: 'Approvals.Open',
  approve: 'Approvals.Approve',
  reject: 'Approvals.Reject',
  withdraw: 'Approvals.Withdraw',
  accept: 'Approvals.AcceptState',
} as const;

/** `detail` of an entry of the kind `approval`, but for AcceptState. */
export interface ApprovalDetail {
  readonly approval: string;
  readonly act?: unknown;
  /** Of a vote. */
  readonly number?: number;
  readonly approver?: string;
  readonly key?: { readonly [name: string]: EntryValue };
  readonly signature?: { readonly [name: string]: EntryValue };
  readonly why?: string;
}

export function openDraft(
  id: string,
  act: Act,
  quorum: { approvals: number; groups: readonly string[]; methods: readonly string[]; emergency: boolean },
): EntryDraft {
  return {
    ...common(act, act.requester, OPERATIONS.open),
    detail: {
      approval: id,
      act: entryAct(act),
      approvals: quorum.approvals,
      groups: quorum.groups,
      methods: quorum.methods,
      emergency: quorum.emergency,
    },
  };
}

export function voteDraft(
  id: string,
  act: Act,
  actor: Actor,
  vote: {
    readonly number: number;
    readonly approver: string;
    readonly key: ApproverKey;
    readonly signature: VoteSignature;
  },
): EntryDraft {
  return {
    ...common(act, subjectOf(actor, vote.approver), OPERATIONS.approve),
    credential: actor.credential,
    peer: actor.peer,
    detail: {
      approval: id,
      act: entryAct(act),
      number: vote.number,
      approver: vote.approver,
      key: { ...vote.key },
      signature: { ...vote.signature },
    },
  };
}

export function closeDraft(
  operation: typeof OPERATIONS.reject | typeof OPERATIONS.withdraw,
  id: string,
  act: Act,
  actor: Actor,
  approver: string | undefined,
  why: string,
): EntryDraft {
  return {
    ...common(act, subjectOf(actor, approver), operation),
    credential: actor.credential,
    peer: actor.peer,
    detail: { approval: id, approver, why },
  };
}

/** That an operator has looked into it and goes on without what was open. */
export function acceptDraft(actor: Actor, why: string, problem: string, voided: number): EntryDraft {
  return {
    kind: 'approval',
    subject: actor.spiffeId,
    credential: actor.credential,
    peer: actor.peer,
    operation: OPERATIONS.accept,
    decision: 'allow',
    performed: 'yes',
    detail: { why, problem, voided },
  };
}

/** Of a vote that was not taken. `id` is as it was sent: there may be no such approval. */
export function refusalDraft(
  operation: typeof OPERATIONS.approve | typeof OPERATIONS.reject,
  id: string,
  voter: Actor & { readonly approver: string },
  { reason, message }: Failure,
): EntryDraft {
  return {
    kind: 'approval',
    subject: subjectOf(voter, voter.approver),
    credential: voter.credential,
    peer: voter.peer,
    operation,
    decision: 'deny',
    reason,
    performed: 'no',
    detail: { approval: id.slice(0, 64), approver: voter.approver, why: message },
  };
}

/** Whoever signed in to the pages may have no SPIFFE ID: then it is the approver's name. */
function subjectOf({ spiffeId }: Actor, approver: string | undefined): string {
  return spiffeId === '' ? `approver/${approver ?? ''}` : spiffeId;
}

function common(act: Act, subject: string, operation: string): EntryDraft {
  return {
    kind: 'approval',
    subject,
    operation,
    decision: 'allow',
    performed: 'yes',
    rule: act.rule,
    ...(act.key === '' ? {} : { key: act.key }),
  };
}

/** As a value, not as text: the canonical form of the entry holds the canonical document. */
function entryAct(act: Act): { readonly [name: string]: EntryValue } {
  return { ...act, content: { ...act.content } };
}

/** What the entry of a use says of the approval that it used. */
export function useRecord(
  id: string,
  use: number,
  votes: readonly CastVote[],
  isEmergency: boolean,
): EntryValue {
  return {
    id,
    use,
    votes: votes.map(({ leafIndex }) => leafIndex),
    signatures: votes.map(({ signature }) => signatureDigest(signature)),
    emergency: isEmergency,
  };
}

/** The approval that this entry says was used; `use` 0 where it does not number its uses. */
export function citedUse(
  entry: Pick<EntryDraft, 'inputs' | 'detail'>,
): { readonly id: string; readonly use: number } | undefined {
  const cited = entry.inputs?.['approval'] ?? entry.detail?.['approval'];
  if (typeof cited !== 'object' || !('id' in cited) || typeof cited.id !== 'string') return undefined;
  return { id: cited.id, use: typeof cited.use === 'number' ? cited.use : 0 };
}
