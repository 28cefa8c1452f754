import { hash as createDigestHash, randomBytes, timingSafeEqual } from 'node:crypto';
import {
  AdapterError,
  type AdapterReason,
  type ObjectAttributes,
  type TokenAdapter,
} from '../../hsm-adapters/adapter.ts';
import type { AuditLog } from '../audit/entry.ts';
import { FACTS, sha256 } from './algorithms.ts';
import { associatedDataFor, ciphertextHeader, parseCiphertext } from './ciphertext.ts';
import type { KeyCatalog, KeyVersion, TokenObject } from './key-catalog.ts';
import { type SignatureAlgorithm, verifyNow } from './verify/signature-verifier.ts';

/**
 * What the broker itself has a key do begins with this: challenges of proofs, the associated data of canaries, and
 * what the MAC that proves a MAC key is computed over. Callers are refused messages and associated data that begin
 * so. Of a digest nobody can tell what it is of: there a proof rests on its challenge being fresh.
 */
export const RESERVED_PREFIX = Buffer.from('lastmile-proof-v1\0');

/** A key version on one token, proven there since the last login. */
export interface Binding {
  readonly token: TokenAdapter;
  readonly object: number;
}

interface TokenKeysState {
  /** Login that the references belong to. */
  generation: number;
  /** Serialises binding: a newer login waits for the older one to notice. */
  work: Promise<void>;
  readonly refs: Map<string, number>;
  readonly unusable: Map<string, string>;
  /** Of the unusable, those whose proof failed for the token's trouble, not for what was found. */
  readonly unproven: Set<string>;
}

export interface TokenKeysOptions {
  readonly tokens: readonly TokenAdapter[];
  readonly catalog: KeyCatalog;
  readonly audit: AuditLog;
  readonly origin: string;
  readonly log: (
    level: 'info' | 'warn' | 'error',
    message: string,
    fields?: Record<string, string | number>,
  ) => void;
  /** After every change of what is usable. */
  readonly onChange: () => void;
}

const PROOF_MS = 10_000;
/** What says something of the token at that moment, and nothing of the key. */
const PASSING: ReadonlySet<AdapterReason> = new Set([
  'TOKEN_UNREACHABLE',
  'SESSION_LOST',
  'SESSION_LIMIT',
  'QUEUE_FULL',
  'DEADLINE_EXCEEDED',
]);
let nextRef = 1;

/**
 * Which key is proven on which token. After every login each object is found again, its attributes compared with
 * what the catalog says, and the key proven by use (DESIGN section 7): labels and handles prove nothing. Until then
 * the key is not usable there.
 */
export class TokenKeys {
  readonly #options: TokenKeysOptions;
  readonly #states = new Map<TokenAdapter, TokenKeysState>();
  #bindings = new Map<string, readonly Binding[]>();

