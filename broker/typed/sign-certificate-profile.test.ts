import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  byCsr,
  CertificateFixture,
  DAY,
  input,
  issue,
  NOW,
  ROOT,
  SELF,
  spkiOf,
} from '../../test/fakes/certificate-fixture.ts';
import { typedSigner } from '../../test/fakes/typed-signer.ts';
import { checkProfile } from './certificate-lint.ts';
import type { CertificateProfile } from './certificate-profile.ts';
import { certificateRequest } from './sign-certificate.ts';

/** What a profile refuses, and what keeps one from being used. The names that are allowed stand in `fixture.web`. */

let fixture: CertificateFixture;
beforeAll(async () => {
  fixture = await CertificateFixture.make();
});
afterAll(() => fixture.close());

describe('what a profile does not allow is refused:', () => {
  test.each([
    ['a name of another domain', '/CN=x', 'DNS:api.example.com'],
    ['a name one label too deep', '/CN=x', 'DNS:a.b.svc.example.org'],
    ['a wildcard', '/CN=x', 'DNS:*.svc.example.org'],
    ['the domain above `**`', '/CN=x', 'DNS:apps.example.org'],
    ['an address of another network', '/CN=x', 'IP:11.0.0.1'],
    ['an IPv6 address of another network', '/CN=x', 'IP:2001:db9::1'],
    ['an IPv4 address in IPv6', '/CN=x', 'IP:::ffff:10.0.0.1'],
    ['another SPIFFE ID', '/CN=x', 'URI:spiffe://example.com/ns/a/sa/b'],
    ['a SPIFFE ID with a dot segment', '/CN=x', 'URI:spiffe://example.org/ns/a/sa/../x'],
    ['two URIs, one of them a SPIFFE ID', '/CN=x', 'URI:spiffe://example.org/ns/a/sa/b,URI:urn:example:one'],
    ['a URI that climbs', '/CN=x', 'URI:https://example.org/services/../admin'],
    ['a URI that climbs in disguise', '/CN=x', 'URI:https://example.org/services/%2e%2e/admin'],
    ['a URI of another host', '/CN=x', 'URI:https://example.org.evil.example/services/a'],
    ['an email address of another domain', '/CN=x', 'email:a@example.com'],
    ['an email address with two domains', '/CN=x', 'email:a@evil.example@example.org'],
    ['a registered ID', '/CN=x', 'RID:1.2.3.4'],
    ['a directory name', '/CN=x/L=Berlin', ''],
    ['another organisation', '/CN=x/O=Another', ''],
    ['a common name twice', '/CN=x/CN=y', ''],
    ['an attribute that is not known', '/CN=x/emailAddress=a@example.org', ''],
    ['a host as the common name that is not among the names', '/CN=bank.example', 'DNS:api.svc.example.org'],
    ['a name that ends in a number', '/CN=x', 'DNS:10.0.0.1'],
    ['a name with an underscore', '/CN=x', 'DNS:a_b.svc.example.org'],
    ['a name with a dot at its end', '/CN=x', 'DNS:a.svc.example.org.'],
  ])('%s', async (_, subject, names) => {
    expect(await fixture.refusal(fixture.web(), byCsr(fixture.csr(subject, names)))).toMatchObject({
      reason: 'REQUEST_INVALID',
    });
  });

  test.each([
    ['names under `**`', 'DNS:a.b.apps.example.org,DNS:a.apps.example.org'],
    ['a URI below a prefix', 'URI:https://example.org/services/a/b'],
    ['an exact URI', 'URI:urn:example:one'],
  ])('but not %s', async (_, names) => {
    expect(
      fixture.verified(
        await issue(fixture.root, fixture.web(), byCsr(fixture.csr('/CN=x', names))),
        fixture.rootPem,
      ),
    ).toContain('OK');
  });

  test('a wildcard is fine where the profile says so', async () => {
    const leaf = await issue(
      fixture.root,
      fixture.web({ wildcards: true }),
      byCsr(fixture.csr('/CN=x', 'DNS:*.svc.example.org')),
    );
    expect(leaf.subjectAltName).toBe('DNS:*.svc.example.org');
  });

  test('a longer life', async () => {
    expect(
      await fixture.refusal(fixture.web(), byCsr(fixture.csr('/CN=x', '')), {
        lifetimeSeconds: 30 * DAY + 1,
      }),
    ).toMatchObject({
      message: `the profile allows at most ${30 * DAY} seconds`,
    });
  });

  test('a bare key, where possession must be proven', async () => {
    const applicant = { ...SELF, spki: typedSigner('ES256').key.publicKey };
    expect((await fixture.refusal(fixture.web(), applicant)).message).toContain('wants a CSR');
    const leaf = await issue(fixture.root, fixture.web({ possession: 'none' }), {
      ...applicant,
      subject: [{ type: 'CN', value: 'x' }],
    });
    expect(fixture.verified(leaf, fixture.rootPem)).toContain('OK');
  });

  test.each(['', ' x', 'x ', 'a\u202eb', 'a\u0000b', 'e\u0301', 'x'.repeat(65)])(
    'the common name %j',
    async (value) => {
      const applicant = {
        ...SELF,
        spki: typedSigner('ES256').key.publicKey,
        subject: [{ type: 'CN', value }],
      };
      expect(await fixture.refusal(fixture.web({ possession: 'none' }), applicant)).toMatchObject({
        reason: 'REQUEST_INVALID',
      });
    },
  );

  test('attributes that every object has', async () => {
    for (const type of ['constructor', '__proto__', 'toString']) {
      const applicant = {
        ...SELF,
        spki: typedSigner('ES256').key.publicKey,
        subject: [{ type, value: 'x' }],
      };
      expect(await fixture.refusal(fixture.web({ possession: 'none' }), applicant)).toMatchObject({
        reason: 'REQUEST_INVALID',
      });
    }
  });
});

