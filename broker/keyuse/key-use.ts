/**
 * The one transaction of key use: identity, policy, key, limits, token, proof of the result, entry, release.
 *
 * Longer than most files because the order of the steps is the security property: it is to be read in one piece.
 * Nothing is released before its entry is durable; a refusal says nothing of whether a key exists.
 */
import { constants, hash as digestNow, publicEncrypt, randomInt, timingSafeEqual } from 'node:crypto';
import type { Algorithm, OperationContext, TokenAdapter } from '../../hsm-adapters/adapter.ts';
import { AdapterError } from '../../hsm-adapters/adapter.ts';
import type { Circumstances, Decision, Operation, PolicySet } from '../../policy/decision.ts';
import { isKeyName, isReservedKeyName } from '../../policy/key-name.ts';
import { encodeInputs } from '../../policy/replay-inputs.ts';
import {
  type Attempt,
  AuditError,
  type AuditLog,
  type DigestedContent,
  type EntryDraft,
  type EntryValue,
} from '../audit/entry.ts';
import type { BuiltContent, TypedOperation, TypedRequest } from '../typed/typed-request.ts';
import { isWorthAnotherAttempt, toFailure } from './adapter-failure.ts';
import { ecdsaFromDer, ecdsaToDer, FACTS, normaliseEcdsa, parseAlgorithm, sha256Text } from './algorithms.ts';
import type { Call, Caller } from './call.ts';
import { associatedDataFor, ciphertextHeader, joinCiphertext, parseCiphertext } from './ciphertext.ts';
import { type EncryptionCounter, RecentIvs } from './encryption-counter.ts';
import { Failure, type PerformedUse, type Reason } from './failure.ts';
import type { Freezes } from './freezes.ts';
import { catalogEntryOf, type KeyCatalog, type KeyVersion, publishKey } from './key-catalog.ts';
import {
  associatedDataProblem,
  type Content,
  contentProblem,
  describeContent,
  MAX_PLAINTEXT_BYTES,
  messageProblem,
} from './request-form.ts';
import { type Shown, showContent, showFacts } from './shown.ts';
import { NothingSpent, type Purchase, type Spending, type Spent } from './spending.ts';
import type { Binding, TokenKeys } from './token-keys.ts';
import type { TokenPool } from './token-pool.ts';
import type { SignatureAlgorithm, SignatureVerifier } from './verify/signature-verifier.ts';
import { VerifierError } from './verify/verifier-error.ts';

export type { Content } from './request-form.ts';

const DENIED = 'the policy does not allow this';
const REJECTED = 'ciphertext rejected';
const EMPTY = new Uint8Array();
const NO_CONTENT = digestNow('sha256', EMPTY, 'buffer');
/** Verifications that callers asked for and that may wait: the verifier is there for signatures before their release. */
const MAX_VERIFICATIONS = 512;
const MAX_VERIFICATIONS_PER_WORKLOAD = 128;
const MAX_VERIFICATION_BYTES = 16 * 1024 * 1024;
/** A message up to this is hashed again by the verifier rather than verified by its digest. */
const MAX_COPIED_BYTES = 64 * 1024;
/** One in so many results of a key with `verify: sampled`. */
const SAMPLED_ONE_IN = 64;
/** What an entry has room for (broker/audit/README.md). */
const MAX_INPUTS_BYTES = 4096;

export interface Done {
  readonly version: number;
  readonly leafIndex: number;
}

export interface KeyUseOptions {
  readonly policy: () => PolicySet;
  readonly catalog: KeyCatalog;
  readonly keys: TokenKeys;
  readonly pool: TokenPool;
  readonly freezes: Freezes;
  readonly audit: AuditLog;
  readonly verifier: SignatureVerifier;
  readonly encryptions: EncryptionCounter;
  readonly spending: Spending;
  /** Wall-clock time by the broker's own idea of it, and how far that may be wrong; milliseconds. */
  readonly clock: { now(): number; doubtMs(): number };
  /** SPIFFE IDs of lastmile.yaml's administrators: a freeze does not keep them from lifting freezes. */
  readonly administrators?: ReadonlySet<string> | undefined;
  /** Leaf index of the software generation in force. */
  readonly generation: () => number;
  /** Whether this signature of a key with `verify: sampled` is looked at; unpredictable, one in 64 by default. */
  readonly isSampled?: (() => boolean) | undefined;
  readonly log: (
    level: 'info' | 'warn' | 'error',
    message: string,
    fields?: Record<string, string | number>,
  ) => void;
}

/** What every step of one request needs. */
interface Use {
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

interface Permitted extends Use {
  readonly decision: Decision;
  /** Undefined for random bytes, which use no key. */
  readonly version: KeyVersion | undefined;
}

interface KeyPermitted extends Permitted {
  readonly version: KeyVersion;
  readonly jose: Algorithm;
}

/** An operation that a token did; its entry is not written yet. */
interface Performed<T> {
  readonly value: T;
  readonly attempts: readonly Attempt[];
  readonly permitted: Permitted;
  readonly spent: Spent;
}

type Run<T> = (
  token: TokenAdapter,
  object: number,
  context: OperationContext,
  reserve: (contentSha256: () => Uint8Array) => void,
) => Promise<T>;

/** A request that is not served: what its entry says, and what its caller is told. */
class Refused extends Error {
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

export class KeyUse {
  readonly #o: KeyUseOptions;
  readonly #ivs = new RecentIvs();
  readonly #verifications = new Map<string, number>();
  /** The login under which a finding took a token out of service. */
  readonly #quarantined = new WeakMap<TokenAdapter, number>();
  #pendingVerifications = 0;
  #pendingVerificationBytes = 0;

  constructor(options: KeyUseOptions) {
    this.#o = options;
  }

