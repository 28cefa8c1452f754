import type { Duplex } from 'node:stream';

/**
 * Frames on the pipe between the broker and a child.
 *
 * Layout: u32be length of what follows · u8 type · u32be id · payload. Ids are the sender's own; a reply carries
 * the id of what it answers. Types are given meaning by whoever owns the pipe (`worker-frames.ts`, the gateway's
 * `edge-frames.ts`).
 *
 * Frames sent within one turn of the event loop leave in one write: under load a single system call carries
 * many. A frame that is too long, too short or of an unknown type is fatal for the channel: the owner ends the
 * child and goes on. Nothing read from a pipe is trusted beyond its own length.
 */
export const HEADER_BYTES = 9;

/** 1 MiB of message, 64 KiB of associated data, and room for names; anything longer is a broken peer. */
export const MAX_FRAME_BYTES = 0x120000;

export interface FrameHandlers {
  /** `payload` is a view into the receive buffer: valid after the call too, but keep no small slice of it for long. */
  frame(type: number, id: number, payload: Buffer): void;
  /** Called once. `error` is undefined when the other side ended the pipe in good order. */
  closed(error: FrameError | undefined): void;
}

export class FrameError extends Error {
  override readonly name = 'FrameError';
}

const FLUSH_BYTES = 1 << 18;

export class FrameChannel {
  readonly #stream: Duplex;
  readonly #handlers: FrameHandlers;
  #rest: Buffer | undefined;
  #out: Buffer = Buffer.allocUnsafe(1 << 16);
  #outLength = 0;
  #flushScheduled = false;
  #closed = false;

  constructor(stream: Duplex, handlers: FrameHandlers) {
    this.#stream = stream;
    this.#handlers = handlers;
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('end', () => this.#close(undefined));
    stream.on('close', () => this.#close(undefined));
    stream.on('error', (cause) => this.#close(new FrameError('pipe failed', { cause })));
  }

  /** Bytes accepted by `send` that the kernel has not taken yet. */
  get pendingBytes(): number {
    return this.#outLength + this.#stream.writableLength;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Queues a frame. Parts are copied before the call returns. Does nothing once the channel is closed. */
  send(type: number, id: number, ...parts: readonly Uint8Array[]): void {
    if (this.#closed) return;
    let length = 0;
    for (const part of parts) length += part.byteLength;
    if (length + 5 > MAX_FRAME_BYTES) throw new FrameError(`frame of ${length} bytes is over the limit`);
    const total = HEADER_BYTES + length;
    if (this.#out.length - this.#outLength < total) this.#grow(total);
    const out = this.#out;
    let at = this.#outLength;
    at = out.writeUInt32BE(5 + length, at);
    at = out.writeUInt8(type, at);
    at = out.writeUInt32BE(id, at);
    for (const part of parts) {
      out.set(part, at);
      at += part.byteLength;
    }
    this.#outLength = at;
    if (at >= FLUSH_BYTES) this.flush();
    else if (!this.#flushScheduled) {
      this.#flushScheduled = true;
      setImmediate(() => this.flush());
    }
  }

  /** Hands everything queued to the kernel now. */
  flush(): void {
    this.#flushScheduled = false;
    if (this.#outLength === 0 || this.#closed) return;
    this.#stream.write(this.#out.subarray(0, this.#outLength));
    // The stream may still hold the bytes: the next frames go behind them, or into a new buffer.
    this.#out = this.#out.subarray(this.#outLength);
    if (this.#out.length < 1024) this.#out = Buffer.allocUnsafe(1 << 16);
    this.#outLength = 0;
  }

  /** Sends what is queued, then ends the pipe. */
  end(): void {
    this.flush();
    this.#stream.end();
  }

  destroy(): void {
    this.#stream.destroy();
    this.#close(undefined);
  }

  #grow(total: number): void {
    this.flush();
    const room = Math.max(1 << 16, total);
    if (this.#out.length < room) this.#out = Buffer.allocUnsafe(room);
  }

  #receive(chunk: Buffer): void {
    let data = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = undefined;
    let at = 0;
    while (data.length - at >= 4) {
      const length = data.readUInt32BE(at);
      if (length < 5 || length > MAX_FRAME_BYTES) {
        this.#fail(`frame of ${length} bytes is outside the limits`);
        return;
      }
      if (data.length - at < 4 + length) break;
      const type = data[at + 4]!;
      const id = data.readUInt32BE(at + 5);
      const payload = data.subarray(at + HEADER_BYTES, at + 4 + length);
      at += 4 + length;
      this.#handlers.frame(type, id, payload);
      if (this.#closed) return;
    }
    if (at < data.length) this.#rest = at === 0 ? data : data.subarray(at);
    data = EMPTY;
  }

  #fail(message: string): void {
    this.#stream.destroy();
    this.#close(new FrameError(message));
  }

  #close(error: FrameError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handlers.closed(error);
  }
}

const EMPTY = Buffer.alloc(0);