  constructor(options: TokenKeysOptions) {
    this.#options = options;
    for (const token of options.tokens) {
      this.#states.set(token, {
        generation: -1,
        work: Promise.resolve(),
        refs: new Map(),
        unusable: new Map(),
        unproven: new Set(),
      });
      token.watch((changed) => this.#changed(changed));
      this.#changed(token);
    }
  }

  get tokens(): readonly TokenAdapter[] {
    return this.#options.tokens;
  }

  /** Proven bindings of a key version, whatever their token's state. */
  bindings(keyId: string): readonly Binding[] {
    return this.#bindings.get(keyId) ?? [];
  }

  tokenOf(serial: string): TokenAdapter | undefined {
    return this.#options.tokens.find((token) => token.info?.serial === serial);
  }

  /** `name#version` of keys proven on this token, and of those that should be and are not, with the reason. */
  report(token: TokenAdapter): {
    readonly proven: readonly string[];
    readonly unusable: ReadonlyMap<string, string>;
  } {
    const state = this.#states.get(token);
    return {
      proven: state === undefined ? [] : [...state.refs.keys()],
      unusable: state?.unusable ?? new Map(),
    };
  }

  /**
   * Another try for keys whose proof a token's passing trouble ended: otherwise they would be out until its next login.
   * One that fails for the same leaves the rest of its token for the next time.
   */
  proveAgain(): void {
    for (const [token, state] of this.#states) {
      if (state.unproven.size === 0 || (token.state !== 'ready' && token.state !== 'degraded')) continue;
      const { generation } = state;
      state.work = state.work.then(async () => {
        for (const version of this.#options.catalog.all()) {
          if (!state.unproven.has(version.id)) continue;
          if (state.generation !== generation || token.loginGeneration !== generation) return;
          const object = version.objects.find(({ tokenSerial }) => tokenSerial === token.info?.serial);
          if (object === undefined) continue;
          await this.#bindOne(token, state, version, object);
          this.#rebuild();
          if (state.unproven.has(version.id)) return;
        }
      });
    }
  }

  /** Resolves when everything that a login has started is done. */
  async settled(): Promise<void> {
    await Promise.all([...this.#states.values()].map((state) => state.work));
  }

  /** The object turned out not to be there, or not to be the key. */
  revoke(token: TokenAdapter, keyId: string, why: string): void {
    const state = this.#states.get(token);
    if (state === undefined || !state.refs.has(keyId)) return;
    state.refs.delete(keyId);
    state.unusable.set(keyId, why);
    this.#options.log('error', 'key left service on a token', { token: token.name, key: keyId, why });
    this.#rebuild();
  }

  /** Binds and proves a version that has just been created. @throws when it cannot be proven on one of its tokens */
  async adopt(version: KeyVersion): Promise<void> {
    for (const object of version.objects) {
      const token = this.tokenOf(object.tokenSerial);
      const state = token === undefined ? undefined : this.#states.get(token);
      if (token === undefined || state === undefined)
        throw new Error(`token ${object.tokenSerial} is not configured`);
      await this.#bindOne(token, state, version, object);
      const why = state.unusable.get(version.id);
      if (why !== undefined)
        throw new AdapterError('KEY_UNUSABLE', `${version.id} on ${token.name}: ${why}`, { performed: 'no' });
    }
    // What a login has voided meanwhile it did not bind again either: the catalog does not know the version yet.
    const voided = version.objects
      .map(({ tokenSerial }) => this.tokenOf(tokenSerial)!)
      .find((token) => !this.#states.get(token)!.refs.has(version.id));
    if (voided !== undefined)
      throw new AdapterError('TOKEN_UNREACHABLE', `${voided.name} logged in again meanwhile: try again`, {
        performed: 'no',
      });
    this.#rebuild();
  }

  forget(version: KeyVersion): void {
    for (const state of this.#states.values()) {
      state.refs.delete(version.id);
      state.unusable.delete(version.id);
      state.unproven.delete(version.id);
    }
    this.#rebuild();
  }

  #changed(token: TokenAdapter): void {
    const state = this.#states.get(token)!;
    // A drained one too: the log's checkpoints are still signed there, and it may come back any moment.
    const isLoggedIn = token.state === 'ready' || token.state === 'degraded' || token.state === 'draining';
    if (isLoggedIn && token.loginGeneration !== state.generation) {
      const generation = token.loginGeneration;
      state.generation = generation;
      state.refs.clear();
      state.unusable.clear();
      state.unproven.clear();
      this.#rebuild();
      state.work = state.work.then(() => this.#bindAll(token, state, generation));
      return;
    }
    this.#options.onChange();
  }

  async #bindAll(token: TokenAdapter, state: TokenKeysState, generation: number): Promise<void> {
    const serial = token.info?.serial;
    const { tokens } = this.#options;
    const twin = tokens.slice(0, tokens.indexOf(token)).find(({ info }) => info?.serial === serial);
    if (twin !== undefined) {
      // Some modules give all their tokens one serial: what is recorded of the one would be believed of the other.
      const why = `token ${token.name} has the serial of token ${twin.name}: they cannot be told apart`;
      this.#options.log('error', 'a token is not used', { token: token.name, why });
      for (const version of this.#options.catalog.all()) {
        if (version.objects.some(({ tokenSerial }) => tokenSerial === serial))
          state.unusable.set(version.id, why);
      }
      this.#rebuild();
      return;
    }
    for (const version of this.#options.catalog.all()) {
      if (state.generation !== generation || token.loginGeneration !== generation) return;
      const object = version.objects.find((candidate) => candidate.tokenSerial === serial);
      if (object === undefined || version.state === 'destroyed') continue;
      await this.#bindOne(token, state, version, object);
      this.#rebuild();
    }
  }

  async #bindOne(
    token: TokenAdapter,
    state: TokenKeysState,
    version: KeyVersion,
    object: TokenObject,
  ): Promise<void> {
    const ref = nextRef++;
    let finding: string | undefined;
    let isPassing = false;
    try {
      const attributes = await token.administration.bind(ref, {
        ckaId: object.ckaId,
        kind: version.purpose === 'sign' || version.spec.type === 'rsa' ? 'private' : 'secret',
      });
      finding =
        differenceFrom(version, object, attributes) ?? (await this.#prove(token, ref, version, object));
      if (finding === undefined && (attributes.modifiable || attributes.copyable)) {
        this.#options.log('warn', 'a bound object can be modified or copied on its token', {
          token: token.name,
          key: version.id,
        });
      }
    } catch (error) {
      isPassing = error instanceof AdapterError && PASSING.has(error.reason);
      finding =
        error instanceof AdapterError
          ? `${error.message}${error.ckr === undefined ? '' : ` (${error.ckr})`}`
          : String(error);
    }
    if (isPassing) state.unproven.add(version.id);
    else state.unproven.delete(version.id);
    if (finding === undefined) {
      state.refs.set(version.id, ref);
      state.unusable.delete(version.id);
    } else {
      state.unusable.set(version.id, finding);
      this.#options.log('error', 'key cannot be used on a token', {
        token: token.name,
        key: version.id,
        why: finding,
      });
    }
    await this.#record(token, version, finding);
  }

  async #record(token: TokenAdapter, version: KeyVersion, finding: string | undefined): Promise<void> {
    try {
      await this.#options.audit.append({
        kind: 'key-proof',
        subject: 'lastmile',
        operation: 'prove',
        key: version.name,
        version: version.version,
        decision: finding === undefined ? 'allow' : 'deny',
        performed: finding === undefined ? 'yes' : 'unknown',
        detail: {
          token: token.info?.serial ?? '',
          software: token.info?.software ?? false,
          login: token.loginGeneration,
          ...(finding === undefined ? {} : { finding: finding.slice(0, 256) }),
        },
      });
    } catch (error) {
      this.#options.log('error', 'a proof of a key is not on record', {
        key: version.id,
        error: String(error),
      });
    }
  }

  /** What is wrong, or undefined. */
  async #prove(
    token: TokenAdapter,
    ref: number,
    version: KeyVersion,
    object: TokenObject,
  ): Promise<string | undefined> {
    const context = { deadline: performance.now() + PROOF_MS };
    if (version.purpose === 'sign') {
      const algorithm = version.algorithms[0] as SignatureAlgorithm;
      const challenge = Buffer.concat([
        RESERVED_PREFIX,
        Buffer.from(`${this.#options.origin}\0${version.id}\0`),
        randomBytes(32),
      ]);
      const hash = FACTS[algorithm].hash;
      const data = hash === undefined ? challenge : digestOf(hash, challenge);
      const signature = await token.sign({ object: ref, algorithm, data }, context);
      return verifyNow({
        algorithm,
        publicKey: object.publicKey,
        content: 'message',
        data: challenge,
        signature,
      })
        ? undefined
        : 'a signature of a fresh challenge does not verify with the public key of the catalog: it is another key';
    }
    if (version.purpose === 'mac') {
      const mac = await token.sign(
        { object: ref, algorithm: version.algorithms[0]!, data: macChallenge(version) },
        context,
      );
      return equal(mac, object.proof)
        ? undefined
        : 'the MAC that was made at creation does not come out: it is another key';
    }
    const known = parseCanary(object.proof);
    if (known === undefined) return 'the catalog has no canary for it, or one that this version cannot read';
    const { canary } = known;
    const opened = await token.decrypt(
      {
        object: ref,
        algorithm: canary.algorithm,
        iv: canary.iv,
        sealed: canary.sealed,
        associatedData:
          canary.algorithm === 'A256GCM'
            ? associatedDataFor(canary.header, RESERVED_PREFIX)
            : new Uint8Array(),
      },
      context,
    );
    return equal(sha256(opened), known.plaintextHash)
      ? undefined
      : 'the canary does not open to what it was made of';
  }

  #rebuild(): void {
    const bindings = new Map<string, Binding[]>();
    for (const [token, state] of this.#states) {
      for (const [keyId, object] of state.refs) {
        const found = bindings.get(keyId);
        if (found === undefined) bindings.set(keyId, [{ token, object }]);
        else found.push({ token, object });
      }
    }
    this.#bindings = bindings;
    this.#options.onChange();
  }
}

