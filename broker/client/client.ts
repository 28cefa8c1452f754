// Longer than most: the types of the public surface stand beside the calls that take them.

import type { KeyUseDefinition } from '../proto/gen/lastmile/v1/KeyUse.ts';
import type { LogPosition__Output } from '../proto/gen/lastmile/v1/LogPosition.ts';
import type { SignRequest } from '../proto/gen/lastmile/v1/SignRequest.ts';
import type { SignResponse__Output } from '../proto/gen/lastmile/v1/SignResponse.ts';
import type { VerifyRequest } from '../proto/gen/lastmile/v1/VerifyRequest.ts';
import type { KeyUseMethod } from '../proto/methods.ts';
import { LastmileError } from './errors.ts';
import { SignStream } from './sign-stream.ts';
import { type CallOptions, type ConnectOptions, Transport } from './transport.ts';
import {
  certificateMessage,
  certificatePem,
  dsseMessage,
  jwtMessage,
  type SignCertificateInput,
  type SignDsseInput,
  type SignJwtInput,
} from './typed-signing.ts';
import { type RequestOf, type ResponseOf, unaryMethod } from './unary-method.ts';

// biome-ignore lint/performance/noBarrelFile: `lastmile/client` is the package's one public door.
export { type GrpcCode, LastmileError, type LastmileReason, type Performed } from './errors.ts';
export type { SvidFiles } from './svid.ts';
export type { CallOptions, ConnectOptions } from './transport.ts';
export type {
  CertificateApplicant,
  SignCertificateInput,
  SignDsseInput,
  SignJwtInput,
} from './typed-signing.ts';

/** Where the entry that tells of an operation stands in the audit log. */
export interface LogPosition {
  readonly origin: string;
  readonly leafIndex: number;
}

/** A key by its name; `version` pins one, otherwise the active one is used. */
export interface KeyRef {
  readonly key: string;
  readonly version?: number;
}

/** The message itself, up to 1 MiB, or its digest by the algorithm's hash: exactly one of them. */
export type Content =
  | { readonly message: Uint8Array; readonly digest?: never }
  | { readonly digest: Uint8Array; readonly message?: never };

export type SignInput = KeyRef &
  Content & {
    /** JOSE name: ES256, ES384, ES512, Ed25519 (or EdDSA), RS256/384/512, PS256/384/512. */
    readonly algorithm: string;
    /** ECDSA only: `raw` is r‖s (RFC 7518, section 3.4) and the default, `der` is RFC 3279, section 2.2.3. */
    readonly signatureFormat?: 'raw' | 'der';
  };

export interface Signed {
  readonly signature: Uint8Array;
  /** The version that signed. */
  readonly version: number;
  readonly log: LogPosition;
}

export type VerifyInput = SignInput & { readonly signature: Uint8Array };

export interface Verified {
  readonly valid: boolean;
  readonly version: number;
}

export type EncryptInput = KeyRef & {
  /** A256GCM or RSA-OAEP-256; needed only where the key has more than one. */
  readonly algorithm?: string;
  /** 1 byte to 64 KiB. Larger: `generateDataKey`, and encrypt locally. */
  readonly plaintext: Uint8Array;
  /** Bound to the ciphertext, not stored in it; at most 64 KiB. */
  readonly associatedData?: Uint8Array;
};

export interface Encrypted {
  /** Names its key, version and IV: it can be decrypted after rotation. */
  readonly ciphertext: Uint8Array;
  readonly version: number;
  readonly log: LogPosition;
}

export interface DecryptInput {
  readonly key: string;
  readonly ciphertext: Uint8Array;
  readonly associatedData?: Uint8Array;
}

export interface Decrypted {
  readonly plaintext: Uint8Array;
  readonly version: number;
  readonly log: LogPosition;
}

export type MacInput = KeyRef & {
  /** HS256, HS384 or HS512; needed only where the key has more than one. */
  readonly algorithm?: string;
  /** 1 byte to 1 MiB. */
  readonly message: Uint8Array;
};

export interface Mac {
  readonly mac: Uint8Array;
  readonly version: number;
  readonly log: LogPosition;
}

export type VerifyMacInput = MacInput & { readonly mac: Uint8Array };

export interface VerifiedMac extends Verified {
  readonly log: LogPosition;
}

