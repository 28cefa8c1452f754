import type { Duplex } from 'node:stream';

/**
 * Frames on the pipe between the broker and a child.
 *
 * Layout: u32be length of what follows · u8 type · u32be id · payload. Ids are the sender's own; a reply carries
 * the id of what it answers. Types are given meaning by whoever owns the pipe (`worker-frames.ts`, the gateway's
 * `edge-frames.ts`).
 *
 * Frames sent within one turn of the event loop leave in one write: under load a single system call carries
 * many. A frame that is too long or too short, or that `frame` throws at (an unknown type, a payload that does not
 * parse), is fatal for the channel: the owner ends the child and goes on. Nothing read from a pipe is trusted beyond
 * its own length, and nothing read from it reaches the owner as an uncaught exception.
 */
export const HEADER_BYTES = 9;

/**
 * 2 MiB of request, which is what a gateway accepts, and room for names: a message above 1 MiB reaches the broker, whose
 * refusal says what to do instead. Anything longer is a broken peer.
 */
export const MAX_FRAME_BYTES = 0x220000;

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
  /** Received and not yet a whole frame: as long as the frame will be, or 4 while that is not known. */
  #partial: Buffer | undefined;
  #partialLength = 0;
  #out: Buffer = Buffer.allocUnsafe(1 << 16);
  #outLength = 0;
  #outFrames = 0;
  #flushScheduled = false;
  /** Frames that were sent with leave to wait go by then. */
  #latest: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(stream: Duplex, handlers: FrameHandlers) {
    this.#stream = stream;
    this.#handlers = handlers;
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('end', () => this.#ended());
    stream.on('close', () => this.#ended());
    stream.on('error', (cause) => this.#close(new FrameError('pipe failed', { cause })));
  }

  /** Bytes accepted by `send` that the kernel has not taken yet. */
  get pendingBytes(): number {
    return this.#outLength + this.#stream.writableLength;
  }

  /** Frames that no write has taken yet. */
  get unsentFrames(): number {
    return this.#outFrames;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Queues a frame. Parts are copied before the call returns. Does nothing once the channel is closed. */
  send(type: number, id: number, ...parts: readonly Uint8Array[]): void {
    this.#put(type, id, parts);
    if (this.#outFrames === 0 || this.#flushScheduled) return;
    this.#flushScheduled = true;
    setImmediate(() => this.flush());
  }

  /** As `send`, for a frame that may wait for others: it leaves with the next that may not, or after `milliseconds`. */
  sendWithin(milliseconds: number, type: number, id: number, ...parts: readonly Uint8Array[]): void {
    this.#put(type, id, parts);
    if (this.#outFrames > 0) this.#latest ??= setTimeout(() => this.flush(), milliseconds);
  }

  #put(type: number, id: number, parts: readonly Uint8Array[]): void {
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
    this.#outFrames += 1;
    if (at >= FLUSH_BYTES) this.flush();
  }

  /** Hands everything queued to the kernel now. */
  flush(): void {
    this.#flushScheduled = false;
    clearTimeout(this.#latest);
    this.#latest = undefined;
    if (this.#outLength === 0 || this.#closed) return;
    this.#stream.write(this.#out.subarray(0, this.#outLength));
    // The stream may still hold the bytes: the next frames go behind them, or into a new buffer.
    this.#out = this.#out.subarray(this.#outLength);
    if (this.#out.length < 1024) this.#out = Buffer.allocUnsafe(1 << 16);
    this.#outLength = 0;
    this.#outFrames = 0;
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
    let at = this.#partial === undefined ? 0 : this.#complete(chunk);
    while (!this.#closed && chunk.length - at >= 4) {
      const total = this.#totalAt(chunk, at);
      if (total === undefined) return;
      if (chunk.length - at < total) {
        this.#keep(chunk.subarray(at), total);
        return;
      }
      this.#deliver(chunk.subarray(at, at + total));
      at += total;
    }
    if (!this.#closed && at < chunk.length) this.#keep(chunk.subarray(at), 4);
  }

  /** Adds to the frame begun in an earlier chunk; returns how much of `chunk` that took. */
  #complete(chunk: Buffer): number {
    let at = 0;
    for (let partial = this.#partial; partial !== undefined; partial = this.#partial) {
      const taken = chunk.copy(partial, this.#partialLength, at);
      at += taken;
      this.#partialLength += taken;
      if (this.#partialLength < partial.length) break;
      this.#partial = undefined;
      if (partial.length > 4) {
        this.#deliver(partial);
        break;
      }
      const total = this.#totalAt(partial, 0);
      if (total !== undefined) this.#keep(partial, total);
    }
    return at;
  }

  /** A buffer of the frame's own size: a peer that drips bytes costs no more than one frame, and no copy for each. */
  #keep(begun: Buffer, total: number): void {
    this.#partial = Buffer.allocUnsafe(total);
    this.#partialLength = begun.copy(this.#partial);
  }

  #totalAt(data: Buffer, at: number): number | undefined {
    const length = data.readUInt32BE(at);
    if (length >= 5 && length <= MAX_FRAME_BYTES) return 4 + length;
    this.#fail(new FrameError(`frame of ${length} bytes is outside the limits`));
    return undefined;
  }

  #deliver(frame: Buffer): void {
    const type = frame[4]!;
    try {
      this.#handlers.frame(type, frame.readUInt32BE(5), frame.subarray(HEADER_BYTES));
    } catch (cause) {
      this.#fail(
        cause instanceof FrameError
          ? cause
          : new FrameError(`frame of type ${type} was not understood`, { cause }),
      );
    }
  }

  #ended(): void {
    this.#close(this.#partial === undefined ? undefined : new FrameError('pipe ended within a frame'));
  }

  #fail(error: FrameError): void {
    this.#stream.destroy();
    this.#close(error);
  }

  #close(error: FrameError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#latest);
    this.#partial = undefined;
    this.#handlers.closed(error);
  }
}
