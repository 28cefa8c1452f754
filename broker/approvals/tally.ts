/** Whose approvals count, now: a pure function of the act, the votes and the policy in force. */
import type { ApprovalPolicy, Approver, ApproverKey, Quorum } from '../../policy/quorum.ts';
import type { VoteSignature } from './act.ts';
import type { VerifiedVote } from './vote-signature.ts';

/** An approval as it was handed in. */
export interface CastVote {
  readonly approver: string;
  readonly signature: VoteSignature;
  /** The key it was made with, as it was enrolled then. */
  readonly key: ApproverKey;
  /** Of its entry. */
  readonly leafIndex: number;
}

export type IsFrozen = (approver: Pick<Approver, 'id' | 'spiffeId'>) => boolean;

export interface TallyContext {
  readonly policy: ApprovalPolicy;
  /** By its id, its SPIFFE ID or the trust domain of that: who has none can be frozen, too. */
  readonly isFrozen: IsFrozen;
  /** Whether the broker can log in to a token that has this enrolled key: then it could approve for itself. */
  readonly isBrokersOwn: (key: ApproverKey) => boolean;
}

/** Why this person's approval does not count for this quorum and requester; undefined: it can. */
export function approverObjection(
  id: string,
  quorum: Pick<Quorum, 'groups'>,
  requester: string,
  { policy, isFrozen }: TallyContext,
): string | undefined {
  const approver = policy.approvers.get(id);
  if (approver === undefined) return 'is no approver now';
  if (!quorum.groups.some((group) => policy.groupMembers(group).has(id)))
    return 'is in none of the groups of the rule';
  if (isFrozen(approver)) return 'is frozen';
  if (policy.isOwnRequest(id, requester)) return 'is who asks';
  return undefined;
}

/** Why a signature with this key does not count; undefined: it can. */
export function keyObjection(
  id: string,
  key: ApproverKey,
  quorum: Pick<Quorum, 'methods'>,
  { policy, isBrokersOwn }: TallyContext,
): string | undefined {
  if (!quorum.methods.includes(key.method)) return `signs by ${key.method}, which the rule does not take`;
  if (!policy.approvers.get(id)?.keys.some((enrolled) => isSameKey(enrolled, key)))
    return 'signs with a key that is not enrolled';
  if (isBrokersOwn(key)) return 'signs with a key in a token that the broker can log in to';
  return undefined;
}

/** What the signature itself says of the person in front of it. */
export function presenceObjection(
  vote: Pick<CastVote, 'signature'>,
  { presence }: VerifiedVote,
  quorum: Pick<Quorum, 'withoutPresence'>,
): string | undefined {
  if (quorum.withoutPresence || presence === undefined) return undefined;
  if (!presence.userPresent) return 'signs without anybody present at the authenticator';
  if (vote.signature.method === 'webauthn' && !presence.userVerified)
    return 'signs with a passkey that did not verify its user';
  return undefined;
}

/**
 * The votes that count, one for each person, oldest first. `verified` says what came of checking a signature over the
 * very act in question; undefined: it is not one.
 */
export function countingVotes(
  votes: readonly CastVote[],
  quorum: Quorum,
  requester: string,
  context: TallyContext,
  verified: (vote: CastVote) => VerifiedVote | undefined,
): readonly CastVote[] {
  const people = new Map<string, CastVote>();
  for (const vote of votes) {
    if (people.has(vote.approver)) continue;
    const found = verified(vote);
    if (
      found === undefined ||
      presenceObjection(vote, found, quorum) !== undefined ||
      approverObjection(vote.approver, quorum, requester, context) !== undefined ||
      keyObjection(vote.approver, vote.key, quorum, context) !== undefined
    )
      continue;
    people.set(vote.approver, vote);
  }
  return [...people.values()];
}

/** A quorum that asks for nobody is none that anything fulfils: such a rule is refused at load, and here. */
export function isQuorate(counting: readonly CastVote[], quorum: Quorum): boolean {
  return (
    Number.isSafeInteger(quorum.approvals) && quorum.approvals >= 1 && counting.length >= quorum.approvals
  );
}

export function isSameKey(a: ApproverKey, b: ApproverKey): boolean {
  if (a.method !== b.method || a.publicKey !== b.publicKey) return false;
  return a.method !== 'webauthn' || b.method !== 'webauthn' || a.credentialId === b.credentialId;
}
