import { describe, expect, it } from 'vitest';
import type { Cryptoki, SessionHandle } from './cryptoki.ts';
import { RandomBroken, TokenRandom } from './token-random.ts';

const session = Buffer.alloc(8) as unknown as SessionHandle;

/** A token whose generator gives what the test says. */
function randomOf(fill: (output: Buffer) => void): TokenRandom {
  return new TokenRandom({
    random: (_: SessionHandle, output: Buffer) => fill(output),
  } as unknown as Cryptoki);
}

describe('token random', () => {
  it('is not what the token gave, nor twice the same', () => {
    let draw = 0;
    const random = randomOf((output) => output.fill(++draw));
    const [first, second] = [random.draw(session, 12), random.draw(session, 12)];
    expect(first.length).toBe(12);
    expect(first).not.toEqual(Buffer.alloc(12, 1));
    expect(first).not.toEqual(second);
  });

  it('stops at zeros, at the first draw or later', () => {
    expect(() => randomOf((output) => output.fill(0)).draw(session, 12)).toThrow(RandomBroken);
    const bytes = [7, 0];
    const later = randomOf((output) => output.fill(bytes.shift()!));
    later.draw(session, 12);
    expect(() => later.draw(session, 12)).toThrow(RandomBroken);
  });

  it('stops when the token repeats itself, however many bytes are asked for', () => {
    const random = randomOf((output) => output.fill(9));
    random.draw(session, 1);
    expect(() => random.draw(session, 64)).toThrow(RandomBroken);
  });
});
