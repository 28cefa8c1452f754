/**
 * What the approvers' pages ask of the broker. A page sends JSON to the control gateway (`POST /api/<name>`), which
 * passes the text on unread; the broker alone decides (`approvals/webauthn-pages.ts`).
 */
export const PAGE_CALLS = [
  'sign-in-challenge',
  'sign-in',
  'sign-out',
  'approvals',
  'approval',
  'attachment',
  'approve',
  'reject',
] as const;
export type PageCallName = (typeof PAGE_CALLS)[number];

/** Longer bodies are refused by the gateway. */
export const MAX_PAGE_BODY_BYTES = 16 * 1024;

export interface PageCall {
  readonly name: PageCallName;
  /** Address without the port, as the gateway says. */
  readonly peer: string;
  /** What the browser keeps of its sign-in: 32 random bytes, base64url. Undefined: no cookie. */
  readonly signIn: string | undefined;
  /** JSON, not looked at yet. */
  readonly body: string;
}

/** Why a call was refused; the page has words for each. */
export type PageRefusal =
  | 'signed-out'
  | 'request-invalid'
  | 'not-found'
  | 'refused'
  | 'too-many-requests'
  | 'unavailable';

export type PageAnswer =
  | {
      readonly ok: true;
      readonly body: object;
      /** A new secret for the browser to keep, or null: it is to forget the one it has. */
      readonly signIn?: string | null | undefined;
    }
  | {
      readonly ok: false;
      readonly reason: PageRefusal;
      /** For the person in front of the page. */
      readonly message: string;
      readonly signIn?: null | undefined;
    };

/** A passkey's answer to a challenge (AuthenticatorAssertionResponse, WebAuthn level 3, section 5.2.2): base64url each. */
export interface PasskeyAssertion {
  readonly credentialId: string;
  readonly authenticatorData: string;
  readonly clientDataJson: string;
  readonly signature: string;
}

export interface SignInChallenge {
  /** base64url; what `sign-in` must come back with. */
  readonly challenge: string;
}

/** Body of `sign-in`: a `PasskeyAssertion`. Its answer, and that of `approvals`: */
export interface SignedIn {
  readonly approver: string;
  /** base64url: the passkeys that this person can approve with. */
  readonly credentialIds: readonly string[];
  /** RFC 3339: until then at most, and less when nothing is done. */
  readonly signedInUntil: string;
}

export interface ApprovalSummary {
  readonly id: string;
  readonly operation: string;
  readonly key: string;
  readonly requester: string;
  readonly rule: string;
  /** RFC 3339. */
  readonly notAfter: string;
  readonly approvals: number;
  readonly approvalsNeeded: number;
  /** What this person has said already. */
  readonly vote: 'approve' | 'reject' | 'none';
  readonly isEmergency: boolean;
}

/** Answer of `approvals`. */
export interface ApprovalList extends SignedIn {
  readonly open: readonly ApprovalSummary[];
}

/** Answer of `approval` (body: `{ id }`). */
export interface ApprovalDetail extends ApprovalSummary {
  readonly state: string;
  /** The act as a person reads it, made by the broker from the document. */
  readonly text: string;
  /** The canonical document: the passkey signs the SHA-256 of domain and document. */
  readonly document: string;
  readonly hasAttachment: boolean;
  /** False: this person is not among those whose approval counts here with a passkey. */
  readonly canApprove: boolean;
}

/** Answer of `attachment` (body: `{ id }`). */
export interface AttachedContent {
  /** base64. */
  readonly content: string;
}

/** Body of `approve`: `{ id }` and a `PasskeyAssertion`; of `reject`: `{ id, reason }`. Answer of both: */
export interface VoteTaken {
  readonly state: string;
}
