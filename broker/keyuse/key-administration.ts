import { createPublicKey, randomBytes } from 'node:crypto';
import {
  AdapterError,
  type NewObject,
  type ObjectAttributes,
  specFor,
  type TokenAdapter,
} from '../../hsm-adapters/adapter.ts';
import { toFailure } from './adapter-failure.ts';
import type { EncryptionCounter } from './encryption-counter.ts';
import { Failure } from './failure.ts';
import { type KeyCatalog, type KeyVersion, publishKey, type TokenObject } from './key-catalog.ts';
import { fits, type KeyOptions, type KeyPlan, planKey } from './key-plan.ts';
import { makeProof } from './key-proof.ts';
import type { TokenKeys } from './token-keys.ts';
import { differenceFrom, kindOf } from './token-object.ts';

export interface CreateKeyOptions extends KeyOptions {
  /** Names; empty: all that serve. */
  readonly tokens: readonly string[];
  /** 0: 2048. */
  readonly modulusBits: number;
}

export interface ImportKeyOptions extends KeyOptions {
  readonly token: string;
  readonly source:
    | { readonly ckaId: string }
    | { readonly label: string }
    | {
        readonly blob: Uint8Array;
        readonly unwrappingKeyId: string;
        readonly mechanism: string;
        readonly publicKeyPem: string;
      };
}

const WRAP_MECHANISMS = ['rsa-oaep-sha1', 'rsa-oaep-sha256', 'aes-kw', 'aes-kwp'] as const;

/**
 * Makes and binds keys. A key is in the catalog only after its objects are on their tokens, read back and proven
 * by use: a crash in between leaves objects that no catalog knows, never a key that is not there.
 *
 * One at a time: two creations of one name must not both find it free.
 */
export class KeyAdministration {
  readonly #catalog: KeyCatalog;
  readonly #keys: TokenKeys;
  readonly #encryptions: EncryptionCounter;
  #work: Promise<unknown> = Promise.resolve();

  constructor(catalog: KeyCatalog, keys: TokenKeys, encryptions: EncryptionCounter) {
    this.#catalog = catalog;
    this.#keys = keys;
    this.#encryptions = encryptions;
  }

  /** @throws Failure */
  create(options: CreateKeyOptions): Promise<KeyVersion> {
    return this.#inTurn(() => this.#create(options));
  }

  /** @throws Failure */
  importKey(options: ImportKeyOptions): Promise<KeyVersion> {
    return this.#inTurn(() => this.#importKey(options));
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#work.then(work);
    this.#work = result.catch(() => undefined);
    return result;
  }

