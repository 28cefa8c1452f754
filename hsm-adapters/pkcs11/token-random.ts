import crypto from 'node:crypto';
import type { Cryptoki, SessionHandle } from './cryptoki.ts';

/** The token's generator gave zeros, or the same bytes twice: it must not make another IV. */
export class RandomBroken extends Error {
  override readonly name = 'RandomBroken';
}

const DRAW_BYTES = 16;
const ZEROS = Buffer.alloc(DRAW_BYTES);

/**
 * Random bytes out of two generators, the token's and this process's, so that either may fail silently: their
 * XOR is as unpredictable, and as unlikely to repeat, as the better of the two (NIST SP 800-38D, 8.2.2, for IVs).
 *
 * The token's share is watched where a coincidence is out of the question: draws are at least 16 bytes, and two
 * equal ones, or zeros, mean a broken generator or a virtual machine taken back in time.
 */
export class TokenRandom {
  readonly #cryptoki: Cryptoki;
  readonly #last: Buffer = Buffer.alloc(DRAW_BYTES);

  constructor(cryptoki: Cryptoki) {
    this.#cryptoki = cryptoki;
  }

  /** Throws `RandomBroken`, or `CkrError` when the token has no random bytes to give. */
  draw(session: SessionHandle, bytes: number): Buffer {
    const drawn = Buffer.alloc(Math.max(bytes, DRAW_BYTES));
    this.#cryptoki.random(session, drawn);
    const head = drawn.subarray(0, DRAW_BYTES);
    if (head.equals(this.#last) || head.equals(ZEROS)) {
      throw new RandomBroken('random numbers of the token: the same bytes twice, or zeros');
    }
    head.copy(this.#last);
    const mixed = crypto.randomBytes(bytes);
    for (let at = 0; at < bytes; at += 1) mixed[at]! ^= drawn[at]!;
    drawn.fill(0, DRAW_BYTES);
    return mixed;
  }
}
