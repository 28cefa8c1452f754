import 'reflect-metadata';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { AsnConvert } from '@peculiar/asn1-schema';
import { GeneralName, GeneralSubtree, GeneralSubtrees, NameConstraints } from '@peculiar/asn1-x509';
import { ExtendedKeyUsage, ExtendedKeyUsageExtension, Extension, KeyUsageFlags } from '@peculiar/x509';
import { beforeAll, describe, expect, it } from 'vitest';
import { createTestPki, type IssueOptions, type TestAuthority, type TestPki } from '../../test/fakes/pki.ts';
import { IdentityError, type IdentityReason } from './identity.ts';
import { type TrustBundle, trustBundleFromPem, trustBundleFromSpiffeJson } from './trust-bundle.ts';
import { verifyX509Svid } from './x509-svid.ts';

const WORKLOAD = 'spiffe://example.org/ns/payments/sa/api';
const MINUTE = 60_000;

let pki: TestPki;
let bundle: TrustBundle;
beforeAll(async () => {
  pki = await createTestPki({ trustDomain: 'example.org' });
  bundle = trustBundleFromPem('example.org', pki.rootPem);
});

function reasonOf(run: () => unknown): [IdentityReason, string] | 'accepted' {
  try {
    run();
    return 'accepted';
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error;
    return [error.reason, error.message];
  }
}

async function refusal(
  options: IssueOptions,
  from: TestAuthority = pki,
): Promise<[IdentityReason, string] | 'accepted'> {
  const { chain } = await from.issue({ spiffeId: WORKLOAD, ...options });
  return reasonOf(() => verifyX509Svid(chain, bundle, Date.now()));
}

describe('a good X.509-SVID', () => {
  it('names its workload, its fingerprint and its validity', async () => {
    const { chain } = await pki.issue({ spiffeId: WORKLOAD, dnsNames: ['api.example.org'] });
    const identity = verifyX509Svid(chain, bundle, Date.now());
    expect(identity.spiffeId.id).toBe(WORKLOAD);
    const leaf = new X509Certificate(chain[0]!);
    expect(identity.credential.sha256).toBe(leaf.fingerprint256.replaceAll(':', '').toLowerCase());
    expect(identity.credential.serialNumber).toBe(leaf.serialNumber);
    expect(identity.credential.notAfter).toBe(Date.parse(leaf.validTo));
  });

  it.each(['P-384', 'P-521', 'RSA-2048', 'Ed25519'] as const)('may have a %s key', async (key) => {
    expect(await refusal({ key })).toBe('accepted');
  });

  it('may have an empty subject when its alternative name is critical', async () => {
    expect(await refusal({ subject: '' })).toBe('accepted');
  });

  it('may come through intermediates, and expires with the first of them', async () => {
    const soon = new Date(Math.floor(Date.now() / 1000) * 1000 + MINUTE);
    const middle = await (await pki.intermediate()).intermediate({ notAfter: soon });
    const { chain } = await middle.issue({ spiffeId: WORKLOAD });
    expect(chain).toHaveLength(3);
    expect(verifyX509Svid(chain, bundle, Date.now()).credential.notAfter).toBe(soon.getTime());
    expect(reasonOf(() => verifyX509Svid(chain, bundle, soon.getTime() + 1))).toMatchObject([
      'SVID_EXPIRED',
      /./,
    ]);
  });

  it('is believed through any one of several authorities of one name and key', async () => {
    const { chain } = await pki.issue({ spiffeId: WORKLOAD });
    const other = await createTestPki({ trustDomain: 'example.org' });
    const both = trustBundleFromPem('example.org', [other.rootPem, pki.rootPem]);
    expect(verifyX509Svid(chain, both, Date.now()).spiffeId.id).toBe(WORKLOAD);
  });
});