  sign(
    caller: Caller,
    call: Call,
    request: { key: string; version: number; algorithm: string; content: Content | undefined; der: boolean },
  ): Promise<Done & { readonly signature: Uint8Array }> {
    return this.#recorded(async () => {
      const { content } = request;
      const use = this.#use(
        caller,
        call,
        'sign',
        request,
        content?.kind ?? 'none',
        content?.bytes.length ?? 0,
      );
      this.#wellFormed(use, () => contentProblem(content, request.algorithm, request.der));
      const permitted = this.#permit(use, request.version, 'sign');
      // Bare bytes could be anything: a token for somebody else, a certificate for a competitor.
      if (!this.#takesRaw(permitted))
        throw new Refused(use, new Failure('POLICY_DENIED', DENIED), permitted.decision);
      const facts = FACTS[permitted.jose];
      const { kind, bytes } = content!;
      const data =
        kind === 'digest' || facts.hash === undefined ? bytes : digestNow(facts.hash, bytes, 'buffer');
      const input = describeContent(content!, facts.hash, data);
      const performed = await this.#perform(
        permitted,
        input,
        (token, object, context, reserve) => {
          reserve(() => digestIn(input));
          return token.sign({ object, algorithm: permitted.jose, data }, context);
        },
        (signature, token) => this.#verifies(permitted, content!, data, signature, token),
        () => showContent(content!),
      );
      const signature = performed.value;
      const normalised = facts.curve === undefined ? signature : normaliseEcdsa(signature, facts.curve);
      const leafIndex = await this.#conclude(performed, input, {
        kind: 'signature',
        bytes: signature.length,
        sha256: sha256Text(normalised),
      });
      return {
        signature: request.der ? ecdsaToDer(signature) : signature,
        version: permitted.version.version,
        leafIndex,
      };
    });
  }

  /** What is signed is built here, for the key that signs it; the digest of what was built is on record. */
  signTyped(
    caller: Caller,
    call: Call,
    request: TypedRequest,
  ): Promise<Done & { readonly result: Uint8Array }> {
    return this.#recorded(async () => {
      const { type, facts } = request;
      const use: Use = {
        ...this.#use(caller, call, request.operation, request, 'typed', 0, { type, facts }),
        stands: () => request.stands?.() !== false,
      };
      this.#wellFormed(use, () => undefined);
      const permitted = this.#permit(use, request.version, 'sign');
      if (use.stands?.() === false)
        throw new Refused(use, new Failure('POLICY_DENIED', DENIED), permitted.decision);
      const { jose, version } = permitted;
      const { hash, curve } = FACTS[jose];
      // Filled when something is built: before that there is nothing to describe.
      const input: { -readonly [field in keyof DigestedContent]: DigestedContent[field] } = {
        kind: 'message',
        bytes: 0,
      };
      // A second attempt with the same key signs the very same bytes.
      let built: { readonly publicKey: Uint8Array; readonly content: BuiltContent } | undefined;
      const performed = await this.#perform(
        permitted,
        input,
        async (token, object, context, reserve) => {
          const { publicKey } = version.objects.find(
            ({ tokenSerial }) => tokenSerial === token.info?.serial,
          )!;
          if (built === undefined || !same(built.publicKey, publicKey)) {
            const key = {
              algorithm: jose,
              publicKey,
              kid: publishKey(publicKey, version.algorithms).kid,
              random: (length: number) => token.random(length, context),
            };
            built = { publicKey, content: await request.build(key) };
          }
          const { bytes } = built.content.content;
          const data = hash === undefined ? bytes : digestNow(hash, bytes, 'buffer');
          Object.assign(input, describeContent(built.content.content, hash, data));
          reserve(() => digestIn(input));
          return {
            built: built.content,
            data,
            signature: await token.sign({ object, algorithm: jose, data }, context),
          };
        },
        ({ built: { content }, data, signature }, token) =>
          this.#verifies(permitted, content, data, signature, token),
        () => showFacts(request.type, request.forPeople ?? request.facts),
      );
      const { built: content, signature } = performed.value;
      const leafIndex = await this.#conclude(performed, input, {
        kind: 'signature',
        bytes: signature.length,
        sha256: sha256Text(curve === undefined ? signature : normaliseEcdsa(signature, curve)),
      });
      return { result: content.finish(signature), version: version.version, leafIndex };
    });
  }

  /** Whether some content of this kind may be signed: nobody else's is read, which costs more than a decision. */
  mayAskFor(caller: Caller, operation: TypedOperation, key: string): boolean {
    return (
      this.#identityFailure(caller) === undefined &&
      this.#o.policy().usableOperations(caller.identity.spiffeId.id, key).includes(operation)
    );
  }

  /** Nothing can be made of a typed request. On record; then what the caller is told. */
  async refuseTyped(
    caller: Caller,
    call: Call,
    asked: { readonly operation: TypedOperation; readonly key: string; readonly algorithm: string },
    failure: Failure,
  ): Promise<Failure> {
    const use = this.#use(caller, call, asked.operation, asked, 'typed', 0);
    // What is wrong with a request is for those who may make one: it can tell which profiles there are.
    const denied = new Failure('POLICY_DENIED', DENIED);
    const mayAsk = this.mayAskFor(caller, asked.operation, asked.key);
    const told = this.#identityFailure(caller) ?? (mayAsk ? failure : denied);
    return this.#settled(new Refused(use, told));
  }

  /** With the public half, in the broker: the token is not asked and the log only tells of refusals. */
  verify(
    caller: Caller,
    call: Call,
    request: {
      key: string;
      version: number;
      algorithm: string;
      content: Content | undefined;
      signature: Uint8Array;
      der: boolean;
    },
  ): Promise<{ readonly valid: boolean; readonly version: number }> {
    return this.#recorded(async () => {
      const { content } = request;
      const use = this.#use(
        caller,
        call,
        'verify',
        request,
        content?.kind ?? 'none',
        content?.bytes.length ?? 0,
      );
      this.#wellFormed(use, () =>
        request.signature.length === 0 || request.signature.length > 1024
          ? 'signature must be 1 to 1024 bytes'
          : contentProblem(content, request.algorithm, request.der),
      );
      const permitted = this.#permit(use, request.version, 'sign');
      const { version, jose } = permitted;
      const spent = await this.#spend(permitted, () => NOTHING_TO_SHOW);
      const stopped = this.#recheck(permitted, spent);
      if (stopped instanceof Failure) {
        spent.settle('no');
        throw new Refused(use, stopped, permitted.decision);
      }
      spent.settle('yes');
      const { curve, hash } = FACTS[jose];
      const signature =
        request.der && curve !== undefined ? ecdsaFromDer(request.signature, curve.bytes) : request.signature;
      if (signature === undefined) return { valid: false, version: version.version };
      const { kind, bytes } = content!;
      const digest = kind === 'digest' || hash === undefined ? bytes : digestNow(hash, bytes, 'buffer');
      const question = verifiable(jose, content!, digest);
      const release = this.#admitVerification(use, question.data.length);
      try {
        for (const publicKey of distinctPublicKeys(version)) {
          const isValid = await this.#o.verifier.verify({
            algorithm: jose as SignatureAlgorithm,
            publicKey,
            ...question,
            signature,
          });
          if (isValid) return { valid: true, version: version.version };
        }
        return { valid: false, version: version.version };
      } catch (error) {
        if (error instanceof VerifierError) throw new Refused(use, verifierFailure(error, 'no'));
        throw error;
      } finally {
        release();
      }
    });
  }

  encrypt(
    caller: Caller,
    call: Call,
    request: {
      key: string;
      version: number;
      algorithm: string;
      plaintext: Uint8Array;
      associatedData: Uint8Array;
    },
  ): Promise<Done & { readonly ciphertext: Uint8Array }> {
    return this.#recorded(async () => {
      const { plaintext, associatedData } = request;
      const use = this.#use(caller, call, 'encrypt', request, 'plaintext', plaintext.length);
      this.#wellFormed(use, () => {
        if (plaintext.length === 0) return 'plaintext is empty';
        if (plaintext.length > MAX_PLAINTEXT_BYTES) {
          return 'plaintext is over 64 KiB: use GenerateDataKey and encrypt with that locally (the command line does)';
        }
        return associatedDataProblem(associatedData);
      });
      const permitted = this.#permit(use, request.version, 'encrypt');
      const { ciphertext, version, leafIndex } = await this.#seal(
        permitted,
        { kind: 'plaintext', bytes: plaintext.length },
        () => plaintext,
        associatedData,
      );
      return { ciphertext, version, leafIndex };
    });
  }

  generateDataKey(
    caller: Caller,
    call: Call,
    request: { key: string; version: number; length: number; associatedData: Uint8Array },
  ): Promise<Done & { readonly plaintext: Uint8Array; readonly wrapped: Uint8Array }> {
    return this.#recorded(async () => {
      const length = request.length === 0 ? 32 : request.length;
      const asked = { key: request.key, algorithm: '', version: request.version };
      const use = this.#use(caller, call, 'generate-data-key', asked, 'none', length);
      this.#wellFormed(use, () =>
        [16, 24, 32, 48, 64].includes(length)
          ? associatedDataProblem(request.associatedData)
          : 'length must be 16, 24, 32, 48 or 64 bytes',
      );
      const permitted = this.#permit(use, request.version, 'encrypt');
      const { plaintext, ciphertext, version, leafIndex } = await this.#seal(
        permitted,
        { kind: 'data-key', bytes: length },
        (token, context) => token.random(length, context),
        request.associatedData,
      );
      return { plaintext, wrapped: ciphertext, version, leafIndex };
    });
  }

  decrypt(
    caller: Caller,
    call: Call,
    request: { key: string; ciphertext: Uint8Array; associatedData: Uint8Array },
  ): Promise<Done & { readonly plaintext: Uint8Array }> {
    return this.#recorded(async () => {
      const parsed = parseCiphertext(request.ciphertext);
      const asked = { key: request.key, algorithm: parsed?.algorithm ?? '', version: parsed?.version ?? 0 };
      const use = this.#use(caller, call, 'decrypt', asked, 'ciphertext', request.ciphertext.length);
      this.#wellFormed(use, () =>
        request.ciphertext.length === 0
          ? 'ciphertext is empty'
          : request.ciphertext.length > MAX_PLAINTEXT_BYTES + 512
            ? 'ciphertext is longer than Encrypt makes'
            : associatedDataProblem(request.associatedData),
      );
      const permitted = this.#permit(use, parsed?.key === request.key ? parsed.version : 0, 'decrypt');
      if (
        parsed === undefined ||
        parsed.key !== request.key ||
        permitted.version.version !== parsed.version ||
        !permitted.version.algorithms.includes(parsed.algorithm) ||
        (parsed.algorithm === 'RSA-OAEP-256' && request.associatedData.length > 0)
      ) {
        throw new Refused(use, new Failure('CIPHERTEXT_REJECTED', REJECTED), permitted.decision);
      }
      return this.#open(permitted, parsed, request);
    });
  }

  mac(
    caller: Caller,
    call: Call,
    request: { key: string; version: number; algorithm: string; message: Uint8Array },
  ): Promise<Done & { readonly mac: Uint8Array }> {
    return this.#recorded(async () => {
      const use = this.#use(caller, call, 'mac', request, 'message', request.message.length);
      const { performed, permitted, input } = await this.#computeMac(use, request, true);
      const { value } = performed.value;
      const leafIndex = await this.#conclude(performed, input, { kind: 'mac', bytes: value.length });
      return { mac: value, version: permitted.version.version, leafIndex };
    });
  }

  verifyMac(
    caller: Caller,
    call: Call,
    request: { key: string; version: number; algorithm: string; message: Uint8Array; mac: Uint8Array },
  ): Promise<Done & { readonly valid: boolean }> {
    return this.#recorded(async () => {
      const use = this.#use(caller, call, 'verify-mac', request, 'message', request.message.length);
      const { performed, permitted, input } = await this.#computeMac(use, request, false);
      const { value } = performed.value;
      // A shorter MAC is another claim: whole and in constant time, or not valid.
      const valid = same(value, request.mac);
      const leafIndex = await this.#conclude(performed, input, undefined);
      return { valid, version: permitted.version.version, leafIndex };
    });
  }

  random(
    caller: Caller,
    call: Call,
    length: number,
  ): Promise<{ readonly random: Uint8Array; readonly leafIndex: number }> {
    return this.#recorded(async () => {
      const asked = { key: '', algorithm: '', version: 0 };
      const use = this.#use(caller, call, 'random', asked, 'none', length);
      this.#wellFormed(use, () =>
        length >= 1 && length <= 1024 ? undefined : 'length must be 1 to 1024 bytes',
      );
      const permitted: Permitted = { ...use, decision: this.#decide(use), version: undefined };
      const performed = await this.#perform(permitted, undefined, (token, _object, context, reserve) => {
        reserve(() => NO_CONTENT);
        return token.random(length, context);
      });
      const leafIndex = await this.#conclude(performed, undefined, { kind: 'random', bytes: length });
      return { random: performed.value, leafIndex };
    });
  }

  publicKey(
    caller: Caller,
    call: Call,
    request: { key: string; version: number },
  ): Promise<{
    readonly version: KeyVersion;
    readonly published: ReturnType<typeof publishKey>;
    readonly others: readonly ReturnType<typeof publishKey>[];
  }> {
    return this.#recorded(async () => {
      const asked = { ...request, algorithm: '' };
      const use = this.#use(caller, call, 'verify', asked, 'none', 0, undefined, 'get-public-key');
      this.#wellFormed(use, () => undefined);
      const usable = this.#o.policy().usableOperations(caller.identity.spiffeId.id, request.key);
      const version = isReservedKeyName(request.key)
        ? undefined
        : this.#o.catalog.find(request.key, request.version);
      if (usable.length === 0 || version === undefined) {
        throw new Refused(use, new Failure('POLICY_DENIED', DENIED));
      }
      const [first, ...rest] = distinctPublicKeys(version);
      if (first === undefined)
        throw new Refused(use, new Failure('REQUEST_INVALID', 'the key has no public half'));
      return {
        version,
        published: publishKey(first, version.algorithms),
        others: rest.map((spki) => publishKey(spki, version.algorithms)),
      };
    });
  }

  /** Names that the caller may use, with what it may do; nothing of the others. */
  usableKeys(
    caller: Caller,
    call: Call,
  ): Promise<readonly { readonly version: KeyVersion; readonly operations: readonly Operation[] }[]> {
    return this.#recorded(async () => {
      const asked = { key: '', algorithm: '', version: 0 };
      this.#wellFormed(
        this.#use(caller, call, 'verify', asked, 'none', 0, undefined, 'list-keys'),
        () => undefined,
      );
      const policy = this.#o.policy();
      const found = [];
      for (const name of this.#o.catalog.names()) {
        if (isReservedKeyName(name)) continue;
        const version = this.#o.catalog.find(name, 0);
        if (version === undefined) continue;
        const fitting = OPERATIONS_OF[version.purpose];
        const operations = policy
          .usableOperations(caller.identity.spiffeId.id, name)
          .filter((operation) => fitting.includes(operation));
        if (operations.length > 0) found.push({ version, operations });
      }
      return found;
    });
  }

  /** Identity again, for what has no key: expiry and freezes change while a connection lives. @throws Failure */
  async identify(caller: Caller, call: Call, operation: string): Promise<void> {
    let failure = this.#identityFailure(caller);
    // Otherwise a freeze of the trust domain, or of each of them, could never be lifted again.
    if (
      failure?.reason === 'CREDENTIAL_FROZEN' &&
      (operation === 'Admin.Unfreeze' || operation === 'Admin.ListFreezes') &&
      this.#o.administrators?.has(caller.identity.spiffeId.id) === true &&
      !this.#o.freezes.isFrozen('credential', caller.identity.credential.sha256)
    ) {
      failure = undefined;
    }
    if (failure !== undefined) throw await this.refuse(caller, call, operation, failure);
  }

  /** A refusal of something that is no use of a key. On record; then what the caller is told. */
  async refuse(caller: Caller, call: Call, operation: string, failure: Failure): Promise<Failure> {
    try {
      await this.#o.audit.appendRefusal({
        kind: 'key-use',
        subject: caller.identity.spiffeId.id,
        credential: caller.identity.credential.sha256,
        peer: caller.peer,
        operation,
        decision: 'deny',
        reason: failure.reason,
        performed: 'no',
        latencyMicros: call.elapsedMicros,
      });
    } catch (error) {
      return auditFailure(error, 'no');
    }
    return failure;
  }

  #use(
    caller: Caller,
    call: Call,
    operation: Operation,
    asked: { readonly key: string; readonly algorithm: string; readonly version?: number },
    content: Circumstances['content'],
    bytes: number,
    typed?: Circumstances['typed'],
    recordedAs?: string,
  ): Use {
    const { clock } = this.#o;
    const { peer } = caller;
    return {
      caller,
      call,
      operation,
      key: asked.key,
      algorithm: asked.algorithm,
      circumstances: {
        now: clock.now(),
        clockDoubtMs: clock.doubtMs(),
        bytes,
        content,
        version: asked.version ?? 0,
        typed,
        evidence: EVIDENCE[caller.identity.credential.type],
        peerAddress: peer.slice(0, Math.max(0, peer.lastIndexOf(':'))),
      },
      ...(recordedAs === undefined ? {} : { recordedAs }),
    };
  }

  /** Runs one request; a refusal is on record before the caller hears of it. */
  async #recorded<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      throw error instanceof Refused ? await this.#settled(error) : error;
    }
  }

  async #settled({ use, failure, decision, notes }: Refused): Promise<Failure> {
    try {
      await this.#o.audit.appendRefusal({
        ...this.#subject(use),
        decision: 'deny',
        reason: failure.reason,
        performed: 'no',
        rule: decision?.rule ?? '',
        policy: decision?.policyHash ?? this.#o.policy().hash,
        inputs: { ...encodeInputs(use.circumstances), ...notes },
        latencyMicros: use.call.elapsedMicros,
      });
    } catch (error) {
      return auditFailure(error, 'no');
    }
    return failure;
  }

  #wellFormed(use: Use, problem: () => string | undefined): void {
    const found =
      use.key === '' && use.operation !== 'random' && use.recordedAs !== 'list-keys'
        ? 'key name is missing'
        : use.key !== '' && !isKeyName(use.key)
          ? 'key name is malformed'
          : problem();
    if (found !== undefined) throw new Refused(use, new Failure('REQUEST_INVALID', found));
    const identity = this.#identityFailure(use.caller);
    if (identity !== undefined) throw new Refused(use, identity);
    const { failure } = this.#o.audit;
    if (failure !== undefined) throw auditFailure(failure, 'no');
  }

  #identityFailure(caller: Caller): Failure | undefined {
    const { identity } = caller;
    if (this.#o.clock.now() >= identity.credential.notAfter) {
      return new Failure('SVID_EXPIRED', 'your X.509-SVID has expired: connect again with a fresh one');
    }
    const { freezes } = this.#o;
    if (
      freezes.isFrozen('workload', identity.spiffeId.id) ||
      freezes.isFrozen('trust-domain', identity.spiffeId.trustDomain) ||
      freezes.isFrozen('credential', identity.credential.sha256)
    ) {
      return new Failure('CREDENTIAL_FROZEN', 'this identity is frozen: ask your security team');
    }
    return undefined;
  }

  #decide(use: Use): Decision {
    const decision = this.#o.policy().decide({
      spiffeId: use.caller.identity.spiffeId.id,
      operation: use.operation,
      key: use.key,
      algorithm: canonicalAlgorithm(use.algorithm),
      circumstances: use.circumstances,
    });
    if (decision.effect === 'deny') throw new Refused(use, new Failure('POLICY_DENIED', DENIED), decision);
    return decision;
  }

  /** Policy on identity, operation and name first; only then what depends on the key. */
  #permit(use: Use, wanted: number, purpose: 'sign' | 'encrypt' | 'decrypt' | 'mac'): KeyPermitted {
    const decision = this.#decide(this.#withOnlyAlgorithm(use, wanted));
    const { key } = use;
    const version = isReservedKeyName(key) ? undefined : this.#o.catalog.find(key, wanted);
    if (version === undefined) {
      const exists = this.#o.catalog.versions(key).length > 0 && !isReservedKeyName(key);
      if (exists && purpose === 'decrypt')
        throw new Refused(use, new Failure('CIPHERTEXT_REJECTED', REJECTED), decision);
      throw new Refused(
        use,
        new Failure('POLICY_DENIED', DENIED),
        { ...decision, rule: '' },
        { absent: true },
      );
    }
    const refuse = (reason: Reason, text: string): Refused =>
      new Refused(use, new Failure(reason, text), decision);
    if (this.#o.freezes.isFrozen('key', key))
      throw refuse('KEY_UNUSABLE', 'the key is frozen: ask your security team');
    const isReading = purpose === 'decrypt' || use.operation === 'verify' || use.operation === 'verify-mac';
    if (version.state !== 'active' && !(isReading && version.state === 'deactivated')) {
      throw refuse('KEY_UNUSABLE', `this version of the key is ${version.state}`);
    }
    if (version.decryptOnly && purpose === 'encrypt') {
      throw refuse('KEY_UNUSABLE', 'the key only decrypts: how often it was used elsewhere is unknown');
    }
    if (version.purpose !== (purpose === 'decrypt' ? 'encrypt' : purpose)) {
      throw refuse('REQUEST_INVALID', `the key is for ${version.purpose}`);
    }
    const jose =
      purpose === 'decrypt' || use.algorithm === ''
        ? version.algorithms.length === 1 || purpose === 'decrypt'
          ? version.algorithms[0]
          : undefined
        : parseAlgorithm(use.algorithm);
    if (jose === undefined || !version.algorithms.includes(jose)) {
      throw refuse(
        'REQUEST_INVALID',
        `algorithm does not fit the key, which is for ${version.algorithms.join(', ')}`,
      );
    }
    return { ...use, algorithm: purpose === 'decrypt' ? use.algorithm : jose, decision, version, jose };
  }

  /** A key that a rule of typed signing names signs only what was understood, but where its catalog entry says so. */
  #takesRaw({ key, version }: Permitted): boolean {
    return this.#o.policy().takesRawSigning(key) || version?.rawSigning === true;
  }

  /**
   * A caller that names no algorithm means the key's only one, and policy is asked about that. The catalog is looked
   * at only for callers who may know that the key exists.
   */
  #withOnlyAlgorithm(use: Use, wanted: number): Use {
    if (use.algorithm !== '' || isReservedKeyName(use.key)) return use;
    if (this.#o.policy().usableOperations(use.caller.identity.spiffeId.id, use.key).length === 0) return use;
    const algorithms = this.#o.catalog.find(use.key, wanted)?.algorithms;
    return algorithms?.length === 1 ? { ...use, algorithm: algorithms[0]! } : use;
  }

  /**
   * Freeze, expiry, windows, log and policy again, just before an operation leaves for the token. Under a policy that
   * has changed meanwhile, its decision.
   */
  #recheck(permitted: Permitted, spent: Spent): Failure | Decision | undefined {
    const { caller, call } = permitted;
    if (call.aborted) return new Failure('CANCELLED', 'the caller went away');
    if (performance.now() >= call.deadline) return new Failure('DEADLINE_EXCEEDED', 'the deadline passed');
    if (this.#o.audit.failure !== undefined) return auditFailure(this.#o.audit.failure, 'no');
    const identity = this.#identityFailure(caller);
    if (identity !== undefined) return identity;
    if (permitted.key !== '' && this.#o.freezes.isFrozen('key', permitted.key))
      return new Failure('KEY_UNUSABLE', 'the key is frozen: ask your security team');
    const { clock } = this.#o;
    const policy = this.#o.policy();
    if (policy.hash === permitted.decision.policyHash) {
      const isOpen = spent.allowance?.isOpenAt(clock.now(), clock.doubtMs()) ?? true;
      return isOpen ? undefined : new Failure('POLICY_DENIED', DENIED);
    }
    const decision = policy.decide({
      spiffeId: caller.identity.spiffeId.id,
      operation: permitted.operation,
      key: permitted.key,
      algorithm: canonicalAlgorithm(permitted.algorithm),
      circumstances: { ...permitted.circumstances, now: clock.now(), clockDoubtMs: clock.doubtMs() },
    });
    if (permitted.stands?.() === false) return new Failure('POLICY_DENIED', DENIED);
    if (permitted.operation === 'sign' && !this.#takesRaw(permitted))
      return new Failure('POLICY_DENIED', DENIED);
    return decision.effect === 'allow' ? decision : new Failure('POLICY_DENIED', DENIED);
  }

  /** @throws Refused */
  async #spend(permitted: Permitted, shown: () => Shown): Promise<Spent> {
    const { caller, call, key, operation, algorithm, circumstances, decision, version } = permitted;
    const purchase: Purchase = {
      decision,
      identity: caller.identity,
      key,
      bytes: circumstances.bytes,
      isEmergency: call.isEmergency,
      petition: () => ({
        requester: caller.identity.spiffeId.id,
        operation,
        key,
        version: circumstances.version,
        algorithm,
        ...shown(),
        catalogEntry: version === undefined ? '' : catalogEntryOf(version),
      }),
    };
    try {
      for (;;) {
        try {
          return await this.#o.spending.take(purchase);
        } catch (error) {
          const id = error instanceof Failure ? error.metadata['approval'] : undefined;
          if (
            !call.waitsForApproval ||
            id === undefined ||
            call.aborted ||
            performance.now() >= call.deadline
          )
            throw error;
          await this.#o.spending.approved(id, call);
        }
      }
    } catch (error) {
      throw error instanceof Failure ? new Refused(permitted, error, decision) : error;
    }
  }

  /** At most two attempts, on different tokens where there are; every one goes into the entry. */
  async #perform<T>(
    start: Permitted,
    input: DigestedContent | undefined,
    run: Run<T>,
    isRight?: (value: T, token: TokenAdapter) => Promise<boolean>,
    shown: () => Shown = () => NOTHING_TO_SHOW,
  ): Promise<Performed<T>> {
    const attempts: Attempt[] = [];
    let permitted = start;
    let spent = isPlain(permitted.decision) ? freeOf(permitted) : await this.#spend(permitted, shown);
    let except: TokenAdapter | undefined;
    for (;;) {
      let token: TokenAdapter | undefined;
      let held: Binding | undefined;
      let started = performance.now();
      try {
        const chosen = this.#o.pool.choose(
          permitted.caller.identity.spiffeId.id,
          permitted.version,
          permitted.call,
          except,
        );
        const binding = chosen instanceof Promise ? await chosen : chosen;
        held = binding;
        const found = this.#recheck(permitted, spent);
        if (found instanceof Failure) throw found;
        if (found !== undefined) {
          // Another policy came into force: it counts what it allows, and is what the entry names. The place is given
          // back first: paying may mean waiting for people, and much can become of a token meanwhile.
          this.#o.pool.release(binding, new Failure('BUSY', 'not started'));
          held = undefined;
          spent.settle(performedOf(attempts));
          permitted = { ...permitted, decision: found };
          spent = freeOf(permitted);
          if (!isPlain(found)) spent = await this.#spend(permitted, shown);
          continue;
        }
        token = binding.token;
        started = performance.now();
        const cost = spent;
        const value = await run(token, binding.object, permitted.call, (content) => cost.reserve(content));
        held = undefined;
        this.#o.pool.release(binding);
        if (isRight === undefined || (await isRight(value, token))) {
          attempts.push(attempt(token, 'ok', started));
          return { value, attempts, permitted, spent };
        }
        attempts.push(attempt(token, 'mismatch', started));
        if (attempts.length > 1) throw new Failure('INTERNAL', 'internal error', { performed: 'yes' });
      } catch (error) {
        if (held !== undefined) this.#o.pool.release(held, error);
        if (token === undefined || error instanceof Failure || error instanceof Refused) {
          if (error instanceof VerifierWithheld) attempts.push(attempt(token!, 'ok', started));
          throw await this.#failed(
            { permitted, spent, attempts },
            input,
            withHistory(error instanceof Refused ? error.failure : toFailure(error), attempts),
          );
        }
        attempts.push(attempt(token, 'failed', started, error));
        if (error instanceof AdapterError && error.reason === 'KEY_MISSING_ON_TOKEN' && permitted.version) {
          this.#o.keys.revoke(token, permitted.version.id, 'the object is gone');
        }
        if (
          attempts.length > 1 ||
          !isWorthAnotherAttempt(error) ||
          performance.now() >= permitted.call.deadline
        ) {
          const failure = toFailure(error);
          if (failure.reason === 'INTERNAL') {
            this.#o.log('error', 'an operation failed', { key: permitted.key, error: String(error) });
          }
          throw await this.#failed({ permitted, spent, attempts }, input, withHistory(failure, attempts));
        }
      }
      except = token;
    }
  }

  /** A signature that does not verify is not released: the token returned wrong bytes, and leaves service. */
  async #verifies(
    permitted: KeyPermitted,
    content: Content,
    data: Uint8Array,
    signature: Uint8Array,
    token: TokenAdapter,
  ): Promise<boolean> {
    const { version, jose } = permitted;
    const { curve } = FACTS[jose];
    let isValid = curve === undefined || signature.length === 2 * curve.bytes;
    const isAsked =
      version.verify === 'always' ||
      (version.verify === 'sampled' && (this.#o.isSampled?.() ?? randomInt(SAMPLED_ONE_IN) === 0));
    if (isValid && isAsked) {
      const object = version.objects.find((candidate) => candidate.tokenSerial === token.info?.serial);
      try {
        isValid =
          object !== undefined &&
          (await this.#o.verifier.verify({
            algorithm: jose as SignatureAlgorithm,
            publicKey: object.publicKey,
            ...verifiable(jose, content, data),
            signature,
          }));
      } catch (error) {
        // Without a verdict there is no release; the key was used.
        if (error instanceof VerifierError) throw new VerifierWithheld(verifierFailure(error, 'yes'));
        throw error;
      }
    }
    if (!isValid) this.#quarantine(token, `a signature of ${version.id} does not verify`);
    return isValid;
  }

  async #seal(
    permitted: KeyPermitted,
    input: DigestedContent,
    source: (token: TokenAdapter, context: OperationContext) => Uint8Array | Promise<Uint8Array>,
    associatedData: Uint8Array,
  ): Promise<Done & { readonly plaintext: Uint8Array; readonly ciphertext: Uint8Array }> {
    const { version, jose } = permitted;
    const header = ciphertextHeader(jose, version.name, version.version);
    const isRsa = jose === 'RSA-OAEP-256';
    if (isRsa) {
      const room = version.spec.type === 'rsa' ? version.spec.modulusBits / 8 - 66 : 0;
      const why =
        associatedData.length > 0
          ? 'RSA-OAEP-256 has no associated data'
          : input.bytes > room
            ? `RSA-OAEP-256 with this key takes at most ${room} bytes: wrap a data key instead`
            : undefined;
      if (why !== undefined)
        throw new Refused(permitted, new Failure('REQUEST_INVALID', why), permitted.decision);
    }
    const performed = await this.#perform(
      permitted,
      input,
      async (token, object, context, reserve) => {
        const plaintext = await source(token, context);
        reserve(() => digestNow('sha256', plaintext, 'buffer'));
        return isRsa
          ? this.#sealForPublicKey(version, plaintext, header, token, object, context)
          : this.#sealAndOpen(version, plaintext, associatedData, header, token, object, context);
      },
      async ({ finding }, token) => {
        if (finding !== undefined) this.#quarantine(token, finding);
        return finding === undefined;
      },
    );
    const { ciphertext, plaintext } = performed.value;
    const leafIndex = await this.#conclude(performed, input, {
      kind: 'ciphertext',
      bytes: ciphertext.length,
      sha256: sha256Text(ciphertext),
    });
    return { plaintext, ciphertext, version: version.version, leafIndex };
  }

  async #sealAndOpen(
    version: KeyVersion,
    plaintext: Uint8Array,
    associatedData: Uint8Array,
    header: Buffer,
    token: TokenAdapter,
    object: number,
    context: OperationContext,
  ): Promise<Sealed> {
    // Counted before the token is asked, and never given back: an attempt may have used the key.
    this.#o.encryptions.take(version.name, version.version);
    const bound = associatedDataFor(header, associatedData);
    const { iv, sealed, session } = await token.encrypt(object, plaintext, bound, context);
    const ciphertext = joinCiphertext(header, iv, sealed);
    if (!this.#ivs.admit(version.id, iv)) {
      return { plaintext, ciphertext, finding: `an IV of ${version.id} is zero or was used before` };
    }
    const opened = await openAgain(token, {
      operation: { object, algorithm: 'A256GCM', iv, sealed, associatedData: bound, notSession: session },
      context,
    });
    return { plaintext, ciphertext, finding: unlike(opened, plaintext, version) };
  }

  /** RSA-OAEP-256: the public half is the broker's; the token opens it again before it is released. */
  async #sealForPublicKey(
    version: KeyVersion,
    plaintext: Uint8Array,
    header: Buffer,
    token: TokenAdapter,
    object: number,
    context: OperationContext,
  ): Promise<Sealed> {
    const { publicKey } = version.objects.find((candidate) => candidate.tokenSerial === token.info?.serial)!;
    const sealed = publicEncrypt(
      {
        key: Buffer.from(publicKey),
        format: 'der',
        type: 'spki',
        padding: constants.RSA_PKCS1_OAEP_PADDING,
        oaepHash: 'sha256',
      },
      plaintext,
    );
    const opened = await openAgain(token, {
      operation: { object, algorithm: 'RSA-OAEP-256', iv: EMPTY, sealed, associatedData: EMPTY },
      context,
    });
    const ciphertext = joinCiphertext(header, EMPTY, sealed);
    return { plaintext, ciphertext, finding: unlike(opened, plaintext, version) };
  }

  async #open(
    permitted: KeyPermitted,
    parsed: NonNullable<ReturnType<typeof parseCiphertext>>,
    request: { readonly ciphertext: Uint8Array; readonly associatedData: Uint8Array },
  ): Promise<Done & { readonly plaintext: Uint8Array }> {
    const { algorithm, iv, sealed, header } = parsed;
    const ciphertextDigest = digestNow('sha256', request.ciphertext, 'buffer');
    const input: DigestedContent = {
      kind: 'ciphertext',
      bytes: request.ciphertext.length,
      sha256: ciphertextDigest.toString('base64url'),
    };
    const associatedData =
      algorithm === 'A256GCM' ? associatedDataFor(header, request.associatedData) : EMPTY;
    const performed = await this.#perform(permitted, input, (token, object, context, reserve) => {
      reserve(() => ciphertextDigest);
      return token.decrypt({ object, algorithm, iv, sealed, associatedData }, context);
    });
    const leafIndex = await this.#conclude(performed, input, {
      kind: 'plaintext',
      bytes: performed.value.length,
    });
    return { plaintext: performed.value, version: permitted.version.version, leafIndex };
  }

  async #computeMac(
    use: Use,
    request: { version: number; message: Uint8Array },
    isReleased: boolean,
  ): Promise<{
    performed: Performed<{ readonly value: Uint8Array }>;
    permitted: KeyPermitted;
    input: DigestedContent;
  }> {
    const { message } = request;
    this.#wellFormed(use, () => messageProblem(message, 'Compute the MAC of a digest of it'));
    const permitted = this.#permit(use, request.version, 'mac');
    const input: DigestedContent = { kind: 'message', bytes: message.length };
    const performed = await this.#perform(
      permitted,
      input,
      async (token, object, context, reserve) => {
        reserve(() => digestNow('sha256', message, 'buffer'));
        const compute = (): Promise<Uint8Array> =>
          token.sign({ object, algorithm: permitted.jose, data: message }, context);
        // Nobody but the token can verify it: made twice, what differs is wrong. A wrong one that is compared with
        // somebody's fails by itself.
        if (!isReleased) return { value: await compute(), isSame: true };
        const [value, again] = await both(compute);
        return { value, isSame: same(value, again) };
      },
      async ({ isSame }, token) => {
        if (!isSame) this.#quarantine(token, `two MACs of ${permitted.version.id} over one message differ`);
        return isSame;
      },
    );
    return { performed, permitted, input };
  }

  /** Its place among the verifications that wait. @throws Refused BUSY, or when nobody waits for the answer */
  #admitVerification(use: Use, bytes: number): () => void {
    const { id } = use.caller.identity.spiffeId;
    const mine = this.#verifications.get(id) ?? 0;
    if (use.call.aborted) throw new Refused(use, new Failure('CANCELLED', 'the caller went away'));
    if (performance.now() >= use.call.deadline)
      throw new Refused(use, new Failure('DEADLINE_EXCEEDED', 'the deadline passed'));
    if (
      mine >= MAX_VERIFICATIONS_PER_WORKLOAD ||
      this.#pendingVerifications >= MAX_VERIFICATIONS ||
      this.#pendingVerificationBytes + bytes > MAX_VERIFICATION_BYTES
    ) {
      throw new Refused(use, new Failure('BUSY', 'too many signatures wait to be verified'));
    }
    this.#verifications.set(id, mine + 1);
    this.#pendingVerifications++;
    this.#pendingVerificationBytes += bytes;
    return () => {
      this.#pendingVerifications--;
      this.#pendingVerificationBytes -= bytes;
      const left = (this.#verifications.get(id) ?? 1) - 1;
      if (left === 0) this.#verifications.delete(id);
      else this.#verifications.set(id, left);
    };
  }

  #quarantine(token: TokenAdapter, finding: string): void {
    // Every signature in flight may tell of the same token: it leaves service once, and one entry says so.
    if (token.state === 'blocked' && this.#quarantined.get(token) === token.loginGeneration) return;
    this.#quarantined.set(token, token.loginGeneration);
    this.#o.log('error', 'a token returned wrong bytes and leaves service', { token: token.name, finding });
    token.quarantine(finding);
    this.#o.audit
      .append({
        kind: 'token',
        subject: 'lastmile',
        operation: 'quarantine',
        decision: 'deny',
        performed: 'yes',
        detail: { token: token.info?.serial ?? '', finding },
      })
      .catch((error) =>
        this.#o.log('error', 'a finding is not on record', { finding, error: String(error) }),
      );
  }

  #subject(use: Use): Omit<EntryDraft, 'decision'> {
    return {
      kind: 'key-use',
      subject: use.caller.identity.spiffeId.id,
      credential: use.caller.identity.credential.sha256,
      peer: use.caller.peer,
      operation: use.recordedAs ?? use.operation,
      ...(use.key === '' ? {} : { key: use.key }),
      ...(use.algorithm === '' ? {} : { algorithm: use.algorithm }),
      generation: this.#o.generation(),
    };
  }

  #entry(
    { permitted, spent, attempts }: Pick<Performed<unknown>, 'permitted' | 'spent' | 'attempts'>,
    input: DigestedContent | undefined,
  ): Omit<EntryDraft, 'decision'> {
    const { decision, version } = permitted;
    return {
      ...this.#subject(permitted),
      ...(version === undefined ? {} : { version: version.version }),
      rule: spent.rule,
      policy: decision.policyHash,
      ...(input === undefined ? {} : { input }),
      attempts,
      inputs: inputsOf(permitted, spent),
      latencyMicros: permitted.call.elapsedMicros,
    };
  }

  async #conclude(
    performed: Performed<unknown>,
    input: DigestedContent | undefined,
    output: DigestedContent | undefined,
  ): Promise<number> {
    performed.spent.settle('yes');
    try {
      const { leafIndex } = await this.#o.audit.append({
        ...this.#entry(performed, input),
        decision: 'allow',
        performed: 'yes',
        ...(output === undefined ? {} : { output }),
      });
      const { spent, permitted } = performed;
      this.#o.spending.recorded(leafIndex, spent, permitted.caller.identity, permitted.key);
      return leafIndex;
    } catch (error) {
      throw auditFailure(error, 'yes');
    }
  }

  /** The entry of a permitted operation that did not end well; then what the caller is told. */
  async #failed(
    work: Pick<Performed<unknown>, 'permitted' | 'spent' | 'attempts'>,
    input: DigestedContent | undefined,
    failure: Failure,
  ): Promise<Failure> {
    const { performed } = failure;
    work.spent.settle(performed);
    const draft = { ...this.#entry(work, input), reason: failure.reason, performed };
    try {
      // What never reached a token is a refusal like any other: a flood of them is counted, not written out.
      if (work.attempts.length === 0 && performed === 'no') {
        const isDenial = DENIALS.has(failure.reason);
        await this.#o.audit.appendRefusal({ ...draft, decision: isDenial ? 'deny' : 'allow' });
      } else {
        const { leafIndex } = await this.#o.audit.append({ ...draft, decision: 'allow' });
        const { spent, permitted } = work;
        if (performed !== 'no')
          this.#o.spending.recorded(leafIndex, spent, permitted.caller.identity, permitted.key);
      }
    } catch (error) {
      return auditFailure(error, performed);
    }
    return failure;
  }
}

