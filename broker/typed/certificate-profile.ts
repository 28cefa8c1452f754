/**
 * What a certificate may be. A profile stands in the policy under `certificateProfiles`, is named by the request,
 * and is what makes signing a certificate a decision of the policy's author and not of whoever wrote the CSR:
 * everything that the profile does not allow is refused, nothing is silently dropped but requested extensions
 * other than names, which are never the applicant's to choose.
 *
 * This is the shape after parsing: durations are seconds.
 */
export interface CertificateProfile {
  readonly id: string;
  /**
   * `self`, or certificates of the issuer, PEM, one after the other: the one that carries the public key which
   * signs is taken (a key that cannot be replicated is another one on every token).
   */
  readonly issuer: string;
  /**
   * Attributes of the subject that are allowed, in the order in which they will stand. A value without `*` is fixed:
   * it is put there when the request has none. With `*`, which stands for any characters, the request may leave it
   * out. Empty: only an empty subject.
   */
  readonly subject: { readonly [attribute in SubjectAttribute]?: string };
  /** What the request may name; a kind that is absent is refused. */
  readonly names: {
    /** `*` is one label, `**` one or more, each in the place of whole labels: `*.svc.example.org`. */
    readonly dns?: readonly string[];
    /**
     * `spiffe://…` as in rules: `*` is one segment of the path, `**` any number. Other schemes: the exact URI, or a
     * prefix that ends in `/*`.
     */
    readonly uri?: readonly string[];
    /** An exact address, or `*@` and a domain. */
    readonly email?: readonly string[];
    /** An address, or a block in CIDR notation. */
    readonly ip?: readonly string[];
  };
  /** Whether a DNS name that is itself a wildcard (`*.example.org`) may be certified. Default no. */
  readonly wildcards?: boolean;
  readonly validity: {
    /** Seconds; the longest that may be asked for. */
    readonly max: number;
    /** Seconds, for requests that do not say. Default: `max`. */
    readonly default?: number;
    /** Seconds by which `notBefore` is earlier than now, for clocks that run apart. Default 0; at most 3600. */
    readonly backdate?: number;
  };
  readonly keyUsage: readonly KeyUsageName[];
  /** Names of `EXTENDED_KEY_USAGES`, or object identifiers. */
  readonly extKeyUsage?: readonly string[];
  /** Present: a CA certificate. `pathLength` absent: no limit of its own. */
  readonly ca?: { readonly pathLength?: number };
  /**
   * `csr`: the applicant proves that it has the private key. `none`: a bare public key is taken as well; whoever asks
   * can then have somebody else's key certified. Default `csr`.
   */
  readonly possession?: 'csr' | 'none';
}

/** RFC 4519 short names. */
export const SUBJECT_ATTRIBUTES = {
  C: '2.5.4.6',
  ST: '2.5.4.8',
  L: '2.5.4.7',
  O: '2.5.4.10',
  OU: '2.5.4.11',
  CN: '2.5.4.3',
  serialNumber: '2.5.4.5',
} as const;
export type SubjectAttribute = keyof typeof SUBJECT_ATTRIBUTES;

/** RFC 5280, section 4.2.1.3; the numbers are those of the bits. */
export const KEY_USAGES = {
  digitalSignature: 0,
  nonRepudiation: 1,
  keyEncipherment: 2,
  dataEncipherment: 3,
  keyAgreement: 4,
  keyCertSign: 5,
  cRLSign: 6,
} as const;
export type KeyUsageName = keyof typeof KEY_USAGES;

/** RFC 5280, section 4.2.1.12. */
export const EXTENDED_KEY_USAGES: { readonly [name: string]: string } = {
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  codeSigning: '1.3.6.1.5.5.7.3.3',
  emailProtection: '1.3.6.1.5.5.7.3.4',
  timeStamping: '1.3.6.1.5.5.7.3.8',
  OCSPSigning: '1.3.6.1.5.5.7.3.9',
};