  async #create(options: CreateKeyOptions): Promise<KeyVersion> {
    const plan = planKey(this.#catalog, options, options.modulusBits === 0 ? 2048 : options.modulusBits);
    const tokens = this.#tokens(options.tokens);
    for (const token of tokens) {
      const lacking = plan.algorithms.find((algorithm) => !token.info!.algorithms.includes(algorithm));
      if (lacking !== undefined) {
        throw new Failure(
          'OPERATION_UNSUPPORTED',
          `${lacking}: token ${token.name} (${token.info!.model}) does not do it`,
        );
      }
    }
    const named: NewObject = {
      ckaId: randomBytes(16).toString('hex'),
      label: `${plan.name}#1`,
      spec: plan.spec,
      purpose: plan.purpose,
    };
    const made: TokenAdapter[] = [];
    let isMade = false;
    try {
      const objects = await this.#make(plan, named, tokens, made);
      isMade = true;
      const version = await this.#adopt(
        plan,
        objects,
        tokens.length > 1 && plan.spec.type !== 'ed25519' ? 'replicated' : 'created',
        1,
      );
      return version;
    } catch (error) {
      await this.#removeAll(named, plan, made);
      throw describe(error, isMade ? undefined : made.at(-1));
    }
  }

  /** Objects on every token, in the order of `tokens`; `made` tells what to remove if a later step fails. */
  async #make(
    plan: KeyPlan,
    named: NewObject,
    tokens: readonly TokenAdapter[],
    made: TokenAdapter[],
  ): Promise<readonly { token: TokenAdapter; attributes: ObjectAttributes }[]> {
    const [source, ...others] = tokens as [TokenAdapter, ...TokenAdapter[]];
    // What cannot be wrapped is one key per token, all of them published.
    if (others.length === 0 || plan.spec.type === 'ed25519') {
      const objects = [];
      for (const token of tokens) {
        made.push(token);
        objects.push({ token, attributes: await token.administration.generate(named) });
      }
      return objects;
    }
    const transports: { token: TokenAdapter; transport: number; publicKey: Uint8Array }[] = [];
    try {
      for (const token of others)
        transports.push({ token, ...(await token.administration.openReplicaTransport()) });
      made.push(source);
      const { attributes, replicas } = await source.administration.generateReplicated(
        named,
        transports.map(({ publicKey }) => publicKey),
      );
      const objects = [{ token: source, attributes }];
      for (const [i, { token, transport }] of transports.entries()) {
        made.push(token);
        objects.push({
          token,
          attributes: await token.administration.receiveReplica(transport, named, replicas[i]!),
        });
      }
      return objects;
    } finally {
      for (const { token, transport } of transports) {
        // Already closed by receiveReplica where that was reached; a dead worker has closed it by dying.
        await token.administration.closeReplicaTransport(transport).catch((error) => {
          if (!(error instanceof AdapterError)) throw error;
        });
      }
    }
  }

  async #importKey(options: ImportKeyOptions): Promise<KeyVersion> {
    const { source } = options;
    const [token] = this.#tokens([options.token]) as [TokenAdapter];
    // Refused before the token is asked. How many bits an RSA key has, the object tells.
    const asked = planKey(this.#catalog, options, 2048);
    const ref = 0xffff_ffff;
    let unwrapped: NewObject | undefined;
    try {
      let attributes: ObjectAttributes;
      if ('blob' in source) {
        const mechanism = WRAP_MECHANISMS.find((candidate) => candidate === source.mechanism);
        if (mechanism === undefined)
          throw new Failure('REQUEST_INVALID', `mechanism must be one of ${WRAP_MECHANISMS.join(', ')}`);
        const object: NewObject = {
          ckaId: randomBytes(16).toString('hex'),
          label: `${asked.name}#1`,
          spec: asked.spec,
          purpose: asked.purpose,
        };
        attributes = await token.administration.importWrapped({
          object,
          blob: source.blob,
          unwrappingKeyId: source.unwrappingKeyId,
          mechanism,
          publicKey: source.publicKeyPem === '' ? undefined : publicKeyOf(source.publicKeyPem),
        });
        unwrapped = object;
      } else {
        attributes = await token.administration.bind(ref, { ...source, kind: kindOf(asked) });
        token.administration.release(ref);
      }
      this.#refuseOwned(token, attributes);
      const bits = attributes.spec.type === 'rsa' ? attributes.spec.modulusBits : 2048;
      const plan = { ...planKey(this.#catalog, options, bits), spec: attributes.spec };
      if (!plan.algorithms.every((algorithm) => fits(attributes.spec, specFor(algorithm, bits))))
        throw new Failure(
          'REQUEST_INVALID',
          `the object is ${JSON.stringify(attributes.spec)}: the algorithms do not fit it`,
        );
      return await this.#adopt(plan, [{ token, attributes }], 'blob' in source ? 'imported' : 'bound', 1);
    } catch (error) {
      if (unwrapped !== undefined) await this.#removeAll(unwrapped, asked, [token]);
      throw describe(error);
    }
  }

  /** One object, one key: under a second name it would escape the first one's rules, and the log's key its reserve. */
  #refuseOwned(token: TokenAdapter, { ckaId, publicKey }: ObjectAttributes): void {
    if (ckaId === '')
      throw new Failure(
        'KEY_UNUSABLE',
        'the object has no CKA_ID: give it one, so that it can be found again',
      );
    for (const version of this.#catalog.all()) {
      const isOwner = version.objects.some(
        (object) =>
          (object.tokenSerial === token.info!.serial && object.ckaId === ckaId) ||
          (publicKey.length > 0 && Buffer.compare(object.publicKey, publicKey) === 0),
      );
      if (isOwner) throw new Failure('REQUEST_INVALID', `that object is ${version.id} already`);
    }
  }

  async #adopt(
    plan: KeyPlan,
    madeInTurn: readonly { token: TokenAdapter; attributes: ObjectAttributes }[],
    provenance: string,
    number: number,
  ): Promise<KeyVersion> {
    // In the order in which the state gives them back: the first of several published keys stays the first.
    const made = madeInTurn.toSorted((a, b) => (a.token.info!.serial < b.token.info!.serial ? -1 : 1));
    const identity = { name: plan.name, version: number };
    const objects: TokenObject[] = [];
    for (const { token, attributes } of made) {
      objects.push({
        tokenSerial: token.info!.serial,
        ckaId: attributes.ckaId,
        publicKey: attributes.publicKey,
        proof: await makeProof({ ...plan, ...identity }, token, attributes, this.#encryptions),
      });
    }
    const version: KeyVersion = {
      ...identity,
      id: `${plan.name}#${number}`,
      purpose: plan.purpose,
      algorithms: plan.algorithms,
      spec: plan.spec,
      state: 'active',
      createdAt: new Date().toISOString(),
      provenance,
      verify: plan.verify,
      // How often a key has encrypted elsewhere is not known, so its IVs may be used up.
      decryptOnly: plan.spec.type === 'aes' && (provenance === 'bound' || provenance === 'imported'),
      rawSigning: plan.rawSigning,
      objects,
    };
    for (const [i, { attributes, token }] of made.entries()) {
      const difference = differenceFrom(version, objects[i]!, attributes);
      if (difference !== undefined)
        throw new Failure('KEY_UNUSABLE', `${token.name}: ${difference}`, { performed: 'yes' });
    }
    try {
      await this.#keys.adopt(version);
      this.#catalog.add(version);
    } catch (error) {
      this.#keys.forget(version);
      throw error;
    }
    return version;
  }

  #tokens(names: readonly string[]): readonly TokenAdapter[] {
    const all = this.#keys.tokens;
    const chosen =
      names.length === 0
        ? all
        : [...new Set(names)].map((name) => {
            const token = all.find((candidate) => candidate.name === name);
            if (token === undefined)
              throw new Failure('REQUEST_INVALID', `there is no token ${JSON.stringify(name.slice(0, 64))}`);
            return token;
          });
    const away = chosen.find(
      (token) => (token.state !== 'ready' && token.state !== 'degraded') || token.info === undefined,
    );
    if (away !== undefined)
      throw new Failure(
        'TOKEN_UNREACHABLE',
        `token ${away.name} is ${away.state}: ${away.advice ?? 'try again when it serves'}`,
      );
    if (chosen.length === 0) throw new Failure('TOKEN_UNREACHABLE', 'no token is configured');
    return chosen;
  }

  async #removeAll(named: NewObject, plan: KeyPlan, made: readonly TokenAdapter[]): Promise<void> {
    for (const token of made) {
      await token.administration.destroy({ ckaId: named.ckaId, kind: kindOf(plan) }).catch((error) => {
        // What was never made is not there to remove; anything else the inventory will show as unknown to the catalog.
        if (!(error instanceof AdapterError)) throw error;
      });
    }
  }
}

