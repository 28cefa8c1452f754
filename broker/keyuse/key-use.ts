/**
 * The one transaction of key use: identity, policy, key, token, proof of the result, entry, release.
 *
 * Longer than most files because the order of the steps is the security property: it is to be read in one piece.
 * Nothing is released before its entry is durable; a refusal says nothing of whether a key exists.
 */
import { constants, hash as digestNow, publicEncrypt, timingSafeEqual } from 'node:crypto';
import type { Algorithm, OperationContext, TokenAdapter } from '../../hsm-adapters/adapter.ts';
import { AdapterError } from '../../hsm-adapters/adapter.ts';
import type { Operation, PolicySet } from '../../policy/decision.ts';
import { isKeyName, isReservedKeyName } from '../../policy/key-name.ts';
import {
  type Attempt,
  AuditError,
  type AuditLog,
  type DigestedContent,
  type EntryDraft,
} from '../audit/entry.ts';
import type { TypedOperation, TypedRequest } from '../typed/typed-request.ts';
import { isWorthAnotherAttempt, toFailure } from './adapter-failure.ts';
import { ecdsaFromDer, ecdsaToDer, FACTS, normaliseEcdsa, parseAlgorithm, sha256Text } from './algorithms.ts';
import type { Call, Caller } from './call.ts';
import { associatedDataFor, ciphertextHeader, joinCiphertext, parseCiphertext } from './ciphertext.ts';
import { type EncryptionCounter, RecentIvs } from './encryption-counter.ts';
import { Failure, type Reason } from './failure.ts';
import type { Freezes } from './freezes.ts';
import { type KeyCatalog, type KeyVersion, publishKey } from './key-catalog.ts';
import { type Binding, RESERVED_PREFIX, type TokenKeys } from './token-keys.ts';
import type { TokenPool } from './token-pool.ts';
import type { SignatureAlgorithm, SignatureVerifier } from './verify/signature-verifier.ts';

export const MAX_MESSAGE_BYTES = 1024 * 1024;
export const MAX_PLAINTEXT_BYTES = 64 * 1024;
export const MAX_ASSOCIATED_DATA_BYTES = 64 * 1024;
const DENIED = 'the policy does not allow this';
const REJECTED = 'ciphertext rejected';
const EMPTY = new Uint8Array();

export interface Content {
  readonly kind: 'message' | 'digest';
  readonly bytes: Uint8Array;
}

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
  /** Leaf index of the software generation in force. */
  readonly generation: () => number;
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
  readonly key: string;
  readonly algorithm: string;
}

interface Permitted extends Use {
  readonly version: KeyVersion;
  readonly jose: Algorithm;
  readonly rule: string;
  readonly policyHash: string;
}

interface Performed<T> {
  readonly value: T;
  readonly attempts: readonly Attempt[];
}

export class KeyUse {
  readonly #o: KeyUseOptions;
  readonly #ivs = new RecentIvs();

  constructor(options: KeyUseOptions) {
    this.#o = options;
  }

