import { X509Certificate } from 'node:crypto';
import { IdentityError } from './identity.ts';

/**
 * The X.509 authorities of one trust domain. Bundles of different trust domains are never merged
 * (SPIFFE_Trust_Domain_and_Bundle.md, section 6.2): a root that vouches for one must not vouch for another.
 */
export interface TrustBundle {
  readonly trustDomain: string;
  /** May be empty: then nobody of this trust domain is believed. */
  readonly roots: readonly X509Certificate[];
}

export const MAX_ROOTS = 64;
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * @param pem one or more texts, each with one or more PEM certificates
 * @throws IdentityError when there is none, too many, or one that cannot be read
 */
export function trustBundleFromPem(trustDomain: string, pem: string | readonly string[]): TrustBundle {
  const blocks = (typeof pem === 'string' ? [pem] : pem).flatMap((text) => text.match(PEM_CERTIFICATE) ?? []);
  if (blocks.length === 0) throw new IdentityError('SVID_UNTRUSTED', 'trust bundle has no PEM certificate');
  return bundle(trustDomain, blocks);
}

/**
 * A SPIFFE bundle: a JWK Set whose X.509 authorities have `use: x509-svid` and one certificate in `x5c`
 * (SPIFFE_Trust_Domain_and_Bundle.md, section 4; X509-SVID.md, section 6.1). Other uses are ignored. An empty
 * `keys` revokes everything; a missing one is refused.
 *
 * @throws IdentityError
 */
export function trustBundleFromSpiffeJson(trustDomain: string, json: string): TrustBundle {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch (cause) {
    throw new IdentityError('SVID_UNTRUSTED', 'trust bundle is not JSON', cause);
  }
  const keys = field(parsed, 'keys');
  if (!Array.isArray(keys)) throw new IdentityError('SVID_UNTRUSTED', 'trust bundle has no `keys`');
  const certificates: Buffer[] = [];
  for (const key of keys) {
    if (field(key, 'use') !== 'x509-svid') continue;
    const x5c = field(key, 'x5c');
    const first: unknown = Array.isArray(x5c) ? x5c[0] : undefined;
    if (!Array.isArray(x5c) || x5c.length !== 1 || typeof first !== 'string') {
      throw new IdentityError(
        'SVID_UNTRUSTED',
        'an x509-svid key of the trust bundle must have one certificate in `x5c`',
      );
    }
    certificates.push(Buffer.from(first, 'base64'));
  }
  return bundle(trustDomain, certificates);
}

function bundle(trustDomain: string, certificates: readonly (string | Buffer)[]): TrustBundle {
  if (certificates.length > MAX_ROOTS) {
    throw new IdentityError('SVID_UNTRUSTED', `trust bundle has more than ${MAX_ROOTS} certificates`);
  }
  const roots = certificates.map((certificate, i) => {
    try {
      return new X509Certificate(certificate);
    } catch (cause) {
      throw new IdentityError(
        'SVID_UNTRUSTED',
        `certificate ${i + 1} of the trust bundle cannot be read`,
        cause,
      );
    }
  });
  return { trustDomain, roots };
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
