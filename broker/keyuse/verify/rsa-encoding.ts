import { createHash, timingSafeEqual } from 'node:crypto';

/** A hash function by its node:crypto name. */
export type HashName = 'sha256' | 'sha384' | 'sha512';

// DER of DigestInfo up to the digest itself (RFC 8017, section 9.2, note 1).
const DIGEST_INFO = {
  sha256: Buffer.from('3031300d060960864801650304020105000420', 'hex'),
  sha384: Buffer.from('3041300d060960864801650304020205000430', 'hex'),
  sha512: Buffer.from('3051300d060960864801650304020305000440', 'hex'),
} as const satisfies Record<HashName, Buffer>;

/**
 * Whether `encoded`, as long as the modulus, is the EMSA-PKCS1-v1_5 encoding of `digest` (RFC 8017, sections 8.2.2 and
 * 9.2). The expected encoding is built and compared whole: parsing the padding is where forgeries came from.
 */
export function isPkcs1Encoding(encoded: Uint8Array, digest: Uint8Array, hash: HashName): boolean {
  const prefix = DIGEST_INFO[hash];
  const padding = encoded.length - prefix.length - digest.length - 3;
  if (padding < 8) return false;
  const expected = Buffer.concat([
    Buffer.from([0x00, 0x01]),
    Buffer.alloc(padding, 0xff),
    Buffer.from([0x00]),
    prefix,
    digest,
  ]);
  return timingSafeEqual(encoded, expected);
}

/**
 * EMSA-PSS-VERIFY (RFC 8017, section 9.1.2) over a digest already made, with a salt as long as the hash and MGF1 of the
 * same hash. `encoded` is as long as the modulus; `encodedBits` is the modulus' bits less one.
 */
export function isPssEncoding(
  encoded: Uint8Array,
  encodedBits: number,
  digest: Uint8Array,
  hash: HashName,
): boolean {
  const length = Math.ceil(encodedBits / 8);
  const surplus = encoded.length - length;
  // A modulus of 8k+1 bits has an encoding one octet shorter than itself (section 8.1.2, step 2c).
  if (surplus < 0 || encoded.subarray(0, surplus).some((octet) => octet !== 0)) return false;
  const em = encoded.subarray(surplus);
  const hashLength = digest.length;
  const dbLength = length - hashLength - 1;
  const paddingLength = dbLength - hashLength - 1;
  if (paddingLength < 0 || em[length - 1] !== 0xbc) return false;

  const unusedBits = 8 * length - encodedBits;
  const usedMask = 0xff >> unusedBits;
  if ((em[0]! & ~usedMask) !== 0) return false;
  const seed = em.subarray(dbLength, dbLength + hashLength);
  const db = mgf1(seed, dbLength, hash);
  for (let index = 0; index < dbLength; index++) db[index]! ^= em[index]!;
  db[0]! &= usedMask;

  for (let index = 0; index < paddingLength; index++) if (db[index] !== 0) return false;
  if (db[paddingLength] !== 0x01) return false;
  const salt = db.subarray(paddingLength + 1);
  const expected = createHash(hash).update(new Uint8Array(8)).update(digest).update(salt).digest();
  return timingSafeEqual(seed, expected);
}

/** MGF1 (RFC 8017, appendix B.2.1). */
function mgf1(seed: Uint8Array, length: number, hash: HashName): Buffer {
  const blocks: Buffer[] = [];
  const counter = Buffer.alloc(4);
  for (let made = 0, index = 0; made < length; index++) {
    counter.writeUInt32BE(index);
    const block = createHash(hash).update(seed).update(counter).digest();
    blocks.push(block);
    made += block.length;
  }
  return Buffer.concat(blocks).subarray(0, length);
}
