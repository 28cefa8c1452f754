import type { SignCertificateRequest } from '../proto/gen/lastmile/v1/SignCertificateRequest.ts';
import type { SignDsseRequest } from '../proto/gen/lastmile/v1/SignDsseRequest.ts';
import type { SignJwtRequest } from '../proto/gen/lastmile/v1/SignJwtRequest.ts';
import { LastmileError } from './errors.ts';

/** Typed signing: the broker builds what is signed, and rules look at what it says. */

interface TypedKey {
  readonly key: string;
  /** Pins a version; the active one otherwise. */
  readonly version?: number;
  /** JOSE name; needed only where the key has more than one. */
  readonly algorithm?: string;
}

export type SignJwtInput = TypedKey & {
  /** Without `iat`, `exp`, `nbf` and `jti`, which the broker writes. At most 16 KiB; bytes are JSON, UTF-8. */
  readonly claims: Readonly<Record<string, unknown>> | Uint8Array;
  /** From `iat` to `exp`: 1 second to 366 days. */
  readonly lifetimeSeconds: number;
  /** Header parameter `typ`, such as `at+jwt`; default `JWT`. */
  readonly type?: string;
};

/** Whom to certify: a CSR that proves possession of its key, or a bare key where the profile takes one. */
export type CertificateApplicant =
  | {
      /** PKCS#10: DER, or PEM as text. */
      readonly csr: Uint8Array | string;
      readonly publicKey?: never;
    }
  | {
      readonly csr?: never;
      /** SubjectPublicKeyInfo: DER, or PEM as text; `self` for the key that signs. */
      readonly publicKey: Uint8Array | string;
      /** Such as `[{type: 'CN', value: 'api'}]`. */
      readonly subject?: readonly { readonly type: string; readonly value: string }[];
      readonly dnsNames?: readonly string[];
      readonly uris?: readonly string[];
      readonly emailAddresses?: readonly string[];
      readonly ipAddresses?: readonly string[];
    };

export type SignCertificateInput = TypedKey &
  CertificateApplicant & {
    /** Of the policy's `certificateProfiles`. */
    readonly profile: string;
    /** Default: the profile's. */
    readonly lifetimeSeconds?: number;
  };

export type SignDsseInput = TypedKey & {
  /** Such as `application/vnd.in-toto+json`. */
  readonly payloadType: string;
  /** 1 byte to 512 KiB, signed as it is; anything but bytes and text as JSON. */
  readonly payload: Uint8Array | string | Readonly<Record<string, unknown>>;
};

export function jwtMessage(input: SignJwtInput): SignJwtRequest {
  const { claims, lifetimeSeconds, type = '' } = input;
  return { ...keyOf(input), claims: asBytes(claims), lifetimeSeconds, type };
}

/** @throws LastmileError REQUEST_INVALID for text that is not the PEM it should be */
export function certificateMessage(input: SignCertificateInput): SignCertificateRequest {
  const common = {
    ...keyOf(input),
    profile: input.profile,
    lifetimeSeconds: input.lifetimeSeconds ?? 0,
  };
  if (input.csr !== undefined) return { ...common, csr: der(input.csr, 'CERTIFICATE REQUEST') };
  const { publicKey, subject = [], dnsNames = [], uris = [], emailAddresses = [], ipAddresses = [] } = input;
  return {
    ...common,
    publicKey: {
      spki: publicKey === 'self' ? new Uint8Array() : der(publicKey, 'PUBLIC KEY'),
      subject: [...subject],
      dnsNames: [...dnsNames],
      uris: [...uris],
      emailAddresses: [...emailAddresses],
      ipAddresses: [...ipAddresses],
    },
  };
}

export function dsseMessage(input: SignDsseInput): SignDsseRequest {
  return { ...keyOf(input), payloadType: input.payloadType, payload: asBytes(input.payload) };
}

/** PEM (RFC 7468) of a certificate. */
export function certificatePem(certificate: Uint8Array): string {
  const lines = Buffer.from(certificate)
    .toString('base64')
    .match(/.{1,64}/g);
  return `-----BEGIN CERTIFICATE-----\n${(lines ?? []).join('\n')}\n-----END CERTIFICATE-----\n`;
}

function keyOf({ key, version = 0, algorithm = '' }: TypedKey): {
  key: string;
  version: number;
  algorithm: string;
} {
  return { key, version, algorithm };
}

function asBytes(content: Uint8Array | string | object): Uint8Array {
  if (content instanceof Uint8Array) return content;
  return Buffer.from(typeof content === 'string' ? content : JSON.stringify(content), 'utf8');
}

function der(content: Uint8Array | string, label: string): Uint8Array {
  if (typeof content !== 'string') return content;
  // OpenSSL has written `NEW CERTIFICATE REQUEST`, and still reads it.
  const found = new RegExp(
    `-----BEGIN (?:NEW )?${label}-----([A-Za-z0-9+/=\\s]+)-----END (?:NEW )?${label}-----`,
  ).exec(content)?.[1];
  if (found === undefined) {
    throw new LastmileError('REQUEST_INVALID', `the text is not PEM of a ${label}`, {
      code: 'INVALID_ARGUMENT',
      performed: 'no',
    });
  }
  return Buffer.from(found, 'base64');
}