export type DataKeyInput = KeyRef & {
  /** 16, 24, 32 (default), 48 or 64 bytes. */
  readonly length?: number;
  readonly associatedData?: Uint8Array;
};

export interface DataKey {
  /** In the clear: use it now, then overwrite it. */
  readonly plaintext: Uint8Array;
  /** What to keep; `decrypt` with the same associated data opens it. */
  readonly wrapped: Uint8Array;
  readonly version: number;
  readonly log: LogPosition;
}

export interface PublicKey {
  /** SubjectPublicKeyInfo (RFC 7468). */
  readonly pem: string;
  /** RFC 7517, with `kid` and `alg`. */
  readonly jwk: Readonly<Record<string, unknown>>;
  /** RFC 7638 thumbprint, SHA-256, base64url. */
  readonly kid: string;
  readonly version: number;
  readonly algorithms: readonly string[];
  /** One a token where the key cannot be replicated: any of them may have signed. */
  readonly otherJwks: readonly Readonly<Record<string, unknown>>[];
}

export interface UsableKey {
  readonly key: string;
  readonly activeVersion: number;
  readonly purpose: string;
  readonly algorithms: readonly string[];
  readonly operations: readonly string[];
}

export interface SignedJwt {
  /** JWS in compact serialization (RFC 7515, section 7.1). */
  readonly jwt: string;
  /** The version that signed. */
  readonly version: number;
  readonly log: LogPosition;
}

export interface SignedCertificate {
  /** DER. */
  readonly certificate: Uint8Array;
  readonly pem: string;
  readonly version: number;
  readonly log: LogPosition;
}

export interface SignedDsse {
  /** DSSE v1, JSON. */
  readonly envelope: Uint8Array;
  readonly version: number;
  readonly log: LogPosition;
}

export interface Receipt {
  /** c2sp.org/tlog-proof@v1. */
  readonly receipt: string;
  /** The entry's exact bytes: its leaf hash is SHA-256(0x00 ‖ entry). Empty when it is for auditors only. */
  readonly entry: Uint8Array;
  /** 32 bytes. */
  readonly leafHash: Uint8Array;
}

/** Signs many over one stream; `end()` waits for what is in flight. */
export interface SigningStream extends AsyncDisposable {
  /** @throws LastmileError; one refused call does not end the stream */
  sign(input: SignInput, options?: CallOptions): Promise<Signed>;
  end(): Promise<void>;
}

const method = <M extends KeyUseMethod>(name: M) =>
  unaryMethod<RequestOf<KeyUseDefinition[M]> & object, ResponseOf<KeyUseDefinition[M]> & object>(
    'KeyUse',
    name,
  );
const SIGN = method('Sign');
const VERIFY = method('Verify');
const ENCRYPT = method('Encrypt');
const DECRYPT = method('Decrypt');
const MAC = method('Mac');
const VERIFY_MAC = method('VerifyMac');
const GENERATE_DATA_KEY = method('GenerateDataKey');
const GENERATE_RANDOM = method('GenerateRandom');
const GET_PUBLIC_KEY = method('GetPublicKey');
const LIST_KEYS = method('ListKeys');
const SIGN_JWT = method('SignJwt');
const SIGN_CERTIFICATE = method('SignCertificate');
const SIGN_DSSE = method('SignDsse');
const GET_RECEIPT = method('GetReceipt');

const MAX_RESPONSE_BYTES = 4 * 1024 * 1024;
const DEFAULT_MAX_IN_FLIGHT = 256;

/**
 * Reads the workload's SVID and returns a client; the first call makes the connection.
 *
 * ```ts
 * await using lastmile = await connect({
 *   target: '127.0.0.1:7443',
 *   brokerId: 'spiffe://example.org/lastmile/broker',
 *   svid: { certificateFile: 'svid.pem', keyFile: 'svid.key', trustBundleFile: 'bundle.pem' },
 * });
 * const { signature } = await lastmile.sign({ key: 'payments/jwt', algorithm: 'ES256', message });
 * ```
 *
 * @throws LastmileError SVID_MISSING, SVID_INVALID or REQUEST_INVALID
 */
export async function connect(options: ConnectOptions): Promise<LastmileClient> {
  return new LastmileClient(await Transport.open(options, MAX_RESPONSE_BYTES));
}

