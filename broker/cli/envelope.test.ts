import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteSource } from './byte-source.ts';
import {
  DATA_KEY_BYTES,
  ENVELOPE_MAGIC,
  EnvelopeError,
  FRAME_BYTES,
  openEnvelope,
  sealEnvelope,
} from './envelope.ts';

const KEY = randomBytes(DATA_KEY_BYTES);
const WRAPPED = Buffer.from('the data key, wrapped');
const HEADER_BYTES = ENVELOPE_MAGIC.length + 4 + WRAPPED.length;
const SEALED_FRAME_BYTES = FRAME_BYTES + 16;

async function* inPieces(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

async function all(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const list: Uint8Array[] = [];
  for await (const piece of pieces) list.push(piece);
  return Buffer.concat(list);
}

function seal(plaintext: Uint8Array, key: Uint8Array = KEY): Promise<Buffer> {
  return all(sealEnvelope(key, WRAPPED, new ByteSource(inPieces(plaintext, 100_000))));
}

function open(sealed: Uint8Array, pieceBytes: number = 30_000): Promise<Buffer> {
  return all(openEnvelope(new ByteSource(inPieces(sealed, pieceBytes)), async () => new Uint8Array(KEY)));
}

const FIVE_HALVES = randomBytes(2.5 * FRAME_BYTES);

describe('lastmile-envelope-v1', () => {
  it.each([0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES, 2.5 * FRAME_BYTES])(
    'opens to what was sealed, at %d bytes',
    async (size) => {
      const plaintext = randomBytes(size);
      expect((await open(await seal(plaintext))).equals(plaintext)).toBe(true);
    },
  );

  it('does not depend on how the bytes arrive', async () => {
    const sealed = await seal(FIVE_HALVES);
    for (const pieceBytes of [1021, SEALED_FRAME_BYTES, sealed.length]) {
      expect((await open(sealed, pieceBytes)).equals(FIVE_HALVES)).toBe(true);
    }
  });

  it('has the layout that it says', async () => {
    const sealed = await seal(FIVE_HALVES);
    expect(sealed.subarray(0, 21).toString()).toBe('lastmile-envelope-v1\n');
    expect(sealed.readUInt32BE(21)).toBe(WRAPPED.length);
    expect(sealed.length).toBe(HEADER_BYTES + FIVE_HALVES.length + 3 * 16);
  });

  it('refuses any flipped bit, anywhere', async () => {
    const sealed = await seal(FIVE_HALVES);
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: sealed.length - 1 }), fc.nat({ max: 7 }), async (at, bit) => {
        const damaged = Buffer.from(sealed);
        damaged[at]! ^= 1 << bit;
        await expect(open(damaged)).rejects.toBeInstanceOf(EnvelopeError);
      }),
      { numRuns: 60 },
    );
  });

  it('refuses any truncation, also between frames', async () => {
    const sealed = await seal(FIVE_HALVES);
    const edges = [HEADER_BYTES, HEADER_BYTES + SEALED_FRAME_BYTES, HEADER_BYTES + 2 * SEALED_FRAME_BYTES];
    for (const end of [...edges, ...edges.map((edge) => edge + 1), 0, 10, 21, 24, 30, sealed.length - 1]) {
      await expect(open(sealed.subarray(0, end)), `cut at ${end}`).rejects.toBeInstanceOf(EnvelopeError);
    }
  });

  it('refuses frames that are reordered, repeated, left out or added', async () => {
    const sealed = await seal(FIVE_HALVES);
    const header = sealed.subarray(0, HEADER_BYTES);
    const [a, b, c] = [0, 1, 2].map((i) =>
      sealed.subarray(HEADER_BYTES + i * SEALED_FRAME_BYTES, HEADER_BYTES + (i + 1) * SEALED_FRAME_BYTES),
    ) as [Buffer, Buffer, Buffer];
    for (const frames of [[b, a, c], [a, a, c], [a, c], [c], [a, b, c, c], [a, b, b, c]]) {
      await expect(open(Buffer.concat([header, ...frames]))).rejects.toBeInstanceOf(EnvelopeError);
    }
  });

  it('refuses frames under the header of another file, even with the same data key', async () => {
    const one = await seal(FIVE_HALVES);
    const other = await all(
      sealEnvelope(KEY, Buffer.from('the same key, again wr'), new ByteSource(inPieces(FIVE_HALVES, 1000))),
    );
    const mixed = Buffer.concat([other.subarray(0, 21 + 4 + 22), one.subarray(HEADER_BYTES)]);
    await expect(open(mixed)).rejects.toBeInstanceOf(EnvelopeError);
  });

  it('refuses another data key, and one of the wrong length', async () => {
    await expect(open(await seal(FIVE_HALVES, randomBytes(DATA_KEY_BYTES)))).rejects.toBeInstanceOf(
      EnvelopeError,
    );
    const short = openEnvelope(new ByteSource(inPieces(await seal(FIVE_HALVES), 1000)), async () =>
      randomBytes(16),
    );
    await expect(all(short)).rejects.toBeInstanceOf(EnvelopeError);
  });

  it('does not ask for a key of a header that is too long to be one', async () => {
    const header = Buffer.concat([ENVELOPE_MAGIC, Buffer.from([0x7f, 0xff, 0xff, 0xff])]);
    let asked = false;
    const opened = openEnvelope(new ByteSource(inPieces(header, 10)), async () => {
      asked = true;
      return KEY;
    });
    await expect(all(opened)).rejects.toBeInstanceOf(EnvelopeError);
    expect(asked).toBe(false);
  });

  it('overwrites the data key when it is done', async () => {
    const key = new Uint8Array(KEY);
    await all(openEnvelope(new ByteSource(inPieces(await seal(FIVE_HALVES), 1000)), async () => key));
    expect(key.every((byte) => byte === 0)).toBe(true);
  });
});
