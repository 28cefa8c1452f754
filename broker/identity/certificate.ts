import { type KeyObject, X509Certificate } from 'node:crypto';
import { AsnConvert } from '@peculiar/asn1-schema';
import {
  BasicConstraints,
  Certificate,
  ExtendedKeyUsage,
  type GeneralName,
  KeyUsage,
  NameConstraints,
  SubjectAlternativeName,
} from '@peculiar/asn1-x509';
import { IdentityError } from './identity.ts';

/** What X.509-SVID verification needs to know of one certificate: parsed, not yet believed. */
export interface ParsedCertificate {
  readonly x509: X509Certificate;
  readonly raw: Buffer;
  /** Milliseconds since the epoch, both inclusive (RFC 5280, section 4.1.2.5). */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly subjectIsEmpty: boolean;
  readonly isCa: boolean;
  readonly pathLength: number | undefined;
  /** Undefined: the extension is absent. */
  readonly keyUsage: { readonly critical: boolean; readonly bits: ReadonlySet<string> } | undefined;
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly alternativeNames: readonly GeneralName[];
  readonly alternativeNamesAreCritical: boolean;
  readonly nameConstraints: NameConstraints | undefined;
}

export const MAX_CERTIFICATE_BYTES = 16 * 1024;
const X509_V3 = 2;

const OID = {
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  extKeyUsage: '2.5.29.37',
} as const;

/** Signature algorithms with SHA-256 or better. Whatever is not here, SHA-1 and MD5 first of all, is refused. */
const SIGNATURE_ALGORITHMS: ReadonlySet<string> = new Set([
  '1.2.840.113549.1.1.11', // sha256WithRSAEncryption
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  '1.2.840.10045.4.3.2', // ecdsa-with-SHA256
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
  '1.3.101.112', // Ed25519
]);
const RSASSA_PSS = '1.2.840.113549.1.1.10';
/**
 * RSASSA-PSS carries its hash in its parameters (RFC 4055, section 3.1), SHA-1 when they are absent. Only the DER of
 * SHA-256, -384 and -512, each with MGF1 of the same hash and a salt of the hash's length, is accepted.
 */
const PSS_PARAMETERS: ReadonlySet<string> = new Set(
  [
    ['01', '20'],
    ['02', '30'],
    ['03', '40'],
  ].map(
    ([hash, salt]) =>
      `3034a00f300d06096086480165030402${hash}0500` +
      `a11c301a06092a864886f70d010108300d06096086480165030402${hash}0500a2030201${salt}`,
  ),
);
const CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);

/**
 * Reads one DER certificate and refuses what no certificate of a chain may be, whatever its place: not v3, weak
 * key, weak hash, an extension twice, a critical extension that is not enforced here (RFC 5280, section 4.2).
 *
 * Two parsers read it, OpenSSL's and this one; bytes that either does not account for are refused.
 *
 * @throws IdentityError
 */
export function parseCertificate(der: Uint8Array, x509 = openssl(der)): ParsedCertificate {
  if (!x509.raw.equals(der)) throw invalid('certificate is not plain DER');
  let certificate: Certificate;
  try {
    certificate = AsnConvert.parse(der, Certificate);
  } catch (cause) {
    throw invalid('certificate cannot be read', cause);
  }
  const tbs = certificate.tbsCertificate;
  if (tbs.version !== X509_V3) throw invalid('certificate is not X.509 version 3');
  checkSignatureAlgorithm(certificate);
  checkKey(publicKey(x509));

  const values = new Map<string, { critical: boolean; der: ArrayBuffer }>();
  for (const extension of tbs.extensions ?? []) {
    if (values.has(extension.extnID)) throw invalid('certificate has an extension twice');
    values.set(extension.extnID, { critical: extension.critical, der: extension.extnValue.buffer });
    if (extension.critical && !KNOWN.has(extension.extnID)) {
      throw invalid(`certificate has an unknown critical extension, ${extension.extnID}`);
    }
  }
  const read = <T>(oid: string, type: new () => T): T | undefined => {
    const value = values.get(oid);
    if (value === undefined) return undefined;
    try {
      return AsnConvert.parse(value.der, type);
    } catch (cause) {
      throw invalid(`extension ${oid} cannot be read`, cause);
    }
  };
  const basicConstraints = read(OID.basicConstraints, BasicConstraints);
  const keyUsage = read(OID.keyUsage, KeyUsage);
  const extendedKeyUsage = read(OID.extKeyUsage, ExtendedKeyUsage);
  return {
    x509,
    raw: x509.raw,
    notBefore: tbs.validity.notBefore.getTime().getTime(),
    notAfter: tbs.validity.notAfter.getTime().getTime(),
    subjectIsEmpty: tbs.subject.length === 0,
    isCa: basicConstraints?.cA === true,
    pathLength: basicConstraints?.pathLenConstraint,
    keyUsage: keyUsage && {
      critical: values.get(OID.keyUsage)!.critical,
      bits: new Set<string>(keyUsage.toJSON()),
    },
    extendedKeyUsage: extendedKeyUsage && [...extendedKeyUsage],
    alternativeNames: [...(read(OID.subjectAltName, SubjectAlternativeName) ?? [])],
    alternativeNamesAreCritical: values.get(OID.subjectAltName)?.critical === true,
    nameConstraints: read(OID.nameConstraints, NameConstraints),
  };
}

const KNOWN: ReadonlySet<string> = new Set(Object.values(OID));

function openssl(der: Uint8Array): X509Certificate {
  if (der.byteLength > MAX_CERTIFICATE_BYTES)
    throw invalid(`certificate is larger than ${MAX_CERTIFICATE_BYTES} bytes`);
  try {
    return new X509Certificate(der);
  } catch (cause) {
    throw invalid('certificate cannot be read', cause);
  }
}

function publicKey(x509: X509Certificate): KeyObject {
  try {
    return x509.publicKey;
  } catch (cause) {
    throw invalid('public key cannot be read', cause);
  }
}

function checkSignatureAlgorithm(certificate: Certificate): void {
  const { algorithm, parameters } = certificate.signatureAlgorithm;
  if (SIGNATURE_ALGORITHMS.has(algorithm)) return;
  if (algorithm === RSASSA_PSS && parameters && PSS_PARAMETERS.has(Buffer.from(parameters).toString('hex')))
    return;
  throw invalid(`signature algorithm ${algorithm} is not accepted`);
}

function checkKey(key: KeyObject): void {
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'rsa':
    case 'rsa-pss':
      if (modulusLength < 2048) throw invalid('RSA key is shorter than 2048 bits');
      // A verification costs the square of the length, and strangers choose it.
      if (modulusLength > 8192) throw invalid('RSA key is longer than 8192 bits');
      return;
    case 'ec':
      if (!CURVES.has(namedCurve)) throw invalid('EC key is not on P-256, P-384 or P-521');
      return;
    case 'ed25519':
      return;
    default:
      throw invalid('kind of public key is not accepted');
  }
}

function invalid(message: string, cause?: unknown): IdentityError {
  return new IdentityError('SVID_INVALID', message, cause);
}