/** Reasons that are decisions against a request, not a lack of something to serve it with. */
const DENIALS: ReadonlySet<Reason> = new Set<Reason>([
  'SVID_EXPIRED',
  'CREDENTIAL_FROZEN',
  'POLICY_DENIED',
  'RATE_LIMITED',
  'KEY_UNUSABLE',
  'REQUEST_INVALID',
]);

const EVIDENCE = { 'x509-svid': ['x509-svid'] } as const;

const OPERATIONS_OF: Readonly<Record<KeyVersion['purpose'], readonly Operation[]>> = {
  sign: ['sign', 'verify', 'sign-jwt', 'sign-certificate', 'sign-dsse'],
  encrypt: ['encrypt', 'decrypt', 'generate-data-key'],
  mac: ['mac', 'verify-mac'],
};

interface Sealed {
  readonly plaintext: Uint8Array;
  readonly ciphertext: Uint8Array;
  /** Why it must not be released; the token leaves service. */
  readonly finding: string | undefined;
}

/** The key was used and there is no verdict on what came of it. */
class VerifierWithheld extends Failure {
  constructor(failure: Failure) {
    super(failure.reason, failure.message, { performed: 'yes', cause: failure });
  }
}

/**
 * What the verifier is asked about: the message while it is short, as OpenSSL verifies ECDSA over messages alone and
 * digests take twenty times as long; the digest where the message would have to be copied and hashed again.
 */
