/** How an approver can sign. */
export const APPROVAL_METHODS = ['sshsig', 'jws', 'webauthn'] as const;
export type ApprovalMethod = (typeof APPROVAL_METHODS)[number];

/** A key that approvals are signed with. Public halves alone. */
export type ApproverKey =
  /** One line as in authorized_keys: `ssh-ed25519 AAAA…`; `sk-` keys as well. */
  | { readonly method: 'sshsig'; readonly publicKey: string }
  /** A public JWK as JSON (RFC 7517). */
  | { readonly method: 'jws'; readonly publicKey: string }
  /** A passkey: credential id and COSE public key (RFC 9053), base64url each. */
  | {
      readonly method: 'webauthn';
      readonly credentialId: string;
      readonly publicKey: string;
    };

/** A person who approves. */
export interface Approver {
  /** An opaque name: what entries and acts call this person. */
  readonly id: string;
  readonly keys: readonly ApproverKey[];
  /** SPIFFE ID that calls Approvals, and patterns of requesters that are this very person. */
  readonly spiffeId: string | undefined;
  readonly alsoRequestsAs: readonly string[];
}

/** What a rule asks for before it counts. */
export interface Quorum {
  /** At least 1; never more than the distinct people in `groups`. */
  readonly approvals: number;
  /** Group names; a member of any of them counts. */
  readonly groups: readonly string[];
  /** From the request until it has all approvals and is used, milliseconds. */
  readonly withinMs: number;
  /** How often an approved act may be used. */
  readonly uses: number;
  readonly methods: readonly ApprovalMethod[];
  /** Bare digests can be approved: the act then says `content not shown`. */
  readonly blind: boolean;
  /** User presence (FIDO UP and UV) is not asked for. */
  readonly withoutPresence: boolean;
  /** `act`: exactly this content. `rule`: a standing grant for whatever the rule allows, `uses` times within `withinMs`. */
  readonly covers: 'act' | 'rule';
  /** Break-glass: loud in the log, in metrics and by webhook. */
  readonly emergency: boolean;
}

/** Who must agree to changes of policy, roles, groups, enrolment, observe and log settings. */
export type Governance = Pick<Quorum, 'approvals' | 'groups' | 'withinMs' | 'methods'>;

/** What approvals need of a compiled policy. */
export interface ApprovalPolicy {
  readonly approvers: ReadonlyMap<string, Approver>;
  /** Ids of the people in a group, now; empty when there is no such group. */
  groupMembers(group: string): ReadonlySet<string>;
  /**
   * Everything that gives a rule its meaning for this workload and key, as canonical JSON: the rule itself, its groups
   * with their members, and the deny rules that reach the same workload and key. An approval is bound to it: what
   * changes it voids the approval, what does not leaves it alone. Of a rule of `lifecycle`, and of `governance` (a rule
   * of that name), likewise. Empty for a rule that is not there: nothing may be approved under it.
   */
  authorityOf(rule: string, spiffeId: string, key: string): string;
  /** Whether a request of this SPIFFE ID is this person's own, so that the person cannot approve it. True for an approver who is not in the policy. */
  isOwnRequest(approver: string, spiffeId: string): boolean;
  /** Undefined: whoever can write the file can change the policy. */
  readonly governance: Governance | undefined;
}
