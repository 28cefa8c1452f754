import { execFileSync } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type TypedSigner, typedSigner } from '../../test/fakes/typed-signer.ts';
import { Failure, type Reason } from '../keyuse/failure.ts';
import { checkProfile } from './certificate-lint.ts';
import type { CertificateProfile } from './certificate-profile.ts';
import { type Applicant, type CertificateInput, certificateRequest } from './sign-certificate.ts';

/** Certificates, judged by OpenSSL's command line. */

const DAY = 86_400;
const NONE = { dns: [], uri: [], email: [], ip: [] };
const SELF: Applicant = { kind: 'public-key', spki: new Uint8Array(), subject: [], names: NONE };
const NOW = Date.now();

const ROOT: CertificateProfile = {
  id: 'root',
  issuer: 'self',
  subject: { C: 'DE', O: 'Example', CN: 'Example root' },
  names: {},
  validity: { max: 3650 * DAY },
  keyUsage: ['keyCertSign', 'cRLSign'],
  ca: { pathLength: 1 },
};

let scratch: string;
let root: TypedSigner;
let rootPem: string;
const path = (name: string): string => join(scratch, name);

function input(profile: CertificateProfile, applicant: Applicant, lifetimeSeconds = 0): CertificateInput {
  return { key: 'ca', version: 0, algorithm: '', profile: profile.id, applicant, lifetimeSeconds };
}

async function issue(
  signer: TypedSigner,
  profile: CertificateProfile,
  applicant: Applicant,
  lifetimeSeconds = 0,
  now = NOW,
): Promise<X509Certificate> {
  return new X509Certificate(
    await signer.sign(certificateRequest(input(profile, applicant, lifetimeSeconds), profile, now)),
  );
}

async function refusal(
  profile: CertificateProfile,
  applicant: Applicant,
  more: { lifetimeSeconds?: number; signer?: TypedSigner; now?: number } = {},
): Promise<{ reason: Reason; message: string }> {
  try {
    await issue(more.signer ?? root, profile, applicant, more.lifetimeSeconds, more.now);
  } catch (error) {
    if (error instanceof Failure) return { reason: error.reason, message: error.message };
    throw error;
  }
  throw new Error('a certificate was signed');
}

