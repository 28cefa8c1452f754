/**
 * What the operations of key use (encryption, MAC, look-ups) may ask of the one transaction. `KeyUse` owns the
 * transaction and keeps its steps private: it hands this to the operations that it makes, and to nobody else.
 */
import type { Algorithm, OperationContext, TokenAdapter } from '../../hsm-adapters/adapter.ts';
import type { Circumstances, Decision, Operation } from '../../policy/decision.ts';
import type { Attempt, DigestedContent, EntryValue } from '../audit/entry.ts';
import type { Call, Caller } from './call.ts';
import { Failure } from './failure.ts';
import type { KeyVersion } from './key-catalog.ts';
import type { Spent } from './spending.ts';

const DENIED = 'the policy does not allow this';
export const CIPHERTEXT_REJECTED = 'ciphertext rejected';

/** Of a use whose result was released: its entry is durable. */
export interface Done {
  readonly version: number;
  readonly leafIndex: number;
}

/** What a request is about, as it says itself. */
export interface Intent {
  readonly operation: Operation;
  /** How entries name it, where that is not the operation that policy is asked about. */
  readonly recordedAs?: string;
  readonly asked: { readonly key: string; readonly algorithm: string; readonly version?: number };
  readonly content: Circumstances['content'];
  /** Of the content. */
  readonly bytes: number;
  readonly typed?: Circumstances['typed'];
}

/** What every step of one request needs. */
export interface Use {
  readonly caller: Caller;
  readonly call: Call;
  readonly operation: Operation;
  /** How entries name it, where that is not the operation that policy is asked about. */
  readonly recordedAs?: string;
  readonly key: string;
  readonly algorithm: string;
  readonly circumstances: Circumstances;
  /** Whether what is to be built is still what the policy in force makes of the request. */
  readonly stands?: (() => boolean) | undefined;
}

export interface Permitted extends Use {
  readonly decision: Decision;
  /** Undefined for random bytes, which use no key. */
  readonly version: KeyVersion | undefined;
}

export interface KeyPermitted extends Permitted {
  readonly version: KeyVersion;
  readonly jose: Algorithm;
}

/** An operation that a token did; its entry is not written yet. */
export interface Performed<T> {
  readonly value: T;
  readonly attempts: readonly Attempt[];
  readonly permitted: Permitted;
  readonly spent: Spent;
}

/** What the token is asked in one attempt. `reserve` comes first: what the content costs is durable before it is used. */
export type Run<T> = (
  token: TokenAdapter,
  object: number,
  context: OperationContext,
  reserve: (contentSha256: () => Uint8Array) => void,
) => Promise<T>;

/** A request that is not served: what its entry says, and what its caller is told. */
export class Refused extends Error {
  readonly use: Use;
  readonly failure: Failure;
  readonly decision: Decision | undefined;
  /** For the entry alone: what a replay under another policy has to know. */
  readonly notes: { readonly [name: string]: EntryValue };
  constructor(
    use: Use,
    failure: Failure,
    decision?: Decision,
    notes: { readonly [name: string]: EntryValue } = {},
  ) {
    super(failure.message);
    this.notes = notes;
    this.use = use;
    this.failure = failure;
    this.decision = decision;
  }
}

/** The same for what no rule allows and for a key that is not there: neither is told from the other. */
export function denied(): Failure {
  return new Failure('POLICY_DENIED', DENIED);
}

/** In this order: `recorded` around everything; `use`, `wellFormed`, `permit`, `perform`, `conclude` within. */
export interface Transaction {
  /** Runs one request; a refusal is on record before the caller hears of it. */
  recorded<T>(run: () => Promise<T>): Promise<T>;
  use(caller: Caller, call: Call, intent: Intent): Use;
  /** The request's form, the caller's identity and the log. @throws Refused */
  wellFormed(use: Use, problem: () => string | undefined): void;
  /** Policy, then the key. @throws Refused */
  permit(use: Use, wanted: number, purpose: 'sign' | 'encrypt' | 'decrypt' | 'mac'): KeyPermitted;
  /** Limits, token, proof of the result. @throws Failure, on record */
  perform<T>(
    permitted: Permitted,
    input: DigestedContent | undefined,
    run: Run<T>,
    isRight?: (value: T, token: TokenAdapter) => Promise<boolean>,
  ): Promise<Performed<T>>;
  /** The entry, durable before anything is released. Its leaf index. @throws Failure */
  conclude(
    performed: Performed<unknown>,
    input: DigestedContent | undefined,
    output: DigestedContent | undefined,
  ): Promise<number>;
  /** A token that returned wrong bytes leaves service. */
  quarantine(token: TokenAdapter, finding: string): void;
}
