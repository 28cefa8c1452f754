import {
  AdapterError,
  type KeySpec,
  type NewObject,
  type ObjectAttributes,
  type ObjectQuery,
  type WrappedImport,
  type WrappedReplica,
} from '../adapter.ts';
import type { Profile } from '../profiles/profile.ts';
import { ckr, ckrName, ckrPerformed, ckrReason } from './ckr.ts';
import { CKA, CKO } from './constants.ts';
import {
  type Attribute,
  CkrError,
  type Cryptoki,
  type Mechanism,
  mechanism,
  type ObjectHandle,
  type SessionHandle,
  type SlotHandle,
} from './cryptoki.ts';
import { algorithmsOf, RSA_OAEP_256, RSA_OAEP_SHA1, signingMechanism } from './mechanisms.ts';
import {
  checkPublicKey,
  checkWrappedLength,
  differs,
  ownObjects,
  packReplica,
  readMaterial,
  refusal,
  text,
  unpackReplica,
} from './new-objects.ts';
import { findObjects, findOne, type HiddenLength, readAttributes, readPublicKey } from './objects.ts';
import { publicMaterial } from './public-key.ts';
import {
  carrierTemplate,
  fitsPurpose,
  generationMechanism,
  isSecret,
  privateTemplate,
  publicObjectTemplate,
  publicTemplate,
  secretTemplate,
  transportPublicTemplate,
  transportTemplates,
} from './templates.ts';

/**
 * Key administration on one token.
 *
 * Every call is synchronous from end to end, and so they cannot interleave: creating and finding objects at
 * once races in SoftHSM, and pkcs11js leaks in the asynchronous forms. Meanwhile no request of this token is
 * begun (an RSA key takes seconds).
 *
 * Each call has a read-write session of its own, closed at its end whatever happens: session objects (keys on
 * their way, carriers) go with it. A token object that was made before a failure is destroyed again.
 *
 * Longer than most files here, so that all that creates or destroys an object can be read in one place.
 */
export class Administration {
  readonly #cryptoki: Cryptoki;
  readonly #slot: SlotHandle;
  readonly #profile: Profile;
  readonly #mechanisms: ReadonlySet<number>;
  /** The RSA pairs of `openReplicaTransport`, each in the session that it lives and dies with. */
  readonly #transports = new Map<
    number,
    { readonly session: SessionHandle; readonly privateKey: ObjectHandle }
  >();
  #nextTransport = 1;
  readonly #hiddenLength: HiddenLength | undefined;

  constructor(cryptoki: Cryptoki, slot: SlotHandle, profile: Profile) {
    this.#cryptoki = cryptoki;
    this.#slot = slot;
    this.#profile = profile;
    this.#mechanisms = cryptoki.mechanisms(slot);
    if (profile.keyWrap.hidesUnwrappedLength) {
      this.#hiddenLength = { macKeyBytes: (handle) => this.#macKeyBytes(handle) };
    }
  }

