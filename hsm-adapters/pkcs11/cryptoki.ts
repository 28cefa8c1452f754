import pkcs11js from 'pkcs11js';
import type { Placement } from './call-placement.ts';
import { ckrName } from './ckr.ts';
import { CKF } from './constants.ts';

/**
 * The one door to a PKCS#11 module, and the only importer of pkcs11js.
 *
 * What it hides, so that nobody else need know:
 *   - every failure is a `CkrError`: pkcs11js throws its own class, raw Errors (C_FindObjects) or TypeErrors;
 *   - asynchronous calls hold bare pointers into the caller's buffers: `#inFlight` keeps them reachable until
 *     the call settles (pkcs11js issue 121);
 *   - key creation, wrapping and unwrapping have only the synchronous form here: the asynchronous one leaks;
 *   - C_Finalize with a call in flight crashes most modules: it throws instead;
 *   - without CKF_OS_LOCKING_OK SoftHSM drops its mutexes while pool threads run.
 *
 * Longer than most files because nobody else may know pkcs11js: what it gets wrong is put right here, call by call.
 *
 * Handles are CK_ULONGs in the machine's byte order, opaque, valid in this process only. The only mechanism
 * and attribute values that may come here are built from this folder's closed tables: pkcs11js frees
 * uninitialised memory when one is malformed.
 */

declare const handleKind: unique symbol;
export type SlotHandle = Buffer & { readonly [handleKind]: 'slot' };
export type SessionHandle = Buffer & { readonly [handleKind]: 'session' };
export type ObjectHandle = Buffer & { readonly [handleKind]: 'object' };

/** A call that the module answered with something else than CKR_OK. */
export class CkrError extends Error {
  // Not named `code`: grpc-js copies an integer `code` of any error to the wire.
  readonly ckr: number;
  override readonly name: string;

  constructor(ckr: number, call: string, cause?: unknown) {
    super(`${call}: ${ckrName(ckr)}`, cause === undefined ? undefined : { cause });
    this.ckr = ckr;
    this.name = ckrName(ckr);
  }
}

/** The add-on refused before it reached the module: the file cannot be loaded, or an argument of ours is wrong. */
export class CryptokiError extends Error {
  override readonly name = 'CryptokiError';
}

export interface PssParameter {
  readonly type: 'pss';
  readonly hashAlg: number;
  readonly mgf: number;
  readonly saltLen: number;
}
export interface OaepParameter {
  readonly type: 'oaep';
  readonly hashAlg: number;
  readonly mgf: number;
}

/** The native form of a mechanism; made once by `mechanism`, or per call by `gcmMechanism`. */
export type Mechanism = pkcs11js.Mechanism & { readonly [handleKind]: 'mechanism' };

export function mechanism(type: number, parameter?: PssParameter | OaepParameter): Mechanism {
  return { mechanism: type, parameter: nativeParameter(parameter) } as unknown as Mechanism;
}

function nativeParameter(parameter: PssParameter | OaepParameter | undefined): object | null {
  if (parameter === undefined) return null;
  const { hashAlg, mgf } = parameter;
  switch (parameter.type) {
    case 'pss':
      return { type: pkcs11js.CK_PARAMS_RSA_PSS, hashAlg, mgf, saltLen: parameter.saltLen };
    case 'oaep':
      // source 1 is CKZ_DATA_SPECIFIED: the label is empty.
      return { type: pkcs11js.CK_PARAMS_RSA_OAEP, hashAlg, mgf, source: 1, sourceData: null };
    default:
      return parameter satisfies never;
  }
}

const CKM_AES_GCM = 0x1087;

/**
 * 128-bit tag. That IVs have 12 bytes and associated data is never empty is the rule of `operations.ts`: here
 * goes whatever the vectors have. The result points into both buffers: they must outlive the operation.
 */