function verifiable(
  jose: Algorithm,
  { kind, bytes }: Content,
  digest: Uint8Array,
): { readonly content: 'message' | 'digest'; readonly data: Uint8Array } {
  const { hash, curve } = FACTS[jose];
  const isMessage =
    kind === 'message' && (hash === undefined || (curve !== undefined && bytes.length <= MAX_COPIED_BYTES));
  return isMessage ? { content: 'message', data: bytes } : { content: 'digest', data: digest };
}

function verifierFailure(error: VerifierError, performed: PerformedUse): Failure {
  return error.reason === 'queue-full'
    ? new Failure('BUSY', 'too many signatures wait to be verified', { performed, cause: error })
    : new Failure('INTERNAL', 'internal error', { performed, cause: error });
}

/** Twice, until both are over: when one of them ran, the key was used, whatever became of the other. */
async function both(compute: () => Promise<Uint8Array>): Promise<[Uint8Array, Uint8Array]> {
  const [first, second] = await Promise.allSettled([compute(), compute()]);
  if (first.status === 'fulfilled' && second.status === 'fulfilled') return [first.value, second.value];
  const reasons = [first, second].flatMap((outcome) =>
    outcome.status === 'rejected' ? [outcome.reason as unknown] : [],
  );
  const [error] = reasons;
  const ranNowhere =
    reasons.length === 2 &&
    reasons.every((reason) => reason instanceof AdapterError && reason.performed === 'no');
  if (ranNowhere || !(error instanceof AdapterError)) throw error;
  throw new AdapterError(error.reason, error.message, {
    performed: 'unknown',
    ckr: error.ckr,
    cause: error,
  });
}

