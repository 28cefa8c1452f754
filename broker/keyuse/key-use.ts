/**
 * The one transaction of key use: identity, policy, key, limits, token, proof of the result, entry, release.
 *
 * Longer than most files because the order of the steps is the security property: it is to be read in one piece.
 * Encryption, MACs and look-ups are operations of their own; they are handed a `Transaction`, which is these steps.
 * Nothing is released before its entry is durable; a refusal says nothing of whether a key exists.
 */
import { hash as digestNow, randomInt } from 'node:crypto';
import { AdapterError, type TokenAdapter } from '../../hsm-adapters/adapter.ts';
import type { Decision, PolicySet } from '../../policy/decision.ts';
import { isKeyName, isReservedKeyName } from '../../policy/key-name.ts';
import { encodeInputs } from '../../policy/replay-inputs.ts';
import type { Attempt, AuditLog, DigestedContent, EntryDraft } from '../audit/entry.ts';
import type { BuiltContent, TypedOperation, TypedRequest } from '../typed/typed-request.ts';
import { isWorthAnotherAttempt, toFailure } from './adapter-failure.ts';
import { ecdsaFromDer, ecdsaToDer, FACTS, normaliseEcdsa, parseAlgorithm, sha256Text } from './algorithms.ts';
import type { Call, Caller } from './call.ts';
import { type DataKeyRequest, type DecryptRequest, Encryption, type EncryptRequest } from './encryption.ts';
import type { EncryptionCounter } from './encryption-counter.ts';
import { Failure, type Reason } from './failure.ts';
import type { Freezes } from './freezes.ts';
import { catalogEntryOf, type KeyCatalog, publishKey } from './key-catalog.ts';
import { distinctPublicKeys, KeyLookup, type Published, type UsableKey } from './key-lookup.ts';
import { type MacRequest, MessageAuthentication, type VerifyMacRequest } from './message-authentication.ts';
import { Quarantine } from './quarantine.ts';
import { type Content, contentProblem, describeContent } from './request-form.ts';
import { sameBytes } from './same-bytes.ts';
import { type Shown, showContent, showFacts } from './shown.ts';
import { NothingSpent, type Purchase, type Spending, type Spent } from './spending.ts';
import type { Binding, TokenKeys } from './token-keys.ts';
import type { TokenPool } from './token-pool.ts';
import {
  CIPHERTEXT_REJECTED,
  type Done,
  denied,
  type Intent,
  type KeyPermitted,
  type Performed,
  type Permitted,
  Refused,
  type Run,
  type Transaction,
  type Use,
} from './transaction.ts';
import { attempt, auditFailure, DENIALS, digestIn, inputsOf, performedOf, withHistory } from './use-entry.ts';
import { VerificationRoom, VerifierWithheld, verifiable, verifierFailure } from './verification.ts';
import type { SignatureVerifier } from './verify/signature-verifier.ts';
import { VerifierError } from './verify/verifier-error.ts';
import type { SignatureAlgorithm } from './verify/verify-input.ts';

const EVIDENCE = { 'x509-svid': ['x509-svid'] } as const;
const NO_CONTENT = digestNow('sha256', new Uint8Array(), 'buffer');
/** One in so many results of a key with `verify: sampled`. */
const SAMPLED_ONE_IN = 64;

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

export class KeyUse {
  readonly #o: KeyUseOptions;
  readonly #encryption: Encryption;
  readonly #macs: MessageAuthentication;
  readonly #lookup: KeyLookup;
  readonly #verifications = new VerificationRoom();
  readonly #quarantine: Quarantine;

  constructor(options: KeyUseOptions) {
    this.#o = options;
    this.#quarantine = new Quarantine(options.audit, options.log);
    const steps: Transaction = {
      recorded: (run) => this.#recorded(run),
      use: (caller, call, intent) => this.#use(caller, call, intent),
      wellFormed: (use, problem) => this.#wellFormed(use, problem),
      permit: (use, wanted, purpose) => this.#permit(use, wanted, purpose),
      perform: (permitted, input, run, isRight) => this.#perform(permitted, input, run, isRight),
      conclude: (performed, input, output) => this.#conclude(performed, input, output),
      quarantine: (token, finding) => this.#quarantine.impose(token, finding),
    };
    this.#encryption = new Encryption(steps, options.encryptions);
    this.#macs = new MessageAuthentication(steps);
    this.#lookup = new KeyLookup(steps, options.policy, options.catalog);
  }

