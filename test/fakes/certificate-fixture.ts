import { execFileSync } from 'node:child_process';
import { type KeyObject, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failure, type Reason } from '../../broker/keyuse/failure.ts';
import type { CertificateProfile } from '../../broker/typed/certificate-profile.ts';
import {
  type Applicant,
  type CertificateInput,
  certificateRequest,
} from '../../broker/typed/sign-certificate.ts';
import { type TypedSigner, typedSigner } from './typed-signer.ts';

export const DAY = 86_400;
type BareKey = Extract<Applicant, { readonly kind: 'public-key' }>;
export const NONE: BareKey['names'] = { dns: [], uri: [], email: [], ip: [] };
export const SELF: BareKey = { kind: 'public-key', spki: new Uint8Array(), subject: [], names: NONE };
/** When a certificate is asked for, unless a test says otherwise: the moment at which the root begins. */
export const NOW: number = Date.now();

export const ROOT: CertificateProfile = {
  id: 'root',
  issuer: 'self',
  subject: { C: 'DE', O: 'Example', CN: 'Example root' },
  names: {},
  validity: { max: 3650 * DAY },
  keyUsage: ['keyCertSign', 'cRLSign'],
  ca: { pathLength: 1 },
};

export function input(
  profile: CertificateProfile,
  applicant: Applicant,
  lifetimeSeconds = 0,
): CertificateInput {
  return { key: 'ca', version: 0, algorithm: '', profile: profile.id, applicant, lifetimeSeconds };
}

export async function issue(
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

export function openssl(...args: readonly string[]): string {
  return execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

export const byCsr = (der: Uint8Array): Applicant => ({ kind: 'csr', der });
export const spkiOf = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'spki' });

/** A root that signs in memory, and OpenSSL's command line, which makes the CSRs and judges the certificates. */
export class CertificateFixture {
  readonly #scratch = mkdtempSync(join(tmpdir(), 'lastmile-x509-'));
  readonly root: TypedSigner;
  /** The certificate of `root` for itself. */
  readonly rootPem: string;

  private constructor(root: TypedSigner, rootPem: string) {
    this.root = root;
    this.rootPem = rootPem;
  }

  static async make(): Promise<CertificateFixture> {
    const root = typedSigner('ES256');
    return new CertificateFixture(root, (await issue(root, ROOT, SELF)).toString());
  }

  close(): void {
    rmSync(this.#scratch, { recursive: true, force: true });
  }

  path(name: string): string {
    return join(this.#scratch, name);
  }

  /** A profile below the root with names of every kind; its patterns are what refusals of names are about. */
  web(more: Partial<CertificateProfile> = {}): CertificateProfile {
    return {
      id: 'web',
      issuer: this.rootPem,
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
    };
  }

  /** What it is refused by: a test that expects a refusal fails without one. */
  async refusal(
    profile: CertificateProfile,
    applicant: Applicant,
    more: { lifetimeSeconds?: number; signer?: TypedSigner; now?: number } = {},
  ): Promise<{ reason: Reason; message: string }> {
    try {
      await issue(more.signer ?? this.root, profile, applicant, more.lifetimeSeconds, more.now);
    } catch (error) {
      if (error instanceof Failure) return { reason: error.reason, message: error.message };
      throw error;
    }
    throw new Error('a certificate was signed');
  }

  /** What openssl says of a chain; throws when it does not verify. Leaves the leaf in `leaf.pem`. */
  verified(leaf: X509Certificate, rootText: string, between: readonly X509Certificate[] = []): string {
    writeFileSync(this.path('root.pem'), rootText);
    writeFileSync(this.path('leaf.pem'), leaf.toString());
    writeFileSync(this.path('between.pem'), between.map(String).join(''));
    const untrusted = between.length === 0 ? [] : ['-untrusted', this.path('between.pem')];
    return openssl(
      'verify',
      '-x509_strict',
      '-CAfile',
      this.path('root.pem'),
      ...untrusted,
      this.path('leaf.pem'),
    );
  }

  /** A CSR as openssl makes it, DER, which it leaves in `csr.der`. */
  csr(
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
      this.path('key.pem'),
      '-subj',
      subject,
      ...(names === '' ? [] : ['-addext', `subjectAltName=${names}`]),
      '-outform',
      'DER',
      '-out',
      this.path('csr.der'),
    );
    return readFileSync(this.path('csr.der'));
  }
}