/**
 * What was just encrypted, opened again. Undefined when it does not open: with bytes that were made a moment ago,
 * that is the token's or the path's fault, and never the caller's. The key has been used, whatever else is in the way.
 */
async function openAgain(
  token: TokenAdapter,
  { operation, context }: { operation: Parameters<TokenAdapter['decrypt']>[0]; context: OperationContext },
): Promise<Uint8Array | undefined> {
  try {
    return await token.decrypt(operation, context);
  } catch (error) {
    if (!(error instanceof AdapterError)) throw error;
    if (error.reason === 'CIPHERTEXT_REJECTED' || error.reason === 'REQUEST_INVALID') return undefined;
    throw new AdapterError(error.reason, error.message, {
      performed: 'unknown',
      ckr: error.ckr,
      cause: error,
    });
  }
}

function unlike(
  opened: Uint8Array | undefined,
  plaintext: Uint8Array,
  version: KeyVersion,
): string | undefined {
  return opened !== undefined && same(opened, plaintext)
    ? undefined
    : `a ciphertext of ${version.id} does not open to what was encrypted`;
}

const NOTHING_TO_SHOW: Shown = { content: { kind: 'not-shown', sha256: '', bytes: 0 } };

/** Nothing is limited, guarded, observed or to be approved, and no window closes. */
function isPlain({ alternatives, observed }: Decision): boolean {
  return alternatives === undefined && observed === undefined;
}

