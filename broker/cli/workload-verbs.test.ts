import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CommandLine } from '../../test/fakes/command-line.ts';
import { refusal } from '../../test/fakes/fake-broker.ts';

const LOG = { origin: 'example.org/log', leafIndex: 7 };
const TOKEN_KEY = randomBytes(32);
let shell: CommandLine;
let seen: Record<string, unknown>;

/** What a token would do, done here: the verbs are under test, not the broker. */
function sealByToken(plaintext: Buffer, associatedData: Buffer): Buffer {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', TOKEN_KEY, iv).setAAD(associatedData);
  return Buffer.concat([iv, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

function openByToken(ciphertext: Buffer, associatedData: Buffer): Buffer {
  try {
    const decipher = createDecipheriv('aes-256-gcm', TOKEN_KEY, ciphertext.subarray(0, 12)).setAAD(
      associatedData,
    );
    decipher.setAuthTag(ciphertext.subarray(-16));
    return Buffer.concat([decipher.update(ciphertext.subarray(12, -16)), decipher.final()]);
  } catch (cause) {
    throw Object.assign(refusal('CIPHERTEXT_REJECTED', 'no', 'the ciphertext was rejected'), { cause });
  }
}

beforeAll(async () => {
  shell = await CommandLine.start();
});
afterAll(() => shell.stop());

beforeEach(() => {
  const { answers } = shell.broker;
  answers.clear();
  seen = {};
  answers.set('GetPublicKey', () => ({
    pem: 'PEM\n',
    jwk: '{"kty":"EC"}',
    kid: 'k',
    version: 1,
    algorithms: ['ES256'],
    otherJwks: [],
  }));
  answers.set('Sign', (request, call) => {
    seen = { ...request, peer: call.peerSpiffeId };
    return { signature: Buffer.from('signature'), version: 2, log: LOG };
  });
  answers.set('Verify', (request) => {
    seen = { ...request };
    return { valid: (request.signature as Buffer).toString() === 'signature', version: 2 };
  });
  answers.set('Encrypt', (request) => ({
    ciphertext: sealByToken(request.plaintext as Buffer, request.associatedData as Buffer),
    version: 1,
    log: LOG,
  }));
  answers.set('GenerateDataKey', (request) => {
    const plaintext = randomBytes(request.length as number);
    return {
      plaintext,
      wrapped: sealByToken(plaintext, request.associatedData as Buffer),
      version: 1,
      log: LOG,
    };
  });
  answers.set('Decrypt', (request) => ({
    plaintext: openByToken(request.ciphertext as Buffer, request.associatedData as Buffer),
    version: 1,
    log: LOG,
  }));
  const hmac = (message: unknown): Buffer =>
    createHmac('sha256', TOKEN_KEY)
      .update(message as Buffer)
      .digest();
  answers.set('Mac', (request) => ({ mac: hmac(request.message), version: 1, log: LOG }));
  answers.set('VerifyMac', (request) => ({
    valid: timingSafeEqual(hmac(request.message), request.mac as Buffer),
    version: 1,
    log: LOG,
  }));
  answers.set('GenerateRandom', (request) => ({
    random: Buffer.alloc(request.length as number, 7),
    log: LOG,
  }));
});

describe('sign', () => {
  it('writes the signature of a file, as the profile that was named', async () => {
    writeFileSync(shell.path('message'), 'hello');
    const run = await shell.run([
      'sign',
      'payments/jwt',
      'message',
      '--as',
      'payments',
      '--out',
      'message.sig',
      '--der',
    ]);
    expect(run).toMatchObject({ code: 0, out: '', err: '' });
    expect(readFileSync(shell.path('message.sig'), 'utf8')).toBe('signature');
    expect(seen).toMatchObject({
      key: 'payments/jwt',
      algorithm: 'ES256',
      message: Buffer.from('hello'),
      signatureFormat: 1,
      peer: 'spiffe://example.org/ns/payments/sa/api',
    });
  });

  it('reads standard input and shows base64 on a terminal, bytes in a pipe', async () => {
    const stdin = Buffer.from('from a pipe');
    const argv = ['sign', 'k', '--as', 'payments', '--algorithm', 'ES256'];
    expect((await shell.run(argv, { stdin })).stdout.toString()).toBe('signature');
    expect(seen.message).toEqual(stdin);
    expect((await shell.run(argv, { stdin, isTTY: true })).out).toBe('c2lnbmF0dXJl\n');
    expect((await shell.run([...argv, '--encoding', 'hex'], { stdin })).out).toBe('7369676e6174757265\n');
  });

  it('prints JSON', async () => {
    const run = await shell.run(['sign', 'k', '--as', 'payments', '--json'], { stdin: Buffer.from('x') });
    expect(JSON.parse(run.out)).toEqual({
      key: 'k',
      algorithm: 'ES256',
      signature: 'c2lnbmF0dXJl',
      version: 2,
      log: LOG,
    });
  });

  it('sends the digest of what is above 1 MiB', async () => {
    const large = randomBytes(1024 * 1024 + 1);
    expect((await shell.run(['sign', 'k', '--as', 'payments'], { stdin: large })).code).toBe(0);
    expect(seen.digest).toEqual(createHash('sha256').update(large).digest());
    expect(seen.message).toBeUndefined();
  });

  it('refuses what is above 1 MiB for Ed25519, with advice', async () => {
    const run = await shell.run(['sign', 'k', '--as', 'payments', '--algorithm', 'Ed25519'], {
      stdin: Buffer.alloc(1024 * 1024 + 1),
    });
    expect(run.code).toBe(2);
    expect(run.err).toBe(
      'error: the input is above 1 MiB, and Ed25519 signs whole messages\nnext: sign a digest of it as the message, or use an ECDSA or RSA key\n',
    );
  });

  it('refuses a digest of the wrong length before it is sent', async () => {
    const run = await shell.run(['sign', 'k', '--as', 'payments', '--digest'], { stdin: Buffer.alloc(31) });
    expect(run).toMatchObject({
      code: 2,
      err: 'error: a digest for ES256 has 32 bytes, this input has 31\n',
    });
  });
});

describe('verify', () => {
  it('says valid, or ends with 4', async () => {
    writeFileSync(shell.path('good.sig'), 'signature');
    writeFileSync(shell.path('bad.sig'), 'another');
    const good = await shell.run(['verify', 'k', '--as', 'payments', '--signature', 'good.sig'], {
      stdin: Buffer.from('x'),
    });
    expect(good).toMatchObject({ code: 0, out: 'valid, by k version 2\n' });
    const bad = await shell.run(['verify', 'k', '--as', 'payments', '--signature', 'bad.sig'], {
      stdin: Buffer.from('x'),
    });
    expect(bad.code).toBe(4);
    expect(bad.err).toContain('error: the signature is not one of `k` (version 2) over this input');
    const asJson = await shell.run(['verify', 'k', '--as', 'payments', '--signature', 'bad.sig', '--json'], {
      stdin: Buffer.from('x'),
    });
    expect([asJson.code, JSON.parse(asJson.out)]).toEqual([4, { key: 'k', valid: false, version: 2 }]);
  });
});

describe('encrypt and decrypt', () => {
  it.each([
    ['1 byte', 1, 'lastmile-ciphertext'],
    ['64 KiB', 65_536, 'lastmile-ciphertext'],
    ['one byte more', 65_537, 'lastmile-envelope-v1'],
    ['nothing', 0, 'lastmile-envelope-v1'],
    ['several frames', 300_000, 'lastmile-envelope-v1'],
  ])('return %s, with associated data', async (_what, size, format) => {
    const plaintext = randomBytes(size);
    writeFileSync(shell.path('plain'), plaintext);
    const as = ['--as', 'payments', '--associated-data', 'order 17'];
    const sealed = await shell.run(['encrypt', 'k', 'plain', ...as, '--out', 'sealed', '--json']);
    expect(JSON.parse(sealed.out)).toMatchObject({ key: 'k', format, version: 1, log: LOG });
    const opened = await shell.run(['decrypt', 'k', 'sealed', ...as, '--out', 'opened']);
    expect(opened).toMatchObject({ code: 0, err: '' });
    expect(readFileSync(shell.path('opened')).equals(plaintext)).toBe(true);
    expect(statSync(shell.path('opened')).mode & 0o077).toBe(0);
  });

  it.each([100, 200_000])('refuse %d bytes under other associated data, with exit code 4', async (size) => {
    await shell.run(['encrypt', 'k', '--as', 'payments', '--associated-data', 'a', '--out', 'sealed'], {
      stdin: randomBytes(size),
    });
    const run = await shell.run([
      'decrypt',
      'k',
      'sealed',
      '--as',
      'payments',
      '--associated-data',
      'b',
      '--out',
      'not-there',
    ]);
    expect(run.code).toBe(4);
    expect(run.err).toContain('error: CIPHERTEXT_REJECTED: the ciphertext was rejected');
    expect(existsSync(shell.path('not-there'))).toBe(false);
  });

  it('leave no file, and the old one in place, when the end is cut off', async () => {
    await shell.run(['encrypt', 'k', '--as', 'payments', '--out', 'sealed'], { stdin: randomBytes(200_000) });
    writeFileSync(shell.path('cut'), readFileSync(shell.path('sealed')).subarray(0, -1));
    writeFileSync(shell.path('target'), 'what was there');
    const before = readdirSync(shell.cwd);
    const run = await shell.run(['decrypt', 'k', 'cut', '--as', 'payments', '--out', 'target']);
    expect(run).toMatchObject({
      code: 4,
      err: 'error: the file is damaged, or was cut off at its frame 3\n',
    });
    expect(readFileSync(shell.path('target'), 'utf8')).toBe('what was there');
    expect(readdirSync(shell.cwd)).toEqual(before);
  });

  it('do not take a wrapped data key for a ciphertext of its own', async () => {
    await shell.run(['encrypt', 'k', '--as', 'payments', '--out', 'sealed'], { stdin: randomBytes(70_000) });
    const sealed = readFileSync(shell.path('sealed'));
    writeFileSync(shell.path('wrapped'), sealed.subarray(25, 25 + sealed.readUInt32BE(21)));
    const run = await shell.run(['decrypt', 'k', 'wrapped', '--as', 'payments', '--out', 'key']);
    expect(run.code).toBe(4);
    expect(existsSync(shell.path('key'))).toBe(false);
  });

  it('do not write a ciphertext to a terminal', async () => {
    const run = await shell.run(['encrypt', 'k', '--as', 'payments'], {
      stdin: Buffer.from('x'),
      isTTY: true,
    });
    expect(run).toMatchObject({ code: 2, out: '' });
  });

  it('work through pipes', async () => {
    const sealed = await shell.run(['encrypt', 'k', '--as', 'payments'], { stdin: Buffer.alloc(100_000, 3) });
    const opened = await shell.run(['decrypt', 'k', '-', '--as', 'payments'], { stdin: sealed.stdout });
    expect(opened.stdout.equals(Buffer.alloc(100_000, 3))).toBe(true);
  });
});

describe('mac, random, public-key', () => {
  it('makes and verifies a MAC', async () => {
    const made = await shell.run(['mac', 'k', '--as', 'payments', '--out', 'body.mac'], {
      stdin: Buffer.from('body'),
    });
    expect(made.code).toBe(0);
    const argv = ['mac', 'k', '--as', 'payments', '--verify', 'body.mac'];
    expect(await shell.run(argv, { stdin: Buffer.from('body') })).toMatchObject({
      code: 0,
      out: 'valid, by k version 1\n',
    });
    expect(await shell.run(argv, { stdin: Buffer.from('other') })).toMatchObject({ code: 4 });
  });

  it('gives random bytes, and does not print those that went to a file', async () => {
    expect((await shell.run(['random', '4', '--as', 'payments', '--encoding', 'hex'])).out).toBe(
      '07070707\n',
    );
    const run = await shell.run(['random', '4', '--as', 'payments', '--out', 'secret', '--json']);
    expect(JSON.parse(run.out)).toEqual({ log: LOG });
    expect(statSync(shell.path('secret')).mode & 0o777).toBe(0o600);
  });

  it('prints a public key as PEM or JWK', async () => {
    expect((await shell.run(['public-key', 'k', '--as', 'payments'])).out).toBe('PEM\n');
    expect(
      JSON.parse((await shell.run(['public-key', 'k', '--as', 'payments', '--format', 'jwks'])).out),
    ).toEqual({ keys: [{ kty: 'EC' }] });
  });
});