  /** KEY_MISSING_ON_TOKEN when there is none, KEY_UNUSABLE with the candidates when there are several. */
  find(query: ObjectQuery): { readonly handle: ObjectHandle; readonly attributes: ObjectAttributes } {
    return this.#inSession((session) => {
      const handle = findOne(this.#cryptoki, session, query);
      return {
        handle,
        attributes: readAttributes(
          this.#cryptoki,
          session,
          handle,
          query.kind,
          this.#hiddenLength,
          this.#profile,
        ),
      };
    });
  }

  /** Makes a key that never leaves this token. */
  generate(object: NewObject): ObjectAttributes {
    this.#check(object, 'made');
    return this.#inSession((session) =>
      this.#creating(session, object, 'generated', () => {
        if (isSecret(object.spec)) {
          const template = secretTemplate(object, 'permanent', this.#profile, 'generated');
          return this.#cryptoki.generateKey(session, generationMechanism(object.spec), template);
        }
        return this.#cryptoki.generateKeyPair(
          session,
          generationMechanism(object.spec),
          publicTemplate(object, 'permanent', this.#profile),
          privateTemplate(object, 'permanent', this.#profile),
        ).privateKey;
      }),
    );
  }

  openReplicaTransport(): { readonly transport: number; readonly publicKey: Uint8Array } {
    if (this.#transports.size >= MAX_TRANSPORTS) {
      throw new AdapterError('SESSION_LIMIT', `${MAX_TRANSPORTS} replica transports are open`, {
        performed: 'no',
      });
    }
    return this.#translated(() => {
      const session = this.#cryptoki.openSession(this.#slot, 'read-write');
      try {
        const templates = transportTemplates(TRANSPORT_BITS);
        const pair = this.#cryptoki.generateKeyPair(
          session,
          generationMechanism({ type: 'rsa', modulusBits: TRANSPORT_BITS }),
          templates.publicKey,
          templates.privateKey,
        );
        const publicKey = readPublicKey(this.#cryptoki, session, 'rsa', pair.publicKey);
        const transport = this.#nextTransport;
        this.#nextTransport += 1;
        this.#transports.set(transport, { session, privateKey: pair.privateKey });
        return { transport, publicKey };
      } catch (error) {
        this.#cryptoki.closeSession(session);
        throw error;
      }
    });
  }

  closeReplicaTransport(transport: number): void {
    const open = this.#transports.get(transport);
    if (open === undefined) return;
    this.#transports.delete(transport);
    this.#translated(() => this.#cryptoki.closeSession(open.session));
  }

  generateReplicated(
    object: NewObject,
    destinations: readonly Uint8Array[],
  ): { readonly attributes: ObjectAttributes; readonly replicas: readonly WrappedReplica[] } {
    this.#check(object, 'made');
    const kwp = this.#keyWrap(object.spec);
    const oaep = this.#transportMechanism();
    return this.#inSession((session) => {
      const { key, publicKey } = this.#makeTravelling(session, object);
      const replicas = destinations.map((destination) => {
        const transport = this.#importTransport(session, destination);
        const carrier = this.#makeCarrier(session, 'wrapping');
        const wrappedKek = this.#cryptoki.wrapKey(session, oaep, transport, carrier, MAX_WRAPPED_BYTES);
        const wrapped = this.#cryptoki.wrapKey(session, kwp, carrier, key, MAX_WRAPPED_BYTES);
        this.#cryptoki.destroyObject(session, carrier);
        this.#cryptoki.destroyObject(session, transport);
        return { wrappedKek: new Uint8Array(wrappedKek), wrappedKey: packReplica(publicKey, wrapped) };
      });
      // Here too the key comes in by unwrapping, so that it is not extractable here either.
      const carrier = this.#makeCarrier(session, 'local');
      const wrapped = this.#cryptoki.wrapKey(session, kwp, carrier, key, MAX_WRAPPED_BYTES);
      this.#cryptoki.destroyObject(session, key);
      const attributes = this.#place(session, object, kwp, carrier, wrapped, publicKey);
      this.#cryptoki.destroyObject(session, carrier);
      return { attributes, replicas };
    });
  }

  /** The transport is closed, whatever happens. */
  receiveReplica(transport: number, object: NewObject, replica: WrappedReplica): ObjectAttributes {
    const open = this.#transports.get(transport);
    if (open === undefined) {
      throw new AdapterError('REQUEST_INVALID', `replica transport ${transport} is not open`, {
        performed: 'no',
      });
    }
    try {
      this.#check(object, 'imported');
      const kwp = this.#keyWrap(object.spec);
      const { publicKey, wrapped } = unpackReplica(replica.wrappedKey);
      return this.#translated(() => {
        const carrier = this.#cryptoki.unwrapKey(
          open.session,
          this.#transportMechanism(),
          open.privateKey,
          Buffer.from(replica.wrappedKek),
          carrierTemplate('unwrapping'),
        );
        const attributes = this.#place(open.session, object, kwp, carrier, wrapped, publicKey);
        this.#cryptoki.destroyObject(open.session, carrier);
        return attributes;
      });
    } finally {
      this.closeReplicaTransport(transport);
    }
  }

  /** Unwraps a blob that somebody else wrapped to a key on this token. */
  importWrapped(request: WrappedImport): ObjectAttributes {
    const { object } = request;
    this.#check(object, 'imported');
    const how = this.#importMechanism(request.mechanism);
    if (!this.#profile.keyWrap.unwraps.includes(object.spec.type)) {
      throw refusal(
        'OPERATION_UNSUPPORTED',
        `${this.#profile.name} does not unwrap keys of type ${object.spec.type}`,
      );
    }
    const kind = request.mechanism.startsWith('rsa-') ? 'private' : 'secret';
    if (kind === 'secret') checkWrappedLength(object, request.blob.length);
    else if (object.spec.type === 'aes' && this.#profile.keyWrap.hidesUnwrappedLength) {
      throw refusal(
        'OPERATION_UNSUPPORTED',
        `${this.#profile.name} does not show how long an unwrapped AES key is`,
      );
    }
    const given = request.publicKey === undefined ? undefined : readMaterial(request.publicKey);
    checkPublicKey(object, given);
    return this.#inSession((session) => {
      const unwrapping = findOne(this.#cryptoki, session, { ckaId: request.unwrappingKeyId, kind });
      return this.#creating(session, object, 'unwrapped', () => {
        const template = isSecret(object.spec)
          ? secretTemplate(object, 'permanent', this.#profile, 'unwrapped')
          : privateTemplate(object, 'permanent', this.#profile);
        const key = this.#unwrapForeign(session, how, unwrapping, Buffer.from(request.blob), template);
        if (!isSecret(object.spec)) {
          // An RSA private object shows its own modulus, and that is the one that counts.
          const material =
            object.spec.type === 'rsa'
              ? publicMaterial(readPublicKey(this.#cryptoki, session, 'rsa', key))
              : given;
          if (material === undefined) throw refusal('REQUEST_INVALID', 'the public key is missing');
          this.#cryptoki.createObject(session, publicObjectTemplate(object, material, this.#profile));
        }
        return key;
      });
    });
  }

  /**
   * Modules have one code for a blob that does not open and for a token that fails. One that still answers has met
   * a bad blob, and that is no finding about the token.
   */
  #unwrapForeign(
    session: SessionHandle,
    how: Mechanism,
    unwrapping: ObjectHandle,
    blob: Buffer,
    template: readonly Attribute[],
  ): ObjectHandle {
    try {
      return this.#cryptoki.unwrapKey(session, how, unwrapping, blob, template);
    } catch (error) {
      if (!(error instanceof CkrError) || !BLOB_REJECTIONS.has(ckrName(error.ckr))) throw error;
      this.#cryptoki.tokenInfo(this.#slot);
      throw new AdapterError('REQUEST_INVALID', 'the blob does not unwrap with this key and mechanism', {
        performed: 'unknown',
        ckr: ckrName(error.ckr),
        cause: error,
      });
    }
  }

  /** Both halves of a key pair. Nothing to destroy is no error: it is gone. */
  destroy(query: ObjectQuery): void {
    this.#inSession((session) => {
      const found = findObjects(this.#cryptoki, session, query);
      if (found.length === 0) {
        // A half that was left behind without its private object.
        if (query.ckaId !== undefined && query.kind === 'private') this.#destroyPublic(session, query.ckaId);
        return;
      }
      const handle = findOne(this.#cryptoki, session, query);
      const ckaId = this.#cryptoki.attribute(session, handle, CKA.ID)?.toString('hex') ?? '';
      this.#cryptoki.destroyObject(session, handle);
      if (query.kind === 'private' && ckaId !== '') this.#destroyPublic(session, ckaId);
      if (findObjects(this.#cryptoki, session, query).length > 0) {
        throw new AdapterError('INVARIANT_BROKEN', 'the object is still there', { performed: 'unknown' });
      }
    });
  }

  /** For the end of the worker. */
  closeTransports(): void {
    for (const transport of [...this.#transports.keys()]) this.closeReplicaTransport(transport);
  }

  /** Before anything is made: what the token cannot do, and what would make two keys of one name. */
  #check(object: NewObject, origin: 'made' | 'imported'): void {
    if (!/^[0-9a-f]{32}$/.test(object.ckaId))
      throw refusal('REQUEST_INVALID', 'CKA_ID is not 16 bytes of hex');
    const labelBytes = Buffer.byteLength(object.label);
    if (labelBytes === 0 || labelBytes > 255) throw refusal('REQUEST_INVALID', 'a label has 1 to 255 bytes');
    const { spec, purpose } = object;
    if (!fitsPurpose(spec, purpose))
      throw refusal('REQUEST_INVALID', `a key of type ${spec.type} does not ${purpose}`);
    if (spec.type === 'rsa' && ![2048, 3072, 4096].includes(spec.modulusBits)) {
      throw refusal('REQUEST_INVALID', 'RSA keys have 2048, 3072 or 4096 bits');
    }
    const algorithms = algorithmsOf(spec, purpose);
    if (algorithms.every((algorithm) => this.#profile.lacks.includes(algorithm))) {
      throw refusal('OPERATION_UNSUPPORTED', `${algorithms.join(', ')} on ${this.#profile.name}`);
    }
    if (origin === 'made' && !this.#profile.makes.includes(spec.type)) {
      throw refusal('OPERATION_UNSUPPORTED', `${this.#profile.name} makes no keys of type ${spec.type}`);
    }
    if (origin === 'made' && !this.#mechanisms.has(generationMechanism(spec).mechanism)) {
      throw refusal('OPERATION_UNSUPPORTED', `the token makes no keys of type ${spec.type}`);
    }
  }

  #keyWrap(spec: KeySpec): Mechanism {
    const { aesKwp, wraps } = this.#profile.keyWrap;
    if (!wraps.includes(spec.type)) {
      throw refusal('OPERATION_UNSUPPORTED', `${this.#profile.name} does not wrap keys of type ${spec.type}`);
    }
    if (aesKwp === undefined || !this.#mechanisms.has(aesKwp)) {
      throw refusal('OPERATION_UNSUPPORTED', 'the token has no AES key wrap with padding');
    }
    return mechanism(aesKwp);
  }

  /** SHA-1 in OAEP is no weakness for a one-time key that travels between two tokens; better where both have better. */
  #transportMechanism(): Mechanism {
    return RSA_OAEP_SHA1;
  }

  #importMechanism(name: WrappedImport['mechanism']): Mechanism {
    const { aesKw, aesKwp, oaepHashes } = this.#profile.keyWrap;
    const missing = () => refusal('OPERATION_UNSUPPORTED', `${name} on ${this.#profile.name}`);
    switch (name) {
      case 'rsa-oaep-sha1':
        if (!oaepHashes.includes('sha1')) throw missing();
        return RSA_OAEP_SHA1;
      case 'rsa-oaep-sha256':
        if (!oaepHashes.includes('sha256')) throw missing();
        return RSA_OAEP_256;
      case 'aes-kw':
        if (aesKw === undefined) throw missing();
        return mechanism(aesKw);
      case 'aes-kwp':
        if (aesKwp === undefined) throw missing();
        return mechanism(aesKwp);
      default:
        return name satisfies never;
    }
  }

  #makeTravelling(session: SessionHandle, object: NewObject): { key: ObjectHandle; publicKey: Uint8Array } {
    const how = generationMechanism(object.spec);
    if (isSecret(object.spec)) {
      const template = secretTemplate(object, 'travelling', this.#profile, 'generated');
      return { key: this.#cryptoki.generateKey(session, how, template), publicKey: new Uint8Array(0) };
    }
    const pair = this.#cryptoki.generateKeyPair(
      session,
      how,
      publicTemplate(object, 'travelling', this.#profile),
      privateTemplate(object, 'travelling', this.#profile),
    );
    const publicKey = readPublicKey(this.#cryptoki, session, object.spec.type, pair.publicKey);
    this.#cryptoki.destroyObject(session, pair.publicKey);
    return { key: pair.privateKey, publicKey };
  }

  /** SoftHSM refuses a MAC key that is shorter than the hash: by trial, without making a MAC. */
  #macKeyBytes(key: ObjectHandle): 32 | 48 | 64 | undefined {
    for (const [algorithm, bytes] of MAC_LENGTHS) {
      const session = this.#cryptoki.openSession(
        this.#slot,
        this.#profile.sessions.readOnly ? 'read-only' : 'read-write',
      );
      try {
        this.#cryptoki.signInit(session, signingMechanism(algorithm)!.mechanism, key);
        return bytes;
      } catch (error) {
        if (!(error instanceof CkrError) || error.ckr !== KEY_SIZE_RANGE) throw error;
      } finally {
        this.#cryptoki.closeSession(session);
      }
    }
    return undefined;
  }

  #makeCarrier(session: SessionHandle, role: 'wrapping' | 'local'): ObjectHandle {
    const how = generationMechanism({ type: 'aes', bytes: 32 });
    return this.#cryptoki.generateKey(session, how, carrierTemplate(role));
  }

  #importTransport(session: SessionHandle, spki: Uint8Array): ObjectHandle {
    const material = readMaterial(spki);
    if (material.type !== 'rsa' || material.modulusBits < TRANSPORT_BITS) {
      throw refusal(
        'REQUEST_INVALID',
        `a replica transport has an RSA key of ${TRANSPORT_BITS} bits or more`,
      );
    }
    return this.#cryptoki.createObject(session, transportPublicTemplate(material.modulus, material.exponent));
  }

  /** A key that arrives wrapped becomes a token object, not extractable, with its public half beside it. */
  #place(
    session: SessionHandle,
    object: NewObject,
    how: Mechanism,
    carrier: ObjectHandle,
    wrapped: Buffer,
    publicKey: Uint8Array,
  ): ObjectAttributes {
    const material = isSecret(object.spec) ? undefined : readMaterial(publicKey);
    if (material !== undefined && material.type !== object.spec.type) {
      throw refusal(
        'REQUEST_INVALID',
        `a public key of type ${material.type} for a key of type ${object.spec.type}`,
      );
    }
    if (material === undefined) checkWrappedLength(object, wrapped.length);
    return this.#creating(session, object, 'unwrapped', () => {
      const template =
        material === undefined
          ? secretTemplate(object, 'permanent', this.#profile, 'unwrapped')
          : privateTemplate(object, 'permanent', this.#profile);
      const key = this.#cryptoki.unwrapKey(session, how, carrier, wrapped, template);
      if (material !== undefined) {
        this.#cryptoki.createObject(session, publicObjectTemplate(object, material, this.#profile));
      }
      return key;
    });
  }

  /**
   * Makes an object, reads it back and compares. After any failure nothing of it is left on the token: CKA_ID is
   * this creation's own, which is checked before.
   */
  #creating(
    session: SessionHandle,
    object: NewObject,
    origin: 'generated' | 'unwrapped',
    make: () => ObjectHandle,
  ): ObjectAttributes {
    const taken = this.#cryptoki.findObjects(session, ownObjects(object.ckaId), 1);
    if (taken.length > 0) throw refusal('KEY_UNUSABLE', `CKA_ID ${object.ckaId} is taken`);
    try {
      const handle = make();
      const attributes = readAttributes(
        this.#cryptoki,
        session,
        handle,
        isSecret(object.spec) ? 'secret' : 'private',
        this.#hiddenLength,
        this.#profile,
      );
      const difference = differs(object, origin, attributes);
      if (difference !== undefined) {
        throw new AdapterError('KEY_UNUSABLE', `made, but not as asked: ${difference}`, {
          performed: 'unknown',
        });
      }
      return attributes;
    } catch (error) {
      this.#cleanUp(session, object.ckaId, error);
      throw error;
    }
  }

  #cleanUp(session: SessionHandle, ckaId: string, reason: unknown): void {
    try {
      for (const handle of this.#cryptoki.findObjects(session, ownObjects(ckaId), 8)) {
        this.#cryptoki.destroyObject(session, handle);
      }
    } catch (cause) {
      const message = `objects with CKA_ID ${ckaId} may be left on the token: ${text(cause)}; first: ${text(reason)}`;
      throw new AdapterError('INVARIANT_BROKEN', message, { performed: 'unknown', cause });
    }
  }

  #destroyPublic(session: SessionHandle, ckaId: string): void {
    const template = [{ type: CKA.CLASS, value: CKO.PUBLIC_KEY }, ...ownObjects(ckaId)];
    for (const handle of this.#cryptoki.findObjects(session, template, 8))
      this.#cryptoki.destroyObject(session, handle);
  }

  #inSession<T>(use: (session: SessionHandle) => T): T {
    return this.#translated(() => {
      const session = this.#cryptoki.openSession(this.#slot, 'read-write');
      let result: T;
      try {
        result = use(session);
      } catch (error) {
        try {
          this.#cryptoki.closeSession(session);
        } catch (cause) {
          // The first failure tells more; a session that does not close belongs to a token that is gone.
          throw error instanceof Error ? error : cause;
        }
        throw error;
      }
      this.#cryptoki.closeSession(session);
      return result;
    });
  }

  #translated<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      throw this.#asAdapterError(error);
    }
  }

  #asAdapterError(error: unknown): AdapterError {
    if (error instanceof AdapterError) return error;
    if (error instanceof CkrError) {
      const name = ckrName(error.ckr);
      // No key was asked for by handle yet: an unknown mechanism is the module's lack, not the key's fault.
      const reason =
        error.ckr === MECHANISM_INVALID
          ? 'OPERATION_UNSUPPORTED'
          : (this.#profile.refinements[name] ?? ckrReason(error.ckr));
      const performed = ckrPerformed(error.ckr, 'run');
      return new AdapterError(reason, error.message, { performed, ckr: name, cause: error });
    }
    return new AdapterError('INVARIANT_BROKEN', text(error), { performed: 'unknown', cause: error });
  }
}

const MECHANISM_INVALID = ckr('CKR_MECHANISM_INVALID');
const KEY_SIZE_RANGE = ckr('CKR_KEY_SIZE_RANGE');
const BLOB_REJECTIONS: ReadonlySet<string> = new Set([
  'CKR_GENERAL_ERROR',
  'CKR_FUNCTION_FAILED',
  'CKR_ENCRYPTED_DATA_INVALID',
  'CKR_ENCRYPTED_DATA_LEN_RANGE',
  'CKR_WRAPPED_KEY_INVALID',
  'CKR_WRAPPED_KEY_LEN_RANGE',
]);
const MAC_LENGTHS = [
  ['HS512', 64],
  ['HS384', 48],
  ['HS256', 32],
] as const;
const TRANSPORT_BITS = 3072;
const MAX_TRANSPORTS = 4;
/** An RSA-4096 private key in PKCS #8, wrapped, has some 2,400 bytes. */
const MAX_WRAPPED_BYTES = 8192;