function openssl(...args: readonly string[]): string {
  return execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function verified(leaf: X509Certificate, rootText: string, between: readonly X509Certificate[] = []): string {
  writeFileSync(path('root.pem'), rootText);
  writeFileSync(path('leaf.pem'), leaf.toString());
  writeFileSync(path('between.pem'), between.map(String).join(''));
  const untrusted = between.length === 0 ? [] : ['-untrusted', path('between.pem')];
  return openssl('verify', '-x509_strict', '-CAfile', path('root.pem'), ...untrusted, path('leaf.pem'));
}

/** A CSR as openssl makes it, DER. */
function csr(
  subject: string,
  names: string,
  key: readonly string[] = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
): Buffer {
  openssl(
    'req',
    '-new',
    '-newkey',
    ...key,
    '-nodes',
    '-keyout',
    path('key.pem'),
    '-subj',
    subject,
    ...(names === '' ? [] : ['-addext', `subjectAltName=${names}`]),
    '-outform',
    'DER',
    '-out',
    path('csr.der'),
  );
  return readFileSync(path('csr.der'));
}

const byCsr = (der: Uint8Array): Applicant => ({ kind: 'csr', der });
const spkiOf = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'spki' });

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'lastmile-x509-'));
  root = typedSigner('ES256');
  rootPem = (await issue(root, ROOT, SELF)).toString();
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const web = (more: Partial<CertificateProfile> = {}): CertificateProfile => ({
  id: 'web',
  issuer: rootPem,
  subject: { O: 'Example', CN: '*' },
  names: {
    dns: ['*.svc.example.org', '**.apps.example.org', 'svc.example.org'],
    ip: ['10.0.0.0/8', '2001:db8::/32'],
    email: ['*@example.org'],
    uri: ['spiffe://example.org/ns/*/sa/**', 'https://example.org/services/*', 'urn:example:one'],
  },
  validity: { max: 30 * DAY, default: DAY },
  keyUsage: ['digitalSignature'],
  extKeyUsage: ['serverAuth', 'clientAuth'],
  ...more,
});

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
    const request = byCsr(csr('/CN=api.svc.example.org', names, key));
    const leaf = await issue(signer, web({ issuer }), request, 3600);
    expect(verified(leaf, issuer)).toContain('OK');
    const text = openssl('x509', '-in', path('leaf.pem'), '-noout', '-text');
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
      openssl('req', '-in', path('csr.der'), '-inform', 'DER', '-noout', '-pubkey'),
    );
  });

  test('shows all of it to rules', () => {
    const der = csr('/CN=api', 'DNS:API.svc.example.org,DNS:api.svc.example.org');
    const profile = web({ validity: { max: 30 * DAY, backdate: 60 } });
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
      root,
      web({ subject: {} }),
      byCsr(csr('/', 'URI:spiffe://example.org/ns/a/sa/b')),
    );
    expect(verified(leaf, rootPem)).toContain('OK');
    expect(leaf.subject ?? '').toBe('');
    expect(openssl('x509', '-in', path('leaf.pem'), '-noout', '-text')).toContain(
      'X509v3 Subject Alternative Name: critical',
    );
  });

  test('lives as long as the profile says when nobody says otherwise, and begins as early', async () => {
    const later = NOW + 7200_000;
    const profile = web({ validity: { max: 30 * DAY, default: DAY, backdate: 300 } });
    const leaf = await issue(root, profile, byCsr(csr('/CN=x', '')), 0, later);
    const start = Math.floor(later / 1000) * 1000;
    expect(leaf.validFromDate.getTime()).toBe(start - 300_000);
    expect(leaf.validToDate.getTime()).toBe(start + DAY * 1000);
  });

  test('has the same serial in every attempt of one request, and another in the next', async () => {
    const profile = web();
    const der = csr('/CN=x', '');
    const request = certificateRequest(input(profile, byCsr(der)), profile, NOW);
    const serials = [
      new X509Certificate(await root.sign(request)),
      new X509Certificate(await root.sign(request)),
      await issue(root, profile, byCsr(der)),
    ].map(({ serialNumber }) => serialNumber);
    expect(serials[0]).toBe(serials[1]);
    expect(serials[2]).not.toBe(serials[0]);
  });

  test('is dated in GeneralizedTime from 2050 on (RFC 5280, section 4.1.2.5)', async () => {
    const far = { ...ROOT, validity: { max: 40 * 366 * DAY } };
    const leaf = await issue(root, far, SELF);
    expect(verified(leaf, leaf.toString())).toContain('OK');
    expect(leaf.validToDate.getUTCFullYear()).toBeGreaterThan(2060);
  });
});

