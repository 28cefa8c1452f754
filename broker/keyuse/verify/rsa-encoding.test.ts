import { constants, createHash, generateKeyPairSync, publicDecrypt, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { isPkcs1Encoding, isPssEncoding } from './rsa-encoding.ts';

const message = Buffer.from('encodings');
const digest = createHash('sha256').update(message).digest();

/** The encoding inside a signature that node:crypto made. */
function encodingOf(modulusLength: number, padding: number): Buffer {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength });
  const options =
    padding === constants.RSA_PKCS1_PSS_PADDING
      ? { key: privateKey, padding, saltLength: 32 }
      : { key: privateKey, padding };
  return publicDecrypt(
    { key: publicKey, padding: constants.RSA_NO_PADDING },
    sign('sha256', message, options),
  );
}

// A signature whose encoding differs in one chosen bit cannot be made without the private key, so these tests
// change the encoding itself: every bit of it counts.
// OpenSSL makes moduli of an even number of bits only.
describe.each([2048, 2050])('encodings for a modulus of %i bits', (bits) => {
  it('PSS: every flipped bit is rejected, the unused leading ones too', () => {
    const encoded = encodingOf(bits, constants.RSA_PKCS1_PSS_PADDING);
    expect(isPssEncoding(encoded, bits - 1, digest, 'sha256')).toBe(true);
    for (let bit = 0; bit < 8 * encoded.length; bit++) {
      encoded[bit >> 3]! ^= 1 << (bit & 7);
      expect(isPssEncoding(encoded, bits - 1, digest, 'sha256'), `bit ${bit}`).toBe(false);
      encoded[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  it('PKCS #1 v1.5: every flipped bit is rejected', () => {
    const encoded = encodingOf(bits, constants.RSA_PKCS1_PADDING);
    expect(isPkcs1Encoding(encoded, digest, 'sha256')).toBe(true);
    for (let bit = 0; bit < 8 * encoded.length; bit++) {
      encoded[bit >> 3]! ^= 1 << (bit & 7);
      expect(isPkcs1Encoding(encoded, digest, 'sha256'), `bit ${bit}`).toBe(false);
      encoded[bit >> 3]! ^= 1 << (bit & 7);
    }
  });
});
