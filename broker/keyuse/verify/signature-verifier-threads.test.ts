import { verify } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { flipped, overDigest, rsa, signed } from '../../../test/fakes/verify-inputs.ts';
import { SignatureVerifier } from './signature-verifier.ts';
import { SIGNATURE_ALGORITHMS, type VerifyInput } from './verify-input.ts';

/** What goes to a thread, what does not, and what that costs. */

const verifier = new SignatureVerifier({ threads: 1 });
afterAll(() => verifier.close());

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

  it.each(SIGNATURE_ALGORITHMS.filter((algorithm) => !['ES384', 'ES512'].includes(algorithm)))(
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
