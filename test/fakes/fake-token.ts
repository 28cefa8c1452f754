// Longer than most: one token is one object, and what it polices is spread over everything that it can be asked.
import { createPublicKey, randomBytes } from 'node:crypto';
import {
  AdapterError,
  type AdapterReason,
  ALGORITHMS,
  type DecryptOperation,
  type EncryptResult,
  type KeySpec,
  type NewObject,
  type ObjectAttributes,
  type ObjectQuery,
  type ObjectRef,
  type OperationContext,
  type Performed,
  type SignOperation,
  type TokenAdapter,
  type TokenAdministration,
  type TokenInfo,
  type TokenState,
  type WrappedImport,
} from '../../hsm-adapters/adapter.ts';
import {
  flipped,
  inputBytes,
  type Material,
  makeMaterial,
  openWith,
  sealWith,
  signWith,
  transportPublicKey,
  unwrapReplica,
  wrapReplica,
} from './fake-token-crypto.ts';

export type CallKind =
  | 'sign'
  | 'encrypt'
  | 'decrypt'
  | 'random'
  | 'bind'
  | 'generate'
  | 'open-transport'
  | 'generate-replicated'
  | 'receive-replica'
  | 'import'
  | 'destroy';

export interface TokenCall {
  /** From 0, over everything this token is asked. */
  readonly index: number;
  readonly kind: CallKind;
  /** Of the object that is used; undefined for random bytes and administration. */
  readonly ckaId?: string | undefined;
}

/** What becomes of a call. `wrong-bytes` flips a bit of what comes back. */
export type TokenFault =
  | 'wrong-bytes'
  | 'zero-iv'
  | 'repeat-iv'
  | 'short-iv'
  | 'short'
  | { readonly reason: AdapterReason; readonly performed: Performed; readonly ckr?: string }
  | { readonly throws: unknown };

interface StoredObject {
  material: Material;
  readonly object: NewObject;
  /** Attributes that a test wants to be read back otherwise. */
  altered: Partial<ObjectAttributes>;
  readonly origin: 'generated' | 'unwrapped' | 'foreign';
}

/**
 * A token in memory, with keys of node:crypto. It does what it is asked, or what `fault` says.
 *
 * It polices its caller: work for a token that does not serve, references of another login, work whose deadline has
 * passed or whose caller has gone, digests of the wrong length. What it finds is in `misuse`, which a test checks at
 * its end.
 */
export class FakeToken implements TokenAdapter {
  readonly name: string;
  readonly misuse: string[] = [];
  readonly calls: TokenCall[] = [];
  readonly findings: string[] = [];
  /** Decides the fate of each call. */
  fault: (call: TokenCall) => TokenFault | undefined = () => undefined;
  /** The most operations it ever had at once. */
  mostInFlight = 0;
  capacity = 4;
  advice: string | undefined;
  readonly worker = { pid: 4711, uid: 4711, restarts: 0 };
  readonly administration: TokenAdministration;

  #state: TokenState = 'ready';
  readonly #info: TokenInfo;
  #inFlight = 0;
  #loginGeneration = 1;
  readonly #listeners = new Set<(token: TokenAdapter) => void>();
  readonly #objects = new Map<string, StoredObject>();
  readonly #refs = new Map<ObjectRef, StoredObject>();
  readonly #voidRefs = new Set<ObjectRef>();
  readonly #blobs = new Map<string, Material>();
  readonly #transports = new Set<number>();
  #nextTransport = 1;
  #session = 0;
  #lastIv: Buffer = randomBytes(12);
  readonly #gates = new Map<CallKind, { wait: Promise<void>; arrived: () => void }>();