describe('a leaf is refused', () => {
  it.each<[string, IssueOptions, IdentityReason, RegExp]>([
    ['expired', { notAfter: new Date(Date.now() - MINUTE) }, 'SVID_EXPIRED', /expired/],
    ['not yet valid', { notBefore: new Date(Date.now() + MINUTE) }, 'SVID_NOT_YET_VALID', /not valid yet/],
    ['self-signed', { selfSigned: true }, 'SVID_UNTRUSTED', /does not lead/],
    ['an authority', { isCa: true }, 'SVID_INVALID', /authority certificate/],
    ['without a URI name', { uris: [], dnsNames: ['a.example.org'] }, 'SVID_INVALID', /has 0/],
    ['with two URI names', { uris: [WORKLOAD, `${WORKLOAD}2`] }, 'SVID_INVALID', /has 2/],
    ['with the same URI name twice', { uris: [WORKLOAD, WORKLOAD] }, 'SVID_INVALID', /has 2/],
    ['with an https name', { uris: ['https://example.org/x'] }, 'SVID_INVALID', /scheme/],
    ['with the trust domain alone', { uris: ['spiffe://example.org'] }, 'SVID_INVALID', /path/],
    ['with a query', { uris: ['spiffe://example.org/a?b'] }, 'SVID_INVALID', /character/],
    ['with an escape', { uris: ['spiffe://example.org/%61'] }, 'SVID_INVALID', /character/],
    ['with a NUL', { uris: ['spiffe://example.org/a\0b'] }, 'SVID_INVALID', /character/],
    [
      'of another trust domain',
      { uris: ['spiffe://other.org/x'] },
      'SVID_FOREIGN_TRUST_DOMAIN',
      /trust domain/,
    ],
    [
      'of a trust domain that ours is a part of',
      { uris: ['spiffe://example.org.evil/x'] },
      'SVID_FOREIGN_TRUST_DOMAIN',
      /./,
    ],
    ['without key usage', { keyUsage: null }, 'SVID_INVALID', /key usage/],
    ['with key usage that is not critical', { keyUsageCritical: false }, 'SVID_INVALID', /critical/],
    [
      'without digitalSignature',
      { keyUsage: KeyUsageFlags.keyAgreement },
      'SVID_INVALID',
      /digitalSignature/,
    ],
    [
      'with keyCertSign',
      { keyUsage: KeyUsageFlags.digitalSignature | KeyUsageFlags.keyCertSign },
      'SVID_INVALID',
      /keyCertSign/,
    ],
    [
      'with cRLSign',
      { keyUsage: KeyUsageFlags.digitalSignature | KeyUsageFlags.cRLSign },
      'SVID_INVALID',
      /cRLSign/,
    ],
    ['for servers only', { extendedKeyUsage: [ExtendedKeyUsage.serverAuth] }, 'SVID_INVALID', /extended/],
    ['for clients only', { extendedKeyUsage: [ExtendedKeyUsage.clientAuth] }, 'SVID_INVALID', /extended/],
    [
      'nameless, its SAN not critical',
      { subject: '', alternativeNamesCritical: false },
      'SVID_INVALID',
      /critical/,
    ],
    ['with an RSA key of 1024 bits', { key: 'RSA-1024' }, 'SVID_INVALID', /2048/],
    ['signed with SHA-1', { hash: 'SHA-1' }, 'SVID_INVALID', /signature algorithm/],
    [
      'with an unknown critical extension',
      { extraExtensions: [new Extension('1.3.6.1.4.1.55555.1', true, new Uint8Array([5, 0]))] },
      'SVID_INVALID',
      /critical extension, 1\.3\.6\.1\.4\.1\.55555\.1/,
    ],
    [
      'with two extended key usages',
      { extraExtensions: [new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth])] },
      'SVID_INVALID',
      /twice/,
    ],
    [
      'with two alternative name extensions',
      { extraExtensions: [new Extension('2.5.29.17', false, Buffer.from('300686047370783a', 'hex'))] },
      'SVID_INVALID',
      /./,
    ],
  ])('%s', async (_name, options, reason, message) => {
    const outcome = await refusal(options);
    expect(outcome[0]).toBe(reason);
    expect(outcome[1]).toMatch(message);
  });

  it('when an unknown extension is merely there, it is accepted', async () => {
    const extraExtensions = [new Extension('1.3.6.1.4.1.55555.1', false, new Uint8Array([5, 0]))];
    expect(await refusal({ extraExtensions })).toBe('accepted');
  });

  it.each(['secp224r1', 'secp256k1'])('with a key on the curve %s', async (namedCurve) => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve });
    const spki = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }));
    expect(await refusal({ publicKey: spki })).toMatchObject(['SVID_INVALID', /P-256/]);
  });

  it('when nothing, garbage or something with a tail was presented', async () => {
    const { chain } = await pki.issue({ spiffeId: WORKLOAD });
    const verify = (presented: readonly Uint8Array[]) =>
      reasonOf(() => verifyX509Svid(presented, bundle, Date.now()));
    expect(verify([])).toMatchObject(['SVID_MISSING', /./]);
    expect(verify([Buffer.from('not a certificate')])).toMatchObject(['SVID_INVALID', /./]);
    expect(verify([Buffer.alloc(0)])).toMatchObject(['SVID_INVALID', /./]);
    expect(verify([Buffer.alloc(1 << 20, 0x30)])).toMatchObject(['SVID_INVALID', /larger/]);
    expect(verify([Buffer.concat([chain[0]!, Buffer.from([0])])])).toMatchObject([
      'SVID_INVALID',
      /plain DER/,
    ]);
  });

  it('with any one byte of its signed part or signature flipped', async () => {
    const { chain } = await pki.issue({ spiffeId: WORKLOAD });
    const leaf = chain[0]!;
    for (let i = 0; i < leaf.length; i++) {
      const changed = Buffer.from(leaf);
      changed[i]! ^= 1;
      expect(
        reasonOf(() => verifyX509Svid([changed], bundle, Date.now())),
        `byte ${i}`,
      ).not.toBe('accepted');
    }
  });
});

