import { execFileSync } from 'node:child_process';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  CA_LIFE_MS,
  createDevelopmentCa,
  DEVELOPMENT_CA_NAME,
  describeSvid,
  issueX509Svid,
  type PemPair,
  SVID_LIFE_MS,
} from './pki.ts';

const NOW = Date.UTC(2030, 0, 15, 12, 0, 0, 500);
const SPIFFE_ID = 'spiffe://example.org/ns/payments/sa/api';

describe('the development CA', () => {
  let ca: PemPair;
  beforeAll(async () => {
    ca = await createDevelopmentCa('example.org', NOW);
  });

  test('is a CA of its trust domain that says what it is for', () => {
    const certificate = new X509Certificate(ca.certificatePem);
    expect(certificate.ca).toBe(true);
    expect(certificate.subject).toContain(`CN=${DEVELOPMENT_CA_NAME}`);
    expect(certificate.subjectAltName).toBe('URI:spiffe://example.org');
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.validToDate.getTime()).toBe(Math.floor((NOW + CA_LIFE_MS) / 1000) * 1000);
  });

  test('issues an SVID with one URI SAN, for client and server, that chains to it', async () => {
    const svid = await issueX509Svid(ca, { spiffeId: SPIFFE_ID }, NOW);
    const certificate = new X509Certificate(svid.certificatePem);
    const issuer = new X509Certificate(ca.certificatePem);
    expect(certificate.ca).toBe(false);
    expect(certificate.subjectAltName).toBe(`URI:${SPIFFE_ID}`);
    expect(certificate.checkIssued(issuer)).toBe(true);
    expect(certificate.verify(issuer.publicKey)).toBe(true);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect(certificate.validToDate.getTime()).toBe(Math.floor((NOW + SVID_LIFE_MS) / 1000) * 1000);
    expect(certificate.validFromDate.getTime()).toBeLessThan(NOW);
    expect(createPublicKey(svid.keyPem).equals(certificate.publicKey)).toBe(true);
  });

  test('gives the same key a new certificate when it is handed in', async () => {
    const first = await issueX509Svid(
      ca,
      { spiffeId: SPIFFE_ID, dnsNames: ['lastmile.internal'], ipAddresses: ['127.0.0.1'] },
      NOW,
    );
    const second = await issueX509Svid(
      ca,
      { ...describeSvid(first.certificatePem), keyPem: first.keyPem },
      NOW + SVID_LIFE_MS,
    );
    const [a, b] = [new X509Certificate(first.certificatePem), new X509Certificate(second.certificatePem)];
    expect(b.subjectAltName).toBe(
      'URI:spiffe://example.org/ns/payments/sa/api, DNS:lastmile.internal, IP Address:127.0.0.1',
    );
    expect(b.subjectAltName).toBe(a.subjectAltName);
    expect(b.publicKey.equals(a.publicKey)).toBe(true);
    expect(b.serialNumber).not.toBe(a.serialNumber);
    expect(b.validToDate.getTime()).toBeGreaterThan(a.validToDate.getTime());
  });

  test('issues nothing that outlives it', async () => {
    const late = NOW + CA_LIFE_MS - 1000;
    const svid = await issueX509Svid(ca, { spiffeId: SPIFFE_ID }, late);
    expect(new X509Certificate(svid.certificatePem).validToDate).toEqual(
      new X509Certificate(ca.certificatePem).validToDate,
    );
  });

  test.each([
    [
      'another trust domain',
      'spiffe://example.com/ns/payments/sa/api',
      /trust domain example\.org, not example\.com/,
    ],
    ['no path', 'spiffe://example.org', /needs a path/],
    ['a malformed ID', 'https://example.org/ns', /scheme is not/],
  ])('refuses %s', async (_what, spiffeId, message) => {
    await expect(issueX509Svid(ca, { spiffeId }, NOW)).rejects.toThrow(message);
  });

  describe('as another implementation sees it', () => {
    const directory = mkdtempSync(join(tmpdir(), 'lastmile-pki-'));
    afterAll(() => rmSync(directory, { recursive: true }));

    test('openssl verifies the chain strictly, and finds the critical extensions', async () => {
      const svid = await issueX509Svid(ca, { spiffeId: SPIFFE_ID }, NOW);
      writeFileSync(join(directory, 'ca.crt'), ca.certificatePem);
      writeFileSync(join(directory, 'svid.crt'), svid.certificatePem);
      const at = String(Math.floor(NOW / 1000));
      for (const purpose of ['sslserver', 'sslclient']) {
        const verified = execFileSync(
          'openssl',
          ['verify', '-x509_strict', '-attime', at, '-purpose', purpose, '-CAfile', 'ca.crt', 'svid.crt'],
          { cwd: directory, encoding: 'utf8' },
        );
        expect(verified).toBe('svid.crt: OK\n');
      }
      const text = execFileSync('openssl', ['x509', '-in', 'svid.crt', '-noout', '-text'], {
        cwd: directory,
        encoding: 'utf8',
      });
      expect(text).toMatch(/X509v3 Key Usage: critical\s+Digital Signature\n/);
      expect(text).toMatch(/X509v3 Basic Constraints: critical\s+CA:FALSE/);
      const caText = execFileSync('openssl', ['x509', '-in', 'ca.crt', '-noout', '-text'], {
        cwd: directory,
        encoding: 'utf8',
      });
      expect(caText).toMatch(/X509v3 Key Usage: critical\s+Certificate Sign, CRL Sign\n/);
      expect(caText).toMatch(/X509v3 Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    });
  });
});
