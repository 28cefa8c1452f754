import { constants, createHash, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { afterAll, describe, expect, it, vi } from 'vitest';
import {
  type SignatureAlgorithm,
  SignatureVerifier,
  type VerifyInput,
  verifyNow,
} from './signature-verifier.ts';

const verifier = new SignatureVerifier({ threads: 1 });
afterAll(() => verifier.close());

interface Pair {
  readonly privateKey: KeyObject;
  readonly spki: Uint8Array;
}
const pairOf = (pair: { publicKey: KeyObject; privateKey: KeyObject }): Pair => ({
  privateKey: pair.privateKey,
  spki: new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' })),
});
const ec = (namedCurve: string) => pairOf(generateKeyPairSync('ec', { namedCurve }));
const rsa = (modulusLength: number) => pairOf(generateKeyPairSync('rsa', { modulusLength }));

const rsa2048 = rsa(2048);
const PAIRS: Readonly<Record<SignatureAlgorithm, Pair>> = {
  ES256: ec('P-256'),
  ES384: ec('P-384'),
  ES512: ec('P-521'),
  Ed25519: pairOf(generateKeyPairSync('ed25519')),
  RS256: rsa2048,
  RS384: rsa2048,
  RS512: rsa2048,
  PS256: rsa2048,
  PS384: rsa2048,
  PS512: rsa2048,
};
const ALGORITHMS = Object.keys(PAIRS) as SignatureAlgorithm[];
const WITH_DIGEST = ALGORITHMS.filter((algorithm) => algorithm !== 'Ed25519');

const hashOf = (algorithm: SignatureAlgorithm) => `sha${algorithm.slice(2)}`;

function signed(algorithm: SignatureAlgorithm, message: Uint8Array, pair = PAIRS[algorithm]): VerifyInput {
  const key = pair.privateKey;
  const hash = algorithm === 'Ed25519' ? null : hashOf(algorithm);
  const signature = algorithm.startsWith('PS')
    ? sign(hash, message, {
        key,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      })
    : sign(hash, message, { key, dsaEncoding: 'ieee-p1363' });
  return { algorithm, publicKey: pair.spki, content: 'message', data: message, signature };
}

const overDigest = (input: VerifyInput): VerifyInput => ({
  ...input,
  content: 'digest',
  data: createHash(hashOf(input.algorithm)).update(input.data).digest(),
});

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
}

