/** Approvals as JWS (RFC 7515, RFC 7797), for approvers with a key file or a signing service of their own. */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { decodeProtectedHeader, errors, flattenedVerify } from 'jose';
import { JWS_TYPE } from './act.ts';

export const MAX_JWS_BYTES = 40 * 1024;

/** What is there is no JWS that an approval can be. */
export class JwsFormatError extends Error {
  override readonly name = 'JwsFormatError';
}

const ALGORITHMS = new Set([
  'EdDSA',
  'Ed25519',
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
  'RS256',
  'RS384',
  'RS512',
]);
/** Everything else in a header either names a key, which is enrolled and nothing else, or is not understood. */
const HEADER_MEMBERS = new Set(['alg', 'typ', 'kid', 'crit', 'b64']);

interface JwsParts {
  readonly header: string;
  readonly payload: string;
  readonly signature: string;
  readonly algorithm: string;
  readonly isUnencoded: boolean;
}

/** @throws JwsFormatError */
function parse(compact: string): JwsParts {
  if (compact.length > MAX_JWS_BYTES) throw new JwsFormatError('is too long for a signature');
  const parts = compact.trim().split('.');
  const [header, payload, signature] = parts;
  if (
    parts.length !== 3 ||
    !parts.every((part) => /^[A-Za-z0-9_-]*$/.test(part)) ||
    header === '' ||
    signature === ''
  )
    throw new JwsFormatError('is not a compact JWS');
  let members: ReturnType<typeof decodeProtectedHeader>;
  try {
    members = decodeProtectedHeader({ protected: header!, signature: signature! });
  } catch (cause) {
    throw new JwsFormatError('has a header that is not JSON', { cause });
  }
  for (const name of Object.keys(members)) {
    if (!HEADER_MEMBERS.has(name))
      throw new JwsFormatError(`has the header \`${name.slice(0, 32)}\`, which approvals do not take`);
  }
  const { alg, typ, b64 } = members;
  if (alg === undefined || !ALGORITHMS.has(alg))
    throw new JwsFormatError('is of an algorithm that approvals do not take');
  if (typ !== JWS_TYPE) throw new JwsFormatError(`has another \`typ\` than ${JWS_TYPE}`);
  return {
    header: header!,
    payload: payload!,
    signature: signature!,
    algorithm: alg,
    isUnencoded: b64 === false,
  };
}

/**
 * Whether this enrolled key signed the document: as a detached payload, encoded or not, or as the very payload.
 *
 * @param enrolled a public JWK as JSON
 * @throws JwsFormatError for what is no JWS of an approval, and for an enrolled key that is none
 */
export async function verifyJws(compact: string, enrolled: string, document: string): Promise<boolean> {
  const { header, payload, signature, algorithm, isUnencoded } = parse(compact);
  const encoded = Buffer.from(document).toString('base64url');
  if (payload !== '' && (isUnencoded || payload !== encoded)) return false;
  const jwk = JSON.parse(enrolled) as { readonly alg?: string };
  if (jwk.alg !== undefined && current(jwk.alg) !== current(algorithm)) return false;
  const key = jwkToKey(enrolled);
  if (!fits(algorithm, key)) return false;
  try {
    await flattenedVerify({ protected: header, payload: isUnencoded ? document : encoded, signature }, key, {
      algorithms: [algorithm],
    });
    return true;
  } catch (error) {
    if (error instanceof errors.JOSEError) return false;
    throw error;
  }
}

/** Whether keys of this kind make such signatures (RFC 7518, section 3; RFC 8037; RFC 9864). */
function fits(algorithm: string, key: KeyObject): boolean {
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  switch (algorithm) {
    case 'EdDSA':
    case 'Ed25519':
      return key.asymmetricKeyType === 'ed25519';
    case 'ES256':
      return namedCurve === 'prime256v1';
    case 'ES384':
      return namedCurve === 'secp384r1';
    case 'ES512':
      return namedCurve === 'secp521r1';
    default:
      return key.asymmetricKeyType === 'rsa' && modulusLength >= 2048;
  }
}

/** @throws JwsFormatError */
export function jwkToKey(enrolled: string): KeyObject {
  try {
    return createPublicKey({ key: JSON.parse(enrolled) as object as never, format: 'jwk' });
  } catch (cause) {
    throw new JwsFormatError('is enrolled with a key that is no public JWK', { cause });
  }
}

/** `EdDSA` is the older name (RFC 9864). */
function current(algorithm: string): string {
  return algorithm === 'EdDSA' ? 'Ed25519' : algorithm;
}
