import { createPublicKey, hash } from 'node:crypto';
import type { Facts } from '../../policy/decision.ts';
import { ecdsaToDer, FACTS, parseAlgorithm } from '../keyuse/algorithms.ts';
import { Failure } from '../keyuse/failure.ts';
import { certificateShape, checkProfile } from './certificate-lint.ts';
import { namesFor, subjectFor } from './certificate-names.ts';
import type { CertificateProfile } from './certificate-profile.ts';
import { parseCsr, type RequestedNames } from './csr.ts';
import { frozen } from './facts.ts';
import { invalid } from './invalid.ts';
import { type Issuer, issuersOf } from './issuer.ts';
import { type SubjectKey, subjectKey } from './subject-key.ts';
import { type CertificatePlan, SelfIssuer, tbsCertificate, wholeCertificate } from './tbs-certificate.ts';
import type { BuiltContent, SigningKey, TypedRequest } from './typed-request.ts';
import { algorithmIdentifier } from './x509-algorithms.ts';

export type Applicant =
  | { readonly kind: 'csr'; readonly der: Uint8Array }
  | {
      readonly kind: 'public-key';
      /** SubjectPublicKeyInfo, DER; empty: the key that signs. */
      readonly spki: Uint8Array;
      readonly subject: readonly { readonly type: string; readonly value: string }[];
      readonly names: RequestedNames;
    };

export interface CertificateInput {
  readonly key: string;
  readonly version: number;
  readonly algorithm: string;
  readonly profile: string;
  readonly applicant: Applicant | undefined;
  /** 0: the profile's default. */
  readonly lifetimeSeconds: number;
}

/** How the applicant stands to the private key. */
type Possession =
  /** proven by the signature of a CSR */
  | 'csr'
  /** nobody has proven anything */
  | 'none'
  /** it is the key that signs */
  | 'self';

interface Applied {
  readonly key: SubjectKey | undefined;
  readonly possession: Possession;
  readonly subject: readonly { readonly type: string; readonly value: string }[];
  readonly names: RequestedNames;
}

const SERIAL_BYTES = 18;

/**
 * An X.509 certificate (RFC 5280) within a profile, valid from `now` on.
 *
 * Conditions see `request.x509`: `profile`, `subject` (a map of `CN`, `O`, …), `dns`, `uri`, `email`, `ip` (lists),
 * `notBefore`, `notAfter` (timestamps), `lifetime` (seconds, from now), `keyUsage`, `extKeyUsage` (lists, as in the
 * profile), `ca`, `pathLength` (where there is one), `possession` (`csr`, `none` or `self`) and, unless it is `self`,
 * `publicKey` with `type`, `bits` and `sha256` (hexadecimal, of the SubjectPublicKeyInfo).
 *
 * @param now milliseconds of the Unix epoch
 * @throws Failure REQUEST_INVALID, or KEY_UNUSABLE when the profile's issuer cannot issue
 */
export function certificateRequest(
  input: CertificateInput,
  profile: CertificateProfile | undefined,
  now: number,
): TypedRequest {
  if (profile === undefined || profile.id !== input.profile)
    throw invalid('there is no profile of this name');
  checkProfile(profile);
  const isSelf = profile.issuer === 'self';
  const applied = applicantFor(profile, input.applicant);
  const subject = subjectFor(profile, applied.subject);
  const names = namesFor(profile, applied.names);
  const issuers = isSelf ? [] : issuersOf(profile);
  const validity = validityFor(profile, input.lifetimeSeconds, now, issuers);
  certificateShape(profile, { subject, names, key: applied.key });

  const { keyUsage, extKeyUsage = [], ca } = profile;
  const facts: Facts = frozen({
    profile: profile.id,
    subject: Object.fromEntries(subject.map(({ type, value }) => [type, value])),
    dns: [...names.dns],
    uri: [...names.uri],
    email: [...names.email],
    ip: [...names.ip],
    notBefore: new Date(validity.notBefore),
    notAfter: new Date(validity.notAfter),
    lifetime: BigInt(validity.lifetimeSeconds),
    keyUsage: [...keyUsage],
    extKeyUsage: [...extKeyUsage],
    ca: ca !== undefined,
    ...(ca?.pathLength === undefined ? {} : { pathLength: BigInt(ca.pathLength) }),
    possession: applied.possession,
    ...(applied.key === undefined ? {} : { publicKey: keyFacts(applied.key) }),
  });

  // One for all attempts: two certificates that differ must not have the same number, nor one certificate two.
  let serial: Uint8Array | undefined;
  const build = async (signer: SigningKey): Promise<BuiltContent> => {
    serial ??= positive(await signer.random(SERIAL_BYTES));
    const key = applied.key ?? subjectKey(signer.publicKey);
    if (applied.key === undefined) certificateShape(profile, { subject, names, key });
    const plan: CertificatePlan = {
      serial,
      algorithm: algorithmIdentifier(signer.algorithm),
      issuer: isSelf ? SelfIssuer : issuerFor(issuers, signer.publicKey, applied.key),
      notBefore: validity.notBefore,
      notAfter: validity.notAfter,
      subject,
      names,
      key,
      profile,
    };
    const tbs = tbsCertificate(plan);
    return {
      content: { kind: 'message', bytes: tbs },
      finish: (signature) => wholeCertificate(tbs, plan.algorithm, toX509(signer.algorithm, signature)),
    };
  };
  const { version, algorithm } = input;
  return { operation: 'sign-certificate', key: input.key, version, algorithm, type: 'x509', facts, build };
}