export function gcmMechanism(iv: Uint8Array, aad: Uint8Array): Mechanism {
  // CK_PARAMS_GCM, not CK_PARAMS_AES_GCM: the latter leaves ulIvBits uninitialised.
  const parameter = { type: pkcs11js.CK_PARAMS_GCM, iv, ivBits: 8 * iv.length, aad, tagBits: 128 };
  return { mechanism: CKM_AES_GCM, parameter } as unknown as Mechanism;
}

export interface Attribute {
  readonly type: number;
  readonly value: number | boolean | string | Uint8Array;
}

export interface RawTokenInfo {
  readonly label: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly serial: string;
  readonly flags: number;
  /** 0: no limit is stated. */
  readonly maxSessions: number;
  readonly firmware: string;
  readonly hardware: string;
}

/** Exactly one of the two is given. `length` is what the module wrote into the output buffer. */
export type Settled = (error: CkrError | CryptokiError | undefined, length: number) => void;

/**
 * With `done`, on a pool thread; its types deny it, but of the two arguments one is null. Without, at once: what was
 * written is returned.
 */
type NativeCall = (
  session: Buffer,
  input: Buffer,
  output: Buffer,
  done?: (error: Error | null, written: Buffer | null) => void,
) => Buffer | undefined;

const UNAVAILABLE = 0xffffffff;

export class Cryptoki {
  readonly #native: pkcs11js.PKCS11;
  /** Buffers that a pool thread may be reading or writing: one entry for each call in flight. */
  readonly #inFlight = new Set<readonly Uint8Array[]>();

  private constructor(native: pkcs11js.PKCS11) {
    this.#native = native;
  }

  /** Loads the module file. One module for each process: C_Initialize is process-wide. */
  static load(path: string): Cryptoki {
    const native = new pkcs11js.PKCS11();
    try {
      native.load(path);
    } catch (cause) {
      throw new CryptokiError(`cannot load the module: ${firstLine(cause)}`, { cause });
    }
    return new Cryptoki(native);
  }

  get callsInFlight(): number {
    return this.#inFlight.size;
  }

  initialize(libraryParameters?: string): void {
    // pkcs11js cuts the last character of libraryParameters off, hence the space.
    const options =
      libraryParameters === undefined
        ? { flags: CKF.OS_LOCKING_OK }
        : { flags: CKF.OS_LOCKING_OK, libraryParameters: `${libraryParameters} ` };
    this.#sync('C_Initialize', () => this.#native.C_Initialize(options));
  }