describe('a chain is refused', () => {
  it.each<[string, Parameters<TestAuthority['intermediate']>[0], RegExp]>([
    ['when an intermediate is no authority', { isCa: false }, /./],
    ['when an intermediate has no key usage', { keyUsage: null }, /may not sign/],
    ['when an intermediate may only sign data', { keyUsage: KeyUsageFlags.digitalSignature }, /./],
    [
      'when an intermediate vouches for servers only',
      { extendedKeyUsage: [ExtendedKeyUsage.serverAuth] },
      /clients/,
    ],
    ['when an intermediate may only name another trust domain', { permittedUris: ['other.org'] }, /outside/],
    ['when an intermediate may only name subdomains', { permittedUris: ['.example.org'] }, /outside/],
    ['when an intermediate may not name ours', { excludedUris: ['example.org'] }, /excluded/],
    ['when an intermediate may only name other hosts', { permittedDns: ['other.org'] }, /outside/],
    ['when an intermediate may not name this host', { excludedDns: ['host.example.org'] }, /excluded/],
  ])('%s', async (_name, options, message) => {
    const middle = await pki.intermediate(options);
    const outcome = await refusal({ dnsNames: ['host.example.org'] }, middle);
    expect(outcome[0]).toBe('SVID_UNTRUSTED');
    expect(outcome[1]).toMatch(message);
  });

  it('when an intermediate has a weak key, a weak hash or an unknown critical extension', async () => {
    const extraExtensions = [new Extension('1.3.6.1.4.1.55555.1', true, new Uint8Array([5, 0]))];
    for (const defect of [{ key: 'RSA-1024' }, { hash: 'SHA-1' }, { extraExtensions }] as const) {
      expect(await refusal({}, await pki.intermediate(defect))).toMatchObject(['SVID_INVALID', /./]);
    }
  });

  it('when it is longer than an authority allows, and only then', async () => {
    const last = await pki.intermediate({ pathLength: 0 });
    expect(await refusal({}, last)).toBe('accepted');
    expect(await refusal({}, await last.intermediate())).toMatchObject(['SVID_UNTRUSTED', /longer/]);
  });

  it('when it has more than five certificates', async () => {
    let authority: TestAuthority = pki;
    for (let i = 0; i < 4; i++) authority = await authority.intermediate();
    expect(await refusal({}, authority)).toBe('accepted');
    expect(await refusal({}, await authority.intermediate())).toMatchObject([
      'SVID_INVALID',
      /longer than 5/,
    ]);
  });

  it('when an intermediate has expired, or a root has', async () => {
    const notAfter = new Date(Date.now() - MINUTE);
    expect(await refusal({}, await pki.intermediate({ notAfter }))).toMatchObject(['SVID_EXPIRED', /./]);
    const old = await createTestPki({ trustDomain: 'example.org', notAfter });
    const { chain } = await old.issue({ spiffeId: WORKLOAD });
    const oldBundle = trustBundleFromPem('example.org', old.rootPem);
    expect(reasonOf(() => verifyX509Svid(chain, oldBundle, Date.now()))).toMatchObject(['SVID_EXPIRED', /./]);
  });

  it('when an intermediate is missing, or an authority of the same name signed it', async () => {
    const { chain } = await (await pki.intermediate()).issue({ spiffeId: WORKLOAD });
    expect(reasonOf(() => verifyX509Svid(chain.slice(0, 1), bundle, Date.now()))).toMatchObject([
      'SVID_UNTRUSTED',
      /./,
    ]);
    const impostor = await createTestPki({ trustDomain: 'example.org' });
    expect(await refusal({}, impostor)).toMatchObject(['SVID_UNTRUSTED', /./]);
  });

  it('when an intermediate of the right name and a good chain did not sign it', async () => {
    const subject = 'CN=intermediate';
    const real = await (await pki.intermediate({ subject })).issue({ spiffeId: WORKLOAD });
    const impostor = await createTestPki({ trustDomain: 'example.org' });
    const forged = await (await impostor.intermediate({ subject })).issue({ spiffeId: WORKLOAD });
    const chain = [forged.chain[0]!, real.chain[1]!];
    expect(reasonOf(() => verifyX509Svid(chain, bundle, Date.now()))).toMatchObject([
      'SVID_UNTRUSTED',
      /signature/,
    ]);
  });

  it('when it names our trust domain but another one’s authority issued it, root included', async () => {
    const other = await createTestPki({ trustDomain: 'other.org' });
    const { chain } = await other.issue({ spiffeId: WORKLOAD });
    const withRoot = [...chain, Buffer.from(new X509Certificate(other.rootPem).raw)];
    expect(reasonOf(() => verifyX509Svid(withRoot, bundle, Date.now()))).toMatchObject([
      'SVID_UNTRUSTED',
      /./,
    ]);
  });

  it('when its trust bundle is empty', async () => {
    const { chain } = await pki.issue({ spiffeId: WORKLOAD });
    const empty = { trustDomain: 'example.org', roots: [] };
    expect(reasonOf(() => verifyX509Svid(chain, empty, Date.now()))).toMatchObject(['SVID_UNTRUSTED', /./]);
  });
});

