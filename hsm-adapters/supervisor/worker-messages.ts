import type {
  AdapterReason,
  EncryptResult,
  KeySpec,
  ObjectAttributes,
  Performed,
  TokenInfo,
  WrappedReplica,
} from '../adapter.ts';
import { ALGORITHMS } from '../adapter.ts';
import { FrameError } from '../frames/frame-channel.ts';
import type { WorkerFailure } from '../frames/worker-frames.ts';

/**
 * Reads what a token worker says. The worker runs a vendor's code and may have been taken over: every shape and
 * length is checked here, and a `FrameError` ends that worker.
 */
type Json = Readonly<Record<string, unknown>>;

const MAX_TEXT = 512;

const REASONS: Readonly<Record<AdapterReason, true>> = {
  REQUEST_INVALID: true,
  CIPHERTEXT_REJECTED: true,
  KEY_UNUSABLE: true,
  KEY_MISSING_ON_TOKEN: true,
  TOKEN_LOGIN_BLOCKED: true,
  SESSION_LOST: true,
  SESSION_LIMIT: true,
  QUEUE_FULL: true,
  TOKEN_UNREACHABLE: true,
  OPERATION_UNSUPPORTED: true,
  INVARIANT_BROKEN: true,
  DEADLINE_EXCEEDED: true,
  CANCELLED: true,
};

export function readTokenInfo(payload: Buffer): TokenInfo {
  const json = parse(payload);
  const sessions = integer(json, 'sessions', 1, 0xfffe);
  const known: readonly string[] = ALGORITHMS;
  const listed = list(json, 'algorithms').filter((name) => known.includes(name as string));
  const moduleSha256 = text(json, 'moduleSha256');
  if (!/^[0-9a-f]{64}$/.test(moduleSha256)) throw wrong('moduleSha256');
  const serial = text(json, 'serial');
  if (serial === '') throw wrong('serial');
  return {
    serial,
    label: text(json, 'label'),
    manufacturer: text(json, 'manufacturer'),
    model: text(json, 'model'),
    firmware: text(json, 'firmware'),
    hardware: text(json, 'hardware'),
    software: flag(json, 'software'),
    pinCountLow: flag(json, 'pinCountLow'),
    pinFinalTry: flag(json, 'pinFinalTry'),
    pinLocked: flag(json, 'pinLocked'),
    sessions,
    algorithms: listed as TokenInfo['algorithms'],
    moduleSha256,
  };
}

export interface LoginOutcome {
  readonly outcome: 'accepted' | 'rejected' | 'error';
  readonly ckr: string | undefined;
}

export function readLoginOutcome(payload: Buffer): LoginOutcome {
  const json = parse(payload);
  const outcome = json.outcome;
  if (outcome !== 'accepted' && outcome !== 'rejected' && outcome !== 'error') throw wrong('outcome');
  return { outcome, ckr: ckrOf(json) };
}

export function readFailure(payload: Buffer): WorkerFailure {
  const json = parse(payload);
  const reason = text(json, 'reason');
  if (!isReason(reason)) throw wrong('reason');
  const performed = json.performed;
  if (performed !== 'no' && performed !== 'unknown') throw wrong('performed');
  return {
    reason,
    performed: performed satisfies Performed,
    message: text(json, 'message'),
    ckr: ckrOf(json),
  };
}

function isReason(value: string): value is AdapterReason {
  return Object.hasOwn(REASONS, value);
}

const IV_BYTES = 12;
const TAG_BYTES = 16;

/** `length`: of the plaintext. */
export function readEncryptResult(payload: Buffer, length: number): EncryptResult {
  if (payload.length !== 2 + IV_BYTES + length + TAG_BYTES) throw wrong('ciphertext');
  const own = detach(payload);
  return {
    session: own.readUInt16BE(0),
    iv: own.subarray(2, 2 + IV_BYTES),
    sealed: own.subarray(2 + IV_BYTES),
  };
}

/** A small result keeps the whole receive buffer alive as long as it lives itself: such are copied. */
export function detach(payload: Buffer): Buffer {
  return payload.length < 8192 ? Buffer.from(payload) : payload;
}