  async sign(
    caller: Caller,
    call: Call,
    request: { key: string; version: number; algorithm: string; content: Content | undefined; der: boolean },
  ): Promise<Done & { readonly signature: Uint8Array }> {
    const use: Use = { caller, call, operation: 'sign', key: request.key, algorithm: request.algorithm };
    const { content } = request;
    await this.#wellFormed(use, () => contentProblem(content, request.algorithm, request.der));
    const permitted = await this.#permit(use, request.version, 'sign');
    const facts = FACTS[permitted.jose];
    const { kind, bytes } = content!;
    const data =
      kind === 'digest' || facts.hash === undefined ? bytes : digestNow(facts.hash, bytes, 'buffer');
    const input = describeContent(content!, facts.hash, data);
    const performed = await this.#perform(
      permitted,
      input,
      (token, object, context) => token.sign({ object, algorithm: permitted.jose, data }, context),
      (signature, token) => this.#verifies(permitted, content!, signature, token),
    );
    const signature = performed.value;
    const normalised = facts.curve === undefined ? signature : normaliseEcdsa(signature, facts.curve);
    const leafIndex = await this.#conclude(permitted, input, performed.attempts, {
      kind: 'signature',
      bytes: signature.length,
      sha256: sha256Text(normalised),
    });
    return {
      signature: request.der ? ecdsaToDer(signature) : signature,
      version: permitted.version.version,
      leafIndex,
    };
  }

  /** What is signed is built here, for the key that signs it; the digest of what was built is on record. */
  async signTyped(
    caller: Caller,
    call: Call,
    request: TypedRequest,
  ): Promise<Done & { readonly result: Uint8Array }> {
    const use: Use = {
      caller,
      call,
      operation: request.operation,
      key: request.key,
      algorithm: request.algorithm,
    };
    await this.#wellFormed(use, () => undefined);
    const permitted = await this.#permit(use, request.version, 'sign');
    const { jose, version } = permitted;
    const { hash, curve } = FACTS[jose];
    // Filled when something is built: before that there is nothing to describe.
    const input: { -readonly [field in keyof DigestedContent]: DigestedContent[field] } = {
      kind: 'message',
      bytes: 0,
    };
    const performed = await this.#perform(
      permitted,
      input,
      async (token, object, context) => {
        const { publicKey } = version.objects.find(({ tokenSerial }) => tokenSerial === token.info?.serial)!;
        const built = await request.build({
          algorithm: jose,
          publicKey,
          kid: publishKey(publicKey, version.algorithms).kid,
          random: (length) => token.random(length, context),
        });
        const { bytes } = built.content;
        const data = hash === undefined ? bytes : digestNow(hash, bytes, 'buffer');
        Object.assign(input, describeContent(built.content, hash, data));
        return { built, signature: await token.sign({ object, algorithm: jose, data }, context) };
      },
      ({ built, signature }, token) => this.#verifies(permitted, built.content, signature, token),
    );
    const { built, signature } = performed.value;
    const leafIndex = await this.#conclude(permitted, input, performed.attempts, {
      kind: 'signature',
      bytes: signature.length,
      sha256: sha256Text(curve === undefined ? signature : normaliseEcdsa(signature, curve)),
    });
    return { result: built.finish(signature), version: version.version, leafIndex };
  }

  /**
   * A typed request of which nothing can be made: on record like any refusal, and explained only to whoever may use
   * the key that way at all, because what is wrong may lie in a profile.
   */
  async refuseTyped(
    caller: Caller,
    call: Call,
    asked: { readonly operation: TypedOperation; readonly key: string; readonly algorithm: string },
    failure: Failure,
  ): Promise<Failure> {
    const use: Use = { caller, call, ...asked };
    await this.#wellFormed(use, () => undefined);
    const usable = this.#o.policy().usableOperations(caller.identity.spiffeId.id, asked.key);
    return usable.includes(asked.operation)
      ? this.#deny(use, failure.reason, failure.message)
      : this.#deny(use, 'POLICY_DENIED', DENIED);
  }

  /** With the public half, in the broker: the token is not asked and the log only tells of refusals. */
  async verify(
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
    const use: Use = { caller, call, operation: 'verify', key: request.key, algorithm: request.algorithm };
    await this.#wellFormed(use, () =>
      request.signature.length === 0 || request.signature.length > 1024
        ? 'signature must be 1 to 1024 bytes'
        : contentProblem(request.content, request.algorithm, request.der),
    );
    const { version, jose } = await this.#permit(use, request.version, 'sign');
    const curve = FACTS[jose].curve;
    const signature =
      request.der && curve !== undefined ? ecdsaFromDer(request.signature, curve.bytes) : request.signature;
    if (signature === undefined) return { valid: false, version: version.version };
    for (const publicKey of distinctPublicKeys(version)) {
      const isValid = await this.#o.verifier.verify({
        algorithm: jose as SignatureAlgorithm,
        publicKey,
        content: request.content!.kind,
        data: request.content!.bytes,
        signature,
      });
      if (isValid) return { valid: true, version: version.version };
    }
    return { valid: false, version: version.version };
  }

  async encrypt(
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
    const use: Use = { caller, call, operation: 'encrypt', key: request.key, algorithm: request.algorithm };
    await this.#wellFormed(use, () => {
      if (request.plaintext.length === 0) return 'plaintext is empty';
      if (request.plaintext.length > MAX_PLAINTEXT_BYTES) {
        return 'plaintext is over 64 KiB: use GenerateDataKey and encrypt with that locally (the command line does)';
      }
      return associatedDataProblem(request.associatedData);
    });
    const permitted = await this.#permit(use, request.version, 'encrypt');
    return this.#seal(permitted, request.plaintext, request.associatedData, 'plaintext');
  }

  async generateDataKey(
    caller: Caller,
    call: Call,
    request: { key: string; version: number; length: number; associatedData: Uint8Array },
  ): Promise<Done & { readonly plaintext: Uint8Array; readonly wrapped: Uint8Array }> {
    const use: Use = { caller, call, operation: 'generate-data-key', key: request.key, algorithm: '' };
    const length = request.length === 0 ? 32 : request.length;
    await this.#wellFormed(use, () =>
      [16, 24, 32, 48, 64].includes(length)
        ? associatedDataProblem(request.associatedData)
        : 'length must be 16, 24, 32, 48 or 64 bytes',
    );
    const permitted = await this.#permit(use, request.version, 'encrypt');
    const random = await this.#perform(
      permitted,
      { kind: 'data-key', bytes: length },
      (token, _object, context) => token.random(length, context),
    );
    const sealed = await this.#seal(permitted, random.value, request.associatedData, 'data-key');
    return {
      plaintext: random.value,
      wrapped: sealed.ciphertext,
      version: sealed.version,
      leafIndex: sealed.leafIndex,
    };
  }

  async decrypt(
    caller: Caller,
    call: Call,
    request: { key: string; ciphertext: Uint8Array; associatedData: Uint8Array },
  ): Promise<Done & { readonly plaintext: Uint8Array }> {
    const parsed = parseCiphertext(request.ciphertext);
    const use: Use = {
      caller,
      call,
      operation: 'decrypt',
      key: request.key,
      algorithm: parsed?.algorithm ?? '',
    };
    await this.#wellFormed(use, () =>
      request.ciphertext.length === 0
        ? 'ciphertext is empty'
        : request.ciphertext.length > MAX_PLAINTEXT_BYTES + 512
          ? 'ciphertext is longer than Encrypt makes'
          : associatedDataProblem(request.associatedData),
    );
    const permitted = await this.#permit(use, parsed?.key === request.key ? parsed.version : 0, 'decrypt');
    const input: DigestedContent = {
      kind: 'ciphertext',
      bytes: request.ciphertext.length,
      sha256: sha256Text(request.ciphertext),
    };
    if (
      parsed === undefined ||
      parsed.key !== request.key ||
      permitted.version.version !== parsed.version ||
      !permitted.version.algorithms.includes(parsed.algorithm) ||
      (parsed.algorithm === 'RSA-OAEP-256' && request.associatedData.length > 0)
    ) {
      throw await this.#failed(permitted, input, [], new Failure('CIPHERTEXT_REJECTED', REJECTED));
    }
    const performed = await this.#perform(permitted, input, (token, object, context) =>
      token.decrypt(
        {
          object,
          algorithm: parsed.algorithm,
          iv: parsed.iv,
          sealed: parsed.sealed,
          associatedData:
            parsed.algorithm === 'A256GCM' ? associatedDataFor(parsed.header, request.associatedData) : EMPTY,
        },
        context,
      ),
    );
    const leafIndex = await this.#conclude(permitted, input, performed.attempts, {
      kind: 'plaintext',
      bytes: performed.value.length,
    });
    return { plaintext: performed.value, version: permitted.version.version, leafIndex };
  }

  async mac(
    caller: Caller,
    call: Call,
    request: { key: string; version: number; algorithm: string; message: Uint8Array },
  ): Promise<Done & { readonly mac: Uint8Array }> {
    const use: Use = { caller, call, operation: 'mac', key: request.key, algorithm: request.algorithm };
    const { value, permitted, input, attempts } = await this.#computeMac(use, request);
    const leafIndex = await this.#conclude(permitted, input, attempts, { kind: 'mac', bytes: value.length });
    return { mac: value, version: permitted.version.version, leafIndex };
  }

  async verifyMac(
    caller: Caller,
    call: Call,
    request: { key: string; version: number; algorithm: string; message: Uint8Array; mac: Uint8Array },
  ): Promise<Done & { readonly valid: boolean }> {
    const use: Use = {
      caller,
      call,
      operation: 'verify-mac',
      key: request.key,
      algorithm: request.algorithm,
    };
    const { value, permitted, input, attempts } = await this.#computeMac(use, request);
    // A shorter MAC is another claim: whole and in constant time, or not valid.
    const valid = value.length === request.mac.length && timingSafeEqual(value, request.mac);
    const leafIndex = await this.#conclude(permitted, input, attempts, undefined);
    return { valid, version: permitted.version.version, leafIndex };
  }

  async random(
    caller: Caller,
    call: Call,
    length: number,
  ): Promise<{ readonly random: Uint8Array; readonly leafIndex: number }> {
    const use: Use = { caller, call, operation: 'random', key: '', algorithm: '' };
    await this.#wellFormed(use, () =>
      length >= 1 && length <= 1024 ? undefined : 'length must be 1 to 1024 bytes',
    );
    const decision = await this.#decide(use);
    const output: DigestedContent = { kind: 'random', bytes: length };
    const common = {
      ...this.#subject(use),
      decision: 'allow',
      rule: decision.rule,
      policy: decision.policyHash,
      output,
    } as const;
    let held: Binding | undefined;
    let started = performance.now();
    try {
      const chosen = this.#o.pool.choose(caller.identity.spiffeId.id, undefined, call);
      held = chosen instanceof Promise ? await chosen : chosen;
      const stopped = this.#recheck({ ...use, policyHash: decision.policyHash });
      if (stopped !== undefined) throw stopped;
      started = performance.now();
      const random = await held.token.random(length, call);
      const attempts = [attempt(held.token, 'ok', started)];
      const leafIndex = await this.#append({
        ...common,
        performed: 'yes',
        attempts,
        latencyMicros: call.elapsedMicros,
      });
      return { random, leafIndex };
    } catch (error) {
      const failure = toFailure(error);
      if (failure.reason.startsWith('AUDIT_')) throw failure;
      await this.#append({
        ...common,
        reason: failure.reason,
        performed: failure.performed,
        ...(held === undefined || error instanceof Failure
          ? {}
          : { attempts: [attempt(held.token, 'failed', started, error)] }),
        latencyMicros: call.elapsedMicros,
      });
      throw failure;
    } finally {
      if (held !== undefined) this.#o.pool.release(held);
    }
  }

  async publicKey(
    caller: Caller,
    call: Call,
    request: { key: string; version: number },
  ): Promise<{
    readonly version: KeyVersion;
    readonly published: ReturnType<typeof publishKey>;
    readonly others: readonly ReturnType<typeof publishKey>[];
  }> {
    const use: Use = { caller, call, operation: 'verify', key: request.key, algorithm: '' };
    await this.#wellFormed(use, () => undefined);
    const usable = this.#o.policy().usableOperations(caller.identity.spiffeId.id, request.key);
    const version = isReservedKeyName(request.key)
      ? undefined
      : this.#o.catalog.find(request.key, request.version);
    if (usable.length === 0 || version === undefined) throw await this.#deny(use, 'POLICY_DENIED', DENIED);
    const [first, ...rest] = distinctPublicKeys(version);
    if (first === undefined) throw await this.#deny(use, 'REQUEST_INVALID', 'the key has no public half');
    return {
      version,
      published: publishKey(first, version.algorithms),
      others: rest.map((spki) => publishKey(spki, version.algorithms)),
    };
  }

  /** Names that the caller may use, with what it may do; nothing of the others. */
  async usableKeys(
    caller: Caller,
    call: Call,
  ): Promise<readonly { readonly version: KeyVersion; readonly operations: readonly Operation[] }[]> {
    await this.#wellFormed({ caller, call, operation: 'verify', key: '', algorithm: '' }, () => undefined);
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
  }

  /** Identity again, for what has no key: expiry and freezes change while a connection lives. @throws Failure */
  async identify(caller: Caller, call: Call, operation: string): Promise<void> {
    const failure = this.#identityFailure(caller);
    if (failure === undefined) return;
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
    throw failure;
  }

  async #wellFormed(use: Use, problem: () => string | undefined): Promise<void> {
    const found =
      use.key !== '' || use.operation === 'random' || use.operation === 'verify'
        ? use.key !== '' && !isKeyName(use.key)
          ? 'key name is malformed'
          : problem()
        : 'key name is missing';
    if (found !== undefined) throw await this.#deny(use, 'REQUEST_INVALID', found);
    const identity = this.#identityFailure(use.caller);
    if (identity !== undefined) throw await this.#deny(use, identity.reason, identity.message);
    const unwritable = this.#o.audit.failure;
    if (unwritable !== undefined) throw auditFailure(unwritable, 'no');
  }

  #identityFailure(caller: Caller): Failure | undefined {
    const { identity } = caller;
    if (Date.now() >= identity.credential.notAfter) {
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

  async #decide(use: Use): Promise<{ readonly rule: string; readonly policyHash: string }> {
    const decision = this.#o.policy().decide({
      spiffeId: use.caller.identity.spiffeId.id,
      operation: use.operation,
      key: use.key,
      algorithm: canonicalAlgorithm(use.algorithm),
    });
    if (decision.effect === 'deny') throw await this.#deny(use, 'POLICY_DENIED', DENIED, decision);
    return decision;
  }

  /** Policy on identity, operation and name first; only then what depends on the key. */
  async #permit(
    use: Use,
    wanted: number,
    purpose: 'sign' | 'encrypt' | 'decrypt' | 'mac',
  ): Promise<Permitted> {
    // A caller that names no algorithm means the key's only one; policy is asked about that.
    const named =
      use.algorithm !== '' || isReservedKeyName(use.key) ? undefined : this.#o.catalog.find(use.key, wanted);
    const algorithm =
      use.algorithm !== '' ? use.algorithm : named?.algorithms.length === 1 ? named.algorithms[0]! : '';
    const asked: Use = { ...use, algorithm };
    const decision = await this.#decide(asked);
    const version = isReservedKeyName(use.key) ? undefined : this.#o.catalog.find(use.key, wanted);
    if (version === undefined) {
      const exists = this.#o.catalog.versions(use.key).length > 0 && !isReservedKeyName(use.key);
      if (exists && purpose === 'decrypt') {
        throw await this.#deny(asked, 'CIPHERTEXT_REJECTED', REJECTED, decision);
      }
      throw await this.#deny(asked, 'POLICY_DENIED', DENIED, { ...decision, rule: '' });
    }
    const refuse = (reason: Reason, text: string): Promise<Failure> =>
      this.#deny(asked, reason, text, decision);
    if (this.#o.freezes.isFrozen('key', use.key))
      throw await refuse('KEY_UNUSABLE', 'the key is frozen: ask your security team');
    const isReading = purpose === 'decrypt' || use.operation === 'verify' || use.operation === 'verify-mac';
    if (version.state !== 'active' && !(isReading && version.state === 'deactivated')) {
      throw await refuse('KEY_UNUSABLE', `this version of the key is ${version.state}`);
    }
    if (version.decryptOnly && purpose === 'encrypt') {
      throw await refuse('KEY_UNUSABLE', 'the key only decrypts: how often it was used elsewhere is unknown');
    }
    if (version.purpose !== (purpose === 'decrypt' ? 'encrypt' : purpose)) {
      throw await refuse('REQUEST_INVALID', `the key is for ${version.purpose}`);
    }
    if (purpose === 'decrypt') {
      return {
        ...asked,
        version,
        jose: version.algorithms[0]!,
        rule: decision.rule,
        policyHash: decision.policyHash,
      };
    }
    const jose = parseAlgorithm(algorithm);
    if (jose === undefined || !version.algorithms.includes(jose)) {
      throw await refuse(
        'REQUEST_INVALID',
        `algorithm does not fit the key, which is for ${version.algorithms.join(', ')}`,
      );
    }
    return { ...asked, version, jose, rule: decision.rule, policyHash: decision.policyHash };
  }

  /** Freeze, expiry and policy again, just before an operation leaves for the token. */
  #recheck(permitted: Use & { readonly policyHash: string }): Failure | undefined {
    const { caller, call } = permitted;
    if (call.aborted) return new Failure('CANCELLED', 'the caller went away');
    if (performance.now() >= call.deadline) return new Failure('DEADLINE_EXCEEDED', 'the deadline passed');
    const identity = this.#identityFailure(caller);
    if (identity !== undefined) return identity;
    if (this.#o.freezes.isFrozen('key', permitted.key))
      return new Failure('KEY_UNUSABLE', 'the key is frozen: ask your security team');
    const policy = this.#o.policy();
    if (policy.hash === permitted.policyHash) return undefined;
    const decision = policy.decide({
      spiffeId: caller.identity.spiffeId.id,
      operation: permitted.operation,
      key: permitted.key,
      algorithm: canonicalAlgorithm(permitted.algorithm),
    });
    return decision.effect === 'allow' ? undefined : new Failure('POLICY_DENIED', DENIED);
  }

  /** At most two attempts, on different tokens where there are; every one goes into the entry. */
  async #perform<T>(
    permitted: Permitted,
    input: DigestedContent,
    run: (token: TokenAdapter, object: number, context: OperationContext) => Promise<T>,
    isRight?: (value: T, token: TokenAdapter) => Promise<boolean>,
  ): Promise<Performed<T>> {
    const attempts: Attempt[] = [];
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
        const stopped = this.#recheck(permitted);
        if (stopped !== undefined) throw stopped;
        token = binding.token;
        started = performance.now();
        const value = await run(token, binding.object, permitted.call);
        held = undefined;
        this.#o.pool.release(binding);
        if (isRight === undefined || (await isRight(value, token))) {
          attempts.push(attempt(token, 'ok', started));
          return { value, attempts };
        }
        attempts.push(attempt(token, 'mismatch', started));
        if (attempts.length > 1) throw new Failure('INTERNAL', 'internal error', { performed: 'yes' });
      } catch (error) {
        if (held !== undefined) this.#o.pool.release(held);
        if (token === undefined || error instanceof Failure) {
          throw await this.#failed(permitted, input, attempts, withHistory(toFailure(error), attempts));
        }
        attempts.push(attempt(token, 'failed', started, error));
        if (error instanceof AdapterError && error.reason === 'KEY_MISSING_ON_TOKEN') {
          this.#o.keys.revoke(token, permitted.version.id, 'the object is gone');
        }
        if (
          attempts.length > 1 ||
          !isWorthAnotherAttempt(error) ||
          performance.now() >= permitted.call.deadline
        ) {
          const failure = toFailure(error);
          if (failure.reason === 'INTERNAL') {
            this.#o.log('error', 'an operation failed', { key: permitted.version.id, error: String(error) });
          }
          throw await this.#failed(permitted, input, attempts, withHistory(failure, attempts));
        }
      }
      except = token;
    }
  }

  /** A signature that does not verify is not released: the token returned wrong bytes, and leaves service. */
  async #verifies(
    permitted: Permitted,
    content: Content,
    signature: Uint8Array,
    token: TokenAdapter,
  ): Promise<boolean> {
    const { version, jose } = permitted;
    if (version.verify === 'never') return true;
    if (version.verify === 'sampled' && Math.random() >= 1 / 64) return true;
    const object = version.objects.find((candidate) => candidate.tokenSerial === token.info?.serial);
    const isValid =
      object !== undefined &&
      (await this.#o.verifier.verify({
        algorithm: jose as SignatureAlgorithm,
        publicKey: object.publicKey,
        content: content.kind,
        data: content.bytes,
        signature,
      }));
    if (!isValid) this.#quarantine(token, `a signature of ${version.id} does not verify`);
    return isValid;
  }

  async #seal(
    permitted: Permitted,
    plaintext: Uint8Array,
    associatedData: Uint8Array,
    kind: 'plaintext' | 'data-key',
  ): Promise<Done & { readonly ciphertext: Uint8Array }> {
    const { version, jose } = permitted;
    const header = ciphertextHeader(jose, version.name, version.version);
    const input: DigestedContent = { kind, bytes: plaintext.length };
    const performed =
      jose === 'RSA-OAEP-256'
        ? await this.#sealForPublicKey(permitted, input, plaintext, associatedData, header)
        : await this.#perform(
            permitted,
            input,
            async (token, object, context) => {
              // Counted before the token is asked, and never given back: an attempt may have used the key.
              this.#o.encryptions.take(version.name, version.version);
              const bound = associatedDataFor(header, associatedData);
              const { iv, sealed, session } = await token.encrypt(object, plaintext, bound, context);
              const opened = this.#ivs.admit(version.id, iv)
                ? await token.decrypt(
                    { object, algorithm: 'A256GCM', iv, sealed, associatedData: bound, notSession: session },
                    context,
                  )
                : undefined;
              return { ciphertext: joinCiphertext(header, iv, sealed), opened };
            },
            async ({ opened }, token) => {
              if (opened === undefined)
                this.#quarantine(token, `an IV of ${version.id} is zero or was used before`);
              else if (same(opened, plaintext)) return true;
              else
                this.#quarantine(token, `a ciphertext of ${version.id} does not open to what was encrypted`);
              return false;
            },
          );
    const { ciphertext } = performed.value;
    const leafIndex = await this.#conclude(permitted, input, performed.attempts, {
      kind: 'ciphertext',
      bytes: ciphertext.length,
      sha256: sha256Text(ciphertext),
    });
    return { ciphertext, version: version.version, leafIndex };
  }

  /** RSA-OAEP-256: the public half is the broker's; the token opens it again before it is released. */
  async #sealForPublicKey(
    permitted: Permitted,
    input: DigestedContent,
    plaintext: Uint8Array,
    associatedData: Uint8Array,
    header: Buffer,
  ): Promise<Performed<{ readonly ciphertext: Uint8Array }>> {
    const { version } = permitted;
    const modulusBytes = version.spec.type === 'rsa' ? version.spec.modulusBits / 8 : 0;
    const room = modulusBytes - 66;
    if (associatedData.length > 0 || plaintext.length > room) {
      const why =
        associatedData.length > 0
          ? 'RSA-OAEP-256 has no associated data'
          : `RSA-OAEP-256 with this key takes at most ${room} bytes: wrap a data key instead`;
      throw await this.#failed(permitted, input, [], new Failure('REQUEST_INVALID', why));
    }
    return this.#perform(
      permitted,
      input,
      async (token, object, context) => {
        const spki = version.objects.find(
          (candidate) => candidate.tokenSerial === token.info?.serial,
        )!.publicKey;
        const sealed = publicEncrypt(
          {
            key: Buffer.from(spki),
            format: 'der',
            type: 'spki',
            padding: constants.RSA_PKCS1_OAEP_PADDING,
            oaepHash: 'sha256',
          },
          plaintext,
        );
        const opened = await token.decrypt(
          { object, algorithm: 'RSA-OAEP-256', iv: EMPTY, sealed, associatedData: EMPTY },
          context,
        );
        return { ciphertext: joinCiphertext(header, EMPTY, sealed), opened };
      },
      async ({ opened }, token) => {
        if (same(opened, plaintext)) return true;
        this.#quarantine(token, `a ciphertext of ${version.id} does not open to what was encrypted`);
        return false;
      },
    );
  }

  async #computeMac(
    use: Use,
    request: { version: number; message: Uint8Array },
  ): Promise<{
    value: Uint8Array;
    permitted: Permitted;
    input: DigestedContent;
    attempts: readonly Attempt[];
  }> {
    await this.#wellFormed(use, () => messageProblem(request.message, 'Compute the MAC of a digest of it'));
    const permitted = await this.#permit(use, request.version, 'mac');
    const input: DigestedContent = { kind: 'message', bytes: request.message.length };
    const { value, attempts } = await this.#perform(permitted, input, (token, object, context) =>
      token.sign({ object, algorithm: permitted.jose, data: request.message }, context),
    );
    return { value, permitted, input, attempts };
  }

  #quarantine(token: TokenAdapter, finding: string): void {
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
      operation: use.operation,
      ...(use.key === '' ? {} : { key: use.key }),
      ...(use.algorithm === '' ? {} : { algorithm: use.algorithm }),
      generation: this.#o.generation(),
    };
  }

  async #deny(
    use: Use,
    reason: Reason,
    message: string,
    decision?: { readonly rule: string; readonly policyHash: string },
  ): Promise<Failure> {
    try {
      await this.#o.audit.appendRefusal({
        ...this.#subject(use),
        decision: 'deny',
        reason,
        performed: 'no',
        rule: decision?.rule ?? '',
        policy: decision?.policyHash ?? this.#o.policy().hash,
        latencyMicros: use.call.elapsedMicros,
      });
    } catch (error) {
      return auditFailure(error, 'no');
    }
    return new Failure(reason, message);
  }

  #allowed(permitted: Permitted, input: DigestedContent, attempts: readonly Attempt[]): EntryDraft {
    return {
      ...this.#subject(permitted),
      version: permitted.version.version,
      decision: 'allow',
      rule: permitted.rule,
      policy: permitted.policyHash,
      input,
      attempts,
      latencyMicros: permitted.call.elapsedMicros,
    };
  }

  async #conclude(
    permitted: Permitted,
    input: DigestedContent,
    attempts: readonly Attempt[],
    output: DigestedContent | undefined,
  ): Promise<number> {
    const draft = this.#allowed(permitted, input, attempts);
    return this.#append({ ...draft, performed: 'yes', ...(output === undefined ? {} : { output }) });
  }

  /** The entry of an allowed operation that did not end well; then what the caller is told. */
  async #failed(
    permitted: Permitted,
    input: DigestedContent,
    attempts: readonly Attempt[],
    failure: Failure,
  ): Promise<Failure> {
    try {
      await this.#append({
        ...this.#allowed(permitted, input, attempts),
        reason: failure.reason,
        performed: failure.performed,
      });
    } catch (error) {
      return auditFailure(error, failure.performed);
    }
    return failure;
  }

  async #append(draft: EntryDraft): Promise<number> {
    try {
      return (await this.#o.audit.append(draft)).leafIndex;
    } catch (error) {
      throw auditFailure(error, draft.performed ?? 'unknown');
    }
  }
}

