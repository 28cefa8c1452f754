import type { Facts } from '../../policy/decision.ts';
import type { Content } from '../keyuse/request-form.ts';

/** Typed signing: sign what you understand. A type is one file that makes one of these from a request message. */
export type TypedOperation = 'sign-jwt' | 'sign-certificate' | 'sign-dsse';

/** What is known once a key version and a token are chosen; asked for again on every attempt. */
export interface SigningKey {
  readonly algorithm: string;
  /** SubjectPublicKeyInfo, DER, of the object that will sign. */
  readonly publicKey: Uint8Array;
  /** RFC 7638 thumbprint of it. */
  readonly kid: string;
  /** Bytes of the token's generator mixed with the operating system's. */
  random(length: number): Promise<Uint8Array>;
}

/** What was built: exactly what is signed, and how the signature makes it whole. */
export interface BuiltContent {
  /** Always a message: the broker digests it itself. */
  readonly content: Content & { readonly kind: 'message' };
  /** JWT text, DER certificate or DSSE envelope. `signature` is raw (r||s for ECDSA). @throws Failure */
  finish(signature: Uint8Array): Uint8Array;
}

export interface TypedRequest {
  readonly operation: TypedOperation;
  readonly key: string;
  /** 0: the active one. */
  readonly version: number;
  readonly algorithm: string;
  readonly type: 'jwt' | 'x509' | 'dsse';
  /** What a policy sees as `request.jwt`, `request.x509` or `request.dsse`. Holds everything that is signed but random values. */
  readonly facts: Facts;
  /** Whether the policy in force says of its making what it said then; absent: it says nothing of it. */
  stands?(): boolean;
  /**
   * What approvers are shown: all of what is signed but the moment and random values, in the form in which it is signed.
   * Left out: the facts.
   */
  readonly forPeople?: object | undefined;
  /** @throws Failure REQUEST_INVALID */
  build(key: SigningKey): Promise<BuiltContent>;
}