describe('a CA certificate', () => {
  test('below a root makes a chain that openssl verifies', async () => {
    const middle = typedSigner('ES384');
    const profile: CertificateProfile = {
      ...ROOT,
      id: 'middle',
      issuer: rootPem,
      subject: { CN: 'Example issuing CA' },
      ca: { pathLength: 0 },
      possession: 'none',
      validity: { max: 365 * DAY },
    };
    const ca = await issue(root, profile, { ...SELF, spki: middle.key.publicKey });
    const leaf = await issue(
      middle,
      web({ issuer: ca.toString() }),
      byCsr(csr('/CN=x', 'DNS:a.svc.example.org')),
    );
    expect(verified(leaf, rootPem, [ca])).toContain('OK');
    const below = { ...profile, id: 'below', issuer: ca.toString() };
    expect(await refusal(below, { ...SELF, spki: spkiOf(root.publicKey) }, { signer: middle })).toMatchObject(
      {
        reason: 'KEY_UNUSABLE',
        message: expect.stringContaining('its path length is 0'),
      },
    );
  });

  test.each([
    ['a path length that is not below the issuer’s', { ca: { pathLength: 1 } }, 'path length must be below'],
    ['no path length below a limited issuer', { ca: {} }, 'path length must be below'],
    ['no keyCertSign', { keyUsage: ['cRLSign'] as const }, 'needs keyCertSign'],
    ['no subject', { subject: {} }, 'a CA needs a subject'],
  ])('is refused with %s', async (_, more, problem) => {
    const profile = { ...ROOT, issuer: rootPem, possession: 'none' as const, ca: { pathLength: 0 }, ...more };
    const applicant = { ...SELF, spki: typedSigner('ES256').key.publicKey };
    expect((await refusal(profile, applicant)).message).toContain(problem);
  });

  test('is not made of a profile for others', async () => {
    expect(await refusal(web({ keyUsage: ['keyCertSign'] }), byCsr(csr('/CN=x', '')))).toMatchObject({
      reason: 'KEY_UNUSABLE',
    });
  });
});

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
    expect(await refusal(web(), byCsr(csr(subject, names)))).toMatchObject({ reason: 'REQUEST_INVALID' });
  });

  test.each([
    ['names under `**`', 'DNS:a.b.apps.example.org,DNS:a.apps.example.org'],
    ['a URI below a prefix', 'URI:https://example.org/services/a/b'],
    ['an exact URI', 'URI:urn:example:one'],
  ])('but not %s', async (_, names) => {
    expect(verified(await issue(root, web(), byCsr(csr('/CN=x', names))), rootPem)).toContain('OK');
  });

  test('a wildcard is fine where the profile says so', async () => {
    const leaf = await issue(root, web({ wildcards: true }), byCsr(csr('/CN=x', 'DNS:*.svc.example.org')));
    expect(leaf.subjectAltName).toBe('DNS:*.svc.example.org');
  });

  test('a longer life', async () => {
    expect(await refusal(web(), byCsr(csr('/CN=x', '')), { lifetimeSeconds: 30 * DAY + 1 })).toMatchObject({
      message: `the profile allows at most ${30 * DAY} seconds`,
    });
  });

  test('a bare key, where possession must be proven', async () => {
    const applicant = { ...SELF, spki: typedSigner('ES256').key.publicKey };
    expect((await refusal(web(), applicant)).message).toContain('wants a CSR');
    const leaf = await issue(root, web({ possession: 'none' }), {
      ...applicant,
      subject: [{ type: 'CN', value: 'x' }],
    });
    expect(verified(leaf, rootPem)).toContain('OK');
  });

  test.each(['', ' x', 'x ', 'a\u202eb', 'a\u0000b', 'e\u0301', 'x'.repeat(65)])(
    'the common name %j',
    async (value) => {
      const applicant = {
        ...SELF,
        spki: typedSigner('ES256').key.publicKey,
        subject: [{ type: 'CN', value }],
      };
      expect(await refusal(web({ possession: 'none' }), applicant)).toMatchObject({
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
      expect(await refusal(web({ possession: 'none' }), applicant)).toMatchObject({
        reason: 'REQUEST_INVALID',
      });
    }
  });
});

describe('keys that are not certified:', () => {
  const bare = (spki: Uint8Array) => refusal(web({ possession: 'none' }), { ...SELF, spki });
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
    expect((await bare(root.key.publicKey)).message).toContain('the one of the issuer');
  });

  test('anything behind the key', async () => {
    const spki = Buffer.concat([typedSigner('ES256').key.publicKey, Buffer.of(0)]);
    expect(await bare(spki)).toMatchObject({ reason: 'REQUEST_INVALID' });
  });

  test('an EC key for keyEncipherment', async () => {
    expect(
      (await refusal(web({ keyUsage: ['keyEncipherment'] }), byCsr(csr('/CN=x', '')))).message,
    ).toContain('keyEncipherment');
  });
});