function freeOf(permitted: Permitted): Spent {
  return new NothingSpent(permitted.decision.rule, undefined);
}

/** Of the very bytes that the entry names, so that the log alone tells what may be tried again. */
function digestIn({ sha256 }: DigestedContent): Buffer {
  return Buffer.from(sha256 ?? '', 'base64url');
}

function performedOf(attempts: readonly Attempt[]): PerformedUse {
  return attempts.every((made) => made.performed === 'no') ? 'no' : 'unknown';
}

/** Everything the decision saw, what it took, and what rules on probation would have said. */
function inputsOf({ circumstances }: Permitted, spent: Spent): NonNullable<EntryDraft['inputs']> {
  const { charges, guards, observed, approval } = spent;
  if (charges.length === 0 && guards.length === 0 && observed.length === 0 && approval === undefined) {
    return encodeInputs(circumstances);
  }
  const costs: { [name: string]: EntryValue } = {
    ...(charges.length === 0 ? {} : { charges }),
    ...(guards.length === 0 ? {} : { guards }),
    ...(approval === undefined ? {} : { approval: approval.record }),
  };
  const notes: EntryValue[] = observed
    .slice(0, 8)
    .map(({ rule, missing }) => [rule, (missing[0] ?? '').slice(0, 128)]);
  const all = {
    ...encodeInputs(circumstances),
    ...costs,
    ...(notes.length === 0 ? {} : { observed: notes }),
  };
  if (Buffer.byteLength(JSON.stringify(all)) <= MAX_INPUTS_BYTES) return all;
  // What was taken has to be counted again after a restart: everything else gives way to it.
  const least = { ...encodeInputs({ ...circumstances, typed: undefined }), ...costs };
  if (Buffer.byteLength(JSON.stringify(least)) <= MAX_INPUTS_BYTES) return least;
  return costs;
}

