import { generateKeyPairSync, sign, verify } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ALGORITHMS, specFor } from '../../hsm-adapters/adapter.ts';
import { ecdsaFromDer, ecdsaToDer, FACTS, normaliseEcdsa, parseAlgorithm } from './algorithms.ts';

const CURVES = [
  ['ES256', 'P-256'],
  ['ES384', 'P-384'],
  ['ES512', 'P-521'],
] as const;

const factsOf = (algorithm: (typeof CURVES)[number][0]) => FACTS[algorithm].curve!;

/** r or s as bytes: often with zeros in front, often at the edges. */
const number = (bytes: number) =>
  fc.oneof(
    fc.uint8Array({ minLength: bytes, maxLength: bytes }),
    fc
      .integer({ min: 0, max: bytes })
      .chain((zeros) =>
        fc
          .uint8Array({ minLength: bytes - zeros, maxLength: bytes - zeros })
          .map((rest) => new Uint8Array([...new Uint8Array(zeros), ...rest])),
      ),
    fc.constantFrom(0x00, 0x01, 0x7f, 0x80, 0xff).map((byte) => new Uint8Array(bytes).fill(byte)),
  );

const rawSignature = (bytes: number) =>
  fc.tuple(number(bytes), number(bytes)).map(([r, s]) => new Uint8Array([...r, ...s]));

describe('names', () => {
  it('knows every algorithm of the adapter under its JOSE name, and EdDSA as the old name of Ed25519', () => {
    for (const algorithm of ALGORITHMS) expect(parseAlgorithm(algorithm)).toBe(algorithm);
    expect(parseAlgorithm('EdDSA')).toBe('Ed25519');
  });

  it.each(['', 'es256', 'ES256 ', 'none', 'HS1', 'RSA1_5', 'constructor', '__proto__', 'toString'])(
    'does not know %j',
    (name) => {
      expect(parseAlgorithm(name)).toBeUndefined();
    },
  );

  it('gives each algorithm the key that it needs', () => {
    expect(specFor('ES384', 0)).toEqual({ type: 'ec', curve: 'P-384' });
    expect(specFor('HS512', 0)).toEqual({ type: 'hmac', bytes: 64 });
    expect(specFor('PS256', 3072)).toEqual({ type: 'rsa', modulusBits: 3072 });
    expect(specFor('A256GCM', 0)).toEqual({ type: 'aes', bytes: 32 });
  });
});

