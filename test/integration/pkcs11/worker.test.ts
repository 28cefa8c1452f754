import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Algorithm, KeyPurpose, KeySpec, TokenInfo } from '../../../hsm-adapters/adapter.ts';
import { WorkerFrame } from '../../../hsm-adapters/frames/worker-frames.ts';
import {
  failure,
  makeDirectory,
  makeToken,
  newId,
  readBack,
  type SoftToken,
  signHeader,
  TestWorker,
  type WorkerError,
} from './soft-token.ts';

const AAD = Buffer.from('lastmile test');

describe('a token worker on SoftHSM', () => {
  let directory: string;
  let token: SoftToken;
  let worker: TestWorker;
  let nextRef = 1;

  beforeAll(async () => {
    directory = makeDirectory();
    token = makeToken(directory, 'worker-test');
    worker = new TestWorker(token);
    expect(await worker.logIn()).toEqual({ outcome: 'accepted' });
  });

  afterAll(async () => {
    expect(await worker.stop()).toEqual({ code: 0, signal: null });
    fs.rmSync(directory, { recursive: true });
  });

  async function make(spec: KeySpec, purpose: KeyPurpose) {
    const ckaId = newId();
    const attributes = readBack(
      await worker.administer({ op: 'generate', object: { ckaId, label: `test/${ckaId}`, spec, purpose } }),
    );
    const ref = nextRef;
    nextRef += 1;
    const bound = await worker.bind(ref, ckaId, purpose === 'sign' ? 'private' : 'secret');
    expect(bound).toEqual(attributes);
    return { ref, ckaId, attributes };
  }

  function publicKey(der: Buffer): crypto.KeyObject {
    return crypto.createPublicKey({ key: der, format: 'der', type: 'spki' });
  }

  const message = Buffer.from('what the token is asked to sign');

  it.each([
    ['ES256', { type: 'ec', curve: 'P-256' }, 'sha256'],
    ['ES384', { type: 'ec', curve: 'P-384' }, 'sha384'],
    ['ES512', { type: 'ec', curve: 'P-521' }, 'sha512'],
  ] as const)('signs %s, which node:crypto verifies', async (algorithm, spec, hash) => {
    const { ref, attributes } = await make(spec, 'sign');
    const signature = await worker.sign(ref, algorithm, crypto.createHash(hash).update(message).digest());
    const key = { key: publicKey(attributes.publicKey), dsaEncoding: 'ieee-p1363' } as const;
    expect(crypto.verify(hash, message, key, signature)).toBe(true);
    expect(attributes).toMatchObject({
      spec,
      usages: ['sign', 'verify'],
      sensitive: true,
      extractable: false,
      neverExtractable: true,
      alwaysSensitive: true,
      local: true,
      modifiable: false,
      copyable: false,
      alwaysAuthenticate: false,
    });
  });

  it('signs Ed25519, which node:crypto verifies', async () => {
    const { ref, attributes } = await make({ type: 'ed25519' }, 'sign');
    const signature = await worker.sign(ref, 'Ed25519', message);
    expect(crypto.verify(null, message, publicKey(attributes.publicKey), signature)).toBe(true);
  });

  it('signs RS256 to RS512 and PS256 to PS512, which node:crypto verifies', async () => {
    const { ref, attributes } = await make({ type: 'rsa', modulusBits: 2048 }, 'sign');
    const key = publicKey(attributes.publicKey);
    for (const bits of [256, 384, 512] as const) {
      const hash = `sha${bits}`;
      const digest = crypto.createHash(hash).update(message).digest();
      const pkcs1 = await worker.sign(ref, `RS${bits}`, digest);
      expect(crypto.verify(hash, message, key, pkcs1)).toBe(true);
      const pss = await worker.sign(ref, `PS${bits}`, digest);
      const padding = { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: bits / 8 };
      expect(crypto.verify(hash, message, { key, ...padding }, pss)).toBe(true);
    }
  });

  it('makes MACs with keys as long as the hash', async () => {
    const { ref } = await make({ type: 'hmac', bytes: 64 }, 'mac');
    for (const [algorithm, bytes] of [
      ['HS256', 32],
      ['HS384', 48],
      ['HS512', 64],
    ] as const) {
      const mac = await worker.sign(ref, algorithm, message);
      expect(mac.length).toBe(bytes);
      expect(await worker.sign(ref, algorithm, message)).toEqual(mac);
    }
    const short = await make({ type: 'hmac', bytes: 32 }, 'mac');
    expect(await failure(worker.sign(short.ref, 'HS512', message))).toMatchObject({
      reason: 'KEY_UNUSABLE',
      performed: 'no',
    });
  });

  it('encrypts and opens on another session, with a fresh IV each time', async () => {
    const { ref } = await make({ type: 'aes', bytes: 32 }, 'encrypt');
    const ivs = new Set<string>();
    for (const length of [1, 1024, 5000, 65_536]) {
      const plaintext = crypto.randomBytes(length);
      const { session, iv, sealed } = await worker.encrypt(ref, plaintext, AAD);
      ivs.add(iv.toString('hex'));
      const opened = await worker.decrypt(ref, { iv, sealed, associatedData: AAD }, { notSession: session });
      expect(opened).toEqual(plaintext);
    }
    expect(ivs.size).toBe(4);
  });

  it('rejects what was tampered with, and stays in service', async () => {
    const { ref } = await make({ type: 'aes', bytes: 32 }, 'encrypt');
    const { iv, sealed } = await worker.encrypt(ref, Buffer.from('secret'), AAD);
    const bad = Buffer.from(sealed);
    bad[0]! ^= 1;
    for (let round = 0; round < 20; round += 1) {
      const rejected = await failure(worker.decrypt(ref, { iv, sealed: bad, associatedData: AAD }));
      expect(rejected).toMatchObject({ reason: 'CIPHERTEXT_REJECTED', ckr: 'CKR_GENERAL_ERROR' });
    }
    const otherAad = worker.decrypt(ref, { iv, sealed, associatedData: Buffer.from('other') });
    expect(await failure(otherAad)).toMatchObject({ reason: 'CIPHERTEXT_REJECTED' });
    const short = worker.decrypt(ref, { iv, sealed: sealed.subarray(0, 15), associatedData: AAD });
    expect(await failure(short)).toMatchObject({ reason: 'CIPHERTEXT_REJECTED', performed: 'no' });
    expect(await worker.decrypt(ref, { iv, sealed, associatedData: AAD })).toEqual(Buffer.from('secret'));
  });

  it('refuses before the token what does not fit the key or the mechanism', async () => {
    const ec = await make({ type: 'ec', curve: 'P-256' }, 'sign');
    const aes = await make({ type: 'aes', bytes: 32 }, 'encrypt');
    const digest = Buffer.alloc(32, 1);
    const cases: readonly (readonly [Promise<unknown>, string])[] = [
      [worker.sign(ec.ref, 'ES256', digest.subarray(1)), 'REQUEST_INVALID'],
      [worker.sign(ec.ref, 'ES256', Buffer.alloc(64)), 'REQUEST_INVALID'],
      [worker.sign(ec.ref, 'ES256', Buffer.alloc(0)), 'REQUEST_INVALID'],
      [worker.sign(ec.ref, 'A256GCM', digest), 'REQUEST_INVALID'],
      [worker.sign(ec.ref, 'ES384', Buffer.alloc(48)), 'KEY_UNUSABLE'],
      [worker.sign(ec.ref, 'RS256', digest), 'KEY_UNUSABLE'],
      [worker.sign(aes.ref, 'HS256', digest), 'KEY_UNUSABLE'],
      [worker.encrypt(ec.ref, digest, AAD), 'KEY_UNUSABLE'],
      [worker.encrypt(aes.ref, Buffer.alloc(0), AAD), 'REQUEST_INVALID'],
      [worker.encrypt(aes.ref, digest, Buffer.alloc(0)), 'REQUEST_INVALID'],
      [worker.sign(999_999, 'ES256', digest), 'KEY_MISSING_ON_TOKEN'],
      [
        worker.decrypt(
          ec.ref,
          { iv: Buffer.alloc(0), sealed: digest, associatedData: Buffer.alloc(0) },
          { algorithm: 'RSA-OAEP-256' },
        ),
        'OPERATION_UNSUPPORTED',
      ],
    ];
    for (const [promise, reason] of cases)
      expect(await failure(promise)).toMatchObject({ reason, performed: 'no' });
  });

  it('refuses to bind what is missing or ambiguous, and says what there is', async () => {
    const missing = worker.administer({ op: 'bind', ref: 1, query: { ckaId: newId(), kind: 'private' } });
    expect(await failure(missing)).toMatchObject({ reason: 'KEY_MISSING_ON_TOKEN' });
    const label = `twice-${newId()}`;
    const ids = [newId(), newId()];
    for (const ckaId of ids) {
      const object = { ckaId, label, spec: { type: 'aes', bytes: 32 }, purpose: 'encrypt' } as const;
      await worker.administer({ op: 'generate', object });
    }
    const several = await failure(
      worker.administer({ op: 'bind', ref: 1, query: { label, kind: 'secret' } }),
    );
    expect(several).toMatchObject({ reason: 'KEY_UNUSABLE' });
    for (const ckaId of ids) expect(several.message).toContain(ckaId);
  });

  it('makes no second key under a CKA_ID, and none that the module cannot use', async () => {
    const { ckaId } = await make({ type: 'aes', bytes: 32 }, 'encrypt');
    const again = { ckaId, label: 'x', spec: { type: 'aes', bytes: 32 }, purpose: 'encrypt' } as const;
    expect(await failure(worker.administer({ op: 'generate', object: again }))).toMatchObject({
      reason: 'KEY_UNUSABLE',
    });
    expect(await worker.bind(1, ckaId, 'secret')).toMatchObject({ ckaId });
    const oaep = {
      ckaId: newId(),
      label: 'x',
      spec: { type: 'rsa', modulusBits: 2048 },
      purpose: 'encrypt',
    } as const;
    expect(await failure(worker.administer({ op: 'generate', object: oaep }))).toMatchObject({
      reason: 'OPERATION_UNSUPPORTED',
    });
  });

  it('destroys both halves of a key, and says so of one that is gone', async () => {
    const { ref, ckaId } = await make({ type: 'ec', curve: 'P-256' }, 'sign');
    await worker.administer({ op: 'destroy', query: { ckaId, kind: 'private' } });
    await worker.administer({ op: 'destroy', query: { ckaId, kind: 'private' } });
    expect(await failure(worker.sign(ref, 'ES256', Buffer.alloc(32)))).toMatchObject({
      reason: 'KEY_MISSING_ON_TOKEN',
      performed: 'no',
      ckr: 'CKR_OBJECT_HANDLE_INVALID',
    });
    expect(await failure(worker.bind(1, ckaId, 'private'))).toMatchObject({ reason: 'KEY_MISSING_ON_TOKEN' });
  });

  it('gives random bytes, and a bounded number of them', async () => {
    const first = await worker.random(32);
    expect(first.length).toBe(32);
    expect(await worker.random(32)).not.toEqual(first);
    expect(await failure(worker.random(0))).toMatchObject({ reason: 'REQUEST_INVALID' });
  });

  it('does not begin what is cancelled or late, and answers everything once', async () => {
    const { ref } = await make({ type: 'rsa', modulusBits: 2048 }, 'sign');
    const digest = Buffer.alloc(32, 7);
    const busy = Array.from({ length: 40 }, () => worker.sign(ref, 'RS256', digest));
    const cancelled = worker.request(WorkerFrame.Sign, signHeader(ref, 'RS256', 10_000), digest);
    const late = worker.sign(ref, 'RS256', digest, 0);
    worker.send(WorkerFrame.Cancel, cancelled.id);
    expect(await failure(cancelled.answer)).toMatchObject({ reason: 'CANCELLED', performed: 'no' });
    expect(await failure(late)).toMatchObject({ reason: 'DEADLINE_EXCEEDED', performed: 'no' });
    expect(new Set((await Promise.all(busy)).map((signature) => signature.toString('hex'))).size).toBe(1);
  });

  it('tells the token apart by serial too, and its flags without a login', async () => {
    const other = new TestWorker(token, { choice: { serial: token.serial } });
    const found = await other.heardJson<TokenInfo>(WorkerFrame.Found);
    expect(found).toMatchObject({
      serial: token.serial,
      label: token.label,
      software: true,
      pinCountLow: false,
    });
    expect(found.algorithms).not.toContain('RSA-OAEP-256' satisfies Algorithm);
    expect(found.algorithms).toHaveLength(14);
    expect(await other.stop()).toEqual({ code: 0, signal: null });
    expect(await worker.administer<TokenInfo>({ op: 'inspect' })).toMatchObject({ serial: token.serial });
  });

  it('says which tokens there are when the one asked for is not', async () => {
    const lost = new TestWorker(token, { choice: { label: 'nowhere' } });
    const gone = await lost.heardJson<{ reason: string; message: string }>(WorkerFrame.Gone);
    expect(gone).toMatchObject({ reason: 'TOKEN_UNREACHABLE' });
    expect(gone.message).toContain('"nowhere"');
    expect(gone.message).toContain(token.serial);
    expect((await lost.exited).code).toBe(0);
  });

  it('calls C_Login exactly once, with a wrong PIN too', async ({ skip }) => {
    const spy = '/usr/lib/x86_64-linux-gnu/pkcs11-spy.so';
    if (!fs.existsSync(spy)) skip('pkcs11-spy.so (package opensc) is not installed');
    const wrong = path.join(directory, 'wrong-pin');
    fs.writeFileSync(wrong, '99999999\n');
    const output = path.join(directory, 'spy.log');
    const environment = { PKCS11SPY: '/usr/lib/softhsm/libsofthsm2.so', PKCS11SPY_OUTPUT: output };
    const refused = new TestWorker(token, { pinFile: wrong, module: spy, environment });
    expect(await refused.logIn()).toEqual({ outcome: 'rejected', ckr: 'CKR_PIN_INCORRECT' });
    expect((await refused.exited).code).toBe(0);
    expect(fs.readFileSync(output, 'utf8').match(/C_Login$/gm)).toHaveLength(1);
  });

  it('ends itself on a malformed frame', async () => {
    const child = new TestWorker(token);
    await child.logIn();
    child.send(WorkerFrame.Sign, 1, Buffer.from([1]));
    expect((await child.exited).code).toBe(1);
  });

  it('finishes what runs and refuses what waits when it is stopped', async () => {
    const stopping = new TestWorker(token, { sessions: 1 });
    await stopping.logIn();
    const { ckaId } = await make({ type: 'rsa', modulusBits: 2048 }, 'sign');
    await stopping.bind(1, ckaId, 'private');
    // After a few the worker knows that they take long, and leaves them to its threads.
    for (let signed = 0; signed < 8; signed += 1) await stopping.sign(1, 'RS256', Buffer.alloc(32, 7));
    const asked = Array.from({ length: 8 }, () => stopping.sign(1, 'RS256', Buffer.alloc(32, 7)));
    const settled = Promise.allSettled(asked);
    expect(await stopping.stop()).toEqual({ code: 0, signal: null });
    const outcomes = await settled;
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'fulfilled') continue;
      expect((outcome.reason as WorkerError).failure).toMatchObject({
        reason: 'TOKEN_UNREACHABLE',
        performed: 'no',
      });
    }
  });

  it('says that it is gone when its token is', async () => {
    const away = makeDirectory();
    const lost = new TestWorker(makeToken(away, 'away'));
    await lost.logIn();
    const object = {
      ckaId: newId(),
      label: 'x',
      spec: { type: 'ec', curve: 'P-256' },
      purpose: 'sign',
    } as const;
    await lost.administer({ op: 'generate', object });
    await lost.bind(1, object.ckaId, 'private');
    await lost.sign(1, 'ES256', Buffer.alloc(32, 1));
    fs.renameSync(path.join(away, 'tokens'), path.join(away, 'elsewhere'));
    expect(await failure(lost.sign(1, 'ES256', Buffer.alloc(32, 1)))).toMatchObject({ performed: 'no' });
    expect(await lost.heardJson(WorkerFrame.Gone)).toMatchObject({ reason: 'TOKEN_UNREACHABLE' });
    await lost.exited;
    fs.rmSync(away, { recursive: true });
  });

  it('signs as its own user, who cannot read the PIN', async ({ skip }) => {
    if (process.getuid?.() !== 0) skip('only root can become another user');
    const user = { uid: 64_321, gid: 64_321, groups: [] };
    const own = makeDirectory();
    fs.chownSync(path.join(own, 'tokens'), user.uid, user.gid);
    fs.chmodSync(own, 0o755);
    const dropped = new TestWorker(makeToken(own, 'own', user), { user });
    expect(await dropped.logIn()).toEqual({ outcome: 'accepted' });
    const object = {
      ckaId: newId(),
      label: 'x',
      spec: { type: 'ec', curve: 'P-256' },
      purpose: 'sign',
    } as const;
    await dropped.administer({ op: 'generate', object });
    await dropped.bind(1, object.ckaId, 'private');
    expect(await dropped.sign(1, 'ES256', Buffer.alloc(32, 1))).toHaveLength(64);
    const status = fs.readFileSync(`/proc/${dropped.pid}/status`, 'utf8');
    expect(status).toMatch(/^Uid:\t64321\t64321\t64321\t64321$/m);
    expect(status).toMatch(/^Groups:\t\s*$/m);
    const files = fs.readdirSync(path.join(own, 'tokens'), { recursive: true, encoding: 'utf8' });
    expect(files.length).toBeGreaterThan(3);
    for (const file of files) expect(fs.statSync(path.join(own, 'tokens', file)).uid).toBe(user.uid);
    expect(await dropped.stop()).toEqual({ code: 0, signal: null });
    fs.rmSync(own, { recursive: true });
  });
});