/**
 * Operators are told what the token said. `writing`: the token that was making an object. Modules have no code for
 * storage that cannot be written: it comes as a failure like others, or as an object of which a part is missing.
 */
function describe(error: unknown, writing?: TokenAdapter): Failure {
  if (error instanceof Failure) return error;
  const failure = toFailure(error);
  if (!(error instanceof AdapterError)) return failure;
  const { ckr, message, performed } = error;
  const said = ckr === undefined || message.includes(ckr) ? message : `${message} (${ckr})`;
  const isStorageSuspect =
    (error.reason === 'TOKEN_UNREACHABLE' && ckr !== undefined) || error.reason === 'KEY_UNUSABLE';
  return new Failure(
    failure.reason === 'INTERNAL' ? 'KEY_UNUSABLE' : failure.reason,
    writing !== undefined && isStorageSuspect
      ? `token ${writing.name}: ${said}: there is no such key; see that the token answers and its storage is not full or read-only, then create it again`
      : said,
    { performed, cause: error },
  );
}

export function publishVersion(version: KeyVersion): { pem: string; kid: string } {
  const spki = version.objects[0]?.publicKey;
  if (spki === undefined || spki.length === 0) return { pem: '', kid: '' };
  const { pem, kid } = publishKey(spki, version.algorithms);
  return { pem, kid };
}

/** SubjectPublicKeyInfo, DER. Whether it is the key that was wrapped shows when that is proven by use. */
function publicKeyOf(pem: string): Uint8Array {
  try {
    // A private key would be read as well, and its public half taken: none belongs into a request.
    if (!/^-----BEGIN (?:RSA )?PUBLIC KEY-----/.test(pem.trimStart())) throw new Error('not a public key');
    return new Uint8Array(createPublicKey(pem).export({ type: 'spki', format: 'der' }));
  } catch (cause) {
    throw new Failure('REQUEST_INVALID', 'public_key_pem is no public key in PEM', { cause });
  }
}
