import { constants, createPublicKey, publicEncrypt, randomBytes } from 'node:crypto';
import {
  AdapterError,
  type Algorithm,
  type KeyPurpose,
  type KeySpec,
  type NewObject,
  type ObjectAttributes,
  specFor,
  type TokenAdapter,
} from '../../hsm-adapters/adapter.ts';
import { isKeyName } from '../../policy/key-name.ts';
import { toFailure } from './adapter-failure.ts';
import { FACTS, parseAlgorithm } from './algorithms.ts';
import { associatedDataFor, IV_BYTES, joinCiphertext } from './ciphertext.ts';
import type { EncryptionCounter } from './encryption-counter.ts';
import { Failure } from './failure.ts';
import {
  type KeyCatalog,
  type KeyVersion,
  publishKey,
  type TokenObject,
  type Verification,
} from './key-catalog.ts';
import {
  canaryHeader,
  differenceFrom,
  joinCanary,
  macChallenge,
  RESERVED_PREFIX,
  type TokenKeys,
} from './token-keys.ts';

export interface CreateKeyOptions {
  readonly key: string;
  readonly purpose: string;
  readonly algorithms: readonly string[];
  /** Names; empty: all that serve. */
  readonly tokens: readonly string[];
  /** 0: 2048. */
  readonly modulusBits: number;
  /** Empty: always. */
  readonly verify: string;
  /** Bare messages and digests are signed although a rule of typed signing names the key. Default no. */
  readonly rawSigning?: boolean | undefined;
}

export interface ImportKeyOptions extends Omit<CreateKeyOptions, 'tokens' | 'modulusBits'> {
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

interface Plan {
  readonly name: string;
  readonly purpose: KeyPurpose;
  readonly algorithms: readonly Algorithm[];
  readonly spec: KeySpec;
  readonly verify: Verification;
  readonly rawSigning: boolean;
}

const PROOF_MS = 10_000;
const CANARY_BYTES = 32;
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
    const plan = this.#plan(options, options.modulusBits === 0 ? 2048 : options.modulusBits);
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
    plan: Plan,
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
    const asked = this.#plan(options, 2048);
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
      const plan = { ...this.#plan(options, bits), spec: attributes.spec };
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
    plan: Plan,
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
        proof: await this.#makeProof(plan, identity, token, attributes),
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

  /** A canary ciphertext, or a MAC over a reserved input; nothing for key pairs. */
  async #makeProof(
    plan: Plan,
    identity: { name: string; version: number },
    token: TokenAdapter,
    attributes: ObjectAttributes,
  ): Promise<Uint8Array> {
    if (plan.purpose === 'sign') return new Uint8Array();
    const ref = 0xffff_fffe;
    const context = { deadline: performance.now() + PROOF_MS };
    await token.administration.bind(ref, { ckaId: attributes.ckaId, kind: kindOf(plan) });
    try {
      if (plan.purpose === 'mac') {
        return await token.sign(
          { object: ref, algorithm: plan.algorithms[0]!, data: macChallenge(identity) },
          context,
        );
      }
      const header = canaryHeader(
        identity,
        plan.algorithms[0] === 'RSA-OAEP-256' ? 'RSA-OAEP-256' : 'A256GCM',
      );
      const plaintext = randomBytes(CANARY_BYTES);
      if (plan.spec.type === 'rsa') {
        const sealed = publicEncrypt(
          {
            key: Buffer.from(attributes.publicKey),
            format: 'der',
            type: 'spki',
            padding: constants.RSA_PKCS1_OAEP_PADDING,
            oaepHash: 'sha256',
          },
          plaintext,
        );
        return joinCanary(plaintext, joinCiphertext(header, new Uint8Array(), sealed));
      }
      this.#encryptions.take(identity.name, identity.version);
      const { iv, sealed } = await token.encrypt(
        ref,
        plaintext,
        associatedDataFor(header, RESERVED_PREFIX),
        context,
      );
      if (iv.length !== IV_BYTES)
        throw new Failure('KEY_UNUSABLE', 'the token made an IV of the wrong length');
      return joinCanary(plaintext, joinCiphertext(header, iv, sealed));
    } finally {
      token.administration.release(ref);
    }
  }