export function readNothing(payload: Buffer): void {
  // What an operation without a result answers is of no interest, but must have come through the JSON encoder.
  JSON.parse(payload.toString('utf8'));
}

export function readObjectAttributes(payload: Buffer): ObjectAttributes {
  return attributesOf(parse(payload));
}

export function readTransport(payload: Buffer): {
  readonly transport: number;
  readonly publicKey: Uint8Array;
} {
  const json = parse(payload);
  return { transport: integer(json, 'transport', 0, 0xffffffff), publicKey: bytes(json, 'publicKey') };
}

export function readReplicas(
  payload: Buffer,
  destinations: number,
): { readonly attributes: ObjectAttributes; readonly replicas: readonly WrappedReplica[] } {
  const json = parse(payload);
  const replicas = list(json, 'replicas').map((item) => {
    const replica = object(item, 'replicas');
    return { wrappedKek: bytes(replica, 'wrappedKek'), wrappedKey: bytes(replica, 'wrappedKey') };
  });
  if (replicas.length !== destinations) throw wrong('replicas');
  return { attributes: attributesOf(object(json.attributes, 'attributes')), replicas };
}

function attributesOf(json: Json): ObjectAttributes {
  const usages = list(json, 'usages');
  if (!usages.every((usage) => typeof usage === 'string' && usage.length <= 32)) throw wrong('usages');
  return {
    ckaId: text(json, 'ckaId'),
    label: text(json, 'label'),
    spec: keySpec(object(json.spec, 'spec')),
    usages: usages as readonly string[],
    sensitive: flag(json, 'sensitive'),
    extractable: flag(json, 'extractable'),
    neverExtractable: flag(json, 'neverExtractable'),
    alwaysSensitive: flag(json, 'alwaysSensitive'),
    local: flag(json, 'local'),
    modifiable: flag(json, 'modifiable'),
    copyable: flag(json, 'copyable'),
    alwaysAuthenticate: flag(json, 'alwaysAuthenticate'),
    publicKey: bytes(json, 'publicKey'),
  };
}

function keySpec(json: Json): KeySpec {
  const { type, curve, modulusBits, bytes: length } = json;
  if (type === 'ec' && (curve === 'P-256' || curve === 'P-384' || curve === 'P-521')) return { type, curve };
  if (type === 'ed25519') return { type };
  if (type === 'rsa' && Number.isSafeInteger(modulusBits))
    return { type, modulusBits: modulusBits as number };
  if (type === 'aes' && length === 32) return { type, bytes: length };
  if (type === 'hmac' && (length === 32 || length === 48 || length === 64)) return { type, bytes: length };
  throw wrong('spec');
}

function parse(payload: Buffer): Json {
  let value: unknown;
  try {
    value = JSON.parse(payload.toString('utf8'));
  } catch (cause) {
    throw new FrameError('token worker: a frame that should be JSON is none', { cause });
  }
  return object(value, 'frame');
}

function object(value: unknown, what: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(what);
  return value as Json;
}

function list(json: Json, name: string): readonly unknown[] {
  const value = json[name];
  if (!Array.isArray(value) || value.length > 256) throw wrong(name);
  return value;
}

/** Cut rather than refused: a vendor's text may be long, and it ends up in a log. */
function text(json: Json, name: string): string {
  const value = json[name];
  if (typeof value !== 'string') throw wrong(name);
  return value.slice(0, MAX_TEXT);
}

function ckrOf(json: Json): string | undefined {
  const value = json.ckr;
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || !/^\w{1,64}$/.test(value)) throw wrong('ckr');
  return value;
}

function flag(json: Json, name: string): boolean {
  const value = json[name];
  if (typeof value !== 'boolean') throw wrong(name);
  return value;
}

function integer(json: Json, name: string, least: number, most: number): number {
  const value = json[name];
  if (!Number.isSafeInteger(value) || (value as number) < least || (value as number) > most)
    throw wrong(name);
  return value as number;
}

function bytes(json: Json, name: string): Uint8Array {
  const value = json[name];
  if (typeof value !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(value)) throw wrong(name);
  return new Uint8Array(Buffer.from(value, 'base64'));
}

function wrong(what: string): FrameError {
  return new FrameError(`token worker: \`${what}\` is missing or malformed`);
}
