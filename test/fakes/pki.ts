import 'reflect-metadata';
import { AsnConvert } from '@peculiar/asn1-schema';
import {
  BasicConstraints,
  GeneralName,
  GeneralSubtree,
  GeneralSubtrees,
  NameConstraints,
  SubjectAlternativeName,
} from '@peculiar/asn1-x509';
import * as x509 from '@peculiar/x509';

/**
 * A certificate authority for tests: issues good X.509-SVIDs, and bad ones in any way that a test can name.
 * Keys are made anew each time and are worth nothing.
 */
export interface TestPki extends TestAuthority {
  readonly trustDomain: string;
  /** The root, for a trust bundle. */
  readonly rootPem: string;
}

export interface TestAuthority {
  /** This authority's own certificate, PEM. */
  readonly certificatePem: string;
  issue(options: IssueOptions): Promise<IssuedSvid>;
  intermediate(options?: AuthorityOptions): Promise<TestAuthority>;
}

export interface IssuedSvid {
  /** The leaf, then the intermediates. */
  readonly certificatePem: string;
  /** PKCS#8. */
  readonly keyPem: string;
  /** DER, leaf first, without the root. */
  readonly chain: readonly Buffer[];
}

export type TestKey = 'P-256' | 'P-384' | 'P-521' | 'RSA-1024' | 'RSA-2048' | 'Ed25519';

interface Common {
  /** One hour ago when absent. */
  readonly notBefore?: Date | undefined;
  /** One hour ahead when absent. */
  readonly notAfter?: Date | undefined;
  readonly key?: TestKey | undefined;
  readonly hash?: 'SHA-1' | 'SHA-256' | 'SHA-384' | 'SHA-512' | undefined;
  /** X.500 name, such as `CN=x`; empty for none. */
  readonly subject?: string | undefined;
  readonly extraExtensions?: readonly x509.Extension[] | undefined;
  /** `null`: no such extension. */
  readonly keyUsage?: x509.KeyUsageFlags | null | undefined;
  readonly keyUsageCritical?: boolean | undefined;
  readonly extendedKeyUsage?: readonly string[] | null | undefined;
}

export interface IssueOptions extends Common {
  readonly spiffeId?: string | undefined;
  /** Instead of `spiffeId`: all URI names, as they are. */
  readonly uris?: readonly string[] | undefined;
  readonly dnsNames?: readonly string[] | undefined;
  readonly emails?: readonly string[] | undefined;
  /** SubjectPublicKeyInfo, DER, of a kind that `key` does not make; `keyPem` is then of no use. */
  readonly publicKey?: Uint8Array<ArrayBuffer> | undefined;
  readonly isCa?: boolean | undefined;
  readonly selfSigned?: boolean | undefined;
  readonly alternativeNamesCritical?: boolean | undefined;
}

export interface AuthorityOptions extends Common {
  readonly isCa?: boolean | undefined;
  readonly pathLength?: number | undefined;
  readonly permittedUris?: readonly string[] | undefined;
  readonly excludedUris?: readonly string[] | undefined;
  readonly permittedDns?: readonly string[] | undefined;
  readonly excludedDns?: readonly string[] | undefined;
  readonly permittedEmails?: readonly string[] | undefined;
}

const HOUR_MS = 3_600_000;
const { digitalSignature, keyCertSign, cRLSign } = x509.KeyUsageFlags;
const BOTH_USAGES = [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth];

export async function createTestPki(
  options: { readonly trustDomain: string } & AuthorityOptions,
): Promise<TestPki> {
  const keys = await generateKeys(options.key ?? 'P-256');
  const name = options.subject ?? `CN=root of ${options.trustDomain}`;
  const root = await x509.X509CertificateGenerator.create({
    ...validity(options),
    serialNumber: serial(),
    subject: name,
    issuer: name,
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    signingAlgorithm: signing(keys, options.hash),
    extensions: await authorityExtensions(options, keys),
  });
  const authority = new Authority(root, keys, []);
  return Object.assign(authority, { trustDomain: options.trustDomain, rootPem: pem(root) });
}

class Authority implements TestAuthority {
  readonly certificatePem: string;
  readonly #certificate: x509.X509Certificate;
  readonly #keys: CryptoKeyPair;
  /** From this authority up, without the root. */
  readonly #chain: readonly x509.X509Certificate[];

  constructor(
    certificate: x509.X509Certificate,
    keys: CryptoKeyPair,
    chain: readonly x509.X509Certificate[],
  ) {
    this.certificatePem = pem(certificate);
    this.#certificate = certificate;
    this.#keys = keys;
    this.#chain = chain;
  }