describe('message and digest mode', () => {
  it.each(ALGORITHMS)('%s: accepts a good signature, rejects any flipped bit', async (algorithm) => {
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
  });

  it.each(ALGORITHMS)('%s: answers false to wrong lengths', async (algorithm) => {
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

describe('threads', () => {
  const good = signed('ES256', Buffer.from('threads'));

  it('rejects what is in flight when the thread dies, and replaces it', async () => {
    // The only way to the thread from outside is the posting itself.
    const posting = vi.spyOn(Worker.prototype, 'postMessage');
    const mortal = new SignatureVerifier({ threads: 1 });
    try {
      expect(await mortal.verify(good)).toBe(true);
      const worker = posting.mock.contexts[0] as Worker;
      const inFlight = [mortal.verify(good), mortal.verify(good)];
      const settled = Promise.allSettled(inFlight);
      posting.mockImplementationOnce(() => void worker.terminate());
      for (const each of await settled) {
        expect(each).toMatchObject({ status: 'rejected', reason: { reason: 'thread-lost' } });
      }
      expect(await mortal.verify(good)).toBe(true);
      expect(posting.mock.contexts.at(-1)).not.toBe(worker);
    } finally {
      posting.mockRestore();
      await mortal.close();
    }
  });

  it('believes nothing from a thread that answers out of turn', async () => {
    const posting = vi.spyOn(Worker.prototype, 'postMessage');
    const mortal = new SignatureVerifier({ threads: 1 });
    try {
      const asked = [mortal.verify(good), mortal.verify(good)];
      const settled = Promise.allSettled(asked);
      posting.mockImplementationOnce(function (this: Worker) {
        this.emit('message', new Uint8Array([1]).buffer);
      });
      for (const each of await settled) {
        expect(each).toMatchObject({ status: 'rejected', reason: { reason: 'thread-lost' } });
      }
      expect(await mortal.verify(good)).toBe(true);
    } finally {
      posting.mockRestore();
      await mortal.close();
    }
  });

  it('posts the questions of one turn once, and takes its copy of the bytes at once', async () => {
    const posting = vi.spyOn(Worker.prototype, 'postMessage');
    try {
      const data = Uint8Array.from(good.data);
      const asked = Array.from({ length: 50 }, () => verifier.verify({ ...good, data }));
      data.fill(0);
      expect(await Promise.all(asked)).toEqual(asked.map(() => true));
      expect(posting).toHaveBeenCalledTimes(1);
    } finally {
      posting.mockRestore();
    }
  });

  it('refuses beyond its bounds, and recovers', async () => {
    const small = new SignatureVerifier({ threads: 1, maxPending: 2, maxPendingBytes: 1000 });
    try {
      const huge = { ...good, data: new Uint8Array(1000) };
      await expect(small.verify(huge)).rejects.toMatchObject({ reason: 'queue-full' });
      const asked = [small.verify(good), small.verify(good)];
      await expect(small.verify(good)).rejects.toMatchObject({ reason: 'queue-full' });
      expect(await Promise.all(asked)).toEqual([true, true]);
      expect(await small.verify(good)).toBe(true);
    } finally {
      await small.close();
    }
  });

  it('rejects what is pending when it is closed, and all that comes after', async () => {
    const brief = new SignatureVerifier({ threads: 2 });
    const settled = Promise.allSettled([brief.verify(good), brief.verify(good)]);
    await brief.close();
    for (const each of await settled) expect(each).toMatchObject({ reason: { reason: 'closed' } });
    await expect(brief.verify(good)).rejects.toMatchObject({ reason: 'closed' });
  });
});

describe('a question that meets no other', () => {
  const small = signed('ES256', Buffer.from('alone'));

  /** How many of these went to a thread, asked in one turn; all of them have to come out as they should. */
  async function posted(asked: readonly [VerifyInput, boolean][]): Promise<number> {
    const posting = vi.spyOn(Worker.prototype, 'postMessage');
    const inline = new SignatureVerifier({ threads: 1, isIdleInline: true });
    try {
      const verdicts = await Promise.all(asked.map(([input]) => inline.verify(input)));
      expect(verdicts).toEqual(asked.map(([, expected]) => expected));
      // A batch is posted once; what it holds is counted by who asked for it.
      return posting.mock.calls.length;
    } finally {
      posting.mockRestore();
      await inline.close();
    }
  }

  it.each(ALGORITHMS.filter((algorithm) => !['ES384', 'ES512'].includes(algorithm)))(
    '%s: is answered at once, and answered rightly',
    async (algorithm) => {
      const good = signed(algorithm, Buffer.from('alone'));
      expect(await posted([[good, true]])).toBe(0);
      expect(await posted([[{ ...good, signature: flipped(good.signature, 9) }, false]])).toBe(0);
      expect(await posted([[{ ...good, data: flipped(good.data, 3) }, false]])).toBe(0);
      expect(await posted([[{ ...good, signature: good.signature.subarray(1) }, false]])).toBe(0);
    },
  );

  it.each([
    ['slow by its curve', signed('ES512', Buffer.from('alone'))],
    ['an ECDSA digest', overDigest(small)],
    ['long', signed('ES256', Buffer.alloc(4097))],
    ['of a large RSA key', signed('RS256', Buffer.from('alone'), rsa(4104))],
  ])('goes to a thread when it is %s', async (_, input) => {
    expect(await posted([[input, true]])).toBe(1);
  });

  it('is the only one of its turn', async () => {
    const bad: VerifyInput = { ...small, signature: flipped(small.signature, 9) };
    expect(
      await posted([
        [bad, false],
        [small, true],
        [bad, false],
      ]),
    ).toBe(1);
  });

  it('waits behind others that are pending', async () => {
    const posting = vi.spyOn(Worker.prototype, 'postMessage');
    const inline = new SignatureVerifier({ threads: 1, isIdleInline: true });
    try {
      const first = [inline.verify(small), inline.verify(small)];
      await new Promise((resolve) => setImmediate(resolve));
      const before = posting.mock.calls.length;
      const next = inline.verify(small);
      await Promise.all([...first, next]);
      expect(posting.mock.calls.length).toBe(before + 1);
      expect(await inline.verify(small)).toBe(true);
      expect(posting.mock.calls.length).toBe(before + 1);
    } finally {
      posting.mockRestore();
      await inline.close();
    }
  });

  it('has no verdict either when the key is no key, or the verifier is closed', async () => {
    const inline = new SignatureVerifier({ threads: 1, isIdleInline: true });
    await expect(inline.verify({ ...small, publicKey: small.publicKey.subarray(1) })).rejects.toMatchObject({
      reason: 'key-rejected',
    });
    await inline.close();
    await expect(inline.verify(small)).rejects.toMatchObject({ reason: 'closed' });
  });
});

describe('throughput', () => {
  it('spends little more on ES256 than node:crypto alone', { retry: 2 }, async () => {
    const rounds = 40;
    const turn = 100;
    const good = signed('ES256', Buffer.alloc(200, 7));
    const key = {
      key: Buffer.from(good.publicKey),
      format: 'der',
      type: 'spki',
      dsaEncoding: 'ieee-p1363',
    } as const;
    expect(verify('sha256', good.data, key, good.signature)).toBe(true);
    await verifier.verify(good);
    const cpuMicros = async (run: () => Promise<void> | void) => {
      const before = process.cpuUsage();
      await run();
      const { user, system } = process.cpuUsage(before);
      return (user + system) / (rounds * turn);
    };
    const { createPublicKey } = await import('node:crypto');
    const bareKey = { key: createPublicKey(key), dsaEncoding: 'ieee-p1363' } as const;
    const bare = await cpuMicros(() => {
      for (let index = 0; index < rounds * turn; index++)
        verify('sha256', good.data, bareKey, good.signature);
    });
    const started = performance.now();
    const threaded = await cpuMicros(async () => {
      for (let round = 0; round < rounds; round++) {
        const verdicts = await Promise.all(Array.from({ length: turn }, () => verifier.verify(good)));
        expect(verdicts.every(Boolean)).toBe(true);
      }
    });
    const perSecond = Math.round((1000 * rounds * turn) / (performance.now() - started));
    process.stdout.write(
      `ES256: ${bare.toFixed(1)} µs CPU bare, ${threaded.toFixed(1)} µs through the thread, ${perSecond}/s\n`,
    );
    // Loose: the machine is shared. It catches a posting for each question or a key parsed each time.
    expect(threaded).toBeLessThan(3 * bare + 20);
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