describe('an issuer', () => {
  const applicant = (): Applicant => byCsr(csr('/CN=x', ''));

  test('that is not the key that signs is refused', async () => {
    expect(await refusal(web(), applicant(), { signer: typedSigner('ES256') })).toMatchObject({
      reason: 'KEY_UNUSABLE',
      message: expect.stringContaining('carries the key that signs'),
    });
  });

  test('with several certificates signs as the one of its key', async () => {
    const other = typedSigner('Ed25519');
    const otherPem = (await issue(other, { ...ROOT, subject: { CN: 'other' } }, SELF)).toString();
    const leaf = await issue(other, web({ issuer: rootPem + otherPem }), applicant());
    expect(verified(leaf, otherPem)).toContain('OK');
  });

  test('is not outlived', async () => {
    const short = (await issue(root, { ...ROOT, validity: { max: 60 } }, SELF)).toString();
    expect((await refusal(web({ issuer: short }), applicant(), { lifetimeSeconds: 61 })).message).toContain(
      'would outlive its issuer',
    );
  });

  test('that is over, or not yet there, does not issue', async () => {
    for (const now of [NOW + 3651 * DAY * 1000, NOW - 10_000]) {
      expect(await refusal(web(), applicant(), { now })).toMatchObject({ reason: 'KEY_UNUSABLE' });
    }
  });

  test.each([
    ['that is no CA', async () => (await issue(root, web(), applicant())).toString(), 'not one of a CA'],
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
    expect(await refusal(web({ issuer: await pem() }), applicant())).toMatchObject({
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
      path('ca.key'),
      '-out',
      path('ca.pem'),
      '-subj',
      '/C=DE/O=Théâtre/CN=by openssl/emailAddress=ca@example.org',
      '-days',
      '30',
      '-utf8',
      '-addext',
      'keyUsage=critical,keyCertSign',
    );
    const pem = readFileSync(path('ca.pem'), 'utf8');
    const foreign = new X509Certificate(pem);
    const profile = web({ issuer: pem });
    const now = Date.now();
    const request = certificateRequest(input(profile, applicant()), profile, now);
    const spki = spkiOf(foreign.publicKey);
    const built = await request.build({ ...root.key, publicKey: spki });
    const key = createPrivateKey(readFileSync(path('ca.key'), 'utf8'));
    const leaf = new X509Certificate(
      built.finish(sign('sha256', built.content.bytes, { key, dsaEncoding: 'ieee-p1363' })),
    );
    expect(leaf.issuer).toBe(foreign.subject);
    expect(leaf.checkIssued(foreign)).toBe(true);
    expect(verified(leaf, pem)).toContain('OK');
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
      ...['-keyout', path('issuer.key'), '-out', path('issuer.pem'), '-addext', extension],
    );
    return readFileSync(path('issuer.pem'), 'utf8');
  }
});

describe('a self-signed certificate', () => {
  test('verifies against itself', async () => {
    expect(verified(new X509Certificate(rootPem), rootPem)).toContain('OK');
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
    const certificate = await issue(root, profile, SELF);
    expect(certificate.ca).toBe(false);
    expect(certificate.verify(root.publicKey)).toBe(true);
    expect(await refusal({ ...profile, subject: {} }, SELF)).toMatchObject({ reason: 'REQUEST_INVALID' });
  });

  test('is of the key that signs, and of no other', async () => {
    expect(await refusal(ROOT, { ...SELF, spki: root.key.publicKey })).toMatchObject({
      reason: 'REQUEST_INVALID',
    });
    expect(await refusal(ROOT, byCsr(csr('/CN=x', '')))).toMatchObject({ reason: 'REQUEST_INVALID' });
    expect(certificateRequest(input(ROOT, SELF), ROOT, NOW).facts).toMatchObject({
      possession: 'self',
      ca: true,
      pathLength: 1n,
    });
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
    const profile = web(more);
    const failure = expect.objectContaining({
      reason: 'KEY_UNUSABLE',
      message: expect.stringMatching(/^the profile cannot be used: /),
    });
    expect(() => checkProfile(profile)).toThrow(problem);
    expect(() => checkProfile(profile)).toThrow(failure);
    expect(() => certificateRequest(input(profile, SELF), profile, NOW)).toThrow(failure);
  });

  test('is not one of these', () => {
    for (const profile of [ROOT, web(), web({ wildcards: true, possession: 'none' })]) checkProfile(profile);
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