/** A workload's connection to the broker. Every call rejects with LastmileError and nothing else. */
export class LastmileClient implements AsyncDisposable {
  readonly #transport: Transport;

  /** Use `connect`. */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  async sign(input: SignInput, options: CallOptions = {}): Promise<Signed> {
    return signed(await this.#transport.unary(SIGN, signRequest(input), options));
  }

  /** @param stream `maxInFlight`: requests with the broker at a time, default 256; further ones wait */
  signStream(stream: { readonly maxInFlight?: number } = {}): SigningStream {
    const inner = new SignStream(this.#transport, stream.maxInFlight ?? DEFAULT_MAX_IN_FLIGHT);
    return {
      sign: async (input, options = {}) => signed(await inner.sign(signRequest(input), options)),
      end: () => inner.end(),
      [Symbol.asyncDispose]: () => inner.end(),
    };
  }

  /** A signature that does not verify is `valid: false`, not an error. */
  async verify(input: VerifyInput, options: CallOptions = {}): Promise<Verified> {
    const request: VerifyRequest = { ...signRequest(input), signature: input.signature };
    const { valid, version } = await this.#transport.unary(VERIFY, request, options);
    return { valid, version };
  }

  async encrypt(input: EncryptInput, options: CallOptions = {}): Promise<Encrypted> {
    const response = await this.#transport.unary(ENCRYPT, input, options);
    return { ciphertext: bytes(response.ciphertext), version: response.version, log: position(response.log) };
  }

  /** Every failure of decryption is the same CIPHERTEXT_REJECTED. */
  async decrypt(input: DecryptInput, options: CallOptions = {}): Promise<Decrypted> {
    const response = await this.#transport.unary(DECRYPT, input, options);
    return { plaintext: bytes(response.plaintext), version: response.version, log: position(response.log) };
  }

  async mac(input: MacInput, options: CallOptions = {}): Promise<Mac> {
    const response = await this.#transport.unary(MAC, input, options);
    return { mac: bytes(response.mac), version: response.version, log: position(response.log) };
  }

  /** A MAC that does not fit is `valid: false`, not an error. */
  async verifyMac(input: VerifyMacInput, options: CallOptions = {}): Promise<VerifiedMac> {
    const { valid, version, log } = await this.#transport.unary(VERIFY_MAC, input, options);
    return { valid, version, log: position(log) };
  }

  async generateDataKey(input: DataKeyInput, options: CallOptions = {}): Promise<DataKey> {
    const response = await this.#transport.unary(GENERATE_DATA_KEY, input, options);
    return {
      plaintext: bytes(response.plaintext),
      wrapped: bytes(response.wrapped),
      version: response.version,
      log: position(response.log),
    };
  }

  /** @param length 1 to 1024 bytes */
  async generateRandom(
    length: number,
    options: CallOptions = {},
  ): Promise<{ random: Uint8Array; log: LogPosition }> {
    const { random, log } = await this.#transport.unary(GENERATE_RANDOM, { length }, options);
    return { random: bytes(random), log: position(log) };
  }

  async getPublicKey(key: KeyRef, options: CallOptions = {}): Promise<PublicKey> {
    const response = await this.#transport.unary(GET_PUBLIC_KEY, key, options);
    return {
      pem: response.pem,
      jwk: jwk(response.jwk),
      kid: response.kid,
      version: response.version,
      algorithms: response.algorithms,
      otherJwks: response.otherJwks.map(jwk),
    };
  }

  /** The keys that the caller may use; others do not show. */
  async listKeys(options: CallOptions = {}): Promise<UsableKey[]> {
    const { keys } = await this.#transport.unary(LIST_KEYS, {}, options);
    return keys.map(({ key, activeVersion, purpose, algorithms, operations }) => ({
      key,
      activeVersion,
      purpose,
      algorithms,
      operations,
    }));
  }

  /** Proof that one of the caller's own entries is in the log. @param leafIndex as in `log` of a result */
  async getReceipt(leafIndex: number, options: CallOptions = {}): Promise<Receipt> {
    const { receipt, entry, leafHash } = await this.#transport.unary(GET_RECEIPT, { leafIndex }, options);
    return { receipt, entry: bytes(entry), leafHash: bytes(leafHash) };
  }

  /** A JWT (RFC 7519) of these claims: the broker writes header, `iat`, `exp` and `jti`, and its rules read the rest. */
  async signJwt(input: SignJwtInput, options: CallOptions = {}): Promise<SignedJwt> {
    const { jwt, version, log } = await this.#transport.unary(SIGN_JWT, jwtMessage(input), options);
    return { jwt, version, log: position(log) };
  }

  /** An X.509 certificate within a profile of the policy. */
  async signCertificate(input: SignCertificateInput, options: CallOptions = {}): Promise<SignedCertificate> {
    const request = certificateMessage(input);
    const response = await this.#transport.unary(SIGN_CERTIFICATE, request, options);
    const certificate = bytes(response.certificate);
    return {
      certificate,
      pem: certificatePem(certificate),
      version: response.version,
      log: position(response.log),
    };
  }

  /** A DSSE envelope; of in-toto statements, rules read predicate type and subjects. */
  async signDsse(input: SignDsseInput, options: CallOptions = {}): Promise<SignedDsse> {
    const { envelope, version, log } = await this.#transport.unary(SIGN_DSSE, dsseMessage(input), options);
    return { envelope: bytes(envelope), version, log: position(log) };
  }

  /**
   * A JWS in compact serialization (RFC 7515, section 7.1), signed with `header.alg`.
   *
   * The header is signed as given. To name the key in it, take `kid` from `getPublicKey` and pin that `version`
   * here: otherwise a rotation in between makes the name a wrong one.
   *
   * @param payload bytes as they are, a string as UTF-8, anything else as JSON
   */
  async signJws(
    header: { readonly alg: string } & Readonly<Record<string, unknown>>,
    payload: Uint8Array | string | Readonly<Record<string, unknown>>,
    options: KeyRef & CallOptions,
  ): Promise<string> {
    if (typeof header.alg !== 'string') throw invalid('a JWS header needs `alg`');
    // RFC 7797 changes what is signed; a verifier that does not know it would accept another payload.
    if (header.b64 !== undefined) throw invalid('unencoded payloads (`b64`) are not supported');
    const content =
      payload instanceof Uint8Array
        ? payload
        : Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload));
    const input = `${base64url(Buffer.from(JSON.stringify(header)))}.${base64url(content)}`;
    const { key, version, ...call } = options;
    const { signature } = await this.sign(
      {
        key,
        ...(version === undefined ? {} : { version }),
        algorithm: header.alg,
        message: Buffer.from(input, 'ascii'),
        signatureFormat: 'raw',
      },
      call,
    );
    return `${input}.${base64url(signature)}`;
  }

