import { FrameError } from '../frames/frame-channel.ts';
import type { AdministrationRequest, WorkerStart } from '../frames/worker-frames.ts';
import type { Administration } from './administration.ts';
import type { Operations } from './operations.ts';

/**
 * Decoding of the frames of `frames/worker-frames.ts`. The parent is believed about what it says, not about its
 * lengths: a frame that is too short for its type ends this process.
 */

function need(payload: Buffer, bytes: number): void {
  if (payload.length < bytes) throw new FrameError(`a frame of ${payload.length} bytes, cut short`);
}

export function decodeSign(operations: Operations, id: number, payload: Buffer, now: number): void {
  need(payload, 9);
  const deadline = now + payload.readUInt32BE(5);
  operations.sign(id, payload.readUInt32BE(0), payload[4]!, deadline, payload.subarray(9));
}

export function decodeEncrypt(operations: Operations, id: number, payload: Buffer, now: number): void {
  need(payload, 12);
  const dataAt = 12 + payload.readUInt32BE(8);
  need(payload, dataAt);
  const deadline = now + payload.readUInt32BE(4);
  operations.encrypt(
    id,
    payload.readUInt32BE(0),
    deadline,
    payload.subarray(12, dataAt),
    payload.subarray(dataAt),
  );
}

const ANY_SESSION = 0xffff;

export function decodeDecrypt(operations: Operations, id: number, payload: Buffer, now: number): void {
  need(payload, 12);
  const notSession = payload.readUInt16BE(9);
  const ivEnd = 12 + payload[11]!;
  need(payload, ivEnd + 4);
  const sealedAt = ivEnd + 4 + payload.readUInt32BE(ivEnd);
  need(payload, sealedAt);
  operations.decrypt(
    id,
    payload.readUInt32BE(0),
    payload[4]!,
    now + payload.readUInt32BE(5),
    notSession === ANY_SESSION ? -1 : notSession,
    {
      iv: payload.subarray(12, ivEnd),
      associatedData: payload.subarray(ivEnd + 4, sealedAt),
      sealed: payload.subarray(sealedAt),
    },
  );
}

export function decodeRandom(operations: Operations, id: number, payload: Buffer, now: number): void {
  need(payload, 8);
  operations.generateRandom(id, now + payload.readUInt32BE(0), payload.readUInt32BE(4));
}

function decodeJson(payload: Buffer): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(payload.toString('utf8'));
  } catch (cause) {
    throw new FrameError('a frame that should be JSON is none', { cause });
  }
  if (typeof value !== 'object' || value === null)
    throw new FrameError('a frame that should be a JSON object is none');
  return value as Readonly<Record<string, unknown>>;
}

export function decodeStart(payload: Buffer): WorkerStart {
  const { token, module, profile, serial, label, pin, sessions } = decodeJson(payload);
  const text = (value: unknown): value is string => typeof value === 'string' && value !== '';
  const choice = (value: unknown): value is string | undefined => value === undefined || text(value);
  if (!text(token) || !text(module) || !text(profile) || !choice(serial) || !choice(label)) {
    throw new FrameError('Start lacks the token, the module or the profile');
  }
  if (!Number.isSafeInteger(sessions) || (sessions as number) < 1 || (sessions as number) >= ANY_SESSION) {
    throw new FrameError('Start has no number of sessions');
  }
  const { file, descriptor } = (pin ?? {}) as Readonly<Record<string, unknown>>;
  const source = text(file) ? { file } : descriptor === 5 ? ({ descriptor } as const) : undefined;
  if (source === undefined) throw new FrameError('Start says nothing about the PIN');
  return { token, module, profile, serial, label, pin: source, sessions: sessions as number };
}

/** `inspect` reads the token's flags again. The result goes into DoneJson; bytes in it are base64. */
export function administer(
  payload: Buffer,
  parts: {
    readonly administration: Administration;
    readonly operations: Operations;
    readonly inspect: () => unknown;
  },
): unknown {
  const request = decodeJson(payload) as unknown as AdministrationRequest;
  const { administration, operations } = parts;
  switch (request.op) {
    case 'bind': {
      const { handle, attributes } = administration.find(request.query);
      operations.bind(request.ref, { handle, spec: attributes.spec, usages: attributes.usages });
      return attributes;
    }
    case 'release':
      operations.release(request.ref);
      return null;
    case 'generate':
      return administration.generate(request.object);
    case 'open-replica-transport':
      return administration.openReplicaTransport();
    case 'generate-replicated':
      return administration.generateReplicated(request.object, request.destinations.map(bytes));
    case 'receive-replica':
      return administration.receiveReplica(request.transport, request.object, {
        wrappedKek: bytes(request.wrappedKek),
        wrappedKey: bytes(request.wrappedKey),
      });
    case 'close-replica-transport':
      administration.closeReplicaTransport(request.transport);
      return null;
    case 'import-wrapped': {
      const { blob, publicKey, ...rest } = request.request;
      return administration.importWrapped({
        ...rest,
        blob: bytes(blob),
        publicKey: publicKey === undefined ? undefined : bytes(publicKey),
      });
    }
    case 'destroy':
      administration.destroy(request.query);
      return null;
    case 'inspect':
      return parts.inspect();
    default:
      request satisfies never;
      throw new FrameError('Administer asks for something unknown');
  }
}

function bytes(base64: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64, 'base64'));
}

export function encodeJson(value: unknown): Buffer {
  const text = JSON.stringify(value, (_, part: unknown) =>
    part instanceof Uint8Array ? Buffer.from(part).toString('base64') : part,
  );
  return Buffer.from(text);
}
