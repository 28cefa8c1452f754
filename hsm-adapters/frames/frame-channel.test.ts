import { Duplex } from 'node:stream';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FrameChannel, type FrameError, HEADER_BYTES, MAX_FRAME_BYTES } from './frame-channel.ts';

interface Received {
  readonly type: number;
  readonly id: number;
  readonly payload: Buffer;
}

/** A channel whose other side is the test. */
function openChannel(onFrame?: (frame: Received) => void) {
  const written: Buffer[] = [];
  const stream = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      written.push(Buffer.from(chunk));
      done();
    },
  });
  const frames: Received[] = [];
  const closes: (FrameError | undefined)[] = [];
  const channel = new FrameChannel(stream, {
    frame: (type, id, payload) => {
      const frame = { type, id, payload: Buffer.from(payload) };
      frames.push(frame);
      onFrame?.(frame);
    },
    closed: (error) => closes.push(error),
  });
  return { channel, stream, written, frames, closes };
}

function encode(frame: Received): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(5 + frame.payload.length, 0);
  header.writeUInt8(frame.type, 4);
  header.writeUInt32BE(frame.id, 5);
  return Buffer.concat([header, frame.payload]);
}

/** Pieces of `bytes`, cut where the numbers say. */
function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  for (let turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

const anyFrame = fc.record({
  type: fc.integer({ min: 0, max: 255 }),
  id: fc.integer({ min: 0, max: 0xffffffff }),
  payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
});
const anySizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 });

