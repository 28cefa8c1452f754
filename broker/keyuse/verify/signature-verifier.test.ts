import { constants, sign } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { ec, flipped, overDigest, PAIRS, rsa, rsa2048, signed } from '../../../test/fakes/verify-inputs.ts';
import { SignatureVerifier, verifyNow } from './signature-verifier.ts';
import { SIGNATURE_ALGORITHMS, type VerifyInput } from './verify-input.ts';

const verifier = new SignatureVerifier({ threads: 1 });
afterAll(() => verifier.close());
const WITH_DIGEST = SIGNATURE_ALGORITHMS.filter((algorithm) => algorithm !== 'Ed25519');

describe('message and digest mode', () => {
  it.each(SIGNATURE_ALGORITHMS)(
    '%s: accepts a good signature, rejects any flipped bit',
    async (algorithm) => {
      const good = signed(algorithm, Buffer.from(`message for ${algorithm}`));
      for (const input of algorithm === 'Ed25519' ? [good] : [good, overDigest(good)]) {
        expect(verifyNow(input)).toBe(true);
        const bits = 8 * input.signature.length;
        const flips = [0, 1, 7, bits >> 2, bits >> 1, bits - 8, bits - 1];
        const bad = [
          ...flips.map((bit) => ({ ...input, signature: flipped(input.signature, bit) })),
          { ...input, data: flipped(input.data, 3) },
        ];
        expect(await Promise.all([input, ...bad].map((each) => verifier.verify(each)))).toEqual([
          true,
          ...bad.map(() => false),
        ]);
      }
    },
  );

  it.each(SIGNATURE_ALGORITHMS)('%s: answers false to wrong lengths', async (algorithm) => {
    const good = signed(algorithm, Buffer.from('lengths'));
    const inputs = algorithm === 'Ed25519' ? [good] : [good, overDigest(good)];
    for (const input of inputs) {
      const { signature } = input;
      const bad = [
        new Uint8Array(0),
        signature.subarray(1),
        signature.subarray(0, -1),
        Buffer.concat([signature, Buffer.alloc(1)]),
        Buffer.concat([Buffer.alloc(1), signature]),
        new Uint8Array(signature.length),
        new Uint8Array(signature.length).fill(0xff),
        new Uint8Array(10_000),
      ];
      for (const each of bad) expect(verifyNow({ ...input, signature: each })).toBe(false);
    }
  });

  it.each(WITH_DIGEST)('%s: answers false to a digest of another length', (algorithm) => {
    const input = overDigest(signed(algorithm, Buffer.from('lengths')));
    for (const data of [
      input.data.subarray(1),
      Buffer.concat([input.data, Buffer.alloc(1)]),
      new Uint8Array(0),
    ]) {
      expect(verifyNow({ ...input, data })).toBe(false);
    }
  });

  it.each(['RS256', 'PS256'] as const)(
    '%s: takes a modulus that is no whole number of octets',
    (algorithm) => {
      const good = signed(algorithm, Buffer.from('odd modulus'), rsa(2050));
      expect(verifyNow(good)).toBe(true);
      expect(verifyNow(overDigest(good))).toBe(true);
    },
  );

  it('answers false to PSS with another salt length, in both modes', () => {
    const data = Buffer.from('salt');
    const signature = sign('sha256', data, {
      key: rsa2048.privateKey,
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: 20,
    });
    const input: VerifyInput = { ...signed('PS256', data), signature };
    expect(verifyNow(input)).toBe(false);
    expect(verifyNow(overDigest(input))).toBe(false);
  });
});

describe('keys', () => {
  const good = signed('ES256', Buffer.from('keys'));

  it.each([
    ['malformed', good.publicKey.subarray(1)],
    ['empty', new Uint8Array(0)],
    ['followed by other bytes', Buffer.concat([good.publicKey, Buffer.alloc(1)])],
    ['a point off the curve', flipped(good.publicKey, 8 * good.publicKey.length - 1)],
    ['on another curve', PAIRS.ES384.spki],
    ['RSA', rsa2048.spki],
  ])('rejects a key that is %s', async (_name, publicKey) => {
    expect(() => verifyNow({ ...good, publicKey })).toThrow(
      expect.objectContaining({ reason: 'key-rejected' }),
    );
    await expect(verifier.verify({ ...good, publicKey })).rejects.toMatchObject({ reason: 'key-rejected' });
    expect(await verifier.verify(good)).toBe(true);
  });

  it.each(['RS256', 'PS256'] as const)('rejects %s with an RSA key under 2048 bits', async (algorithm) => {
    const weak = signed(algorithm, Buffer.from('weak'), rsa(2047));
    await expect(verifier.verify(weak)).rejects.toMatchObject({ reason: 'key-rejected' });
    await expect(verifier.verify(overDigest(weak))).rejects.toMatchObject({ reason: 'key-rejected' });
  });

  it('rejects Ed25519 over a digest', async () => {
    const input = { ...signed('Ed25519', Buffer.alloc(64)), content: 'digest' } as const;
    await expect(verifier.verify(input)).rejects.toMatchObject({ reason: 'unsupported' });
  });

  it('asks the right key while numbers are given up and reused within one turn', async () => {
    const few = new SignatureVerifier({ threads: 1, maxKeys: 2 });
    try {
      const inputs = Array.from({ length: 5 }, (_, index) =>
        signed('ES256', Buffer.from(`${index}`), ec('P-256')),
      );
      const asked = [0, 1, 2, 0, 3, 4, 4, 1, 0].flatMap((index) => {
        const input = inputs[index]!;
        return [input, { ...input, publicKey: inputs[(index + 1) % 5]!.publicKey }];
      });
      const verdicts = await Promise.all(asked.map((input) => few.verify(input)));
      expect(verdicts).toEqual(asked.map((_, index) => index % 2 === 0));
    } finally {
      await few.close();
    }
  });
});

interface VectorFile {
  readonly testGroups: readonly {
    readonly publicKeyDer: string;
    readonly tests: readonly { tcId: number; comment: string; msg: string; sig: string; result: string }[];
  }[];
}

describe('Wycheproof', () => {
  const folder = new URL('../../../../shared/vectors/wycheproof/', import.meta.url);
  for (const [name, algorithm] of [
    ['ecdsa_secp256r1_sha256_p1363_test.json', 'ES256'],
    ['rsa_pss_2048_sha256_mgf1_32_test.json', 'PS256'],
  ] as const) {
    const file = new URL(name, folder);
    it.skipIf(!existsSync(file))(`${name} in both modes (skipped where the vectors are absent)`, async () => {
      const { testGroups } = JSON.parse(readFileSync(file, 'utf8')) as VectorFile;
      let count = 0;
      for (const group of testGroups) {
        const publicKey = Buffer.from(group.publicKeyDer, 'hex');
        for (const test of group.tests) {
          const input: VerifyInput = {
            algorithm,
            publicKey,
            content: 'message',
            data: Buffer.from(test.msg, 'hex'),
            signature: Buffer.from(test.sig, 'hex'),
          };
          const verdicts = await Promise.all([verifier.verify(input), verifier.verify(overDigest(input))]);
          const expected = test.result === 'valid';
          expect(verdicts, `${test.tcId}: ${test.comment}`).toEqual([expected, expected]);
          count += 1;
        }
      }
      expect(count).toBeGreaterThan(100);
    });
  }
});
