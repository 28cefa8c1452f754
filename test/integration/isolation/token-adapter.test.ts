import { spawn } from 'node:child_process';
import { createHash, createPublicKey, verify } from 'node:crypto';
import { once } from 'node:events';
import { chownSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  AdapterError,
  type TokenAdapter,
  type TokenConfig,
  type TokenState,
} from '../../../hsm-adapters/adapter.ts';
import { roleUsers } from '../../../hsm-adapters/frames/isolation.ts';
import { createTokenAdapter } from '../../../hsm-adapters/supervisor/token-supervisor.ts';
import { FakeLedger } from '../../fakes/fake-token-worker.ts';
import { MODULE, makeDirectory, makeToken, type SoftToken } from '../pkcs11/soft-token.ts';

const CKA_ID = '000102030405060708090a0b0c0d0e0f';
const AES_ID = 'f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff';
const MESSAGE = Buffer.from('a message');
const DIGEST = createHash('sha256').update(MESSAGE).digest();
// As root the worker has a user of its own, which cannot read the PIN; otherwise the same without.
const user = roleUsers().worker(0);

let token: SoftToken;
let ledger: FakeLedger;
let adapter: TokenAdapter;
const log: string[] = [];

beforeEach(() => {
  const directory = makeDirectory();
  if (user !== undefined)
    for (const path of ['', 'tokens']) chownSync(join(directory, path), user.uid, user.gid);
  token = makeToken(directory, 'supervised', user);
  ledger = new FakeLedger();
  log.length = 0;
});

afterEach(async () => {
  await adapter.close();
  expect(adapter.worker).toBe(undefined);
  rmSync(token.directory, { recursive: true });
});

function open(config: Partial<TokenConfig> = {}): TokenAdapter {
  adapter = createTokenAdapter({
    config: {
      name: 'one',
      module: MODULE,
      profile: 'softhsm2',
      label: token.label,
      pin: { kind: 'file', path: token.pinFile },
      sessions: 3,
      directory: token.directory,
      environment: { SOFTHSM2_CONF: 'softhsm2.conf' },
      groups: [],
      hangLimitMs: 10_000,
      ...config,
    },
    ledger,
    user,
    log: (line) => log.push(line),
  });
  return adapter;
}

/** Resolves when the token gets there, or is there. */
function reaches(state: TokenState): Promise<void> {
  if (adapter.state === state) return Promise.resolve();
  return new Promise((resolve) => {
    const leave = adapter.watch((now) => {
      if (now.state !== state) return;
      leave();
      resolve();
    });
  });
}

const soon = () => ({ deadline: performance.now() + 20_000 });
const sign = () => adapter.sign({ object: 1, algorithm: 'ES256', data: DIGEST }, soon());

function isGood(signature: Uint8Array, publicKey: Uint8Array): boolean {
  const key = createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' });
  return verify('sha256', MESSAGE, { key, dsaEncoding: 'ieee-p1363' }, signature);
}

async function makeKey(): Promise<Uint8Array> {
  const { publicKey } = await adapter.administration.generate({
    ckaId: CKA_ID,
    label: 'test/key',
    spec: { type: 'ec', curve: 'P-256' },
    purpose: 'sign',
  });
  await adapter.administration.bind(1, { ckaId: CKA_ID, kind: 'private' });
  return publicKey;
}