describe('FrameChannel', () => {
  test('reads the same frames however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 12 }), anySizes, (sent, sizes) => {
        const { stream, frames, closes } = openChannel();
        for (const piece of cut(Buffer.concat(sent.map(encode)), sizes)) stream.emit('data', piece);
        stream.emit('end');
        expect(frames).toEqual(sent);
        expect(closes).toEqual([undefined]);
      }),
    );
  });

  test('reads back what it sends', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { minLength: 1, maxLength: 12 }), (sent) => {
        const writer = openChannel();
        for (const { type, id, payload } of sent) {
          const half = payload.length >> 1;
          writer.channel.send(type, id, payload.subarray(0, half), payload.subarray(half));
        }
        writer.channel.flush();
        expect(writer.written).toHaveLength(1);
        const reader = openChannel();
        for (const chunk of writer.written) reader.stream.emit('data', chunk);
        expect(reader.frames).toEqual(sent);
      }),
    );
  });

  test('ends with one error and delivers nothing further when bytes are garbage', () => {
    fc.assert(
      fc.property(
        fc.array(anyFrame, { maxLength: 3 }),
        fc.uint8Array({ maxLength: 400 }),
        anySizes,
        (sent, noise, sizes) => {
          const { stream, frames, closes } = openChannel();
          const bytes = Buffer.concat([...sent.map(encode), noise]);
          for (const piece of cut(bytes, sizes)) stream.emit('data', piece);
          stream.emit('end');
          stream.emit('close');
          expect(frames.slice(0, sent.length)).toEqual(sent);
          expect(closes).toHaveLength(1);
          const heard = Buffer.concat(frames.map(encode));
          expect(bytes.subarray(0, heard.length).equals(heard)).toBe(true);
          expect(closes[0] === undefined).toBe(heard.length === bytes.length);
        },
      ),
    );
  });

  test.each([0, 4, MAX_FRAME_BYTES + 1, 0xffffffff])(
    'refuses a length of %d before it holds memory for it',
    (length) => {
      const { stream, closes, channel } = openChannel();
      const before = process.memoryUsage().arrayBuffers;
      const header = Buffer.alloc(4);
      header.writeUInt32BE(length);
      for (const piece of cut(header, [1])) stream.emit('data', piece);
      expect(closes[0]?.message).toBe(`frame of ${length} bytes is outside the limits`);
      expect(channel.isClosed).toBe(true);
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(MAX_FRAME_BYTES);
    },
  );

  test('holds one frame at most for a peer that drips bytes', () => {
    const { stream, frames } = openChannel();
    const sent = { type: 1, id: 2, payload: Buffer.alloc(MAX_FRAME_BYTES - 5, 7) };
    const before = process.memoryUsage().arrayBuffers;
    for (const piece of cut(encode(sent).subarray(0, 100_000), [1])) stream.emit('data', piece);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(3 * MAX_FRAME_BYTES);
    stream.emit('data', encode(sent).subarray(100_000));
    expect(frames).toEqual([sent]);
  });

  test('a pipe that ends within a frame is an error', () => {
    const { stream, closes } = openChannel();
    stream.emit('data', encode({ type: 1, id: 1, payload: Buffer.alloc(9) }).subarray(0, 12));
    stream.emit('end');
    expect(closes[0]?.message).toBe('pipe ended within a frame');
  });

  test('a reader that throws ends the channel, not the process', () => {
    const cause = new SyntaxError('unexpected end of input');
    const { stream, frames, closes } = openChannel(() => {
      throw cause;
    });
    const frame = encode({ type: 9, id: 1, payload: Buffer.alloc(0) });
    stream.emit('data', Buffer.concat([frame, frame]));
    expect(frames).toHaveLength(1);
    expect(closes).toHaveLength(1);
    expect(closes[0]).toMatchObject({ message: 'frame of type 9 was not understood', cause });
  });

  test('refuses to send what the other side would refuse to read, and goes on', () => {
    const { channel, written } = openChannel();
    expect(() => channel.send(1, 1, Buffer.alloc(MAX_FRAME_BYTES))).toThrow('over the limit');
    channel.send(1, 2, Buffer.alloc(MAX_FRAME_BYTES - 5));
    channel.flush();
    const reader = openChannel();
    for (const chunk of written) reader.stream.emit('data', chunk);
    expect(reader.frames.map(({ id, payload }) => [id, payload.length])).toEqual([[2, MAX_FRAME_BYTES - 5]]);
  });

  describe('frames that may wait', () => {
    beforeEach(() => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate'] });
    });
    afterEach(() => {
      vi.useRealTimers();
    });

    test('leave together, after as long as they may, in one write', () => {
      const { channel, written } = openChannel();
      for (const id of [1, 2, 3]) channel.sendWithin(5, 7, id, Buffer.from([id]));
      vi.advanceTimersByTime(4);
      expect([written.length, channel.unsentFrames]).toEqual([0, 3]);
      vi.advanceTimersByTime(1);
      expect(written).toEqual([
        Buffer.concat([1, 2, 3].map((id) => encode({ type: 7, id, payload: Buffer.from([id]) }))),
      ]);
      expect(channel.unsentFrames).toBe(0);
      vi.advanceTimersByTime(100);
      expect(written).toHaveLength(1);
    });

    test('leave with the first that may not, in their order', () => {
      const { channel, written } = openChannel();
      channel.sendWithin(5, 7, 1);
      channel.send(7, 2);
      channel.sendWithin(5, 7, 3);
      vi.advanceTimersByTime(1);
      expect(written).toEqual([
        Buffer.concat([1, 2, 3].map((id) => encode({ type: 7, id, payload: Buffer.alloc(0) }))),
      ]);
      channel.sendWithin(5, 7, 4);
      vi.advanceTimersByTime(5);
      expect(written).toHaveLength(2);
    });

    test('leave before the pipe is ended, and not at all once it is closed', () => {
      const ended = openChannel();
      ended.channel.sendWithin(5, 7, 1);
      ended.channel.end();
      expect(ended.written).toHaveLength(1);
      const gone = openChannel();
      gone.channel.sendWithin(5, 7, 1);
      gone.channel.destroy();
      gone.channel.sendWithin(5, 7, 2);
      vi.advanceTimersByTime(100);
      expect(gone.written).toEqual([]);
      expect(vi.getTimerCount()).toBe(0);
    });
  });
});
