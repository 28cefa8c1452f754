import crypto from 'node:crypto';
import fs from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Algorithm, KeyPurpose, KeySpec } from '../../../hsm-adapters/adapter.ts';
import { failure, makeDirectory, makeToken, newId, readBack, TestWorker } from './soft-token.ts';

const AAD = Buffer.from('lastmile test');

interface Replicated {
  readonly attributes: unknown;
  readonly replicas: readonly { readonly wrappedKek: string; readonly wrappedKey: string }[];
}

describe('a key on two SoftHSM tokens', () => {
  const directories = [makeDirectory(), makeDirectory()] as const;
  let source: TestWorker;
  let destination: TestWorker;

  beforeAll(async () => {
    source = new TestWorker(makeToken(directories[0], 'source'));
    destination = new TestWorker(makeToken(directories[1], 'destination'));
    await Promise.all([source.logIn(), destination.logIn()]);
  });

  afterAll(async () => {
    await Promise.all([source.stop(), destination.stop()]);
    for (const directory of directories) fs.rmSync(directory, { recursive: true });
  });

  const openTransport = () =>
    destination.administer<{ transport: number; publicKey: string }>({ op: 'open-replica-transport' });

  /** Wrapped for the destination, and not received yet. */
  async function replicaOnItsWay() {
    const object = {
      ckaId: newId(),
      label: 'x',
      spec: { type: 'ec', curve: 'P-256' },
      purpose: 'sign',
    } as const;
    const { transport, publicKey } = await openTransport();
    const made = await source.administer<Replicated>({
      op: 'generate-replicated',
      object,
      destinations: [publicKey],
    });
    return { object, transport, ...made.replicas[0]! };
  }

  async function replicate(spec: KeySpec, purpose: KeyPurpose) {
    const ckaId = newId();
    const object = { ckaId, label: `pay/${ckaId}`, spec, purpose };
    const { transport, publicKey } = await openTransport();
    const made = await source.administer<Replicated>({
      op: 'generate-replicated',
      object,
      destinations: [publicKey],
    });
    const replica = made.replicas[0]!;
    const received = await destination.administer({ op: 'receive-replica', transport, object, ...replica });
    const [here, there] = [readBack(made.attributes), readBack(received)];
    expect(there).toEqual(here);
    for (const attributes of [here, there]) {
      expect(attributes).toMatchObject({
        ckaId,
        label: object.label,
        spec,
        sensitive: true,
        extractable: false,
        modifiable: false,
        copyable: false,
        local: false,
        neverExtractable: false,
      });
    }
    const kind = purpose === 'sign' ? 'private' : 'secret';
    expect(await source.bind(1, ckaId, kind)).toEqual(here);
    expect(await destination.bind(1, ckaId, kind)).toEqual(here);
    return here;
  }

  it.each([
    ['ES256', { type: 'ec', curve: 'P-256' }, 'sha256'],
    ['ES512', { type: 'ec', curve: 'P-521' }, 'sha512'],
    ['RS256', { type: 'rsa', modulusBits: 2048 }, 'sha256'],
  ] as const)(
    'signs %s on both, which one public key verifies',
    async (algorithm: Algorithm, spec: KeySpec, hash: string) => {
      const { publicKey } = await replicate(spec, 'sign');
      const key = crypto.createPublicKey({ key: publicKey, format: 'der', type: 'spki' });
      const message = Buffer.from('either token');
      const digest = crypto.createHash(hash).update(message).digest();
      for (const worker of [source, destination]) {
        const signature = await worker.sign(1, algorithm, digest);
        expect(crypto.verify(hash, message, { key, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true);
      }
    },
  );

  it('opens on one what was encrypted on the other', async () => {
    await replicate({ type: 'aes', bytes: 32 }, 'encrypt');
    const { iv, sealed } = await source.encrypt(1, Buffer.from('across'), AAD);
    expect(await destination.decrypt(1, { iv, sealed, associatedData: AAD })).toEqual(Buffer.from('across'));
  });

  it('makes the same MAC on both', async () => {
    await replicate({ type: 'hmac', bytes: 32 }, 'mac');
    const message = Buffer.from('either token');
    expect(await source.sign(1, 'HS256', message)).toEqual(await destination.sign(1, 'HS256', message));
  });

  it('refuses what the module cannot wrap, before anything is made', async () => {
    const object = { ckaId: newId(), label: 'ed', spec: { type: 'ed25519' }, purpose: 'sign' } as const;
    const made = source.administer({ op: 'generate-replicated', object, destinations: [] });
    expect(await failure(made)).toMatchObject({ reason: 'OPERATION_UNSUPPORTED', performed: 'no' });
    expect(await failure(source.bind(1, object.ckaId, 'private'))).toMatchObject({
      reason: 'KEY_MISSING_ON_TOKEN',
    });
  });

  it('leaves nothing on the source when a destination is no RSA key', async () => {
    const object = {
      ckaId: newId(),
      label: 'x',
      spec: { type: 'aes', bytes: 32 },
      purpose: 'encrypt',
    } as const;
    const small = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
    const ec = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
    const ders = [small, ec].map((key) => key.export({ type: 'spki', format: 'der' }).toString('base64'));
    for (const destinations of [...ders, 'AAAA'].map((each) => [each])) {
      const made = source.administer({ op: 'generate-replicated', object, destinations });
      expect(await failure(made)).toMatchObject({ reason: 'REQUEST_INVALID' });
    }
    expect(await failure(source.bind(1, object.ckaId, 'secret'))).toMatchObject({
      reason: 'KEY_MISSING_ON_TOKEN',
    });
  });

  it('leaves nothing on a destination whose replica was tampered with, and closes its transport', async () => {
    const { object, transport, wrappedKek, wrappedKey } = await replicaOnItsWay();
    const bytes = Buffer.from(wrappedKey, 'base64');
    bytes[bytes.length - 1]! ^= 1;
    const receive = (key: string) =>
      destination.administer({ op: 'receive-replica', transport, object, wrappedKek, wrappedKey: key });
    expect(await failure(receive(bytes.toString('base64')))).toHaveProperty('reason');
    expect(await failure(receive(wrappedKey))).toMatchObject({
      reason: 'REQUEST_INVALID',
      message: /not open/,
    });
    expect(await failure(destination.bind(1, object.ckaId, 'private'))).toMatchObject({
      reason: 'KEY_MISSING_ON_TOKEN',
    });
  });

  it('leaves nothing when the public half does not belong to a key of that kind', async () => {
    const { object, transport, wrappedKek, wrappedKey } = await replicaOnItsWay();
    const bytes = Buffer.from(wrappedKey, 'base64');
    const p384 = crypto.generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey;
    const other = p384.export({ type: 'spki', format: 'der' });
    const length = Buffer.from([other.length >> 8, other.length & 0xff]);
    const swapped = Buffer.concat([length, other, bytes.subarray(2 + bytes.readUInt16BE())]);
    const request = {
      op: 'receive-replica',
      transport,
      object,
      wrappedKek,
      wrappedKey: swapped.toString('base64'),
    } as const;
    expect(await failure(destination.administer(request))).toMatchObject({ reason: 'KEY_UNUSABLE' });
    expect(await failure(destination.bind(1, object.ckaId, 'private'))).toMatchObject({
      reason: 'KEY_MISSING_ON_TOKEN',
    });
    await destination.administer({ op: 'destroy', query: { ckaId: object.ckaId, kind: 'private' } });
  });

  it('keeps a bounded number of transports open', async () => {
    const open = await Promise.all([1, 2, 3, 4].map(openTransport));
    expect(await failure(openTransport())).toMatchObject({ reason: 'SESSION_LIMIT' });
    for (const { transport } of open)
      await destination.administer({ op: 'close-replica-transport', transport });
    const { transport } = await openTransport();
    await destination.administer({ op: 'close-replica-transport', transport });
  });
});