describe('name constraints', () => {
  it('let through what they permit', async () => {
    const middle = await pki.intermediate({ permittedUris: ['example.org'], permittedDns: ['example.org'] });
    expect(await refusal({ dnsNames: ['a.example.org', 'example.org'] }, middle)).toBe('accepted');
    expect(await refusal({ dnsNames: ['notexample.org'] }, middle)).toMatchObject([
      'SVID_UNTRUSTED',
      /outside/,
    ]);
  });

  it('count a wildcard as excluded when one of its hosts is', async () => {
    const middle = await pki.intermediate({ excludedDns: ['secret.example.org'] });
    expect(await refusal({ dnsNames: ['*.example.org'] }, middle)).toMatchObject([
      'SVID_UNTRUSTED',
      /excluded/,
    ]);
    expect(await refusal({ dnsNames: ['*.other.org'] }, middle)).toBe('accepted');
  });

  it('of another kind matter only to names of that kind', async () => {
    expect(await refusal({}, await pki.intermediate({ permittedEmails: ['example.org'] }))).toBe('accepted');
  });

  it('that are not enforced here refuse every name of their kind', async () => {
    const middle = await pki.intermediate({ permittedEmails: ['example.org'] });
    expect(await refusal({ emails: ['a@example.org'] }, middle)).toMatchObject([
      'SVID_UNTRUSTED',
      /not enforced/,
    ]);
  });

  it('with a minimum or a maximum are refused', async () => {
    const subtree = new GeneralSubtree({
      base: new GeneralName({ uniformResourceIdentifier: 'example.org' }),
      maximum: 1,
    });
    const constraints = new NameConstraints({ permittedSubtrees: new GeneralSubtrees([subtree]) });
    const extraExtensions = [new Extension('2.5.29.30', true, AsnConvert.serialize(constraints))];
    expect(await refusal({}, await pki.intermediate({ extraExtensions }))).toMatchObject([
      'SVID_UNTRUSTED',
      /maximum/,
    ]);
  });

  it('reach through further intermediates', async () => {
    const middle = await (await pki.intermediate({ excludedUris: ['example.org'] })).intermediate();
    expect(await refusal({}, middle)).toMatchObject(['SVID_UNTRUSTED', /excluded/]);
  });
});

