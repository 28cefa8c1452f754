import type { SpiffeId } from '../../policy/spiffe-id.ts';

/** Why evidence was not accepted. `api/status.ts` maps each to UNAUTHENTICATED with this very reason. */
export type IdentityReason =
  | 'SVID_MISSING'
  | 'SVID_INVALID'
  | 'SVID_EXPIRED'
  | 'SVID_NOT_YET_VALID'
  | 'SVID_UNTRUSTED'
  | 'SVID_FOREIGN_TRUST_DOMAIN'
  | 'CREDENTIAL_FROZEN';

export class IdentityError extends Error {
  override readonly name = 'IdentityError';
  readonly reason: IdentityReason;
  constructor(reason: IdentityReason, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.reason = reason;
  }
}

/** How a caller was proven. More kinds (JWT-SVID, OIDC, TPM) come beside this one. */
export interface X509SvidCredential {
  readonly type: 'x509-svid';
  /** SHA-256 of the leaf's DER, hex. */
  readonly sha256: string;
  readonly serialNumber: string;
  /** The earliest of the chain, milliseconds since the epoch. */
  readonly notAfter: number;
  readonly notBefore: number;
}

/** Who is at the other end of a connection, verified by the broker itself. */
export interface WorkloadIdentity {
  readonly spiffeId: SpiffeId;
  readonly credential: X509SvidCredential;
}