  finalize(): void {
    if (this.#inFlight.size > 0) throw new CryptokiError('C_Finalize with calls in flight');
    this.#sync('C_Finalize', () => this.#native.C_Finalize());
  }

  slots(withToken: boolean): SlotHandle[] {
    return this.#sync('C_GetSlotList', () => this.#native.C_GetSlotList(withToken)) as SlotHandle[];
  }

  tokenInfo(slot: SlotHandle): RawTokenInfo {
    const info = this.#sync('C_GetTokenInfo', () => this.#native.C_GetTokenInfo(slot));
    return {
      label: unpadded(info.label),
      manufacturer: unpadded(info.manufacturerID),
      model: unpadded(info.model),
      serial: unpadded(info.serialNumber),
      flags: info.flags,
      maxSessions: info.maxSessionCount === UNAVAILABLE ? 0 : info.maxSessionCount,
      firmware: `${info.firmwareVersion.major}.${info.firmwareVersion.minor}`,
      hardware: `${info.hardwareVersion.major}.${info.hardwareVersion.minor}`,
    };
  }

  mechanisms(slot: SlotHandle): ReadonlySet<number> {
    return new Set(this.#sync('C_GetMechanismList', () => this.#native.C_GetMechanismList(slot)));
  }

  /** `label` must be given padded: C_InitToken reads 32 bytes of it, however long it is. */
  initToken(slot: SlotHandle, soPin: string, label: string): void {
    const bytes = Buffer.byteLength(label);
    if (bytes > 32) throw new CryptokiError('a token label has at most 32 bytes');
    const padded = label + ' '.repeat(32 - bytes);
    this.#sync('C_InitToken', () => this.#native.C_InitToken(slot, soPin, padded));
  }

  initPin(session: SessionHandle, pin: string): void {
    this.#sync('C_InitPIN', () => this.#native.C_InitPIN(session, pin));
  }

  openSession(slot: SlotHandle, access: 'read-only' | 'read-write'): SessionHandle {
    const flags = access === 'read-write' ? CKF.SERIAL_SESSION | CKF.RW_SESSION : CKF.SERIAL_SESSION;
    return this.#sync('C_OpenSession', () => this.#native.C_OpenSession(slot, flags)) as SessionHandle;
  }

  closeSession(session: SessionHandle): void {
    this.#sync('C_CloseSession', () => this.#native.C_CloseSession(session));
  }

  /** Called once in a worker's life: see login.ts. */
  login(session: SessionHandle, user: 0 | 1, pin: string): void {
    this.#sync('C_Login', () => this.#native.C_Login(session, user, pin));
  }

  logout(session: SessionHandle): void {
    this.#sync('C_Logout', () => this.#native.C_Logout(session));
  }

  /** Fills `output`. Synchronous in pkcs11js: the event loop waits for the token. */
  random(session: SessionHandle, output: Buffer): void {
    this.#sync('C_GenerateRandom', () => this.#native.C_GenerateRandom(session, output));
  }

  signInit(session: SessionHandle, how: Mechanism, key: ObjectHandle): void {
    this.#sync('C_SignInit', () => this.#native.C_SignInit(session, how, key));
  }

  encryptInit(session: SessionHandle, how: Mechanism, key: ObjectHandle): void {
    this.#sync('C_EncryptInit', () => this.#native.C_EncryptInit(session, how, key));
  }

  decryptInit(session: SessionHandle, how: Mechanism, key: ObjectHandle): void {
    this.#sync('C_DecryptInit', () => this.#native.C_DecryptInit(session, how, key));
  }

  sign(session: SessionHandle, input: Uint8Array, output: Buffer, done: Settled, where?: Placement): void {
    this.#run('C_Sign', this.#native.C_Sign as unknown as NativeCall, session, input, output, done, where);
  }

  encrypt(session: SessionHandle, input: Uint8Array, output: Buffer, done: Settled, where?: Placement): void {
    this.#run(
      'C_Encrypt',
      this.#native.C_Encrypt as unknown as NativeCall,
      session,
      input,
      output,
      done,
      where,
    );
  }

  decrypt(session: SessionHandle, input: Uint8Array, output: Buffer, done: Settled, where?: Placement): void {
    this.#run(
      'C_Decrypt',
      this.#native.C_Decrypt as unknown as NativeCall,
      session,
      input,
      output,
      done,
      where,
    );
  }