  sign(
    caller: Caller,
    call: Call,
    request: { key: string; version: number; algorithm: string; content: Content | undefined; der: boolean },
  ): Promise<Done & { readonly signature: Uint8Array }> {
    return this.#recorded(async () => {
      const { content } = request;
      const use = this.#use(caller, call, {
        operation: 'sign',
        asked: request,
        content: content?.kind ?? 'none',
        bytes: content?.bytes.length ?? 0,
      });
      this.#wellFormed(use, () => contentProblem(content, request.algorithm, request.der));
      const permitted = this.#permit(use, request.version, 'sign');
      // Bare bytes could be anything: a token for somebody else, a certificate for a competitor.
      if (!this.#takesRaw(permitted)) throw new Refused(use, denied(), permitted.decision);
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
        ...this.#use(caller, call, {
          operation: request.operation,
          asked: request,
          content: 'typed',
          bytes: 0,
          typed: { type, facts },
        }),
        stands: () => request.stands?.() !== false,
      };
      this.#wellFormed(use, () => undefined);
      const permitted = this.#permit(use, request.version, 'sign');
      if (use.stands?.() === false) throw new Refused(use, denied(), permitted.decision);
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
          if (built === undefined || !sameBytes(built.publicKey, publicKey)) {
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
    const use = this.#use(caller, call, { operation: asked.operation, asked, content: 'typed', bytes: 0 });
    // What is wrong with a request is for those who may make one: it can tell which profiles there are.
    const mayAsk = this.mayAskFor(caller, asked.operation, asked.key);
    const told = this.#identityFailure(caller) ?? (mayAsk ? failure : denied());
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
      const use = this.#use(caller, call, {
        operation: 'verify',
        asked: request,
        content: content?.kind ?? 'none',
        bytes: content?.bytes.length ?? 0,
      });
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
      const release = this.#verifications.admit(use, question.data.length);
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
    request: EncryptRequest,
  ): Promise<Done & { readonly ciphertext: Uint8Array }> {
    return this.#encryption.encrypt(caller, call, request);
  }

  generateDataKey(
    caller: Caller,
    call: Call,
    request: DataKeyRequest,
  ): Promise<Done & { readonly plaintext: Uint8Array; readonly wrapped: Uint8Array }> {
    return this.#encryption.generateDataKey(caller, call, request);
  }

  decrypt(
    caller: Caller,
    call: Call,
    request: DecryptRequest,
  ): Promise<Done & { readonly plaintext: Uint8Array }> {
    return this.#encryption.decrypt(caller, call, request);
  }

  mac(caller: Caller, call: Call, request: MacRequest): Promise<Done & { readonly mac: Uint8Array }> {
    return this.#macs.mac(caller, call, request);
  }

  verifyMac(
    caller: Caller,
    call: Call,
    request: VerifyMacRequest,
  ): Promise<Done & { readonly valid: boolean }> {
    return this.#macs.verifyMac(caller, call, request);
  }

  publicKey(
    caller: Caller,
    call: Call,
    request: { readonly key: string; readonly version: number },
  ): Promise<Published> {
    return this.#lookup.publicKey(caller, call, request);
  }

  /** Names that the caller may use, with what it may do; nothing of the others. */
  usableKeys(caller: Caller, call: Call): Promise<readonly UsableKey[]> {
    return this.#lookup.usableKeys(caller, call);
  }

  random(
    caller: Caller,
    call: Call,
    length: number,
  ): Promise<{ readonly random: Uint8Array; readonly leafIndex: number }> {
    return this.#recorded(async () => {
      const asked = { key: '', algorithm: '', version: 0 };
      const use = this.#use(caller, call, { operation: 'random', asked, content: 'none', bytes: length });
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

  #use(caller: Caller, call: Call, intent: Intent): Use {
    const { operation, asked, content, bytes, typed, recordedAs } = intent;
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
    if (decision.effect === 'deny') throw new Refused(use, denied(), decision);
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
        throw new Refused(use, new Failure('CIPHERTEXT_REJECTED', CIPHERTEXT_REJECTED), decision);
      throw new Refused(use, denied(), { ...decision, rule: '' }, { absent: true });
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
      return isOpen ? undefined : denied();
    }
    const decision = policy.decide({
      spiffeId: caller.identity.spiffeId.id,
      operation: permitted.operation,
      key: permitted.key,
      algorithm: canonicalAlgorithm(permitted.algorithm),
      circumstances: { ...permitted.circumstances, now: clock.now(), clockDoubtMs: clock.doubtMs() },
    });
    if (permitted.stands?.() === false) return denied();
    if (permitted.operation === 'sign' && !this.#takesRaw(permitted)) return denied();
    return decision.effect === 'allow' ? decision : denied();
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
        const isMissing = error instanceof AdapterError && error.reason === 'KEY_MISSING_ON_TOKEN';
        if (isMissing && held !== undefined && permitted.version !== undefined)
          this.#o.keys.revoke(held, permitted.version.id, 'the object is gone');
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
    if (!isValid) this.#quarantine.impose(token, `a signature of ${version.id} does not verify`);
    return isValid;
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

const NOTHING_TO_SHOW: Shown = { content: { kind: 'not-shown', sha256: '', bytes: 0 } };

/** Nothing is limited, guarded, observed or to be approved, and no window closes. */
function isPlain({ alternatives, observed }: Decision): boolean {
  return alternatives === undefined && observed === undefined;
}

function freeOf(permitted: Permitted): Spent {
  return new NothingSpent(permitted.decision.rule, undefined);
}

function canonicalAlgorithm(name: string): string {
  return name === 'EdDSA' ? 'Ed25519' : name;
}