const VECTORS = new URL('../../../shared/vectors/spiffe/', import.meta.url);
describe.skipIf(!existsSync(VECTORS))('go-spiffe vectors (skipped when ../shared/vectors is absent)', () => {
  const read = (name: string) => readFileSync(new URL(name, VECTORS), 'utf8');
  const chainOf = (name: string) =>
    (read(name).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map(
      (pem) => new X509Certificate(pem).raw,
    );

  it.each(['good-leaf-and-intermediate.pem', 'good-leaf-only.pem'])(
    'finds nothing wrong with the leaf of %s',
    (name) => {
      // Their roots are not published with them: a leaf that passes is refused for its path alone.
      const outcome = reasonOf(() => verifyX509Svid(chainOf(name), bundle, Date.now()));
      expect(outcome).toMatchObject(['SVID_UNTRUSTED', /does not lead/]);
    },
  );

  it.each([
    ['wrong-leaf-ca-true.pem', 'SVID_INVALID', /authority/],
    ['wrong-leaf-cert-sign.pem', 'SVID_INVALID', /keyCertSign/],
    ['wrong-leaf-empty-id.pem', 'SVID_INVALID', /has 0/],
    ['wrong-leaf-no-digital-signature.pem', 'SVID_INVALID', /digitalSignature/],
    ['wrong-intermediate-no-ca.pem', 'SVID_UNTRUSTED', /./],
  ])('refuses %s', (name, reason, message) => {
    const outcome = reasonOf(() => verifyX509Svid(chainOf(name), bundle, Date.now()));
    expect(outcome[0]).toBe(reason);
    expect(outcome[1]).toMatch(message);
  });

  it('reads SPIFFE bundles, and refuses one without keys', () => {
    expect(trustBundleFromSpiffeJson('example.org', read('spiffebundle_valid_1.json')).roots).toHaveLength(1);
    expect(() => trustBundleFromSpiffeJson('example.org', read('spiffebundle_no_keys.json'))).toThrow(
      /`keys`/,
    );
    expect(() => trustBundleFromSpiffeJson('example.org', read('spiffebundle_multiple_x509.json'))).toThrow(
      /x5c/,
    );
  });
});