describe.each(CURVES)('ECDSA signatures of %s', (algorithm, namedCurve) => {
  const curve = factsOf(algorithm);

  it('come back from DER as they went in, whatever r and s are', () => {
    fc.assert(
      fc.property(rawSignature(curve.bytes), (raw) => {
        expect(ecdsaFromDer(ecdsaToDer(raw), curve.bytes)).toEqual(Buffer.from(raw));
      }),
    );
  });

  it('are the DER that OpenSSL writes and reads', () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
    const message = Buffer.from('a message');
    const hash = FACTS[algorithm].hash!;
    for (let i = 0; i < 24; i++) {
      const der = sign(hash, message, { key: privateKey, dsaEncoding: 'der' });
      const raw = ecdsaFromDer(der, curve.bytes)!;
      expect(verify(hash, message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, raw)).toBe(true);
      expect(ecdsaToDer(raw)).toEqual(der);
    }
  });

  it('have one DER form: what is read is written back byte for byte, and anything else is refused', () => {
    const der = rawSignature(curve.bytes).map((raw) => ecdsaToDer(raw));
    fc.assert(
      fc.property(der, fc.nat(), fc.integer({ min: 1, max: 255 }), (good, position, change) => {
        const bad = Buffer.from(good);
        bad[position % bad.length]! ^= change;
        const read = ecdsaFromDer(bad, curve.bytes);
        if (read !== undefined) expect(ecdsaToDer(read)).toEqual(bad);
      }),
    );
  });

  it('are refused with a byte too many or too few, anywhere', () => {
    fc.assert(
      fc.property(rawSignature(curve.bytes), fc.nat(), (raw, position) => {
        const der = ecdsaToDer(raw);
        const at = position % der.length;
        expect(ecdsaFromDer(Buffer.concat([der, Buffer.from([0])]), curve.bytes)).toBeUndefined();
        expect(ecdsaFromDer(der.subarray(0, at), curve.bytes)).toBeUndefined();
      }),
    );
  });

  it('keep r and get the lower s, which verifies as well and is the same for both forms', () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
    const message = Buffer.from('a message');
    const hash = FACTS[algorithm].hash!;
    let flippedOnes = 0;
    for (let i = 0; i < 24; i++) {
      const raw = sign(hash, message, { key: privateKey, dsaEncoding: 'ieee-p1363' });
      const normal = Buffer.from(normaliseEcdsa(raw, curve));
      expect(normal).toHaveLength(curve.bytes * 2);
      expect(normal.subarray(0, curve.bytes)).toEqual(raw.subarray(0, curve.bytes));
      expect(verify(hash, message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, normal)).toBe(true);
      const s = BigInt(`0x${normal.toString('hex', curve.bytes)}`);
      expect(s <= curve.order / 2n).toBe(true);
      expect(Buffer.from(normaliseEcdsa(otherForm(raw, curve), curve))).toEqual(normal);
      if (!normal.equals(raw)) flippedOnes++;
    }
    expect(flippedOnes).toBeGreaterThan(0);
  });

  it.each([
    ['half the order', 0n, true],
    ['one above half the order', 1n, false],
  ])('tell %s apart', (_what, above, isLow) => {
    const s = curve.order / 2n + above;
    const raw = Buffer.concat([Buffer.alloc(curve.bytes, 1), bytesOf(s, curve.bytes)]);
    expect(Buffer.from(normaliseEcdsa(raw, curve)).equals(raw)).toBe(isLow);
  });
});

describe('strict DER of ECDSA', () => {
  const good = ecdsaToDer(new Uint8Array([...new Uint8Array(31), 5, ...new Uint8Array(31), 6]));

  it.each([
    ['nothing', ''],
    ['only a header', '3000'],
    ['no second number', '3003020105'],
    ['a third number', '3009020105020106020107'],
    ['bytes after it', '300602010502010600'],
    ['bytes after the numbers, inside', '30070201050201060000'],
    ['an indefinite length', '30800201050201060000'],
    ['a long form for a short length', '308106020105020106'],
    ['a longer form yet', '30820006020105020106'],
    ['a zero in front that is not needed', '300702020005020106'],
    ['a negative r', '3006020185020106'],
    ['a negative s', '3006020105020186'],
    ['an empty number', '30050200020106'],
    ['another tag than SEQUENCE', '3106020105020106'],
    ['another tag than INTEGER', '3006030105020106'],
    ['a length beyond the end', '3006020105020206'],
  ])('refuses %s', (_what, hex) => {
    expect(good.toString('hex')).toBe('3006020105020106');
    expect(ecdsaFromDer(Buffer.from(hex, 'hex'), 32)).toBeUndefined();
  });

  it('refuses numbers that do not fit the curve', () => {
    const wide = ecdsaToDer(new Uint8Array(96).fill(0x11));
    expect(ecdsaFromDer(wide, 48)).toBeDefined();
    expect(ecdsaFromDer(wide, 32)).toBeUndefined();
    const byOne = ecdsaToDer(new Uint8Array(66).fill(0x11));
    expect(ecdsaFromDer(byOne, 32)).toBeUndefined();
  });
});

function bytesOf(value: bigint, bytes: number): Buffer {
  return Buffer.from(value.toString(16).padStart(bytes * 2, '0'), 'hex');
}

/** r‖n−s: what anybody can make of a signature without the key. */
function otherForm(raw: Buffer, curve: { readonly order: bigint; readonly bytes: number }): Buffer {
  const s = BigInt(`0x${raw.toString('hex', curve.bytes)}`);
  return Buffer.concat([raw.subarray(0, curve.bytes), bytesOf(curve.order - s, curve.bytes)]);
}