  #plan(options: Omit<CreateKeyOptions, 'tokens' | 'modulusBits'>, modulusBits: number): Plan {
    const invalid = (text: string): Failure => new Failure('REQUEST_INVALID', text);
    if (!isKeyName(options.key))
      throw invalid(
        'key name must be segments of a-z, A-Z, 0-9, dot, dash and underscore, with slashes between',
      );
    if (this.#catalog.versions(options.key).length > 0) throw invalid(`key ${options.key} exists already`);
    const algorithms = options.algorithms.map((name) => {
      const algorithm = parseAlgorithm(name);
      if (algorithm === undefined)
        throw invalid(
          `algorithm ${JSON.stringify(name.slice(0, 32))} is not known: use JOSE's names, such as ES256`,
        );
      return algorithm;
    });
    const [first] = algorithms;
    if (first === undefined) throw invalid('a key needs at least one algorithm');
    const purpose = FACTS[first].purpose;
    if (options.purpose !== '' && options.purpose !== purpose)
      throw invalid(`${first} is for ${purpose}, not ${options.purpose.slice(0, 32)}`);
    const spec = specFor(first, modulusBits);
    if (spec.type === 'rsa' && ![2048, 3072, 4096].includes(spec.modulusBits))
      throw invalid('an RSA key has 2048, 3072 or 4096 bits');
    if (new Set(algorithms).size !== algorithms.length) throw invalid('an algorithm is named twice');
    const isRsaSignature = spec.type === 'rsa' && purpose === 'sign';
    if (
      algorithms.length > 1 &&
      !(
        isRsaSignature &&
        algorithms.every(
          (a) => a.startsWith('RS2') || a.startsWith('RS3') || a.startsWith('RS5') || a.startsWith('PS'),
        )
      )
    ) {
      throw invalid('a key is for one algorithm; only RSA signature keys may have several');
    }
    const verify = options.verify === '' ? 'always' : options.verify;
    if (verify !== 'always' && verify !== 'sampled' && verify !== 'never')
      throw invalid('verify must be always, sampled or never');
    if (verify !== 'always' && (spec.type === 'rsa' || spec.type === 'ed25519')) {
      throw invalid(`verify: ${verify} is refused for ${spec.type}: one faulty signature can leak the key`);
    }
    const rawSigning = options.rawSigning === true;
    if (rawSigning && purpose !== 'sign') throw invalid('raw_signing is for keys that sign');
    return { name: options.key, purpose, algorithms, spec, verify, rawSigning };
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

  async #removeAll(named: NewObject, plan: Plan, made: readonly TokenAdapter[]): Promise<void> {
    for (const token of made) {
      await token.administration.destroy({ ckaId: named.ckaId, kind: kindOf(plan) }).catch((error) => {
        // What was never made is not there to remove; anything else the inventory will show as unknown to the catalog.
        if (!(error instanceof AdapterError)) throw error;
      });
    }
  }
}

function kindOf({ purpose, spec }: Pick<Plan, 'purpose' | 'spec'>): 'private' | 'secret' {
  return purpose === 'sign' || spec.type === 'rsa' ? 'private' : 'secret';
}

/** Whether an object that is there is one that the algorithm takes: a MAC key may be longer than the hash, not shorter. */
function fits(found: KeySpec, needed: KeySpec): boolean {
  switch (needed.type) {
    case 'hmac':
      return found.type === 'hmac' && found.bytes >= needed.bytes;
    case 'ec':
      return found.type === 'ec' && found.curve === needed.curve;
    case 'rsa':
      return found.type === 'rsa' && found.modulusBits === needed.modulusBits;
    case 'aes':
      return found.type === 'aes' && found.bytes === needed.bytes;
    case 'ed25519':
      return found.type === 'ed25519';
    default:
      return needed satisfies never;
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
