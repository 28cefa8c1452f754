import { type KeyObject, X509Certificate } from 'node:crypto';
import { AsnConvert } from '@peculiar/asn1-schema';
import {
  BasicConstraints,
  Certificate,
  KeyUsage,
  type Name,
  SubjectKeyIdentifier,
} from '@peculiar/asn1-x509';
import { Failure } from '../keyuse/failure.ts';
import type { CertificateProfile } from './certificate-profile.ts';
import { keyIdentifier } from './subject-key.ts';

/** One certificate of an issuer: what the certificates below it must agree with. */
export interface Issuer {
  readonly x509: X509Certificate;
  readonly name: Name;
  readonly publicKey: KeyObject;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Buffer;
  readonly keyIdentifier: Uint8Array;
  /** Milliseconds of the Unix epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Undefined: no limit. */
  readonly pathLength: number | undefined;
}

const MAX_ISSUERS = 16;
const MAX_PEM_CHARACTERS = 256 * 1024;
const KNOWN_CRITICAL: ReadonlySet<string> = new Set(['2.5.29.15', '2.5.29.17', '2.5.29.19', '2.5.29.37']);
const NAME_CONSTRAINTS = '2.5.29.30';
const read = new WeakMap<CertificateProfile, readonly Issuer[]>();

/**
 * The issuers of a profile, read once for as long as its policy is in force.
 *
 * @throws Failure KEY_UNUSABLE: the profile names what cannot issue; the text says what
 */
export function issuersOf(profile: CertificateProfile): readonly Issuer[] {
  const known = read.get(profile);
  if (known !== undefined) return known;
  const issuers = parseIssuers(profile.issuer);
  read.set(profile, issuers);
  return issuers;
}

function parseIssuers(pem: string): readonly Issuer[] {
  if (pem.length > MAX_PEM_CHARACTERS) throw unusable('the issuer of the profile is too long');
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0 || blocks.length > MAX_ISSUERS) {
    throw unusable(`the issuer of the profile must be 1 to ${MAX_ISSUERS} certificates`);
  }
  return blocks.map(parseIssuer);
}

function parseIssuer(pem: string): Issuer {
  let x509: X509Certificate;
  let certificate: Certificate;
  try {
    x509 = new X509Certificate(pem);
    certificate = AsnConvert.parse(x509.raw, Certificate);
  } catch (cause) {
    throw unusable('a certificate of the issuer cannot be read', cause);
  }
  // The name is written again into every certificate: it must come out as it went in.
  if (!x509.raw.equals(new Uint8Array(AsnConvert.serialize(certificate)))) {
    throw unusable('a certificate of the issuer is not plain DER');
  }
  const { subject, subjectPublicKeyInfo, validity, extensions = [] } = certificate.tbsCertificate;
  const extension = <T>(oid: string, type: new () => T): T | undefined => {
    const found = [...extensions].find(({ extnID }) => extnID === oid);
    return found === undefined ? undefined : AsnConvert.parse(found.extnValue.buffer, type);
  };
  for (const { extnID, critical } of extensions) {
    // What they allow would have to be decided here as every verifier decides it.
    if (extnID === NAME_CONSTRAINTS) throw unusable('an issuer with name constraints is not supported');
    if (critical && !KNOWN_CRITICAL.has(extnID)) {
      throw unusable(`a certificate of the issuer has the unknown critical extension ${extnID}`);
    }
  }
  const constraints = extension('2.5.29.19', BasicConstraints);
  if (constraints?.cA !== true) throw unusable('a certificate of the issuer is not one of a CA');
  const usage = extension('2.5.29.15', KeyUsage);
  if (usage !== undefined && !usage.toJSON().includes('keyCertSign')) {
    throw unusable('a certificate of the issuer does not allow keyCertSign');
  }
  if (subject.length === 0) throw unusable('a certificate of the issuer has an empty subject');
  const identifier = extension('2.5.29.14', SubjectKeyIdentifier);
  return {
    x509,
    name: subject,
    publicKey: x509.publicKey,
    spki: x509.publicKey.export({ format: 'der', type: 'spki' }),
    keyIdentifier:
      identifier === undefined
        ? keyIdentifier(new Uint8Array(subjectPublicKeyInfo.subjectPublicKey))
        : new Uint8Array(identifier.buffer),
    notBefore: validity.notBefore.getTime().getTime(),
    notAfter: validity.notAfter.getTime().getTime(),
    pathLength: constraints.pathLenConstraint,
  };
}

function unusable(message: string, cause?: unknown): Failure {
  return new Failure('KEY_UNUSABLE', message, cause === undefined ? {} : { cause });
}
