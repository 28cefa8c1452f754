/** WebAuthn assertions whose challenge is the digest of an act (Web Authentication level 3, section 7.2). */
import { createPublicKey } from 'node:crypto';
import { verifyAuthenticationResponse } from '@simplewebauthn/server';
import { decodeCredentialPublicKey } from '@simplewebauthn/server/helpers';
import type { Presence } from './sshsig.ts';

/** Where passkeys are used: what authenticators and browsers are held to. */
export interface RelyingParty {
  /** Host name: passkeys are bound to it. */
  readonly id: string;
  /** `https://approvals.example.org:8445` */
  readonly origins: readonly string[];
}

/** Base64url each. */
export interface Assertion {
  readonly credentialId: string;
  readonly authenticatorData: string;
  readonly clientDataJson: string;
  readonly signature: string;
}

export class AssertionFormatError extends Error {
  override readonly name = 'AssertionFormatError';
}

export const MAX_ASSERTION_BYTES = 6 * 1024;
const FLAGS_AT = 32;
const COUNTER_AT = 33;

/**
 * Whether the passkey signed this challenge on a page of ours; undefined when it did not. Flags are told, not judged:
 * the caller knows whether presence is asked for.
 *
 * @param publicKey COSE key, base64url
 * @throws AssertionFormatError for what cannot be an assertion
 */
export async function verifyAssertion(
  assertion: Assertion,
  publicKey: string,
  challenge: Uint8Array,
  party: RelyingParty,
): Promise<{ readonly presence: Presence } | undefined> {
  const { credentialId, authenticatorData, clientDataJson, signature } = assertion;
  const parts = [credentialId, authenticatorData, clientDataJson, signature];
  if (!parts.every((part) => /^[A-Za-z0-9_-]+$/.test(part)))
    throw new AssertionFormatError('has a part that is not base64url without padding');
  if (parts.join('').length > MAX_ASSERTION_BYTES)
    throw new AssertionFormatError('is too long for an assertion');
  const data = Buffer.from(authenticatorData, 'base64url');
  if (data.length < COUNTER_AT + 4)
    throw new AssertionFormatError('has authenticator data that is cut short');
  if (isFromAnotherPage(clientDataJson)) return undefined;
  const isValid = await verified(assertion, publicKey, challenge, party);
  if (!isValid) return undefined;
  const flags = data[FLAGS_AT]!;
  return {
    presence: {
      userPresent: (flags & 1) !== 0,
      userVerified: (flags & 4) !== 0,
      counter: data.readUInt32BE(COUNTER_AT),
    },
  };
}

async function verified(
  { credentialId, authenticatorData, clientDataJson, signature }: Assertion,
  publicKey: string,
  challenge: Uint8Array,
  party: RelyingParty,
): Promise<boolean> {
  try {
    const result = await verifyAuthenticationResponse({
      response: {
        id: credentialId,
        rawId: credentialId,
        type: 'public-key',
        clientExtensionResults: {},
        response: { authenticatorData, clientDataJSON: clientDataJson, signature },
      },
      expectedChallenge: Buffer.from(challenge).toString('base64url'),
      expectedOrigin: [...party.origins],
      expectedRPID: party.id,
      // The counter is judged with the flags, by whoever knows what this credential said before.
      credential: {
        id: credentialId,
        publicKey: new Uint8Array(Buffer.from(publicKey, 'base64url')),
        counter: 0,
      },
      advancedFIDOConfig: { userVerification: 'discouraged' },
    });
    return result.verified;
  } catch (error) {
    // The library throws plain errors for everything that is wrong with an assertion: it does not count.
    if (error instanceof Error) return false;
    throw error;
  }
}

/** In a frame of somebody else's page, a person may not see what is approved. */
function isFromAnotherPage(clientDataJson: string): boolean {
  try {
    const { crossOrigin, topOrigin } = JSON.parse(
      Buffer.from(clientDataJson, 'base64url').toString('utf8'),
    ) as {
      crossOrigin?: unknown;
      topOrigin?: unknown;
    };
    return (crossOrigin !== undefined && crossOrigin !== false) || topOrigin !== undefined;
  } catch (cause) {
    throw new AssertionFormatError('has client data that is not JSON', { cause });
  }
}

/** SubjectPublicKeyInfo, DER, of a COSE key. @throws AssertionFormatError */
export function coseToSpki(publicKey: string): Buffer {
  try {
    const cose = decodeCredentialPublicKey(
      new Uint8Array(Buffer.from(publicKey, 'base64url')),
    ) as unknown as ReadonlyMap<number, unknown>;
    const text = (label: number): string => Buffer.from(cose.get(label) as Uint8Array).toString('base64url');
    // RFC 9053, section 7: kty 1 is OKP, 2 is EC2, 3 is RSA.
    const jwk =
      cose.get(1) === 1
        ? { kty: 'OKP', crv: 'Ed25519', x: text(-2) }
        : cose.get(1) === 2
          ? {
              kty: 'EC',
              crv: { 1: 'P-256', 2: 'P-384', 3: 'P-521' }[cose.get(-1) as 1 | 2 | 3],
              x: text(-2),
              y: text(-3),
            }
          : { kty: 'RSA', n: text(-1), e: text(-2) };
    return createPublicKey({ key: jwk as never, format: 'jwk' }).export({ type: 'spki', format: 'der' });
  } catch (cause) {
    throw new AssertionFormatError('is enrolled with a key that is no COSE key', { cause });
  }
}
