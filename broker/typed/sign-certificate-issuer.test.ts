import { createPrivateKey, sign, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  byCsr,
  CertificateFixture,
  DAY,
  input,
  issue,
  NOW,
  openssl,
  ROOT,
  SELF,
  spkiOf,
} from '../../test/fakes/certificate-fixture.ts';
import { typedSigner } from '../../test/fakes/typed-signer.ts';
import type { CertificateProfile } from './certificate-profile.ts';
import { type Applicant, certificateRequest } from './sign-certificate.ts';

/** Certificates of those who sign others. */

let fixture: CertificateFixture;
beforeAll(async () => {
  fixture = await CertificateFixture.make();
});
afterAll(() => fixture.close());

describe('a CA certificate', () => {
  test('below a root makes a chain that openssl verifies', async () => {
    const middle = typedSigner('ES384');
    const profile: CertificateProfile = {
      ...ROOT,
      id: 'middle',
      issuer: fixture.rootPem,
      subject: { CN: 'Example issuing CA' },
      ca: { pathLength: 0 },
      possession: 'none',
      validity: { max: 365 * DAY },
    };
    const ca = await issue(fixture.root, profile, { ...SELF, spki: middle.key.publicKey });
    const leaf = await issue(
      middle,
      fixture.web({ issuer: ca.toString() }),
      byCsr(fixture.csr('/CN=x', 'DNS:a.svc.example.org')),
    );
    expect(fixture.verified(leaf, fixture.rootPem, [ca])).toContain('OK');
    const below = { ...profile, id: 'below', issuer: ca.toString() };
    expect(
      await fixture.refusal(below, { ...SELF, spki: spkiOf(fixture.root.publicKey) }, { signer: middle }),
    ).toMatchObject({
      reason: 'KEY_UNUSABLE',
      message: expect.stringContaining('its path length is 0'),
    });
  });

  test.each([
    ['a path length that is not below the issuer’s', { ca: { pathLength: 1 } }, 'path length must be below'],
    ['no path length below a limited issuer', { ca: {} }, 'path length must be below'],
    ['no keyCertSign', { keyUsage: ['cRLSign'] as const }, 'needs keyCertSign'],
    ['no subject', { subject: {} }, 'a CA needs a subject'],
  ])('is refused with %s', async (_, more, problem) => {
    const profile = {
      ...ROOT,
      issuer: fixture.rootPem,
      possession: 'none' as const,
      ca: { pathLength: 0 },
      ...more,
    };
    const applicant = { ...SELF, spki: typedSigner('ES256').key.publicKey };
    expect((await fixture.refusal(profile, applicant)).message).toContain(problem);
  });

  test('is not made of a profile for others', async () => {
    expect(
      await fixture.refusal(fixture.web({ keyUsage: ['keyCertSign'] }), byCsr(fixture.csr('/CN=x', ''))),
    ).toMatchObject({
      reason: 'KEY_UNUSABLE',
    });
  });
});

describe('an issuer', () => {
  const applicant = (): Applicant => byCsr(fixture.csr('/CN=x', ''));

  test('that is not the key that signs is refused', async () => {
    expect(await fixture.refusal(fixture.web(), applicant(), { signer: typedSigner('ES256') })).toMatchObject(
      {
        reason: 'KEY_UNUSABLE',
        message: expect.stringContaining('carries the key that signs'),
      },
    );
  });

  test('with several certificates signs as the one of its key', async () => {
    const other = typedSigner('Ed25519');
    const otherPem = (await issue(other, { ...ROOT, subject: { CN: 'other' } }, SELF)).toString();
    const leaf = await issue(other, fixture.web({ issuer: fixture.rootPem + otherPem }), applicant());
    expect(fixture.verified(leaf, otherPem)).toContain('OK');
  });

  test('is not outlived', async () => {
    const short = (await issue(fixture.root, { ...ROOT, validity: { max: 60 } }, SELF)).toString();
    expect(
      (await fixture.refusal(fixture.web({ issuer: short }), applicant(), { lifetimeSeconds: 61 })).message,
    ).toContain('would outlive its issuer');
  });

  test('that is over, or not yet there, does not issue', async () => {
    for (const now of [NOW + 3651 * DAY * 1000, NOW - 10_000]) {
      expect(await fixture.refusal(fixture.web(), applicant(), { now })).toMatchObject({
        reason: 'KEY_UNUSABLE',
      });
    }
  });

  test.each([
    [
      'that is no CA',
      async () => (await issue(fixture.root, fixture.web(), applicant())).toString(),
      'not one of a CA',
    ],
    ['that says it is no CA', async () => byOpenssl('basicConstraints=critical,CA:FALSE'), 'not one of a CA'],
    ['that may not sign', async () => byOpenssl('keyUsage=critical,cRLSign'), 'does not allow keyCertSign'],
    [
      'that cannot be read',
      async () => '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----',
      'read',
    ],
    ['that is nothing', async () => 'nothing', 'must be 1 to 16 certificates'],
    [
      'with name constraints',
      async () => byOpenssl('nameConstraints=permitted;DNS:a.example'),
      'name constraints',
    ],
    [
      'with what is not known',
      async () => byOpenssl('1.2.3.4=critical,ASN1:NULL'),
      'unknown critical extension',
    ],
  ])('%s is refused', async (_, pem, problem) => {
    expect(await fixture.refusal(fixture.web({ issuer: await pem() }), applicant())).toMatchObject({
      reason: 'KEY_UNUSABLE',
      message: expect.stringContaining(problem),
    });
  });

  test('made by openssl is taken, its subject and key identifier as they are', async () => {
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      fixture.path('ca.key'),
      '-out',
      fixture.path('ca.pem'),
      '-subj',
      '/C=DE/O=Théâtre/CN=by openssl/emailAddress=ca@example.org',
      '-days',
      '30',
      '-utf8',
      '-addext',
      'keyUsage=critical,keyCertSign',
    );
    const pem = readFileSync(fixture.path('ca.pem'), 'utf8');
    const foreign = new X509Certificate(pem);
    const profile = fixture.web({ issuer: pem });
    const now = Date.now();
    const request = certificateRequest(input(profile, applicant()), profile, now);
    const spki = spkiOf(foreign.publicKey);
    const built = await request.build({ ...fixture.root.key, publicKey: spki });
    const key = createPrivateKey(readFileSync(fixture.path('ca.key'), 'utf8'));
    const leaf = new X509Certificate(
      built.finish(sign('sha256', built.content.bytes, { key, dsaEncoding: 'ieee-p1363' })),
    );
    expect(leaf.issuer).toBe(foreign.subject);
    expect(leaf.checkIssued(foreign)).toBe(true);
    expect(fixture.verified(leaf, pem)).toContain('OK');
  });

  function byOpenssl(extension: string): string {
    openssl(
      ...[
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-subj',
        '/CN=issuer',
      ],
      ...['-keyout', fixture.path('issuer.key'), '-out', fixture.path('issuer.pem'), '-addext', extension],
    );
    return readFileSync(fixture.path('issuer.pem'), 'utf8');
  }
});
