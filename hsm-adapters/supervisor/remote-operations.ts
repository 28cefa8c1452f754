import {
  AdapterError,
  ALGORITHMS,
  type DecryptOperation,
  type EncryptResult,
  type ObjectRef,
  type OperationContext,
  type SignOperation,
  type TokenAdapter,
} from '../adapter.ts';
import { type FrameChannel, FrameError } from '../frames/frame-channel.ts';
import { WorkerFrame } from '../frames/worker-frames.ts';
import type { RequestTable } from './request-table.ts';
import { detach, readEncryptResult } from './worker-messages.ts';

/** The channel for one more operation, or why there is none. */
export type Admit = () => FrameChannel | AdapterError;

/**
 * Key use, spoken over the worker's pipe: each request is framed, and entered in the table that is handed in. The
 * hottest path of a supervisor, so no operation makes a header of its own. Owns nothing but that header.
 */
export class RemoteOperations implements Pick<TokenAdapter, 'sign' | 'encrypt' | 'decrypt' | 'random'> {
  readonly #requests: RequestTable;
  readonly #hangLimitMs: number;
  readonly #admit: Admit;
  /** Headers are written here and copied into the channel's buffer before the next one. */
  readonly #header: Buffer = Buffer.alloc(40);

  /** `hangLimitMs`: unanswered for longer, the module hangs. */
  constructor(requests: RequestTable, hangLimitMs: number, admit: Admit) {
    this.#requests = requests;
    this.#hangLimitMs = hangLimitMs;
    this.#admit = admit;
  }

  sign(operation: SignOperation, context: OperationContext): Promise<Uint8Array> {
    const channel = this.#admit();
    if (channel instanceof AdapterError) return Promise.reject(channel);
    return this.#requests.operation<Uint8Array>(context, this.#hangLimitMs, readSignature, (id, left) => {
      const header = this.#header;
      header.writeUInt32BE(operation.object, 0);
      header[4] = ALGORITHMS.indexOf(operation.algorithm);
      header.writeUInt32BE(left, 5);
      channel.send(WorkerFrame.Sign, id, header.subarray(0, 9), operation.data);
    });
  }

  encrypt(
    object: ObjectRef,
    plaintext: Uint8Array,
    associatedData: Uint8Array,
    context: OperationContext,
  ): Promise<EncryptResult> {
    const channel = this.#admit();
    if (channel instanceof AdapterError) return Promise.reject(channel);
    const length = plaintext.byteLength;
    const decode = (payload: Buffer) => readEncryptResult(payload, length);
    return this.#requests.operation(context, this.#hangLimitMs, decode, (id, left) => {
      const header = this.#header;
      header.writeUInt32BE(object, 0);
      header.writeUInt32BE(left, 4);
      header.writeUInt32BE(associatedData.byteLength, 8);
      channel.send(WorkerFrame.Encrypt, id, header.subarray(0, 12), associatedData, plaintext);
    });
  }

  decrypt(operation: DecryptOperation, context: OperationContext): Promise<Uint8Array> {
    const channel = this.#admit();
    if (channel instanceof AdapterError) return Promise.reject(channel);
    const { object, algorithm, iv, sealed, associatedData, notSession } = operation;
    if (iv.byteLength > 0xff) {
      return Promise.reject(new AdapterError('REQUEST_INVALID', 'the IV is too long', { performed: 'no' }));
    }
    return this.#requests.operation<Uint8Array>(context, this.#hangLimitMs, detach, (id, left) => {
      const header = this.#header;
      header.writeUInt32BE(object, 0);
      header[4] = ALGORITHMS.indexOf(algorithm);
      header.writeUInt32BE(left, 5);
      header.writeUInt16BE(notSession ?? 0xffff, 9);
      header[11] = iv.byteLength;
      header.writeUInt32BE(associatedData.byteLength, 12);
      const [before, after] = [header.subarray(0, 12), header.subarray(12, 16)];
      channel.send(WorkerFrame.Decrypt, id, before, iv, after, associatedData, sealed);
    });
  }

  random(bytes: number, context: OperationContext): Promise<Uint8Array> {
    const channel = this.#admit();
    if (channel instanceof AdapterError) return Promise.reject(channel);
    const decode = (payload: Buffer) => {
      if (payload.length !== bytes) throw new FrameError('token worker: random bytes of the wrong length');
      return detach(payload);
    };
    return this.#requests.operation<Uint8Array>(context, this.#hangLimitMs, decode, (id, left) => {
      const header = this.#header;
      header.writeUInt32BE(left, 0);
      header.writeUInt32BE(bytes, 4);
      channel.send(WorkerFrame.Random, id, header.subarray(0, 8));
    });
  }
}

/** Signatures and MACs; a plaintext may be empty. */
function readSignature(payload: Buffer): Uint8Array {
  if (payload.length === 0) throw new FrameError('token worker: an empty result');
  return detach(payload);
}