function applicantFor(profile: CertificateProfile, applicant: Applicant | undefined): Applied {
  if (applicant === undefined) throw invalid('neither csr nor public_key is given');
  if (applicant.kind === 'csr') {
    if (profile.issuer === 'self') {
      throw invalid(
        'a self-signed certificate is asked for with an empty public_key: it is of the key that signs',
      );
    }
    return { possession: 'csr', ...parseCsr(applicant.der) };
  }
  const { spki, subject, names } = applicant;
  if (spki.length === 0) {
    if (profile.issuer !== 'self') throw invalid('the public key is missing');
    return { possession: 'self', key: undefined, subject, names };
  }
  if (profile.issuer === 'self') throw invalid('the profile certifies no other key than the one that signs');
  if (profile.possession !== 'none') throw invalid('the profile wants a CSR: proof of possession of the key');
  return { possession: 'none', key: subjectKey(spki), subject, names };
}

interface ValidityPlan {
  readonly notBefore: number;
  readonly notAfter: number;
  readonly lifetimeSeconds: number;
}

function validityFor(
  profile: CertificateProfile,
  wanted: number,
  now: number,
  issuers: readonly Issuer[],
): ValidityPlan {
  const { max, backdate = 0 } = profile.validity;
  const lifetimeSeconds = wanted === 0 ? (profile.validity.default ?? max) : wanted;
  if (lifetimeSeconds > max) throw invalid(`the profile allows at most ${max} seconds`);
  const start = Math.floor(now / 1000) * 1000;
  const issuersBegin = Math.max(Number.NEGATIVE_INFINITY, ...issuers.map(({ notBefore }) => notBefore));
  const issuersEnd = Math.min(Number.POSITIVE_INFINITY, ...issuers.map(({ notAfter }) => notAfter));
  if (now < issuersBegin || now > issuersEnd) {
    throw new Failure('KEY_UNUSABLE', 'the certificate of the issuer is not valid now');
  }
  const notAfter = start + lifetimeSeconds * 1000;
  if (notAfter > issuersEnd) {
    throw invalid(
      `the certificate would outlive its issuer, which ends at ${new Date(issuersEnd).toISOString()}`,
    );
  }
  const notBefore = Math.max(start - backdate * 1000, issuersBegin);
  return { notBefore, notAfter, lifetimeSeconds };
}

/** The issuer's certificate that carries the key which signs: any other would not verify. */
function issuerFor(issuers: readonly Issuer[], signing: Uint8Array, subject: SubjectKey | undefined): Issuer {
  const publicKey = createPublicKey({ key: Buffer.from(signing), format: 'der', type: 'spki' });
  const issuer = issuers.find((candidate) => candidate.publicKey.equals(publicKey));
  if (issuer === undefined) {
    throw new Failure('KEY_UNUSABLE', 'no certificate of the profile’s issuer carries the key that signs');
  }
  if (subject?.key.equals(publicKey)) throw invalid('the public key is the one of the issuer');
  return issuer;
}

/** RFC 5280, section 4.1.2.2: positive, at most 20 octets. 142 random bits, and one encoding. */
function positive(random: Uint8Array): Uint8Array {
  if (random.length < SERIAL_BYTES)
    throw new Error('the token gave fewer random bytes than it was asked for');
  const serial = Uint8Array.from(random);
  serial[0] = (serial[0]! & 0x3f) | 0x40;
  return serial;
}

function toX509(jose: string, signature: Uint8Array): Uint8Array {
  const algorithm = parseAlgorithm(jose);
  return algorithm !== undefined && FACTS[algorithm].curve !== undefined ? ecdsaToDer(signature) : signature;
}

function keyFacts({ type, bits, spki }: SubjectKey): Facts {
  return { type, bits: BigInt(bits), sha256: hash('sha256', spki, 'hex') };
}