  /**
   * Calls in flight come to their end; new ones are refused with CLIENT_CLOSED. A stream of `signStream` keeps its
   * connection until it is ended itself.
   */
  close(): void {
    this.#transport.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

function signRequest(input: SignInput): SignRequest {
  const { key, version, algorithm, message, digest } = input;
  // The oneof on the wire would silently take one of the two.
  if ((message === undefined) === (digest === undefined)) throw invalid('give either `message` or `digest`');
  return {
    key,
    algorithm,
    ...(version === undefined ? {} : { version }),
    ...(message === undefined ? { digest } : { message }),
    signatureFormat: input.signatureFormat === 'der' ? 1 : 0,
  } as SignRequest;
}

function signed(response: SignResponse__Output): Signed {
  return { signature: bytes(response.signature), version: response.version, log: position(response.log) };
}

/** A copy: what protobufjs decodes is a view into the whole received message. */
function bytes(view: Uint8Array): Uint8Array {
  return new Uint8Array(view);
}

function position(log: LogPosition__Output | null | undefined): LogPosition {
  if (log === null || log === undefined) {
    throw new LastmileError('PROTOCOL_MISMATCH', 'the answer does not say where its entry is', {
      code: 'INTERNAL',
      performed: 'yes',
    });
  }
  return { origin: log.origin, leafIndex: log.leafIndex };
}

function jwk(text: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw new LastmileError('PROTOCOL_MISMATCH', 'the answer holds a JWK that is not JSON', {
      code: 'INTERNAL',
      performed: 'no',
      cause,
    });
  }
}

function base64url(content: Uint8Array): string {
  return Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString('base64url');
}

function invalid(message: string): LastmileError {
  return new LastmileError('REQUEST_INVALID', message, { code: 'INVALID_ARGUMENT', performed: 'no' });
}