type Named = Pick<KeyVersion, 'name' | 'version'>;

/** What a MAC key's proof is computed over. */
export function macChallenge(version: Named): Buffer {
  return Buffer.concat([RESERVED_PREFIX, Buffer.from(`mac\0${version.name}#${version.version}`)]);
}

const CANARY_FORMAT = 1;
const HASH_BYTES = 32;

/**
 * An encryption key's proof: u8 format (1) · SHA-256 of the plaintext · ciphertext. The plaintext is 32 random bytes
 * that nobody keeps: a module that only knows the key's name cannot make it up.
 */
export function joinCanary(plaintext: Uint8Array, ciphertext: Uint8Array): Buffer {
  return Buffer.concat([Uint8Array.of(CANARY_FORMAT), sha256(plaintext), ciphertext]);
}

function parseCanary(
  proof: Uint8Array,
):
  | { readonly plaintextHash: Uint8Array; readonly canary: NonNullable<ReturnType<typeof parseCiphertext>> }
  | undefined {
  if (proof[0] !== CANARY_FORMAT) return undefined;
  const canary = parseCiphertext(proof.subarray(1 + HASH_BYTES));
  return canary && { plaintextHash: proof.subarray(1, 1 + HASH_BYTES), canary };
}

export function canaryHeader(version: Named, algorithm: 'A256GCM' | 'RSA-OAEP-256'): Buffer {
  return ciphertextHeader(algorithm, version.name, version.version);
}