describe('a token behind its worker process', () => {
  test('serves, with the PIN of a command', async () => {
    open({ pin: { kind: 'command', argv: ['cat', token.pinFile] } });
    await reaches('ready');
    expect(adapter.info).toMatchObject({
      serial: token.serial,
      label: token.label,
      software: true,
      sessions: 3,
    });
    expect(adapter.worker?.uid).toBe(user?.uid ?? process.getuid?.());
    const publicKey = await makeKey();
    const signatures = await Promise.all(Array.from({ length: 12 }, sign));
    expect(signatures.every((signature) => isGood(signature, publicKey))).toBe(true);

    await adapter.administration.generate({
      ckaId: AES_ID,
      label: 'test/aes',
      spec: { type: 'aes', bytes: 32 },
      purpose: 'encrypt',
    });
    await adapter.administration.bind(2, { ckaId: AES_ID, kind: 'secret' });
    const associatedData = Buffer.from('context');
    const { iv, sealed, session } = await adapter.encrypt(
      2,
      Buffer.from('plaintext'),
      associatedData,
      soon(),
    );
    const message = {
      object: 2,
      algorithm: 'A256GCM',
      iv,
      sealed,
      associatedData,
      notSession: session,
    } as const;
    expect(Buffer.from(await adapter.decrypt(message, soon())).toString()).toBe('plaintext');
    const tampered = adapter.decrypt({ ...message, associatedData: Buffer.from('another') }, soon());
    await expect(tampered).rejects.toMatchObject({ reason: 'CIPHERTEXT_REJECTED' });
    expect(adapter.state).toBe('ready');
    const random = await adapter.random(32, soon());
    expect(random).toHaveLength(32);
    expect(random).not.toEqual(await adapter.random(32, soon()));
  });

  test('is back after its worker was killed under load, and every caller has an answer', async () => {
    open();
    await reaches('ready');
    const publicKey = await makeKey();
    const down = reaches('down');
    const load = Array.from({ length: 12 }, sign);
    process.kill(adapter.worker!.pid, 'SIGKILL');
    const outcomes = await Promise.allSettled(load);
    await down;
    for (const outcome of outcomes) {
      if (outcome.status === 'fulfilled') expect(isGood(outcome.value, publicKey)).toBe(true);
      else expect(outcome.reason).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'unknown' });
    }
    await reaches('ready');
    expect(adapter).toMatchObject({ loginGeneration: 2, inFlight: 0 });
    expect(adapter.worker?.restarts).toBe(1);
    await expect(sign()).rejects.toMatchObject({ reason: 'KEY_MISSING_ON_TOKEN', performed: 'no' });
    await adapter.administration.bind(1, { ckaId: CKA_ID, kind: 'private' });
    expect(isGood(await sign(), publicKey)).toBe(true);
  });

  test('tries a wrong PIN once, and the right one after an unblock', async () => {
    writeFileSync(token.pinFile, 'wrong\n');
    open();
    await reaches('blocked');
    expect(adapter.advice).toContain('CKR_PIN_INCORRECT');
    expect(ledger.events).toEqual([
      `attempt ${token.serial} file:${token.pinFile}`,
      `rejected ${token.serial} file:${token.pinFile}`,
    ]);
    await adapter.close();
    open();
    await reaches('blocked');
    expect(ledger.events).toHaveLength(2);
    writeFileSync(token.pinFile, '4321\n');
    await adapter.unblock();
    await reaches('ready');
    expect(ledger.events.slice(2)).toEqual([
      `clear ${token.serial}`,
      `attempt ${token.serial} file:${token.pinFile}`,
      `accepted ${token.serial} file:${token.pinFile}`,
    ]);
  });

  test('a PIN command that fails is no login', async () => {
    open({ pin: { kind: 'command', argv: ['false'] } });
    await reaches('down');
    expect(ledger.events).toEqual([]);
    expect(adapter.advice).toContain('PIN');
  });

  test('a module that is not there is named', async () => {
    open({ module: '/usr/lib/nonexistent/module.so' });
    await reaches('down');
    expect(adapter.advice).toContain('/usr/lib/nonexistent/module.so');
    await expect(sign()).rejects.toBeInstanceOf(AdapterError);
  });

  test.skipIf(!existsSync('/usr/bin/python3'))(
    'a module that hangs is replaced (needs python3)',
    async () => {
      open({ hangLimitMs: 300 });
      await reaches('ready');
      const publicKey = await makeKey();
      const [name = ''] = readdirSync(join(token.directory, 'tokens'));
      // SoftHSM waits for this lock without end.
      const script = `import fcntl,sys
file=open(sys.argv[1],'r+')
fcntl.lockf(file,fcntl.LOCK_EX)
print('held',flush=True)
sys.stdin.read()`;
      const holder = spawn('/usr/bin/python3', [
        '-c',
        script,
        join(token.directory, 'tokens', name, 'generation'),
      ]);
      await once(holder.stdout, 'data');
      const first = adapter.worker?.pid;
      await expect(sign()).rejects.toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'unknown' });
      expect(log.join('\n')).toContain('has not answered for 300 ms');
      holder.stdin.end();
      await reaches('ready');
      expect(adapter.worker?.pid).not.toBe(first);
      await adapter.administration.bind(1, { ckaId: CKA_ID, kind: 'private' });
      expect(isGood(await sign(), publicKey)).toBe(true);
    },
  );
});
