import { createHash } from 'node:crypto';
import { parseSpiffeId, type SpiffeId, SpiffeIdError } from '../../policy/spiffe-id.ts';
import { type ParsedCertificate, parseCertificate } from './certificate.ts';
import { IdentityError, type WorkloadIdentity } from './identity.ts';
import { checkNameConstraints } from './name-constraints.ts';
import type { TrustBundle } from './trust-bundle.ts';

export const MAX_CHAIN = 5;
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const ANY_EXTENDED_KEY_USAGE = '2.5.29.37.0';

/**
 * Who the holder of an X.509-SVID is, by SPIFFE's rules (X509-SVID.md, sections 2 to 5) and path validation
 * (RFC 5280, section 6) against the authorities of the leaf's own trust domain and no other.
 *
 * It proves the chain, not that the caller holds the leaf's key: that is the TLS handshake's part. Pure: the clock
 * comes in. The gateway and the broker both call it; the broker's answer is the one that counts.
 *
 * @param chain DER, leaf first, each issued by the next; what follows an authority of the bundle is not looked at
 * @param now milliseconds since the epoch
 * @throws IdentityError
 */
export function verifyX509Svid(
  chain: readonly Uint8Array[],
  bundle: TrustBundle,
  now: number,
): WorkloadIdentity {
  if (chain.length === 0) throw new IdentityError('SVID_MISSING', 'no X.509-SVID was presented');
  if (chain.length > MAX_CHAIN) throw new IdentityError('SVID_INVALID', `chain is longer than ${MAX_CHAIN}`);
  const leaf = parseCertificate(chain[0]!);
  const spiffeId = checkLeaf(leaf);
  if (spiffeId.trustDomain !== bundle.trustDomain) {
    throw new IdentityError(
      'SVID_FOREIGN_TRUST_DOMAIN',
      `SPIFFE ID is not of the trust domain ${bundle.trustDomain}`,
    );
  }
  let refusal: IdentityError | undefined;
  // Authorities may share a name and a key and differ in dates or constraints: any one that holds is enough.
  for (const path of pathsOf(leaf, chain.slice(1), bundle)) {
    try {
      checkAuthorities(path);
      const validity = checkValidity(path, now);
      return identity(leaf, spiffeId, validity);
    } catch (error) {
      if (!(error instanceof IdentityError)) throw error;
      refusal ??= error;
    }
  }
  throw refusal ?? untrusted('chain does not lead to an authority of its trust domain');
}

function identity(leaf: ParsedCertificate, spiffeId: SpiffeId, validity: Validity): WorkloadIdentity {
  return {
    spiffeId,
    credential: {
      type: 'x509-svid',
      sha256: createHash('sha256').update(leaf.raw).digest('hex'),
      serialNumber: leaf.x509.serialNumber,
      ...validity,
    },
  };
}

interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

/** The time in which every certificate of the path is valid. */
function checkValidity(path: readonly ParsedCertificate[], now: number): Validity {
  const notBefore = Math.max(...path.map((certificate) => certificate.notBefore));
  const notAfter = Math.min(...path.map((certificate) => certificate.notAfter));
  // Written so that a date that could not be read (NaN) is refused too.
  if (!(now <= notAfter))
    throw new IdentityError('SVID_EXPIRED', 'X.509-SVID or an authority of its chain has expired');
  if (!(now >= notBefore)) throw new IdentityError('SVID_NOT_YET_VALID', 'X.509-SVID is not valid yet');
  return { notBefore, notAfter };
}

