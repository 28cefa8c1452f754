/**
 * What is approved: one canonical document (RFC 8785). Every approver is shown it and signs it, and the broker makes it
 * again from the actual request at the moment of use: an approval serves for nothing else.
 */
export interface Act {
  readonly v: 1;
  /** Origin of the broker's log: an approval for one deployment is none for another. */
  readonly origin: string;
  /** SPIFFE ID of who asks. */
  readonly requester: string;
  /** `sign`, `Admin.CreateKey`, `policy.activate`. */
  readonly operation: string;
  /** Key name; empty where there is none. */
  readonly key: string;
  /** Pinned version; 0: the one that is active at use. */
  readonly version: number;
  readonly algorithm: string;
  readonly content: ActContent;
  /** Id of the deciding rule. */
  readonly rule: string;
  /** SHA-256, base64url, of everything that gives the rule its meaning (`PolicySet.authorityOf`) and of the key's catalog entry. */
  readonly authority: string;
  /** RFC 3339, UTC, seconds. */
  readonly notBefore: string;
  readonly notAfter: string;
  readonly uses: number;
  /** 128 random bits, base64url: the same request asked again later is another act. */
  readonly nonce: string;
}

export type ActContent =
  /** Typed signing, a new key, a policy: everything that is signed or done, for people. At most 16 KiB as JSON. */
  | { readonly kind: 'shown'; readonly type: string; readonly text: string; readonly sha256: string }
  /** A message that is text: shown as it is. */
  | { readonly kind: 'message'; readonly text: string; readonly sha256: string; readonly bytes: number }
  /** Above 16 KiB, or no text: its digest; the content lies beside the act for approvers to fetch. */
  | { readonly kind: 'attached'; readonly sha256: string; readonly bytes: number }
  /** A bare digest, where the rule says `blind: true`. */
  | { readonly kind: 'not-shown'; readonly sha256: string; readonly bytes: number }
  /** A standing grant: whatever the rule allows. */
  | { readonly kind: 'any' };

/** Before the SHA-256 that passkeys sign; SSHSIG and JWS sign the document itself under a namespace and type of their own. */
export const ACT_DOMAIN = 'lastmile-act-v1\0';
export const SSHSIG_NAMESPACE = 'lastmile-approval@v1';
export const JWS_TYPE = 'lastmile-approval+jws';

export type Vote = 'approve' | 'reject';

/** A signature as it was handed in, and as the log keeps it: anybody can check it again. */
export type VoteSignature =
  /** Armored SSH signature over the canonical act (PROTOCOL.sshsig). */
  | { readonly method: 'sshsig'; readonly signature: string }
  /** Compact JWS with detached payload (RFC 7797), or with the act as its payload. */
  | { readonly method: 'jws'; readonly signature: string }
  /** AuthenticatorAssertionResponse, base64url each; the challenge is the SHA-256 of domain and act. */
  | {
      readonly method: 'webauthn';
      readonly credentialId: string;
      readonly authenticatorData: string;
      readonly clientDataJson: string;
      readonly signature: string;
    };

export type ApprovalState = 'open' | 'approved' | 'rejected' | 'withdrawn' | 'expired' | 'used';
