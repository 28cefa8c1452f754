import { X509Certificate } from 'node:crypto';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import {
  type AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  ExtendedKeyUsage,
  Extension,
  Extensions,
  GeneralName,
  KeyIdentifier,
  KeyUsage,
  Name,
  RelativeDistinguishedName,
  SubjectAlternativeName,
  SubjectKeyIdentifier,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
} from '@peculiar/asn1-x509';
import { extendedKeyUsages } from './certificate-lint.ts';
import { type CertificateProfile, KEY_USAGES, SUBJECT_ATTRIBUTES } from './certificate-profile.ts';
import type { RequestedNames, RequestedSubject } from './csr.ts';
import type { Issuer } from './issuer.ts';
import { keyIdentifier, type SubjectKey } from './subject-key.ts';

/** It signs itself: issuer and subject are one. */
export const SelfIssuer: unique symbol = Symbol('self');

/** Everything that is in the certificate. */
export interface CertificatePlan {
  readonly serial: Uint8Array;
  readonly algorithm: AlgorithmIdentifier;
  readonly issuer: Issuer | typeof SelfIssuer;
  /** Milliseconds of the Unix epoch, whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly subject: readonly RequestedSubject[];
  readonly names: RequestedNames;
  readonly key: SubjectKey;
  readonly profile: CertificateProfile;
}

const X509_V3 = 2;
/** PrintableString is what RFC 5280, appendix A.1 has for these two; UTF8String for the rest (section 4.1.2.4). */
const PRINTABLE: ReadonlySet<string> = new Set(['C', 'serialNumber']);

/**
 * The bytes that are signed. They are read again by OpenSSL, and what it finds must be what was planned: the signer
 * understands what it signs, whatever the encoder does.
 *
 * @throws Error when it is not: a defect of ours, and nothing is signed
 */
export function tbsCertificate(plan: CertificatePlan): Uint8Array {
  const spki = AsnConvert.parse(plan.key.spki, SubjectPublicKeyInfo);
  const subject = nameOf(plan.subject);
  const bytes = new Uint8Array(
    AsnConvert.serialize(
      new TBSCertificate({
        version: X509_V3,
        serialNumber: copy(plan.serial),
        signature: plan.algorithm,
        issuer: plan.issuer === SelfIssuer ? subject : plan.issuer.name,
        validity: new Validity({ notBefore: new Date(plan.notBefore), notAfter: new Date(plan.notAfter) }),
        subject,
        subjectPublicKeyInfo: spki,
        extensions: extensionsOf(plan, keyIdentifier(new Uint8Array(spki.subjectPublicKey))),
      }),
    ),
  );
  readAgain(plan, bytes);
  return bytes;
}

/** Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue BIT STRING } */
export function wholeCertificate(
  tbs: Uint8Array,
  algorithm: AlgorithmIdentifier,
  signature: Uint8Array,
): Uint8Array {
  const identifier = new Uint8Array(AsnConvert.serialize(algorithm));
  return value(0x30, tbs, identifier, value(0x03, Uint8Array.of(0), signature));
}

function value(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const digits =
    length < 0x80 ? [] : [...Buffer.from(length.toString(16).padStart(length > 0xff ? 4 : 2, '0'), 'hex')];
  if (length > 0xffff) throw new Error('a certificate is longer than 64 KiB');
  const header = length < 0x80 ? [tag, length] : [tag, 0x80 | digits.length, ...digits];
  return Buffer.concat([Uint8Array.from(header), ...parts]);
}

function nameOf(subject: readonly RequestedSubject[]): Name {
  return new Name(
    subject.map(
      ({ type, value: text }) =>
        new RelativeDistinguishedName([
          new AttributeTypeAndValue({
            type: SUBJECT_ATTRIBUTES[type],
            value: new AttributeValue(PRINTABLE.has(type) ? { printableString: text } : { utf8String: text }),
          }),
        ]),
    ),
  );
}

function extensionsOf(plan: CertificatePlan, own: Uint8Array): Extensions {
  const { profile, names, issuer } = plan;
  const { ca } = profile;
  const constraints =
    ca === undefined
      ? new BasicConstraints()
      : new BasicConstraints({
          cA: true,
          ...(ca.pathLength === undefined ? {} : { pathLenConstraint: ca.pathLength }),
        });
  const usage = profile.keyUsage.reduce((bits, name) => bits | (1 << KEY_USAGES[name]), 0);
  const purposes = extendedKeyUsages(profile);
  const found = [
    extension('2.5.29.19', true, constraints),
    extension('2.5.29.15', true, new KeyUsage(usage)),
    extension('2.5.29.14', false, new SubjectKeyIdentifier(copy(own))),
    extension(
      '2.5.29.35',
      false,
      new AuthorityKeyIdentifier({
        keyIdentifier: new KeyIdentifier(copy(issuer === SelfIssuer ? own : issuer.keyIdentifier)),
      }),
    ),
  ];
  if (purposes.length > 0) found.push(extension('2.5.29.37', false, new ExtendedKeyUsage([...purposes])));
  const general = [
    ...names.dns.map((dNSName) => new GeneralName({ dNSName })),
    ...names.uri.map((uniformResourceIdentifier) => new GeneralName({ uniformResourceIdentifier })),
    ...names.email.map((rfc822Name) => new GeneralName({ rfc822Name })),
    ...names.ip.map((iPAddress) => new GeneralName({ iPAddress })),
  ];
  if (general.length > 0) {
    // Critical where it is all that names the subject (RFC 5280, section 4.2.1.6).
    found.push(extension('2.5.29.17', plan.subject.length === 0, new SubjectAlternativeName(general)));
  }
  return new Extensions(found);
}

function extension(extnID: string, critical: boolean, content: object): Extension {
  return new Extension({ extnID, critical, extnValue: new OctetString(AsnConvert.serialize(content)) });
}

function readAgain(plan: CertificatePlan, tbs: Uint8Array): void {
  const read = new X509Certificate(wholeCertificate(tbs, plan.algorithm, new Uint8Array(64)));
  const planned: readonly (readonly [what: string, isSo: boolean])[] = [
    ['serial', BigInt(`0x${read.serialNumber}`) === BigInt(`0x${Buffer.from(plan.serial).toString('hex')}`)],
    ['key', read.publicKey.equals(plan.key.key)],
    ['ca', read.ca === (plan.profile.ca !== undefined)],
    ['notBefore', read.validFromDate.getTime() === plan.notBefore],
    ['notAfter', read.validToDate.getTime() === plan.notAfter],
    ['names', namesOf(read).join('\n') === plannedNames(plan.names).join('\n')],
    [
      'issuer',
      plan.issuer === SelfIssuer ? read.issuer === read.subject : read.checkIssued(plan.issuer.x509),
    ],
  ];
  const wrong = planned.filter(([, isSo]) => !isSo).map(([what]) => what);
  if (wrong.length > 0) throw new Error(`a certificate does not read as it was planned: ${wrong.join(', ')}`);
}

function namesOf(read: X509Certificate): readonly string[] {
  return read.subjectAltName === undefined ? [] : read.subjectAltName.split(', ').map(normal).sort();
}

function plannedNames({ dns, uri, email, ip }: RequestedNames): readonly string[] {
  return [
    ...dns.map((name) => `DNS:${name}`),
    ...uri.map((name) => `URI:${name}`),
    ...email.map((name) => `email:${name}`),
    ...ip.map((name) => `IP Address:${name}`),
  ].sort();
}

/** OpenSSL writes IPv6 addresses without `::` and in capitals. */
function normal(name: string): string {
  const address = /^IP Address:(.*:.*)$/.exec(name)?.[1];
  return address === undefined ? name : `IP Address:${new URL(`http://[${address}]`).hostname.slice(1, -1)}`;
}

function copy(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}