/** What a leaf must be to name a workload (X509-SVID.md, sections 2, 4 and 5.2). */
function checkLeaf(leaf: ParsedCertificate): SpiffeId {
  if (leaf.isCa) throw invalid('an authority certificate cannot identify a workload');
  if (leaf.keyUsage === undefined || !leaf.keyUsage.critical)
    throw invalid('key usage is absent or not critical');
  if (!leaf.keyUsage.bits.has('digitalSignature')) throw invalid('key usage lacks digitalSignature');
  if (leaf.keyUsage.bits.has('keyCertSign') || leaf.keyUsage.bits.has('crlSign')) {
    throw invalid('key usage of a leaf has keyCertSign or cRLSign');
  }
  const usages = leaf.extendedKeyUsage;
  if (usages !== undefined && !(usages.includes(SERVER_AUTH) && usages.includes(CLIENT_AUTH))) {
    throw invalid('extended key usage must have both serverAuth and clientAuth');
  }
  if (leaf.subjectIsEmpty && !leaf.alternativeNamesAreCritical) {
    throw invalid('subject is empty and the alternative name is not critical');
  }
  const uris = leaf.alternativeNames.flatMap((name) => name.uniformResourceIdentifier ?? []);
  if (uris.length !== 1) throw invalid(`a leaf must have one URI name, this one has ${uris.length}`);
  const spiffeId = parse(uris[0]!);
  if (spiffeId.segments.length === 0) throw invalid('SPIFFE ID of a workload must have a path');
  // OpenSSL must see the same single URI: a difference between parsers is a way to be two people.
  const seen = (leaf.x509.subjectAltName ?? '').split(', ').filter((name) => name.startsWith('URI:'));
  if (seen.length !== 1 || seen[0] !== `URI:${spiffeId.id}`) throw invalid('alternative names are ambiguous');
  return spiffeId;
}

function parse(uri: string): SpiffeId {
  try {
    return parseSpiffeId(uri);
  } catch (cause) {
    if (cause instanceof SpiffeIdError) throw invalid(`SPIFFE ID: ${cause.message}`, cause);
    throw cause;
  }
}

/**
 * Each way from the leaf over the presented intermediates, in their order, to an authority of the bundle, which
 * comes last. Every certificate's signature has been verified with the key of the next.
 */
function* pathsOf(
  leaf: ParsedCertificate,
  above: readonly Uint8Array[],
  bundle: TrustBundle,
): Iterable<readonly ParsedCertificate[]> {
  const path = [leaf];
  let current = leaf;
  for (let i = 0; ; i++) {
    for (const root of bundle.roots) {
      if (!current.x509.checkIssued(root)) continue;
      if (current.x509.verify(root.publicKey)) yield [...path, parseCertificate(root.raw, root)];
    }
    const next = above[i];
    if (next === undefined) return;
    const issuer = parseCertificate(next);
    if (!current.x509.checkIssued(issuer.x509)) return;
    if (!current.x509.verify(issuer.x509.publicKey)) throw untrusted('a signature in the chain is wrong');
    path.push(issuer);
    current = issuer;
  }
}

function checkAuthorities(path: readonly ParsedCertificate[]): void {
  let below = 0;
  for (let i = 1; i < path.length; i++) {
    const authority = path[i]!;
    const isRoot = i === path.length - 1;
    if (!authority.isCa) throw untrusted('a certificate of the chain is not an authority');
    // A trust anchor may lack key usage (RFC 5280, section 6.1.1 d); an intermediate may not (X509-SVID.md, 4.3).
    if (authority.keyUsage === undefined ? !isRoot : !authority.keyUsage.bits.has('keyCertSign')) {
      throw untrusted('an authority of the chain may not sign certificates');
    }
    const usages = authority.extendedKeyUsage;
    if (usages !== undefined && !usages.includes(CLIENT_AUTH) && !usages.includes(ANY_EXTENDED_KEY_USAGE)) {
      throw untrusted('an authority of the chain may not vouch for clients');
    }
    if (authority.pathLength !== undefined && below > authority.pathLength) {
      throw untrusted('chain is longer than an authority allows');
    }
    checkNameConstraints(authority, path.slice(0, i));
    // Self-issued authorities count too: stricter than RFC 5280, section 6.1.4 (l), and simpler to be sure of.
    below += 1;
  }
}

function invalid(message: string, cause?: unknown): IdentityError {
  return new IdentityError('SVID_INVALID', message, cause);
}

function untrusted(message: string): IdentityError {
  return new IdentityError('SVID_UNTRUSTED', message);
}