  constructor(name: string, info: Partial<TokenInfo> = {}) {
    this.name = name;
    this.#info = {
      serial: `serial-${name}`,
      label: name,
      manufacturer: 'test',
      model: 'fake',
      firmware: '1.0',
      hardware: '1.0',
      software: true,
      pinCountLow: false,
      pinFinalTry: false,
      pinLocked: false,
      sessions: 4,
      algorithms: ALGORITHMS,
      moduleSha256: '0'.repeat(64),
      ...info,
    };
    this.administration = this.#makeAdministration();
  }

  get state(): TokenState {
    return this.#state;
  }

  get info(): TokenInfo {
    return this.#info;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get loginGeneration(): number {
    return this.#loginGeneration;
  }

  /** What is on the token, by CKA_ID. */
  get objects(): readonly string[] {
    return [...this.#objects.keys()];
  }

  get openTransports(): number {
    return this.#transports.size;
  }

  get boundRefs(): number {
    return this.#refs.size;
  }

  count(kind: CallKind): number {
    return this.calls.filter((call) => call.kind === kind).length;
  }

  setState(state: TokenState): void {
    this.#state = state;
    this.#notify();
  }

  /** A new worker has logged in: every reference is void. */
  login(): void {
    for (const ref of this.#refs.keys()) this.#voidRefs.add(ref);
    this.#refs.clear();
    this.#transports.clear();
    this.#loginGeneration++;
    this.#state = 'ready';
    this.#notify();
  }

  /** Reads back otherwise from now on. */
  alter(ckaId: string, altered: Partial<ObjectAttributes>): void {
    Object.assign(this.#stored(ckaId).altered, altered);
  }

  /** Another key under the same CKA_ID; the attributes, the public key among them, stay as they were. */
  replaceKey(ckaId: string): void {
    const stored = this.#stored(ckaId);
    stored.altered = { publicKey: attributesOf(stored).publicKey, ...stored.altered };
    stored.material = makeMaterial(stored.object.spec);
  }

  remove(ckaId: string): void {
    this.#objects.delete(ckaId);
  }

  /** An object that somebody else made here. */
  place(object: NewObject, altered: Partial<ObjectAttributes> = {}): Material {
    const material = makeMaterial(object.spec);
    this.#objects.set(object.ckaId, { material, object, altered: { ...altered }, origin: 'foreign' });
    return material;
  }

  /** What `importWrapped` was asked. */
  readonly imports: WrappedImport[] = [];
  /** What `importWrapped` makes of a blob. */
  acceptBlob(blob: Uint8Array, material: Material): void {
    this.#blobs.set(Buffer.from(blob).toString('hex'), material);
  }

  /** Calls of this kind wait until `release`; `reached` resolves once one does. */
  hold(kind: CallKind): { readonly reached: Promise<void>; readonly release: () => void } {
    let release = (): void => undefined;
    let arrived = (): void => undefined;
    const wait = new Promise<void>((resolve) => {
      release = () => {
        this.#gates.delete(kind);
        resolve();
      };
    });
    const reached = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    this.#gates.set(kind, { wait, arrived });
    return { reached, release };
  }

  sign(operation: SignOperation, context: OperationContext): Promise<Uint8Array> {
    return this.#operate('sign', context, operation.object, (stored, fault) => {
      const expected = inputBytes(operation.algorithm);
      if (expected !== undefined && operation.data.length !== expected) {
        this.misuse.push(`${operation.algorithm} over ${operation.data.length} bytes`);
      }
      const made = signWith(stored!.material, operation);
      return fault === 'short' ? made.subarray(0, 3) : fault === 'wrong-bytes' ? flipped(made) : made;
    });
  }

  encrypt(
    object: ObjectRef,
    plaintext: Uint8Array,
    associatedData: Uint8Array,
    context: OperationContext,
  ): Promise<EncryptResult> {
    return this.#operate('encrypt', context, object, (stored, fault) => {
      const iv =
        fault === 'zero-iv'
          ? Buffer.alloc(12)
          : fault === 'repeat-iv'
            ? this.#lastIv
            : randomBytes(fault === 'short-iv' ? 8 : 12);
      this.#lastIv = iv;
      const sealed = sealWith(stored!.material as Buffer, iv, plaintext, associatedData);
      this.#session = (this.#session + 1) % 4;
      return { iv, sealed: fault === 'wrong-bytes' ? flipped(sealed) : sealed, session: this.#session };
    });
  }

  decrypt(operation: DecryptOperation, context: OperationContext): Promise<Uint8Array> {
    return this.#operate('decrypt', context, operation.object, (stored, fault) => {
      let opened: Buffer;
      try {
        opened = openWith(stored!.material, operation);
      } catch (cause) {
        throw new AdapterError('CIPHERTEXT_REJECTED', 'does not decrypt', {
          performed: 'unknown',
          ckr: 'CKR_ENCRYPTED_DATA_INVALID',
          cause,
        });
      }
      return fault === 'wrong-bytes' ? flipped(opened) : opened;
    });
  }

  random(bytes: number, context: OperationContext): Promise<Uint8Array> {
    return this.#operate('random', context, undefined, (_stored, fault) =>
      randomBytes(fault === 'short' ? bytes - 1 : bytes),
    );
  }

  watch(listener: (token: TokenAdapter) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  quarantine(finding: string): void {
    this.findings.push(finding);
    this.advice = finding;
    this.setState('blocked');
  }

  async unblock(): Promise<void> {
    this.advice = undefined;
    this.login();
  }

  drain(): void {
    this.setState('draining');
  }

  undrain(): void {
    this.setState('ready');
  }

  async close(): Promise<void> {
    this.setState('down');
  }

  #notify(): void {
    for (const listener of [...this.#listeners]) listener(this);
  }

  #stored(ckaId: string): StoredObject {
    const stored = this.#objects.get(ckaId);
    if (stored === undefined) throw new Error(`no object ${ckaId} on ${this.name}`);
    return stored;
  }

  /** Counts the call, lets it wait, and fails it as `fault` says. */
  async #enter(kind: CallKind, ckaId?: string): Promise<TokenFault | undefined> {
    const call: TokenCall = { index: this.calls.length, kind, ckaId };
    this.calls.push(call);
    const gate = this.#gates.get(kind);
    if (gate !== undefined) {
      gate.arrived();
      await gate.wait;
    }
    const fault = this.fault(call);
    if (typeof fault === 'object') {
      if ('throws' in fault) throw fault.throws;
      const { reason, performed, ckr } = fault;
      throw new AdapterError(reason, `${kind}: ${reason}`, { performed, ckr });
    }
    return fault;
  }

  async #operate<T>(
    kind: CallKind,
    context: OperationContext,
    ref: ObjectRef | undefined,
    run: (stored: StoredObject | undefined, fault: TokenFault | undefined) => T,
  ): Promise<T> {
    if (this.#state !== 'ready' && this.#state !== 'degraded')
      this.misuse.push(`${kind} while ${this.#state}`);
    if (context.signal?.aborted === true) this.misuse.push(`${kind} for a caller who has gone`);
    if (context.deadline <= performance.now()) this.misuse.push(`${kind} after its deadline`);
    const stored = ref === undefined ? undefined : this.#refs.get(ref);
    if (ref !== undefined && stored === undefined) {
      this.misuse.push(
        `${kind} with a reference that ${this.#voidRefs.has(ref) ? 'another login made' : 'nobody bound'}`,
      );
      throw new AdapterError('INVARIANT_BROKEN', 'unknown reference', { performed: 'no' });
    }
    this.#inFlight++;
    this.mostInFlight = Math.max(this.mostInFlight, this.#inFlight);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      const left = Math.min(Math.max(0, context.deadline - performance.now()), 2 ** 31 - 1);
      timer = setTimeout(
        () => reject(new AdapterError('DEADLINE_EXCEEDED', 'too late', { performed: 'unknown' })),
        left,
      );
    });
    try {
      return run(stored, await Promise.race([this.#enter(kind, stored?.object.ckaId), late]));
    } finally {
      clearTimeout(timer);
      this.#inFlight--;
    }
  }

  #create(object: NewObject, material: Material, origin: StoredObject['origin']): ObjectAttributes {
    if (!/^[0-9a-f]{32}$/.test(object.ckaId)) this.misuse.push(`CKA_ID ${object.ckaId}`);
    if (this.#objects.has(object.ckaId)) this.misuse.push(`two objects of CKA_ID ${object.ckaId}`);
    const stored: StoredObject = { material, object, altered: {}, origin };
    this.#objects.set(object.ckaId, stored);
    return attributesOf(stored);
  }

  #makeAdministration(): TokenAdministration {
    return {
      bind: async (ref, query) => {
        await this.#enter('bind');
        const found = [...this.#objects.values()].filter((stored) => matches(stored, query));
        const [stored] = found;
        if (stored === undefined)
          throw new AdapterError('KEY_MISSING_ON_TOKEN', 'no such key', { performed: 'no' });
        if (found.length > 1)
          throw new AdapterError('KEY_UNUSABLE', 'several such keys', { performed: 'no' });
        if (this.#refs.has(ref)) this.misuse.push(`reference ${ref} bound twice`);
        this.#refs.set(ref, stored);
        return attributesOf(stored);
      },
      release: (ref) => {
        if (!this.#refs.delete(ref) && !this.#voidRefs.has(ref))
          this.misuse.push(`reference ${ref} released twice`);
      },
      generate: async (object) => {
        await this.#enter('generate');
        return this.#create(object, makeMaterial(object.spec), 'generated');
      },
      openReplicaTransport: async () => {
        await this.#enter('open-transport');
        const transport = this.#nextTransport++;
        this.#transports.add(transport);
        return { transport, publicKey: transportPublicKey() };
      },
      generateReplicated: async (object, destinations) => {
        await this.#enter('generate-replicated');
        const material = makeMaterial(object.spec);
        const attributes = this.#create(object, material, 'unwrapped');
        return { attributes, replicas: destinations.map((to) => wrapReplica(material, to)) };
      },
      receiveReplica: async (transport, object, replica) => {
        if (!this.#transports.delete(transport))
          throw new AdapterError('REQUEST_INVALID', 'transport is not open', { performed: 'no' });
        await this.#enter('receive-replica');
        return this.#create(object, unwrapReplica(replica), 'unwrapped');
      },
      closeReplicaTransport: async (transport) => {
        this.#transports.delete(transport);
      },
      importWrapped: async (request) => {
        await this.#enter('import');
        this.imports.push(request);
        const material = this.#blobs.get(Buffer.from(request.blob).toString('hex'));
        if (material === undefined)
          throw new AdapterError('KEY_UNUSABLE', 'blob does not unwrap', { performed: 'unknown' });
        return this.#create(request.object, material, 'unwrapped');
      },
      destroy: async (query) => {
        await this.#enter('destroy');
        for (const [ckaId, stored] of this.#objects) if (matches(stored, query)) this.#objects.delete(ckaId);
      },
    };
  }
}

function isSecret(spec: KeySpec): boolean {
  return spec.type === 'aes' || spec.type === 'hmac';
}

function matches({ object }: StoredObject, query: ObjectQuery): boolean {
  if ((query.kind === 'secret') !== isSecret(object.spec)) return false;
  return query.ckaId === undefined ? query.label === object.label : query.ckaId === object.ckaId;
}

function attributesOf({ material, object, altered, origin }: StoredObject): ObjectAttributes {
  return {
    ckaId: object.ckaId,
    label: object.label,
    spec: object.spec,
    usages: object.purpose === 'encrypt' ? ['encrypt', 'decrypt'] : ['sign', 'verify'],
    sensitive: true,
    extractable: false,
    neverExtractable: origin === 'generated',
    alwaysSensitive: origin === 'generated',
    local: origin === 'generated',
    modifiable: false,
    copyable: false,
    alwaysAuthenticate: false,
    publicKey: Buffer.isBuffer(material)
      ? new Uint8Array()
      : createPublicKey(material).export({ type: 'spki', format: 'der' }),
    ...altered,
  };
}