  async issue(options: IssueOptions): Promise<IssuedSvid> {
    const keys = await generateKeys(options.key ?? 'P-256');
    const signer = options.selfSigned === true ? keys : this.#keys;
    const subject = options.subject ?? 'CN=workload';
    const leaf = await x509.X509CertificateGenerator.create({
      ...validity(options),
      serialNumber: serial(),
      subject,
      issuer: options.selfSigned === true ? subject : this.#certificate.subject,
      publicKey: options.publicKey === undefined ? keys.publicKey : new x509.PublicKey(options.publicKey),
      signingKey: signer.privateKey,
      signingAlgorithm: signing(signer, options.hash),
      extensions: leafExtensions(options),
    });
    const chain = options.selfSigned === true ? [leaf] : [leaf, ...this.#chain];
    return {
      certificatePem: chain.map(pem).join(''),
      keyPem: x509.PemConverter.encode(
        await crypto.subtle.exportKey('pkcs8', keys.privateKey),
        'PRIVATE KEY',
      ),
      chain: chain.map((certificate) => Buffer.from(certificate.rawData)),
    };
  }

  async intermediate(options: AuthorityOptions = {}): Promise<TestAuthority> {
    const keys = await generateKeys(options.key ?? 'P-256');
    const certificate = await x509.X509CertificateGenerator.create({
      ...validity(options),
      serialNumber: serial(),
      subject: options.subject ?? `CN=intermediate ${serial()}`,
      issuer: this.#certificate.subject,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: signing(this.#keys, options.hash),
      extensions: await authorityExtensions(options, keys),
    });
    return new Authority(certificate, keys, [certificate, ...this.#chain]);
  }
}

function leafExtensions(options: IssueOptions): x509.Extension[] {
  const uris = options.uris ?? (options.spiffeId === undefined ? [] : [options.spiffeId]);
  const names = [
    ...uris.map((uniformResourceIdentifier) => new GeneralName({ uniformResourceIdentifier })),
    ...(options.dnsNames ?? []).map((dNSName) => new GeneralName({ dNSName })),
    ...(options.emails ?? []).map((rfc822Name) => new GeneralName({ rfc822Name })),
  ];
  return [
    ...usageExtensions(options, digitalSignature, BOTH_USAGES),
    extension(new BasicConstraints({ cA: options.isCa === true }), '2.5.29.19', true),
    ...(names.length === 0
      ? []
      : [
          extension(
            new SubjectAlternativeName(names),
            '2.5.29.17',
            options.alternativeNamesCritical ?? options.subject === '',
          ),
        ]),
    ...(options.extraExtensions ?? []),
  ];
}

async function authorityExtensions(
  options: AuthorityOptions,
  keys: CryptoKeyPair,
): Promise<x509.Extension[]> {
  const { isCa = true, pathLength } = options;
  const subtrees = (
    uris: readonly string[] = [],
    dns: readonly string[] = [],
    emails: readonly string[] = [],
  ) => {
    const bases = [
      ...uris.map((uniformResourceIdentifier) => new GeneralName({ uniformResourceIdentifier })),
      ...dns.map((dNSName) => new GeneralName({ dNSName })),
      ...emails.map((rfc822Name) => new GeneralName({ rfc822Name })),
    ];
    return bases.length === 0
      ? undefined
      : new GeneralSubtrees(bases.map((base) => new GeneralSubtree({ base })));
  };
  const permittedSubtrees = subtrees(options.permittedUris, options.permittedDns, options.permittedEmails);
  const excludedSubtrees = subtrees(options.excludedUris, options.excludedDns);
  return [
    ...usageExtensions(options, keyCertSign | cRLSign, null),
    extension(
      new BasicConstraints({
        cA: isCa,
        ...(pathLength === undefined ? {} : { pathLenConstraint: pathLength }),
      }),
      '2.5.29.19',
      true,
    ),
    await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ...(permittedSubtrees === undefined && excludedSubtrees === undefined
      ? []
      : [
          extension(
            new NameConstraints({
              ...(permittedSubtrees && { permittedSubtrees }),
              ...(excludedSubtrees && { excludedSubtrees }),
            }),
            '2.5.29.30',
            true,
          ),
        ]),
    ...(options.extraExtensions ?? []),
  ];
}

function usageExtensions(
  options: Common,
  usage: x509.KeyUsageFlags,
  extended: readonly string[] | null,
): x509.Extension[] {
  const { keyUsage = usage, extendedKeyUsage = extended, keyUsageCritical = true } = options;
  return [
    ...(keyUsage === null ? [] : [new x509.KeyUsagesExtension(keyUsage, keyUsageCritical)]),
    ...(extendedKeyUsage === null ? [] : [new x509.ExtendedKeyUsageExtension([...extendedKeyUsage])]),
  ];
}

function extension(value: object, oid: string, critical: boolean): x509.Extension {
  return new x509.Extension(oid, critical, AsnConvert.serialize(value));
}

function validity(options: Common): { notBefore: Date; notAfter: Date } {
  return {
    notBefore: options.notBefore ?? new Date(Date.now() - HOUR_MS),
    notAfter: options.notAfter ?? new Date(Date.now() + HOUR_MS),
  };
}

function serial(): string {
  const bytes = crypto.getRandomValues(Buffer.alloc(8));
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return bytes.toString('hex');
}

function pem(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}

async function generateKeys(key: TestKey): Promise<CryptoKeyPair> {
  const usages: KeyUsage[] = ['sign', 'verify'];
  switch (key) {
    case 'P-256':
    case 'P-384':
    case 'P-521':
      return crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: key }, true, usages);
    case 'Ed25519':
      return (await crypto.subtle.generateKey({ name: 'Ed25519' }, true, usages)) as CryptoKeyPair;
    case 'RSA-1024':
    case 'RSA-2048':
      return crypto.subtle.generateKey(
        {
          name: 'RSASSA-PKCS1-v1_5',
          modulusLength: Number(key.slice(4)),
          publicExponent: new Uint8Array([1, 0, 1]),
          hash: 'SHA-256',
        },
        true,
        usages,
      );
    default:
      return key satisfies never;
  }
}

function signing(keys: CryptoKeyPair, hash: string | undefined): EcdsaParams | Algorithm {
  const { name } = keys.privateKey.algorithm;
  return name === 'Ed25519' ? { name } : { name, hash: hash ?? 'SHA-256' };
}
