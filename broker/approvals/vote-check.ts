/**
 * Checks votes on open approvals: which signatures verify, and whose approvals count by the policy in force.
 *
 * Owns what it remembers of pure results alone: of a signature that it verifies over its document, of a key how it reads.
 * Who is enrolled, in a group, frozen or the one who asks is looked at again each time.
 */
import type { ApprovalPolicy, ApproverKey, Quorum } from '../../policy/quorum.ts';
import { Failure } from '../keyuse/failure.ts';
import type { VoteSignature } from './act.ts';
import type { LiveApproval } from './live-approvals.ts';
import type { RelyingParty } from './passkey.ts';
import { type CastVote, countingVotes, type IsFrozen, type TallyContext } from './tally.ts';
import { spkiOf, type VerifiedVote, VoteFormatError, verifyVote } from './vote-signature.ts';

export interface VoteCheckOptions {
  readonly policy: () => ApprovalPolicy;
  readonly isFrozen: IsFrozen;
  /** Whether a token that the broker logs in to has this key (SubjectPublicKeyInfo, DER). */
  readonly isTokenKey: (spki: Uint8Array) => boolean;
  /** Where passkeys are used; undefined: none count. */
  readonly relyingParty?: RelyingParty | undefined;
}

const MAX_KEYS = 10_000;

export class VoteCheck {
  readonly #o: VoteCheckOptions;
  /** Signatures that verify: a pure function of document, key and signature, so that it never goes stale. */
  readonly #verified = new WeakMap<CastVote, VerifiedVote>();
  readonly #spkis = new Map<string, Buffer>();

  constructor(options: VoteCheckOptions) {
    this.#o = options;
  }

  /** Before `counting`: a vote that was not verified counts for nobody. */
  async verify({ votes, row }: Pick<LiveApproval, 'votes' | 'row'>): Promise<void> {
    for (const vote of votes) {
      if (this.#verified.has(vote)) continue;
      let found: VerifiedVote | undefined;
      try {
        found = await verifyVote(vote.signature, vote.key, row.act, this.#o.relyingParty);
      } catch (error) {
        if (!(error instanceof VoteFormatError)) throw error;
      }
      // What does not verify is looked at again: the pages' own address may be known only later.
      if (found !== undefined) this.#verified.set(vote, found);
    }
  }

  /** What `keyOf` found of this vote. */
  verified(vote: CastVote, found: VerifiedVote): void {
    this.#verified.set(vote, found);
  }

  /** The votes that count now for this quorum, one for each person. */
  counting({ votes, act }: Pick<LiveApproval, 'votes' | 'act'>, quorum: Quorum): readonly CastVote[] {
    return countingVotes(votes, quorum, act.requester, this.context(), (vote) => this.#verified.get(vote));
  }

  context(): TallyContext {
    return {
      policy: this.#o.policy(),
      isFrozen: this.#o.isFrozen,
      isBrokersOwn: (key) => this.#isBrokersOwn(key),
    };
  }

  /** The key of this person that made the signature. @throws Failure REQUEST_INVALID, POLICY_DENIED */
  async keyOf(
    person: string,
    signature: VoteSignature,
    { row }: Pick<LiveApproval, 'row'>,
  ): Promise<{ readonly key: ApproverKey; readonly found: VerifiedVote }> {
    const keys = this.#o.policy().approvers.get(person)?.keys ?? [];
    try {
      for (const key of keys) {
        const found = await verifyVote(signature, key, row.act, this.#o.relyingParty);
        if (found !== undefined) return { key, found };
      }
    } catch (cause) {
      if (!(cause instanceof VoteFormatError)) throw cause;
      throw new Failure('REQUEST_INVALID', `the signature ${cause.message}`, { cause });
    }
    throw new Failure('POLICY_DENIED', `the signature is not one of \`${person}\` over this very act`);
  }

  /** Whether this approver is one of those whom the quorum asks: those may see it. */
  mayVoteOn(approver: string, { groups }: Pick<Quorum, 'groups'>): boolean {
    const policy = this.#o.policy();
    return policy.approvers.has(approver) && groups.some((group) => policy.groupMembers(group).has(approver));
  }

  /** The approver that this SPIFFE ID is; undefined: none. A frozen one is none. */
  approverOf(spiffeId: string): string | undefined {
    for (const approver of this.#o.policy().approvers.values())
      if (approver.spiffeId === spiffeId) return this.#o.isFrozen(approver) ? undefined : approver.id;
    return undefined;
  }

  /** Fails closed: a key that cannot be read could be anybody's. */
  #isBrokersOwn(key: ApproverKey): boolean {
    const name = `${key.method} ${key.publicKey}`;
    let spki = this.#spkis.get(name);
    if (spki === undefined) {
      try {
        spki = spkiOf(key);
      } catch (error) {
        if (error instanceof VoteFormatError) return true;
        throw error;
      }
      if (this.#spkis.size > MAX_KEYS) this.#spkis.clear();
      this.#spkis.set(name, spki);
    }
    return this.#o.isTokenKey(spki);
  }
}