describe('keys that are not certified:', () => {
  const bare = (spki: Uint8Array) => fixture.refusal(fixture.web({ possession: 'none' }), { ...SELF, spki });
  test.each([
    ['RSA of 1024 bits', () => generateKeyPairSync('rsa', { modulusLength: 1024 })],
    ['RSA with the exponent 3', () => generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 })],
    ['secp256k1', () => generateKeyPairSync('ec', { namedCurve: 'secp256k1' })],
    ['P-224', () => generateKeyPairSync('ec', { namedCurve: 'P-224' })],
    ['X25519', () => generateKeyPairSync('x25519')],
    ['Ed448', () => generateKeyPairSync('ed448')],
    ['DSA', () => generateKeyPairSync('dsa', { modulusLength: 1024, divisorLength: 160 })],
    [
      'EC with explicit parameters',
      () => generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' }),
    ],
  ])('%s', async (_, pair) => {
    expect(await bare(spkiOf((pair() as { publicKey: KeyObject }).publicKey))).toMatchObject({
      reason: 'REQUEST_INVALID',
    });
  });

  test('the issuer’s own', async () => {
    expect((await bare(fixture.root.key.publicKey)).message).toContain('the one of the issuer');
  });

  test('anything behind the key', async () => {
    const spki = Buffer.concat([typedSigner('ES256').key.publicKey, Buffer.of(0)]);
    expect(await bare(spki)).toMatchObject({ reason: 'REQUEST_INVALID' });
  });

  test('an EC key for keyEncipherment', async () => {
    expect(
      (await fixture.refusal(fixture.web({ keyUsage: ['keyEncipherment'] }), byCsr(fixture.csr('/CN=x', ''))))
        .message,
    ).toContain('keyEncipherment');
  });
});

describe('a profile that cannot be used', () => {
  test.each<[string, Partial<CertificateProfile>, string]>([
    ['a SPIFFE ID pattern without a path', { names: { uri: ['spiffe://*'] } }, 'names.uri'],
    ['a wildcard inside a segment', { names: { uri: ['spiffe://example.org/a*'] } }, 'names.uri'],
    ['a wildcard amid a URI', { names: { uri: ['https://*.example.org/'] } }, 'names.uri'],
    ['a domain in capitals', { names: { dns: ['*.Example.org'] } }, 'names.dns'],
    ['a wildcard inside a label', { names: { dns: ['api-*.example.org'] } }, 'names.dns'],
    ['`**` twice', { names: { dns: ['**.**.example.org'] } }, 'names.dns'],
    ['an address without a domain', { names: { email: ['@example.org'] } }, 'names.email'],
    ['a network that is none', { names: { ip: ['10.0.0.0/33'] } }, 'names.ip'],
    ['a network in words', { names: { ip: ['localhost'] } }, 'names.ip'],
    ['a country of three letters', { subject: { C: 'DEU' } }, 'C of the subject'],
    ['no key usage', { keyUsage: [] }, 'keyUsage'],
    ['an unknown purpose', { extKeyUsage: ['serverauth'] }, 'extKeyUsage'],
    ['every purpose', { extKeyUsage: ['2.5.29.37.0'] }, 'anyExtendedKeyUsage'],
    ['a default above the maximum', { validity: { max: 60, default: 61 } }, 'validity'],
    ['a beginning long ago', { validity: { max: 60, backdate: 3601 } }, 'backdate'],
    ['fractions of seconds', { validity: { max: 0.5 } }, 'validity'],
    ['cRLSign for a leaf', { keyUsage: ['cRLSign'] }, 'for CA certificates'],
  ])('is refused as a whole, by name: %s', (_, more, problem) => {
    const profile = fixture.web(more);
    const failure = expect.objectContaining({
      reason: 'KEY_UNUSABLE',
      message: expect.stringMatching(/^the profile cannot be used: /),
    });
    expect(() => checkProfile(profile)).toThrow(problem);
    expect(() => checkProfile(profile)).toThrow(failure);
    expect(() => certificateRequest(input(profile, SELF), profile, NOW)).toThrow(failure);
  });

  test('is not one of these', () => {
    for (const profile of [ROOT, fixture.web(), fixture.web({ wildcards: true, possession: 'none' })])
      checkProfile(profile);
  });
});

test('a profile that is not there is refused, and one of another name as well', async () => {
  expect(() => certificateRequest(input(ROOT, SELF), undefined, NOW)).toThrow(
    'there is no profile of this name',
  );
  expect(() => certificateRequest({ ...input(ROOT, SELF), profile: 'x' }, ROOT, NOW)).toThrow(
    'there is no profile',
  );
});
