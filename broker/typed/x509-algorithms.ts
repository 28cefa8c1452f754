import { constants, type KeyObject, verify } from 'node:crypto';
import { AlgorithmIdentifier } from '@peculiar/asn1-x509';
import type { Algorithm } from '../../hsm-adapters/adapter.ts';
import { invalid } from './invalid.ts';

type SigningAlgorithm = Exclude<Algorithm, 'HS256' | 'HS384' | 'HS512' | 'A256GCM' | 'RSA-OAEP-256'>;

const NULL = '0500';
/** RSASSA-PSS-params (RFC 4055, section 3.1): the hash, MGF1 with the same, a salt of the hash's length. */
const pss = (hash: string, salt: string): string =>
  `3034a00f300d06096086480165030402${hash}0500` +
  `a11c301a06092a864886f70d010108300d06096086480165030402${hash}0500a2030201${salt}`;

/** Object identifier and parameters, hexadecimal DER. Nothing with SHA-1 or MD5. */
const IDENTIFIERS: { readonly [algorithm in SigningAlgorithm]: readonly [oid: string, parameters: string] } =
  {
    ES256: ['1.2.840.10045.4.3.2', ''],
    ES384: ['1.2.840.10045.4.3.3', ''],
    ES512: ['1.2.840.10045.4.3.4', ''],
    Ed25519: ['1.3.101.112', ''],
    RS256: ['1.2.840.113549.1.1.11', NULL],
    RS384: ['1.2.840.113549.1.1.12', NULL],
    RS512: ['1.2.840.113549.1.1.13', NULL],
    PS256: ['1.2.840.113549.1.1.10', pss('01', '20')],
    PS384: ['1.2.840.113549.1.1.10', pss('02', '30')],
    PS512: ['1.2.840.113549.1.1.10', pss('03', '40')],
  };

/** AlgorithmIdentifier of a JOSE name (RFC 5758, RFC 4055, RFC 8410). @throws Failure REQUEST_INVALID */
export function algorithmIdentifier(jose: string): AlgorithmIdentifier {
  if (!isSigning(jose)) throw invalid(`${jose} does not sign certificates`);
  const [algorithm, parameters] = IDENTIFIERS[jose];
  return new AlgorithmIdentifier({
    algorithm,
    ...(parameters === '' ? {} : { parameters: new Uint8Array(Buffer.from(parameters, 'hex')).buffer }),
  });
}

/**
 * Whether a DER signature in the form of X.509 (RFC 5280, section 4.1.1.2) is one of `key`.
 *
 * @throws Failure REQUEST_INVALID for an algorithm that is not in the table above
 */
export function verifiesAsX509(
  identifier: AlgorithmIdentifier,
  key: KeyObject,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const parameters =
    identifier.parameters === undefined || identifier.parameters === null
      ? ''
      : Buffer.from(identifier.parameters).toString('hex');
  const found = Object.entries(IDENTIFIERS).find(
    ([, [oid, expected]]) =>
      oid === identifier.algorithm &&
      // RFC 4055, section 5 lets NULL be left out of PKCS#1 v1.5.
      (expected === parameters || (expected === NULL && parameters === '')),
  )?.[0];
  if (found === undefined) throw invalid('signature of the CSR is of an algorithm that is not accepted');
  const expectedKey = found.startsWith('ES') ? 'ec' : found === 'Ed25519' ? 'ed25519' : 'rsa';
  if (key.asymmetricKeyType !== expectedKey) return false;
  const hash = found === 'Ed25519' ? null : `sha${found.slice(2)}`;
  const padding = found.startsWith('PS')
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    : {};
  return verify(hash, message, { key, ...padding }, signature);
}

function isSigning(jose: string): jose is SigningAlgorithm {
  return Object.hasOwn(IDENTIFIERS, jose);
}
