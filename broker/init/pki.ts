import 'reflect-metadata';
import { createPrivateKey, createPublicKey, randomBytes, webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  type JsonGeneralName,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { parseSpiffeId } from '../../policy/spiffe-id.ts';

/**
 * The certificate authority of a development instance, and the X.509-SVIDs it issues.
 *
 * Its private key is a file: it is for one machine and for trying things out, and a production configuration
 * refuses it by its name. A real deployment takes SVIDs from its SPIFFE issuer and has nothing of this module,
 * which is why only `lastmile init` loads it.
 */

/** The CA's common name, by which a production configuration knows that a trust bundle is not for production. */
export const DEVELOPMENT_CA_NAME = 'Lastmile development CA';

const DAY_MS = 24 * 60 * 60 * 1000;
export const CA_LIFE_MS = 10 * 365 * DAY_MS;
export const SVID_LIFE_MS = 30 * DAY_MS;
/** A certificate is valid a little before it is made: clocks of virtual machines run apart. */
const BACKDATED_MS = 5 * 60 * 1000;

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNING_ALGORITHM = { name: 'ECDSA', hash: 'SHA-256' } as const;

export interface PemPair {
  readonly certificatePem: string;
  /** PKCS#8. */
  readonly keyPem: string;
}

export interface SvidRequest {
  readonly spiffeId: string;
  readonly dnsNames?: readonly string[] | undefined;
  readonly ipAddresses?: readonly string[] | undefined;
  /** PKCS#8 PEM of the key to certify again; a new one is made when it is absent. */
  readonly keyPem?: string | undefined;
}

/** Makes a CA for `trustDomain`, an EC P-256 key and a self-signed certificate of ten years. */
export async function createDevelopmentCa(trustDomain: string, now: number): Promise<PemPair> {
  const uri = parseSpiffeId(`spiffe://${trustDomain}`).id;
  const crypto = provider();
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: newSerialNumber(),
      name: [{ CN: [DEVELOPMENT_CA_NAME] }, { O: [trustDomain] }],
      notBefore: wholeSeconds(now - BACKDATED_MS),
      notAfter: wholeSeconds(now + CA_LIFE_MS),
      signingAlgorithm: SIGNING_ALGORITHM,
      keys,
      extensions: [
        // Leaves only: nobody can be made an intermediate CA.
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        new SubjectAlternativeNameExtension([{ type: 'url', value: uri }]),
        await SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    },
    crypto,
  );
  return { certificatePem: pem(certificate), keyPem: await exportKey(keys.privateKey) };
}

/**
 * Issues an X.509-SVID (SPIFFE X509-SVID.md, sections 2 to 4) that is valid for `SVID_LIFE_MS` from `now`, or as
 * long as the CA is, whichever is shorter.
 *
 * @throws SpiffeIdError when `spiffeId` is malformed; Error when it is not of the CA's trust domain or has no path
 */
export async function issueX509Svid(ca: PemPair, request: SvidRequest, now: number): Promise<PemPair> {
  const crypto = provider();
  const issuer = new X509Certificate(ca.certificatePem);
  const spiffeId = parseSpiffeId(request.spiffeId);
  if (spiffeId.segments.length === 0)
    throw new Error('an X.509-SVID for a workload needs a path in its SPIFFE ID');
  const trustDomain = trustDomainOf(issuer);
  if (spiffeId.trustDomain !== trustDomain) {
    throw new Error(`this CA issues for the trust domain ${trustDomain}, not ${spiffeId.trustDomain}`);
  }

  const names: JsonGeneralName[] = [
    { type: 'url', value: spiffeId.id },
    ...(request.dnsNames ?? []).map((value): JsonGeneralName => ({ type: 'dns', value })),
    ...(request.ipAddresses ?? []).map((value): JsonGeneralName => ({ type: 'ip', value })),
  ];
  const keys = request.keyPem === undefined ? await newKeyPair() : await keyPair(request.keyPem);
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
    new SubjectAlternativeNameExtension(names),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
    await AuthorityKeyIdentifierExtension.create(issuer.publicKey),
  ];
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: newSerialNumber(),
      subject: [{ O: [trustDomain] }, { CN: [spiffeId.segments.at(-1) ?? trustDomain] }],
      issuer: issuer.subjectName,
      notBefore: wholeSeconds(now - BACKDATED_MS),
      notAfter: wholeSeconds(Math.min(now + SVID_LIFE_MS, issuer.notAfter.getTime())),
      signingAlgorithm: SIGNING_ALGORITHM,
      publicKey: keys.publicKey,
      signingKey: await importPrivateKey(ca.keyPem),
      extensions,
    },
    crypto,
  );
  return { certificatePem: pem(certificate), keyPem: await exportKey(keys.privateKey) };
}

/** What `issueX509Svid` needs to issue this certificate anew. */
export function describeSvid(certificatePem: string): Required<Omit<SvidRequest, 'keyPem'>> {
  const names =
    new X509Certificate(certificatePem).getExtension(SubjectAlternativeNameExtension)?.names.items ?? [];
  const of = (type: 'url' | 'dns' | 'ip'): string[] =>
    names.filter((name) => name.type === type).map((name) => name.value);
  const [spiffeId, ...others] = of('url');
  if (spiffeId === undefined || others.length > 0)
    throw new Error('not an X.509-SVID: it must have exactly one URI SAN');
  return { spiffeId, dnsNames: of('dns'), ipAddresses: of('ip') };
}

function trustDomainOf(ca: X509Certificate): string {
  const names = ca.getExtension(SubjectAlternativeNameExtension)?.names.items ?? [];
  const uri = names.find((name) => name.type === 'url')?.value;
  if (uri === undefined) throw new Error('the CA certificate names no trust domain');
  return parseSpiffeId(uri).trustDomain;
}

function provider(): Crypto {
  const crypto = webcrypto as unknown as Crypto;
  cryptoProvider.set(crypto);
  return crypto;
}

async function newKeyPair(): Promise<CryptoKeyPair> {
  return await provider().subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function keyPair(keyPem: string): Promise<CryptoKeyPair> {
  const spki = createPublicKey(createPrivateKey(keyPem)).export({ type: 'spki', format: 'der' });
  return {
    privateKey: await importPrivateKey(keyPem),
    publicKey: await provider().subtle.importKey('spki', new Uint8Array(spki), ALGORITHM, true, ['verify']),
  };
}

async function importPrivateKey(keyPem: string): Promise<CryptoKey> {
  const der = createPrivateKey(keyPem).export({ type: 'pkcs8', format: 'der' });
  return await provider().subtle.importKey('pkcs8', new Uint8Array(der), ALGORITHM, true, ['sign']);
}

async function exportKey(key: CryptoKey): Promise<string> {
  const der = Buffer.from(await provider().subtle.exportKey('pkcs8', key));
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    .export({ type: 'pkcs8', format: 'pem' })
    .toString();
}

function pem(certificate: X509Certificate): string {
  return `${certificate.toString('pem').trimEnd()}\n`;
}

/** 127 bits from a CSPRNG, positive and not zero (RFC 5280, section 4.1.2.2). */
function newSerialNumber(): string {
  const bytes = randomBytes(16);
  bytes.writeUInt8((bytes.readUInt8(0) & 0x7f) | 0x40, 0);
  return bytes.toString('hex');
}

/** X.509 times have no fractions. */
function wholeSeconds(ms: number): Date {
  return new Date(Math.floor(ms / 1000) * 1000);
}