  generateKey(session: SessionHandle, how: Mechanism, template: readonly Attribute[]): ObjectHandle {
    return this.#sync('C_GenerateKey', () =>
      this.#native.C_GenerateKey(session, how, native(template)),
    ) as ObjectHandle;
  }

  generateKeyPair(
    session: SessionHandle,
    how: Mechanism,
    publicTemplate: readonly Attribute[],
    privateTemplate: readonly Attribute[],
  ): { readonly publicKey: ObjectHandle; readonly privateKey: ObjectHandle } {
    return this.#sync('C_GenerateKeyPair', () =>
      this.#native.C_GenerateKeyPair(session, how, native(publicTemplate), native(privateTemplate)),
    ) as { publicKey: ObjectHandle; privateKey: ObjectHandle };
  }

  /** `maxBytes` is the room for the result. */
  wrapKey(
    session: SessionHandle,
    how: Mechanism,
    wrapping: ObjectHandle,
    key: ObjectHandle,
    maxBytes: number,
  ): Buffer {
    const output = Buffer.alloc(maxBytes);
    const wrapped = this.#sync('C_WrapKey', () =>
      this.#native.C_WrapKey(session, how, wrapping, key, output),
    );
    return Buffer.from(wrapped);
  }

  unwrapKey(
    session: SessionHandle,
    how: Mechanism,
    unwrapping: ObjectHandle,
    wrapped: Buffer,
    template: readonly Attribute[],
  ): ObjectHandle {
    return this.#sync('C_UnwrapKey', () =>
      this.#native.C_UnwrapKey(session, how, unwrapping, wrapped, native(template)),
    ) as ObjectHandle;
  }

  createObject(session: SessionHandle, template: readonly Attribute[]): ObjectHandle {
    return this.#sync('C_CreateObject', () =>
      this.#native.C_CreateObject(session, native(template)),
    ) as ObjectHandle;
  }

  destroyObject(session: SessionHandle, object: ObjectHandle): void {
    this.#sync('C_DestroyObject', () => this.#native.C_DestroyObject(session, object));
  }

  /** At most `max` objects. The search is ended even when it fails. */
  findObjects(session: SessionHandle, template: readonly Attribute[], max: number): ObjectHandle[] {
    this.#sync('C_FindObjectsInit', () => this.#native.C_FindObjectsInit(session, native(template)));
    try {
      return this.#sync('C_FindObjects', () => this.#native.C_FindObjects(session, max)) as ObjectHandle[];
    } finally {
      this.#sync('C_FindObjectsFinal', () => this.#native.C_FindObjectsFinal(session));
    }
  }

  /** Undefined when the object has no such attribute, or does not show it. */
  attribute(session: SessionHandle, object: ObjectHandle, type: number): Buffer | undefined {
    try {
      const read = this.#sync('C_GetAttributeValue', () =>
        this.#native.C_GetAttributeValue(session, object, [{ type }]),
      );
      const value = read[0]?.value;
      return Buffer.isBuffer(value) ? value : undefined;
    } catch (error) {
      if (error instanceof CkrError && (error.ckr === 0x11 || error.ckr === 0x12)) return undefined;
      throw error;
    }
  }

  /** `inline`: `done` is called before this returns. Throws only when the call was not made. */
  #run(
    call: string,
    native: NativeCall,
    session: SessionHandle,
    input: Uint8Array,
    output: Buffer,
    done: Settled,
    where: Placement = 'thread',
  ): void {
    if (where === 'thread') {
      this.#start(call, native, session, input, output, done);
      return;
    }
    let written: Buffer;
    try {
      written = native.call(this.#native, session, input as Buffer, output) as Buffer;
    } catch (error) {
      done(failure(call, error), 0);
      return;
    }
    done(undefined, written.length);
  }

  #start(
    call: string,
    run: NativeCall,
    session: SessionHandle,
    input: Uint8Array,
    output: Buffer,
    done: Settled,
  ): void {
    const held = [session, input, output];
    this.#inFlight.add(held);
    try {
      run.call(this.#native, session, input as Buffer, output, (error, written) => {
        this.#inFlight.delete(held);
        if (error || written === null) done(failure(call, error), 0);
        else done(undefined, written.length);
      });
    } catch (error) {
      this.#inFlight.delete(held);
      throw failure(call, error);
    }
  }

  #sync<T>(call: string, run: () => T): T {
    try {
      return run();
    } catch (error) {
      throw failure(call, error);
    }
  }
}

function native(template: readonly Attribute[]): pkcs11js.Template {
  return template as unknown as pkcs11js.Template;
}

function unpadded(text: string): string {
  // Blank-padded by the standard, NUL-padded by tpm2-pkcs11.
  let end = text.length;
  while (end > 0 && (text.charCodeAt(end - 1) === 0x20 || text.charCodeAt(end - 1) === 0)) end -= 1;
  return text.slice(0, end);
}

function failure(call: string, error: unknown): CkrError | CryptokiError {
  if (error instanceof pkcs11js.Pkcs11Error) return new CkrError(error.code, call, error);
  // C_FindObjects and C_Initialize of some versions throw the native error as it is: `CKR_NAME:number`.
  const found = error instanceof Error ? /CKR_\w+:(\d+)/.exec(error.message) : null;
  if (found?.[1] !== undefined) return new CkrError(Number(found[1]), call, error);
  return new CryptokiError(`${call}: ${firstLine(error)}`, { cause: error });
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? '';
}
