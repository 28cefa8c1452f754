import { AdapterError, type TokenAdapter } from '../../hsm-adapters/adapter.ts';
import type { AuditLog } from '../audit/entry.ts';
import type { EncryptionCounter } from './encryption-counter.ts';
import type { KeyCatalog, KeyVersion, TokenObject } from './key-catalog.ts';
import { isPassing, prove } from './key-proof.ts';
import { differenceFrom, kindOf } from './token-object.ts';

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
  /** The one with which the last round of `proveAgain` ended: the next begins behind it. */
  endedWith: string | undefined;
}

export interface TokenKeysOptions {
  readonly tokens: readonly TokenAdapter[];
  readonly catalog: KeyCatalog;
  readonly audit: AuditLog;
  readonly origin: string;
  readonly encryptions: EncryptionCounter;
  readonly log: (
    level: 'info' | 'warn' | 'error',
    message: string,
    fields?: Record<string, string | number>,
  ) => void;
  /** After every change of what is usable. */
  readonly onChange: () => void;
}

/** How often `proveAgain` is worth its while. */
export const PROVE_AGAIN_MS = 5000;
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
        endedWith: undefined,
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
   * One that fails for the same leaves the rest of its token for the next time, which begins with those.
   */
  proveAgain(): void {
    for (const [token, state] of this.#states) {
      if (state.unproven.size === 0 || (token.state !== 'ready' && token.state !== 'degraded')) continue;
      const { generation } = state;
      state.work = state.work.then(async () => {
        const versions = this.#options.catalog.all().filter(({ id }) => state.unproven.has(id));
        const behind = versions.findIndex(({ id }) => id === state.endedWith) + 1;
        for (const version of [...versions.slice(behind), ...versions.slice(0, behind)]) {
          if (state.generation !== generation || token.loginGeneration !== generation) return;
          const object = version.objects.find(({ tokenSerial }) => tokenSerial === token.info?.serial);
          if (object === undefined || !state.unproven.has(version.id)) continue;
          await this.#bindOne(token, state, version, object);
          this.#rebuild();
          if (!state.unproven.has(version.id)) continue;
          state.endedWith = version.id;
          return;
        }
      });
    }
  }

  /** Resolves when everything that a login has started is done. */
  async settled(): Promise<void> {
    await Promise.all([...this.#states.values()].map((state) => state.work));
  }

  /**
   * Whether what was found on the token is not the key that the catalog has. Not so where a proof only ended in the
   * token's passing trouble: nothing was found then, and it is tried again.
   */
  isRefuted(token: TokenAdapter, keyId: string): boolean {
    const state = this.#states.get(token);
    return state?.unusable.has(keyId) === true && !state.unproven.has(keyId);
  }

  /**
   * The object turned out not to be there, or not to be the key. A binding of an earlier login says nothing of the one
   * that has been proven since.
   */
  revoke({ token, object }: Binding, keyId: string, why: string): void {
    const state = this.#states.get(token);
    if (state === undefined || state.refs.get(keyId) !== object) return;
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
    let isTrouble = false;
    try {
      const attributes = await token.administration.bind(ref, {
        ckaId: object.ckaId,
        kind: kindOf(version),
      });
      finding =
        differenceFrom(version, object, attributes) ??
        (await prove(token, ref, version, object, this.#options));
      if (finding === undefined && (attributes.modifiable || attributes.copyable)) {
        this.#options.log('warn', 'a bound object can be modified or copied on its token', {
          token: token.name,
          key: version.id,
        });
      }
    } catch (error) {
      isTrouble = isPassing(error);
      finding =
        error instanceof AdapterError
          ? `${error.message}${error.ckr === undefined ? '' : ` (${error.ckr})`}`
          : String(error);
    }
    if (isTrouble) state.unproven.add(version.id);
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
