import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  byCsr,
  CertificateFixture,
  DAY,
  input,
  issue,
  NONE,
  NOW,
  openssl,
  ROOT,
  SELF,
} from '../../test/fakes/certificate-fixture.ts';
import { typedSigner } from '../../test/fakes/typed-signer.ts';
import type { CertificateProfile } from './certificate-profile.ts';
import { certificateRequest } from './sign-certificate.ts';

/** Certificates, judged by OpenSSL's command line. */

let fixture: CertificateFixture;
beforeAll(async () => {
  fixture = await CertificateFixture.make();
});
afterAll(() => fixture.close());

describe('a certificate for a CSR', () => {
  test.each([
    ['ES256', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']],
    ['ES384', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384']],
    ['ES512', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-521']],
    ['RS256', ['rsa:2048']],
    ['PS256', ['rsa:2048']],
    ['PS512', ['rsa:3072']],
    ['Ed25519', ['ed25519']],
  ])('%s: openssl verifies it strictly, and reads what was asked for', async (algorithm, key) => {
    const signer = typedSigner(algorithm);
    const issuer = (await issue(signer, ROOT, SELF)).toString();
    const names =
      'DNS:api.svc.example.org,URI:spiffe://example.org/ns/a/sa/b,IP:10.1.2.3,IP:2001:db8::7,email:a@example.org';
    const request = byCsr(fixture.csr('/CN=api.svc.example.org', names, key));
    const leaf = await issue(signer, fixture.web({ issuer }), request, 3600);
    expect(fixture.verified(leaf, issuer)).toContain('OK');
    const text = openssl('x509', '-in', fixture.path('leaf.pem'), '-noout', '-text');
    for (const line of [
      /Issuer: C ?= ?DE, O ?= ?Example, CN ?= ?Example root/,
      /Subject: O ?= ?Example, CN ?= ?api.svc.example.org/,
      /X509v3 Basic Constraints: critical\s+CA:FALSE/,
      /X509v3 Key Usage: critical\s+Digital Signature\n/,
      /TLS Web Server Authentication, TLS Web Client Authentication/,
      /X509v3 Subject Alternative Name: \n\s+DNS:api.svc.example.org, URI:spiffe:\/\/example.org\/ns\/a\/sa\/b, email:a@example.org, IP Address:10.1.2.3, IP Address:2001:DB8:0:0:0:0:0:7\n/,
    ]) {
      expect(text).toMatch(line);
    }
    expect(leaf.validToDate.getTime() - leaf.validFromDate.getTime()).toBe(3600_000);
    expect(leaf.serialNumber).toMatch(/^[4-7][0-9A-F]{35}$/);
    expect(leaf.publicKey.export({ format: 'pem', type: 'spki' })).toBe(
      openssl('req', '-in', fixture.path('csr.der'), '-inform', 'DER', '-noout', '-pubkey'),
    );
  });

  test('shows all of it to rules', () => {
    const der = fixture.csr('/CN=api', 'DNS:API.svc.example.org,DNS:api.svc.example.org');
    const profile = fixture.web({ validity: { max: 30 * DAY, backdate: 60 } });
    const { facts } = certificateRequest(input(profile, byCsr(der), 7200), profile, NOW);
    const start = Math.floor(NOW / 1000) * 1000;
    // The root began in this very second: nothing below it begins earlier.
    expect(facts).toEqual({
      profile: 'web',
      subject: { O: 'Example', CN: 'api' },
      ...NONE,
      dns: ['api.svc.example.org'],
      notBefore: new Date(start),
      notAfter: new Date(start + 7_200_000),
      lifetime: 7200n,
      keyUsage: ['digitalSignature'],
      extKeyUsage: ['serverAuth', 'clientAuth'],
      ca: false,
      possession: 'csr',
      publicKey: { type: 'P-256', bits: 256n, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
    expect(Object.isFrozen(facts) && Object.isFrozen(facts.publicKey)).toBe(true);
  });

  test('says who, critically, in the names when there is no subject', async () => {
    const leaf = await issue(
      fixture.root,
      fixture.web({ subject: {} }),
      byCsr(fixture.csr('/', 'URI:spiffe://example.org/ns/a/sa/b')),
    );
    expect(fixture.verified(leaf, fixture.rootPem)).toContain('OK');
    expect(leaf.subject ?? '').toBe('');
    expect(openssl('x509', '-in', fixture.path('leaf.pem'), '-noout', '-text')).toContain(
      'X509v3 Subject Alternative Name: critical',
    );
  });

  test('lives as long as the profile says when nobody says otherwise, and begins as early', async () => {
    const later = NOW + 7200_000;
    const profile = fixture.web({ validity: { max: 30 * DAY, default: DAY, backdate: 300 } });
    const leaf = await issue(fixture.root, profile, byCsr(fixture.csr('/CN=x', '')), 0, later);
    const start = Math.floor(later / 1000) * 1000;
    expect(leaf.validFromDate.getTime()).toBe(start - 300_000);
    expect(leaf.validToDate.getTime()).toBe(start + DAY * 1000);
  });

  test('has the same serial in every attempt of one request, and another in the next', async () => {
    const profile = fixture.web();
    const der = fixture.csr('/CN=x', '');
    const request = certificateRequest(input(profile, byCsr(der)), profile, NOW);
    const serials = [
      new X509Certificate(await fixture.root.sign(request)),
      new X509Certificate(await fixture.root.sign(request)),
      await issue(fixture.root, profile, byCsr(der)),
    ].map(({ serialNumber }) => serialNumber);
    expect(serials[0]).toBe(serials[1]);
    expect(serials[2]).not.toBe(serials[0]);
  });

  test('is dated in GeneralizedTime from 2050 on (RFC 5280, section 4.1.2.5)', async () => {
    const far = { ...ROOT, validity: { max: 40 * 366 * DAY } };
    const leaf = await issue(fixture.root, far, SELF);
    expect(fixture.verified(leaf, leaf.toString())).toContain('OK');
    expect(leaf.validToDate.getUTCFullYear()).toBeGreaterThan(2060);
  });
});

describe('a self-signed certificate', () => {
  test('verifies against itself', async () => {
    expect(fixture.verified(new X509Certificate(fixture.rootPem), fixture.rootPem)).toContain('OK');
  });

  test('may be no CA, as those are that verifiers of documents are given', async () => {
    const profile: CertificateProfile = {
      id: 'document',
      issuer: 'self',
      subject: { CN: 'documents' },
      names: {},
      validity: { max: DAY },
      keyUsage: ['digitalSignature'],
    };
    const certificate = await issue(fixture.root, profile, SELF);
    expect(certificate.ca).toBe(false);
    expect(certificate.verify(fixture.root.publicKey)).toBe(true);
    expect(await fixture.refusal({ ...profile, subject: {} }, SELF)).toMatchObject({
      reason: 'REQUEST_INVALID',
    });
  });

  test('is of the key that signs, and of no other', async () => {
    expect(await fixture.refusal(ROOT, { ...SELF, spki: fixture.root.key.publicKey })).toMatchObject({
      reason: 'REQUEST_INVALID',
    });
    expect(await fixture.refusal(ROOT, byCsr(fixture.csr('/CN=x', '')))).toMatchObject({
      reason: 'REQUEST_INVALID',
    });
    expect(certificateRequest(input(ROOT, SELF), ROOT, NOW).facts).toMatchObject({
      possession: 'self',
      ca: true,
      pathLength: 1n,
    });
  });
});
