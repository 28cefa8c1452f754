import { execFileSync } from 'node:child_process';
import { createHash, createPublicKey, verify, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dsse } from '@sigstore/core';
import { createLocalJWKSet, decodeJwt, type JWK, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LastmileClient } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, runLastmile, startInstance } from '../../fakes/instance.ts';
import { entries, operator, PAYMENTS, refusal, workload } from '../../fakes/instance-clients.ts';

/** Typed signing by a whole broker on SoftHSM2, under rules about content, judged by jose, openssl and sigstore. */

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);
const STATEMENT = {
  _type: 'https://in-toto.io/Statement/v1',
  subject: [{ name: 'app', digest: { sha256: A } }],
  predicateType: 'https://slsa.dev/provenance/v1',
  predicate: {},
};

const RULES = `
  - id: mints-for-the-bank
    workloads: ["${PAYMENTS}"]
    keys: [typed/jwt, typed/edjwt]
    operations: [sign-jwt]
    when: 'request.jwt.aud == ["https://bank.example"] && request.jwt.lifetime <= duration("15m")'
  - id: reads-its-keys
    workloads: ["${PAYMENTS}"]
    keys: ["typed/*"]
    operations: [verify]
  - id: would-sign-raw
    workloads: ["${PAYMENTS}"]
    keys: [typed/jwt]
    operations: [sign]
  - id: attests-once
    workloads: ["${PAYMENTS}"]
    keys: [typed/dsse]
    operations: [sign-dsse]
    when: 'request.dsse.predicateType == "https://slsa.dev/provenance/v1"'
    guards: [{ unique: request.dsse.subject }]
  - id: counts-up
    workloads: ["${PAYMENTS}"]
    keys: [typed/seq]
    operations: [sign-jwt]
    guards: [{ monotonic: request.jwt.seq }]
  - id: certifies
    workloads: ["${PAYMENTS}"]
    keys: [typed/ca]
    operations: [sign-certificate]
    when: 'request.x509.ca || request.x509.dns.all(name, name.startsWith("api."))'
`;

const PROFILES = (issuer: string): string => `
certificateProfiles:
  - id: root
    issuer: self
    subject: { O: Example, CN: Example root }
    validity: { max: 3650d }
    keyUsage: [keyCertSign, cRLSign]
    ca: { pathLength: 0 }
  - id: web
    issuer: ${JSON.stringify(issuer)}
    subject: { O: Example, CN: "*" }
    names: { dns: ["*.svc.example.org"], uri: ["spiffe://example.org/ns/*/sa/*"] }
    validity: { max: 30d, default: 1d }
    keyUsage: [digitalSignature]
    extKeyUsage: [serverAuth, clientAuth]
`;

let instance: RunningInstance;
let admin: OperatorClient;
let client: LastmileClient;
let scratch: string;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'lastmile-typed-'));
  instance = await startInstance({
    prepare: (directory) => appendFile(join(directory, 'policy.yaml'), RULES + PROFILES('self')),
  });
  admin = await operator(instance);
  client = await workload(instance, 'payments');
  const keys = [
    ['typed/jwt', 'ES256'],
    ['typed/edjwt', 'Ed25519'],
    ['typed/seq', 'ES256'],
    ['typed/dsse', 'ES256'],
    ['typed/ca', 'ES384'],
  ] as const;
  for (const [key, algorithm] of keys) {
    await admin.admin('CreateKey', { key, purpose: 'sign', algorithms: [algorithm] });
  }
});

