import { AsnConvert, AsnProp, AsnPropTypes } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  Attribute,
  Extensions,
  type GeneralName,
  Name,
  SubjectAlternativeName,
  SubjectPublicKeyInfo,
} from '@peculiar/asn1-x509';
import { Failure } from '../keyuse/failure.ts';
import { SUBJECT_ATTRIBUTES, type SubjectAttribute } from './certificate-profile.ts';
import { invalid } from './invalid.ts';
import { type SubjectKey, subjectKey } from './subject-key.ts';
import { verifiesAsX509 } from './x509-algorithms.ts';

export const MAX_CSR_BYTES = 16 * 1024;
const EXTENSION_REQUEST = '1.2.840.113549.1.9.14';
const SUBJECT_ALT_NAME = '2.5.29.17';

/** What an applicant wants to be called. Unchecked: the profile decides. */
export interface RequestedNames {
  readonly dns: readonly string[];
  readonly uri: readonly string[];
  readonly email: readonly string[];
  readonly ip: readonly string[];
}

export interface RequestedSubject {
  readonly type: SubjectAttribute;
  readonly value: string;
}

export interface CertificationRequest {
  readonly key: SubjectKey;
  readonly subject: readonly RequestedSubject[];
  readonly names: RequestedNames;
}

// RFC 2986, section 4. Properties are declared with calls because decorators need a compiler.
class RequestInfo {
  version = 0;
  subject: Name = new Name();
  subjectPKInfo: SubjectPublicKeyInfo = new SubjectPublicKeyInfo();
  attributes: Attribute[] = [];
}
AsnProp({ type: AsnPropTypes.Integer })(RequestInfo.prototype, 'version');
AsnProp({ type: Name })(RequestInfo.prototype, 'subject');
AsnProp({ type: SubjectPublicKeyInfo })(RequestInfo.prototype, 'subjectPKInfo');
AsnProp({ type: Attribute, repeated: 'set', context: 0, implicit: true, optional: true })(
  RequestInfo.prototype,
  'attributes',
);

class Request {
  info: RequestInfo = new RequestInfo();
  infoRaw: ArrayBuffer = new ArrayBuffer(0);
  signatureAlgorithm: AlgorithmIdentifier = new AlgorithmIdentifier();
  signature: ArrayBuffer = new ArrayBuffer(0);
}
AsnProp({ type: RequestInfo, raw: true })(Request.prototype, 'info');
AsnProp({ type: AlgorithmIdentifier })(Request.prototype, 'signatureAlgorithm');
AsnProp({ type: AsnPropTypes.BitString })(Request.prototype, 'signature');

/**
 * Reads a PKCS#10 request (RFC 2986, DER) whose signature proves that the applicant has the private key. Of the
 * requested extensions only subjectAltName is read; the others are the profile's to decide.
 *
 * @throws Failure REQUEST_INVALID
 */
export function parseCsr(der: Uint8Array): CertificationRequest {
  if (der.length === 0) throw invalid('CSR is empty');
  if (der.length > MAX_CSR_BYTES) throw invalid('CSR is over 16 KiB');
  if (der[0] === 0x2d) throw invalid('CSR is PEM: send the DER that is inside');
  if (!isOneValue(der)) throw invalid('CSR is not one DER value');
  try {
    const request = AsnConvert.parse(der, Request);
    const { info } = request;
    if (info.version !== 0) throw invalid('CSR is of an unknown version');
    const key = subjectKey(new Uint8Array(AsnConvert.serialize(info.subjectPKInfo)));
    const { signatureAlgorithm, signature, infoRaw } = request;
    const isProven = verifiesAsX509(
      signatureAlgorithm,
      key.key,
      new Uint8Array(infoRaw),
      new Uint8Array(signature),
    );
    if (!isProven) throw invalid('signature of the CSR does not verify: no proof of possession of the key');
    return { key, subject: subjectOf(info.subject), names: namesOf(info.attributes) };
  } catch (error) {
    // Whatever the parser makes of hostile bytes, stack overflow included, is the applicant's.
    throw error instanceof Failure ? error : invalid('CSR cannot be read', error);
  }
}

/** Definite length, and nothing behind: the parser would not notice. */
function isOneValue(der: Uint8Array): boolean {
  const first = der[1] ?? 0x80;
  if (der[0] !== 0x30 || first === 0x80) return false;
  if (first < 0x80) return der.length === 2 + first;
  const count = first & 0x7f;
  if (count > 2 || der.length < 2 + count) return false;
  return (
    der.length === 2 + count + Number.parseInt(Buffer.from(der.subarray(2, 2 + count)).toString('hex'), 16)
  );
}

function subjectOf(name: Name): readonly RequestedSubject[] {
  return [...name].map((rdn) => {
    const [attribute, ...more] = [...rdn];
    if (attribute === undefined || more.length > 0) {
      throw invalid('subject of the CSR has a name part that is empty or has several values');
    }
    const type = Object.entries(SUBJECT_ATTRIBUTES).find(([, oid]) => oid === attribute.type)?.[0];
    if (type === undefined) throw invalid(`subject of the CSR has the attribute ${attribute.type}`);
    const value = attribute.value.utf8String ?? attribute.value.printableString;
    if (value === undefined)
      throw invalid('subject of the CSR has text that is not UTF8String or PrintableString');
    return { type: type as SubjectAttribute, value };
  });
}

function namesOf(attributes: readonly Attribute[]): RequestedNames {
  const requests = attributes.filter(({ type }) => type === EXTENSION_REQUEST);
  if (requests.length > 1 || (requests[0]?.values.length ?? 1) !== 1) {
    throw invalid('CSR requests extensions more than once');
  }
  const [value] = requests[0]?.values ?? [];
  const extensions = value === undefined ? [] : [...AsnConvert.parse(value, Extensions)];
  const wanted = extensions.filter(({ extnID }) => extnID === SUBJECT_ALT_NAME);
  if (wanted.length > 1) throw invalid('CSR requests subjectAltName more than once');
  const names: GeneralName[] =
    wanted[0] === undefined ? [] : [...AsnConvert.parse(wanted[0].extnValue.buffer, SubjectAlternativeName)];
  const found = { dns: [] as string[], uri: [] as string[], email: [] as string[], ip: [] as string[] };
  for (const name of names) {
    if (name.dNSName !== undefined) found.dns.push(name.dNSName);
    else if (name.uniformResourceIdentifier !== undefined) found.uri.push(name.uniformResourceIdentifier);
    else if (name.rfc822Name !== undefined) found.email.push(name.rfc822Name);
    else if (name.iPAddress !== undefined) found.ip.push(name.iPAddress);
    else throw invalid('CSR requests a name that is not dNSName, URI, rfc822Name or iPAddress');
  }
  return found;
}