function canonicalAlgorithm(name: string): string {
  return name === 'EdDSA' ? 'Ed25519' : name;
}

function attempt(
  token: TokenAdapter,
  outcome: Attempt['outcome'],
  started: number,
  error?: unknown,
): Attempt {
  const micros = Math.round((performance.now() - started) * 1000);
  const serial = token.info?.serial ?? '';
  if (!(error instanceof AdapterError))
    return { token: serial, outcome, performed: outcome === 'failed' ? 'unknown' : 'yes', micros };
  return {
    token: serial,
    outcome,
    performed: error.performed,
    micros,
    reason: error.reason,
    ...(error.ckr === undefined ? {} : { ckr: error.ckr }),
  };
}

/** What an earlier attempt may have done is not undone by a later one that did not run. */
function withHistory(failure: Failure, attempts: readonly Attempt[]): Failure {
  const worst = attempts.some((earlier) => earlier.performed === 'yes')
    ? 'yes'
    : attempts.some((earlier) => earlier.performed === 'unknown')
      ? 'unknown'
      : 'no';
  const order = ['no', 'unknown', 'yes'];
  if (order.indexOf(worst) <= order.indexOf(failure.performed)) return failure;
  return new Failure(failure.reason, failure.message, {
    performed: worst,
    metadata: { ...failure.metadata },
    cause: failure,
  });
}

function auditFailure(error: unknown, performed: Failure['performed']): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof AuditError) {
    return error.reason === 'AUDIT_INCONSISTENT'
      ? new Failure(
          'AUDIT_INCONSISTENT',
          'the audit log is inconsistent: nothing is signed until an operator decides',
          { performed, cause: error },
        )
      : new Failure('AUDIT_UNAVAILABLE', 'the audit log cannot be written, so nothing is released', {
          performed,
          cause: error,
        });
  }
  return new Failure('INTERNAL', 'internal error', { performed, cause: error });
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function distinctPublicKeys(version: KeyVersion): readonly Uint8Array[] {
  const found = new Map<string, Uint8Array>();
  for (const { publicKey } of version.objects) {
    if (publicKey.length > 0) found.set(Buffer.from(publicKey).toString('latin1'), publicKey);
  }
  return [...found.values()];
}
