/**
 * One approver's signature over one act, whatever its format. Needs nothing but what the log has: anybody can check it
 * again, offline.
 */
import { createHash } from 'node:crypto';
import type { ApproverKey } from '../../policy/quorum.ts';
import { actDigest, SSHSIG_NAMESPACE, type VoteSignature } from './act.ts';
import { JwsFormatError, jwkToKey, verifyJws } from './jws.ts';
import { AssertionFormatError, coseToSpki, type RelyingParty, verifyAssertion } from './passkey.ts';
import { parseSshPublicKey, SshFormatError } from './ssh-wire.ts';
import { type Presence, verifySshSignature } from './sshsig.ts';

export interface VerifiedVote {
  /** What the authenticator says of its user; undefined: keys of this kind cannot say. */
  readonly presence: Presence | undefined;
}

/** Why something handed in is no signature of any act; in words that may follow `the signature`. */
export class VoteFormatError extends Error {
  override readonly name = 'VoteFormatError';
}

/**
 * Whether this enrolled key made this signature over this document; undefined when it did not.
 *
 * @throws VoteFormatError for what is no signature at all
 */
export async function verifyVote(
  signature: VoteSignature,
  key: ApproverKey,
  document: string,
  party: RelyingParty | undefined,
): Promise<VerifiedVote | undefined> {
  try {
    switch (signature.method) {
      case 'sshsig':
        if (key.method !== 'sshsig') return undefined;
        return verifySshSignature(
          signature.signature,
          key.publicKey,
          SSHSIG_NAMESPACE,
          Buffer.from(document),
        );
      case 'jws':
        if (key.method !== 'jws') return undefined;
        return (await verifyJws(signature.signature, key.publicKey, document))
          ? { presence: undefined }
          : undefined;
      case 'webauthn': {
        if (key.method !== 'webauthn' || key.credentialId !== signature.credentialId || party === undefined)
          return undefined;
        return await verifyAssertion(signature, key.publicKey, actDigest(document), party);
      }
      default:
        return signature satisfies never;
    }
  } catch (cause) {
    throw asVoteFormatError(cause);
  }
}

/** SubjectPublicKeyInfo, DER. @throws VoteFormatError for an enrolled key that is none */
export function spkiOf(key: ApproverKey): Buffer {
  try {
    switch (key.method) {
      case 'sshsig':
        return parseSshPublicKey(key.publicKey).key.export({ type: 'spki', format: 'der' });
      case 'jws':
        return jwkToKey(key.publicKey).export({ type: 'spki', format: 'der' });
      case 'webauthn':
        return coseToSpki(key.publicKey);
      default:
        return key satisfies never;
    }
  } catch (cause) {
    throw asVoteFormatError(cause);
  }
}

/** A format's own error as the one that callers know; whatever else went wrong stays what it is. */
function asVoteFormatError(cause: unknown): unknown {
  return cause instanceof SshFormatError ||
    cause instanceof JwsFormatError ||
    cause instanceof AssertionFormatError
    ? new VoteFormatError(cause.message, { cause })
    : cause;
}

/** SHA-256, base64url: what the entry of a use cites beside the leaf index of the vote. */
export function signatureDigest(signature: VoteSignature): string {
  let digest = digests.get(signature);
  if (digest === undefined) {
    const parts =
      signature.method === 'webauthn'
        ? [signature.authenticatorData, signature.clientDataJson, signature.signature]
        : [signature.signature];
    digest = createHash('sha256').update(parts.join('.')).digest('base64url');
    digests.set(signature, digest);
  }
  return digest;
}

const digests = new WeakMap<VoteSignature, string>();
