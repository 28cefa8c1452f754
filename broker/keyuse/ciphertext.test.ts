import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_KEY_NAME_LENGTH } from '../../policy/key-name.ts';
import { openWith, sealWith } from '../../test/fakes/fake-token-crypto.ts';
import { associatedDataFor, ciphertextHeader, joinCiphertext, parseCiphertext } from './ciphertext.ts';

const name = fc.stringMatching(/^[A-Za-z0-9._-]{1,40}(\/[A-Za-z0-9._-]{1,40}){0,2}$/);
const version = fc.integer({ min: 0, max: 0xffff_ffff });

describe('format lastmile-ct-v1', () => {
  it('is, byte for byte, what its description says', () => {
    const header = ciphertextHeader('A256GCM', 'a/b', 0x01020304);
    const joined = joinCiphertext(header, Buffer.alloc(12, 0x11), Buffer.alloc(17, 0x22));
    expect(joined.toString('hex')).toBe(
      `4c4d6331${'0008'}${'01'}${'01020304'}${'612f62'}${'11'.repeat(12)}${'22'.repeat(17)}`,
    );
    expect(associatedDataFor(header, Buffer.from('mine')).toString('latin1')).toBe(
      `lastmile-ct-v1\x00\x08\x01\x01\x02\x03\x04a/bmine`,
    );
  });

  it('parses what it has joined, for every name, version and body', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('A256GCM' as const, 'RSA-OAEP-256' as const),
        name,
        version,
        fc.uint8Array({ minLength: 12, maxLength: 12 }),
        fc.uint8Array({ minLength: 17, maxLength: 300 }),
        (algorithm, key, number, someIv, sealed) => {
          const iv = algorithm === 'A256GCM' ? someIv : new Uint8Array();
          const header = ciphertextHeader(algorithm, key, number);
          const parsed = parseCiphertext(joinCiphertext(header, iv, sealed))!;
          expect(parsed).toMatchObject({ algorithm, key, version: number });
          expect(Buffer.from(parsed.iv)).toEqual(Buffer.from(iv));
          expect(Buffer.from(parsed.sealed)).toEqual(Buffer.from(sealed));
          expect(Buffer.from(parsed.header)).toEqual(header);
        },
      ),
    );
  });

  it('has room for the longest key name', () => {
    const key = 'k'.repeat(MAX_KEY_NAME_LENGTH);
    const header = ciphertextHeader('A256GCM', key, 1);
    expect(parseCiphertext(joinCiphertext(header, Buffer.alloc(12), Buffer.alloc(17)))?.key).toBe(key);
  });

  it('does not open, or is refused, with any bit of magic, length, header, IV, ciphertext, tag or associated data changed', () => {
    const key = randomBytes(32);
    const iv = randomBytes(12);
    const header = ciphertextHeader('A256GCM', 'app/box', 3);
    const callers = Buffer.from('row 17');
    const sealed = sealWith(key, iv, Buffer.from('text'), associatedDataFor(header, callers));
    const good = joinCiphertext(header, iv, sealed);
    const open = (bytes: Buffer, aad: Buffer): string | undefined => {
      const parsed = parseCiphertext(bytes);
      if (parsed?.algorithm !== 'A256GCM') return undefined;
      try {
        return openWith(key, {
          object: 0,
          algorithm: 'A256GCM',
          iv: parsed.iv,
          sealed: parsed.sealed,
          associatedData: associatedDataFor(parsed.header, aad),
        }).toString();
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
        return undefined;
      }
    };
    expect(open(good, callers)).toBe('text');
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bad = Buffer.from(good);
      bad[bit >> 3]! ^= 1 << (bit & 7);
      expect(open(bad, callers), `bit ${bit}`).toBeUndefined();
    }
    for (const other of ['', 'row 1', 'row 18', 'row 170']) {
      expect(open(good, Buffer.from(other))).toBeUndefined();
    }
  });

  it('binds header and associated data so that neither can pass for the other', () => {
    fc.assert(
      fc.property(name, name, version, fc.uint8Array(), fc.uint8Array(), (a, b, number, mine, theirs) => {
        fc.pre(a !== b || !Buffer.from(mine).equals(Buffer.from(theirs)));
        expect(associatedDataFor(ciphertextHeader('A256GCM', a, number), mine)).not.toEqual(
          associatedDataFor(ciphertextHeader('A256GCM', b, number), theirs),
        );
      }),
    );
  });

  it('answers undefined, and nothing else, to any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(parseCiphertext(bytes)).toBeUndefined();
        const parsed = parseCiphertext(Buffer.concat([Buffer.from('LMc1'), bytes]));
        if (parsed !== undefined) {
          expect(joinCiphertext(parsed.header, parsed.iv, parsed.sealed)).toEqual(
            Buffer.concat([Buffer.from('LMc1'), bytes]),
          );
        }
      }),
    );
  });

  it.each([
    ['cut at every byte up to an empty plaintext', (good: Buffer) => good.subarray(0, -1)],
    ['with an algorithm that nobody defined', (good: Buffer) => set(good, 6, 3)],
    ['with the algorithm zero', (good: Buffer) => set(good, 6, 0)],
    ['with a header that reaches beyond its end', (good: Buffer) => set(good, 5, 0xff)],
    ['without a key name', (good: Buffer) => set(good, 5, 5)],
    ['with a name that is not UTF-8', (good: Buffer) => set(good, 11, 0xff)],
  ])('refuses one %s', (_what, change) => {
    const header = ciphertextHeader('A256GCM', 'app/box', 1);
    const good = joinCiphertext(header, randomBytes(12), randomBytes(17));
    expect(parseCiphertext(good)).toBeDefined();
    expect(parseCiphertext(change(good))).toBeUndefined();
  });
});

function set(bytes: Buffer, at: number, value: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = value;
  return copy;
}