const OPERATIONS_OF: Readonly<Record<KeyVersion['purpose'], readonly Operation[]>> = {
  sign: ['sign', 'verify', 'sign-jwt', 'sign-certificate', 'sign-dsse'],
  encrypt: ['encrypt', 'decrypt', 'generate-data-key'],
  mac: ['mac', 'verify-mac'],
};

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
  if (failure.performed !== 'no' || attempts.every((earlier) => earlier.performed === 'no')) return failure;
  return new Failure(failure.reason, failure.message, { performed: 'unknown', cause: failure });
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

function isReservedInput(bytes: Uint8Array): boolean {
  return (
    bytes.length >= RESERVED_PREFIX.length &&
    RESERVED_PREFIX.equals(bytes.subarray(0, RESERVED_PREFIX.length))
  );
}

function messageProblem(message: Uint8Array, advice: string): string | undefined {
  if (message.length === 0) return 'message is empty';
  if (message.length > MAX_MESSAGE_BYTES) return `message is over 1 MiB. ${advice}`;
  if (isReservedInput(message)) return 'message begins with a prefix that is reserved for proofs of keys';
  return undefined;
}

function contentProblem(content: Content | undefined, algorithm: string, der: boolean): string | undefined {
  if (content === undefined) return 'neither message nor digest is given';
  const jose = parseAlgorithm(algorithm);
  if (jose === undefined || FACTS[jose].purpose !== 'sign')
    return 'algorithm is not one that signs: name it as JOSE does, such as ES256';
  const facts = FACTS[jose];
  if (der && facts.curve === undefined) return 'only ECDSA signatures have a DER form';
  if (content.kind === 'digest') {
    if (facts.hash === undefined) return `${jose} signs messages, not digests`;
    if (content.bytes.length !== facts.digestBytes)
      return `digest must be ${facts.digestBytes} bytes for ${jose}`;
    return undefined;
  }
  return messageProblem(
    content.bytes,
    facts.hash === undefined
      ? `${jose} takes the whole message: sign a digest or manifest of it as the message`
      : `Send its ${facts.hash.toUpperCase()} digest instead`,
  );
}

function associatedDataProblem(bytes: Uint8Array): string | undefined {
  return bytes.length > MAX_ASSOCIATED_DATA_BYTES ? 'associated data is over 64 KiB' : undefined;
}

/** Messages and digests by SHA-256; a digest of another hash is not recorded as if it were one. */
function describeContent(content: Content, hash: string | undefined, data: Uint8Array): DigestedContent {
  const { kind, bytes } = content;
  if (hash === 'sha256')
    return { kind, bytes: bytes.length, sha256: Buffer.from(data).toString('base64url') };
  return { kind, bytes: bytes.length, sha256: sha256Text(bytes) };
}
