import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
x509.cryptoProvider.set(webcrypto as unknown as Crypto);

export interface IssuedPem {
  readonly certificate: string;
  readonly key: string;
}

/** A small real CA that makes X.509-SVIDs of one trust domain, right ones and wrong ones. */
export class SvidIssuer {
  readonly certificate: string;
  readonly #certificate: x509.X509Certificate;
  readonly #keys: CryptoKeyPair;
  #serial = 1;

  private constructor(certificate: x509.X509Certificate, keys: CryptoKeyPair) {
    this.#certificate = certificate;
    this.#keys = keys;
    this.certificate = certificate.toString('pem');
  }

  static async create(trustDomain: string = 'example.org'): Promise<SvidIssuer> {
    const keys = (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as CryptoKeyPair;
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: 'CN=SPIFFE test CA',
      notBefore: new Date(Date.now() - 86_400_000),
      notAfter: new Date(Date.now() + 86_400_000),
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new SvidIssuer(certificate, keys);
  }

  /** @param names one SPIFFE ID, or every SAN that the certificate shall have */
  async issue(
    names: x509.JsonGeneralNames | string,
    options: { notBefore?: Date; notAfter?: Date } = {},
  ): Promise<IssuedPem> {
    const keys = (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as CryptoKeyPair;
    const san = typeof names === 'string' ? [{ type: 'url' as const, value: names }] : names;
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: (++this.#serial).toString(16).padStart(4, '0'),
      subject: 'O=test',
      issuer: this.#certificate.subject,
      notBefore: options.notBefore ?? new Date(Date.now() - 60_000),
      notAfter: options.notAfter ?? new Date(Date.now() + 3_600_000),
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([
          x509.ExtendedKeyUsage.serverAuth,
          x509.ExtendedKeyUsage.clientAuth,
        ]),
        new x509.SubjectAlternativeNameExtension(san),
        await x509.AuthorityKeyIdentifierExtension.create(this.#certificate),
      ],
    });
    const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
    return { certificate: certificate.toString('pem'), key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY') };
  }
}

/** Writes what a workload finds on disk, and returns where. */
export function writeSvidFiles(
  directory: string,
  svid: IssuedPem,
  trustBundle: string,
): { certificateFile: string; keyFile: string; trustBundleFile: string } {
  const files = {
    certificateFile: join(directory, 'svid.pem'),
    keyFile: join(directory, 'svid.key'),
    trustBundleFile: join(directory, 'bundle.pem'),
  };
  writeFileSync(files.certificateFile, svid.certificate);
  writeFileSync(files.keyFile, svid.key, { mode: 0o600 });
  writeFileSync(files.trustBundleFile, trustBundle);
  return files;
}