function digestOf(hash: 'sha256' | 'sha384' | 'sha512', bytes: Uint8Array): Uint8Array {
  return createDigestHash(hash, bytes, 'buffer');
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** What of the object is not as the catalog and the templates have it; undefined when all is. */
export function differenceFrom(
  version: KeyVersion,
  object: TokenObject,
  found: ObjectAttributes,
): string | undefined {
  if (JSON.stringify(sorted(found.spec)) !== JSON.stringify(sorted(version.spec))) {
    return `it is ${JSON.stringify(found.spec)}, the catalog says ${JSON.stringify(version.spec)}`;
  }
  // Before the flags: which key it is tells an operator more than how it was made.
  if (
    found.publicKey.length > 0 &&
    object.publicKey.length > 0 &&
    !equal(found.publicKey, object.publicKey)
  ) {
    return 'its public key is not the one of the catalog: it is another key';
  }
  if (!found.sensitive) return 'CKA_SENSITIVE is false';
  if (found.extractable) return 'CKA_EXTRACTABLE is true: it could be taken out of the token';
  const isBound = version.provenance === 'bound';
  const isImported = isBound || version.provenance === 'imported';
  // What the templates made is as they say. An object that was there before is as its makers left it.
  if (!isBound && found.modifiable) return 'CKA_MODIFIABLE is true';
  if (!isBound && found.copyable) return 'CKA_COPYABLE is true';
  if (version.provenance === 'created') {
    if (!found.local) return 'CKA_LOCAL is false: it was not made on the token';
    if (!found.alwaysSensitive) return 'CKA_ALWAYS_SENSITIVE is false: it could be read once';
    if (!found.neverExtractable) return 'CKA_NEVER_EXTRACTABLE is false: it could be taken out once';
  }
  const allowed = USAGES[version.purpose];
  const excess = found.usages.filter((usage) => !allowed.includes(usage));
  if (excess.length > 0) return `it may also ${excess.join(', ')}: a key has one purpose`;
  const missing = allowed.find((usage) => !found.usages.includes(usage));
  if (missing !== undefined && !(isImported && missing === 'verify')) return `it may not ${missing}`;
  if (found.alwaysAuthenticate) return 'CKA_ALWAYS_AUTHENTICATE is true: it cannot be used unattended';
  return undefined;
}

const USAGES: Readonly<Record<KeyVersion['purpose'], readonly string[]>> = {
  sign: ['sign', 'verify'],
  mac: ['sign', 'verify'],
  encrypt: ['encrypt', 'decrypt'],
};

function sorted(value: object): object {
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