afterAll(async () => {
  client?.close();
  admin?.close();
  await instance?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

const claims = (more: object = {}) => ({ iss: 'https://pay.example', aud: 'https://bank.example', ...more });

describe('a JWT', () => {
  it.each(['typed/jwt', 'typed/edjwt'])('of %s is verified by jose, with the published keys', async (key) => {
    const { jwk, otherJwks } = await client.getPublicKey({ key });
    const published = createLocalJWKSet({ keys: [jwk, ...otherJwks] as JWK[] });
    for (let i = 0; i < 4; i++) {
      const { jwt } = await client.signJwt({ key, claims: claims({ i }), lifetimeSeconds: 60 });
      const { payload } = await jwtVerify(jwt, published, { audience: 'https://bank.example', typ: 'JWT' });
      expect(payload).toMatchObject({ iss: 'https://pay.example', i });
      expect(payload.exp! - payload.iat!).toBe(60);
      expect(Math.abs(payload.iat! - Date.now() / 1000)).toBeLessThan(60);
    }
  });

  it('is signed under a rule about what it says, and no other', async () => {
    const key = 'typed/jwt';
    for (const input of [
      { claims: claims({ aud: 'https://elsewhere.example' }), lifetimeSeconds: 60 },
      { claims: claims({ aud: ['https://bank.example', 'https://elsewhere.example'] }), lifetimeSeconds: 60 },
      { claims: { iss: 'https://pay.example' }, lifetimeSeconds: 60 },
      { claims: claims(), lifetimeSeconds: 901 },
    ]) {
      expect(await refusal(client.signJwt({ key, ...input }))).toMatchObject({
        reason: 'POLICY_DENIED',
        performed: 'no',
      });
    }
    await client.signJwt({ key, claims: claims({ aud: ['https://bank.example'] }), lifetimeSeconds: 900 });
  });

  it('is on record by the digest of what was signed', async () => {
    const { jwt, log } = await client.signJwt({ key: 'typed/jwt', claims: claims(), lifetimeSeconds: 5 });
    const found = (await entries(admin, { key: 'typed/jwt', operation: 'sign-jwt' })).find(
      ({ leaf }) => leaf === log.leafIndex,
    );
    const signed = jwt.slice(0, jwt.lastIndexOf('.'));
    expect(found).toMatchObject({
      subject: PAYMENTS,
      decision: 'allow',
      rule: 'mints-for-the-bank',
      performed: 'yes',
      input: {
        kind: 'message',
        bytes: signed.length,
        sha256: createHash('sha256').update(signed).digest('base64url'),
      },
      output: { kind: 'signature', bytes: 64 },
    });
  });

  it('cannot be forged around the broker: a key of a typed rule takes nothing raw', async () => {
    const message = Buffer.from('eyJhbGciOiJFUzI1NiJ9.e30');
    const digest = createHash('sha256').update(message).digest();
    for (const content of [{ message }, { digest }]) {
      expect(await refusal(client.sign({ key: 'typed/jwt', algorithm: 'ES256', ...content }))).toMatchObject({
        performed: 'no',
      });
    }
  });

  it('that cannot be made is refused, on record, and only explained to who may ask', async () => {
    const bad = { claims: { ...claims(), exp: 5 }, lifetimeSeconds: 5 };
    expect(await refusal(client.signJwt({ key: 'typed/jwt', ...bad }))).toMatchObject({
      reason: 'REQUEST_INVALID',
      performed: 'no',
      message: expect.stringContaining('`exp`'),
    });
    const stranger = await workload(instance, 'billing');
    try {
      const good = { claims: claims(), lifetimeSeconds: 5 };
      for (const key of ['typed/jwt', 'typed/none']) {
        expect(await refusal(stranger.signJwt({ key, ...good }))).toMatchObject({ reason: 'POLICY_DENIED' });
      }
    } finally {
      stranger.close();
    }
    const denied = await entries(admin, { key: 'typed/jwt', operation: 'sign-jwt', decision: 'deny' });
    expect(denied.map(({ reason }) => reason)).toContain('REQUEST_INVALID');
  });

  it('counts up where a rule says so', async () => {
    const mint = (seq: number) => client.signJwt({ key: 'typed/seq', claims: { seq }, lifetimeSeconds: 5 });
    expect(decodeJwt((await mint(1)).jwt)).toMatchObject({ seq: 1 });
    await mint(3);
    for (const seq of [3, 2, -1]) expect(await refusal(mint(seq))).toMatchObject({ performed: 'no' });
    await mint(4);
  });
});

describe('a DSSE envelope', () => {
  const sign = (statement: object) =>
    client.signDsse({
      key: 'typed/dsse',
      payloadType: 'application/vnd.in-toto+json',
      payload: { ...statement },
    });

  it('verifies over what sigstore says is signed', async () => {
    const { envelope } = await sign(STATEMENT);
    const { payloadType, payload, signatures } = JSON.parse(Buffer.from(envelope).toString('utf8')) as {
      payloadType: string;
      payload: string;
      signatures: [{ keyid: string; sig: string }];
    };
    const { pem, kid } = await client.getPublicKey({ key: 'typed/dsse' });
    const signed = dsse.preAuthEncoding(payloadType, Buffer.from(payload, 'base64'));
    const [{ keyid, sig }] = signatures;
    expect(keyid).toBe(kid);
    expect(verify('sha256', signed, createPublicKey(pem), Buffer.from(sig, 'base64'))).toBe(true);
  });

  it('about one artifact is signed once', async () => {
    const again = { ...STATEMENT, subject: [{ name: 'other name', digest: { sha256: A } }] };
    expect(await refusal(sign(again))).toMatchObject({ performed: 'no' });
    await sign({ ...STATEMENT, subject: [{ name: 'app', digest: { sha256: B } }] });
  });

  it('of another predicate, or of no statement, is not signed', async () => {
    const other = { ...STATEMENT, predicateType: 'https://example.org/other' };
    expect(await refusal(sign(other))).toMatchObject({ reason: 'POLICY_DENIED' });
    const plain = client.signDsse({ key: 'typed/dsse', payloadType: 'text/plain', payload: 'x' });
    expect(await refusal(plain)).toMatchObject({ reason: 'POLICY_DENIED' });
  });
});

describe('certificates', () => {
  let rootPem: string;
  const csr = (subject: string, names: string): Buffer => {
    execFileSync(
      'openssl',
      [
        ...['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
        ...['-keyout', join(scratch, 'leaf.key'), '-subj', subject, '-addext', `subjectAltName=${names}`],
        ...['-out', join(scratch, 'leaf.csr')],
      ],
      { stdio: 'pipe' },
    );
    return readFileSync(join(scratch, 'leaf.csr'));
  };
  const certify = (names: string) =>
    client.signCertificate({ key: 'typed/ca', profile: 'web', csr: csr('/CN=api', names).toString() });

  it('begin with a root that signs itself', async () => {
    const { pem, certificate } = await client.signCertificate({
      key: 'typed/ca',
      profile: 'root',
      publicKey: 'self',
    });
    const root = new X509Certificate(certificate);
    const { pem: published } = await client.getPublicKey({ key: 'typed/ca' });
    expect(root.publicKey.equals(createPublicKey(published))).toBe(true);
    expect(root.verify(root.publicKey)).toBe(true);
    rootPem = pem;
    writeFileSync(join(scratch, 'root.pem'), pem);
  });

  it('are issued below it, within their profile and under a rule, as openssl verifies', async () => {
    const policy = join(instance.directory, 'policy.yaml');
    const text = await readFile(policy, 'utf8');
    await writeFile(policy, text.slice(0, text.indexOf('\ncertificateProfiles:')) + PROFILES(rootPem));
    await admin.admin('ReloadPolicy', {});
    const { pem } = await certify('DNS:api.svc.example.org');
    writeFileSync(join(scratch, 'leaf.pem'), pem);
    const verified = execFileSync(
      'openssl',
      [
        'verify',
        '-x509_strict',
        '-purpose',
        'sslserver',
        '-CAfile',
        join(scratch, 'root.pem'),
        join(scratch, 'leaf.pem'),
      ],
      { encoding: 'utf8' },
    );
    expect(verified).toContain('OK');
    expect(await refusal(certify('DNS:web.svc.example.org'))).toMatchObject({ reason: 'POLICY_DENIED' });
    expect(await refusal(certify('DNS:api.example.com'))).toMatchObject({
      reason: 'REQUEST_INVALID',
      message: 'the profile does not allow the DNS name api.example.com',
    });
  });

  it('come from the command line as well', async () => {
    csr('/CN=api', 'DNS:api.svc.example.org');
    const printed = await runLastmile([
      ...['sign-certificate', 'typed/ca', join(scratch, 'leaf.csr'), '--profile', 'web', '--lifetime', '1h'],
      ...['--instance', instance.directory, '--as', 'payments'],
    ]);
    const leaf = new X509Certificate(printed);
    expect(leaf.subjectAltName).toBe('DNS:api.svc.example.org');
    expect(leaf.checkIssued(new X509Certificate(rootPem))).toBe(true);
  });

  it('of a profile that is not there are refused, and nobody else learns which there are', async () => {
    const wanted = { key: 'typed/ca', publicKey: 'self' } as const;
    expect(await refusal(client.signCertificate({ ...wanted, profile: 'none' }))).toMatchObject({
      reason: 'REQUEST_INVALID',
    });
    const stranger = await workload(instance, 'billing');
    try {
      for (const profile of ['none', 'root', 'web']) {
        expect(await refusal(stranger.signCertificate({ ...wanted, profile }))).toMatchObject({
          reason: 'POLICY_DENIED',
        });
      }
    } finally {
      stranger.close();
    }
  });
});
