import { isIP } from 'node:net';
import { parseSpiffeId } from '../../policy/spiffe-id.ts';
import { Failure } from '../keyuse/failure.ts';
import { patternProblem } from './certificate-names.ts';
import { type CertificateProfile, EXTENDED_KEY_USAGES, KEY_USAGES } from './certificate-profile.ts';
import type { RequestedNames } from './csr.ts';
import { invalid } from './invalid.ts';
import { type Issuer, issuersOf } from './issuer.ts';
import type { SubjectKey } from './subject-key.ts';

const ANY_EXTENDED_KEY_USAGE = '2.5.29.37.0';
const OID = /^[0-2](?:\.(?:0|[1-9][0-9]*)){1,30}$/;
const NAME_KINDS = ['dns', 'uri', 'email', 'ip'] as const;

interface Contents {
  readonly subject: readonly { readonly type: string; readonly value: string }[];
  readonly names: RequestedNames;
  /** Undefined: the key that signs, which is not known yet. */
  readonly key: SubjectKey | undefined;
}

const MAX_BACKDATE_SECONDS = 3600;
/** Profiles live as long as their policy, and are looked at once. */
const checked = new WeakSet<CertificateProfile>();

/**
 * What is wrong with a profile whatever is asked of it: to be called when a policy comes into force.
 *
 * @throws Failure KEY_UNUSABLE
 */
export function checkProfile(profile: CertificateProfile): void {
  if (checked.has(profile)) return;
  const problem = patternProblem(profile);
  if (problem !== undefined) throw unusable(problem);
  const { max, default: usual = max, backdate = 0 } = profile.validity;
  if (![max, usual, backdate].every(Number.isSafeInteger) || usual < 1 || usual > max) {
    throw unusable('validity is not in whole seconds, or its default is above its maximum');
  }
  if (backdate < 0 || backdate > MAX_BACKDATE_SECONDS) throw unusable('backdate is over 1 hour');
  checkUsage(profile);
  checkAuthority(profile, profile.issuer === 'self' ? [] : issuersOf(profile));
  checked.add(profile);
}

/**
 * What RFC 5280 and the SPIFFE X.509-SVID specification demand of a certificate, whatever its profile says.
 *
 * @throws Failure REQUEST_INVALID where another request would do, KEY_UNUSABLE where the profile itself is at fault
 */
export function certificateShape(profile: CertificateProfile, contents: Contents): void {
  checkKey(profile, contents.key);
  const { subject, names } = contents;
  const hasNames = NAME_KINDS.some((kind) => names[kind].length > 0);
  // RFC 5280, sections 4.1.2.4 and 4.1.2.6.
  if (subject.length === 0 && profile.ca !== undefined) throw invalid('a CA needs a subject');
  if (subject.length === 0 && profile.issuer === 'self') throw invalid('what signs itself needs a subject');
  if (subject.length === 0 && !hasNames) throw invalid('a certificate without subject needs a name');
  checkCommonName(profile, contents);
  checkSpiffe(profile, names);
}

/** Object identifiers of the profile's extended key usages. @throws Failure KEY_UNUSABLE */
export function extendedKeyUsages(profile: CertificateProfile): readonly string[] {
  return (profile.extKeyUsage ?? []).map((name) => {
    const oid = Object.hasOwn(EXTENDED_KEY_USAGES, name) ? EXTENDED_KEY_USAGES[name] : name;
    if (oid === undefined || !OID.test(oid)) throw unusable(`extKeyUsage ${name} is not known`);
    if (oid === ANY_EXTENDED_KEY_USAGE) throw unusable('anyExtendedKeyUsage takes every limit away');
    return oid;
  });
}

function checkUsage(profile: CertificateProfile): void {
  const { keyUsage } = profile;
  if (keyUsage.length === 0 || !keyUsage.every((name) => Object.hasOwn(KEY_USAGES, name))) {
    throw unusable('keyUsage is empty or not known');
  }
  extendedKeyUsages(profile);
}

function checkKey({ keyUsage }: CertificateProfile, key: SubjectKey | undefined): void {
  if (key === undefined) return;
  const cannot = (name: (typeof keyUsage)[number], types: string): void => {
    if (keyUsage.includes(name)) throw invalid(`the profile is for ${name}, which ${types} keys do not do`);
  };
  // RFC 3279, section 2.3; RFC 8410, section 5.
  if (key.type !== 'RSA') cannot('keyEncipherment', key.type);
  if (key.type !== 'RSA') cannot('dataEncipherment', key.type);
  if (key.type === 'RSA' || key.type === 'Ed25519') cannot('keyAgreement', key.type);
}

function checkAuthority(profile: CertificateProfile, issuers: readonly Issuer[]): void {
  const { ca, keyUsage } = profile;
  const signsCertificates = keyUsage.includes('keyCertSign');
  // RFC 5280, section 4.2.1.9.
  if (ca === undefined && (signsCertificates || keyUsage.includes('cRLSign'))) {
    throw unusable('keyCertSign and cRLSign are for CA certificates');
  }
  if (ca === undefined) return;
  if (!signsCertificates) throw unusable('a CA certificate needs keyCertSign');
  for (const { pathLength } of issuers) {
    if (pathLength === undefined) continue;
    if (pathLength === 0) throw unusable('the issuer may certify no CA: its path length is 0');
    if (ca.pathLength === undefined || ca.pathLength >= pathLength) {
      throw unusable(`path length must be below the issuer's ${pathLength}`);
    }
  }
}

/** Old clients still read host names from the common name: what stands there must stand among the names. */
function checkCommonName(profile: CertificateProfile, { subject, names }: Contents): void {
  if (!extendedKeyUsages(profile).includes(EXTENDED_KEY_USAGES.serverAuth ?? '')) return;
  const common = subject.find(({ type }) => type === 'CN')?.value;
  if (common === undefined) return;
  const isHost = isIP(common) !== 0 || /^[A-Za-z0-9*_-]+(?:\.[A-Za-z0-9*_-]+)+\.?$/.test(common);
  if (isHost && !names.dns.includes(common.toLowerCase()) && !names.ip.includes(common)) {
    throw invalid('CN of the subject is a host that is not among the names');
  }
}

/** SPIFFE X509-SVID.md, sections 2, 4.1 and 4.3. */
function checkSpiffe(profile: CertificateProfile, { uri }: RequestedNames): void {
  const spiffe = uri.filter((name) => name.startsWith('spiffe:'));
  if (spiffe[0] === undefined) return;
  if (uri.length > 1) throw invalid('a certificate with a SPIFFE ID has exactly one URI');
  const hasPath = parseSpiffeId(spiffe[0]).segments.length > 0;
  if (profile.ca === undefined && !hasPath) throw invalid('a SPIFFE ID of a workload has a path');
  if (profile.ca !== undefined && hasPath) throw invalid('a SPIFFE ID of a CA has no path');
  if (profile.ca === undefined && !profile.keyUsage.includes('digitalSignature')) {
    throw unusable('an X.509-SVID needs digitalSignature');
  }
}

function unusable(problem: string): Failure {
  return new Failure('KEY_UNUSABLE', `the profile cannot be used: ${problem}`);
}
