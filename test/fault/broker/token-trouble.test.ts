import { execFileSync } from 'node:child_process';
import {
  chownSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LastmileClient } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, runLastmile, startInstance } from '../../fakes/instance.ts';
import { operator, refusal, status, tokenOf, untilStatus, workload } from '../../fakes/instance-clients.ts';
import {
  edit,
  findings,
  isServing,
  KEY,
  killTokenWorker,
  Load,
  publicKeyOf,
  verifyAudit,
  wholeLog,
} from './harness.ts';

const SOFTHSM = '/usr/lib/softhsm/libsofthsm2.so';
const message = Buffer.from('a message');
const request = { key: KEY, algorithm: 'ES256', message };

const BROKEN_TOKENS = `
  - name: missing-module
    module: /usr/lib/softhsm/there-is-no-such-module.so
    label: nowhere
    pin: { file: secrets/token-b.pin }
  - name: not-a-module
    module: /usr/lib/x86_64-linux-gnu/libz.so.1
    label: nowhere
    pin: { file: secrets/token-b.pin }
  - name: uninitialised
    module: ${SOFTHSM}
    profile: softhsm2
    label: lastmile-c
    pin: { file: secrets/token-b.pin }
    directory: tokens/c
    environment: { SOFTHSM2_CONF: softhsm2.conf }
`;

describe('tokens that cannot be used', () => {
  it('are named with what is wrong, while the others serve', async () => {
    const instance = await startInstance({
      prepare: async (directory) => {
        edit(
          join(directory, 'lastmile.yaml'),
          '\n# Each process drops',
          `${BROKEN_TOKENS}\n# Each process drops`,
        );
        const { uid, gid } = statSync(join(directory, 'tokens', 'a'));
        for (const name of ['c', 'c/objects']) mkdirSync(join(directory, 'tokens', name), { mode: 0o700 });
        const conf = join(directory, 'tokens', 'c', 'softhsm2.conf');
        copyFileSync(join(directory, 'tokens', 'a', 'softhsm2.conf'), conf);
        for (const name of ['c', 'c/objects', 'c/softhsm2.conf'])
          chownSync(join(directory, 'tokens', name), uid === 0 ? 0 : uid + 5, gid === 0 ? 0 : gid + 5);
      },
    });
    try {
      const client = await workload(instance, 'payments', { maxAttempts: 1 });
      for (let i = 0; i < 20; i++) await client.sign(request);
      client.close();
      const asOperator = await operator(instance);
      const { tokens } = await status(asOperator);
      asOperator.close();
      const listed = await runLastmile(['tokens', 'list', '--instance', instance.directory]);
      const wrong = {
        'missing-module': 'there-is-no-such-module.so',
        'not-a-module': 'C_GetFunctionList',
        uninitialised: 'no token with label "lastmile-c"',
      };
      for (const [name, cause] of Object.entries(wrong)) {
        const token = tokens.find((candidate) => candidate.name === name)!;
        expect(['down', 'starting']).toContain(token.state);
        expect(token.advice).toContain(cause);
        expect(token.advice).toContain('look at the module, its configuration and the path to the HSM');
        expect(listed.split('\n').find((line) => line.startsWith(`${name}: `))).toContain(cause);
      }
    } finally {
      await instance.stop();
    }
  });
});

describe('objects that change behind the broker’s back', () => {
  let instance: RunningInstance;
  let client: LastmileClient;
  let asOperator: OperatorClient;

  beforeAll(async () => {
    instance = await startInstance();
    client = await workload(instance, 'payments', { maxAttempts: 1 });
    asOperator = await operator(instance);
  });

  afterAll(async () => {
    client?.close();
    asOperator?.close();
    await instance?.stop();
  });

  /** As somebody with the PIN does it: pkcs11-tool of OpenSC, as the user whom the files of the token belong to. */
  function pkcs11Tool(token: string, ...args: string[]): string {
    const cwd = join(instance.directory, 'tokens', token);
    const { uid, gid } = statSync(cwd);
    const pin = readFileSync(join(instance.directory, 'secrets', `token-${token}.pin`), 'utf8').trim();
    return execFileSync(
      'pkcs11-tool',
      ['--module', SOFTHSM, '--token-label', `lastmile-${token}`, '--login', '--pin', pin, ...args],
      { cwd, uid, gid, env: { PATH: process.env.PATH, SOFTHSM2_CONF: 'softhsm2.conf' }, encoding: 'utf8' },
    );
  }

  /** CKA_ID, hex. */
  function idOf(token: string, label: string): string {
    const blocks = pkcs11Tool(token, '--list-objects', '--type', 'privkey').split(/^(?=\S)/m);
    const id = blocks
      .find((block) => block.includes(`label:      ${label}\n`))
      ?.match(/ID: +([0-9a-f]+)/)?.[1];
    if (id === undefined) throw new Error(`no private key ${label} on ${token}`);
    return id;
  }

  /** The files of the two private EC keys of token `b`: SoftHSM2 keeps class and type in the clear. */
  function privateEcKeyFiles(token: string): string[] {
    const root = join(instance.directory, 'tokens', token, 'objects');
    // CKA_CLASS (0) is a number (2), CKO_PRIVATE_KEY (3); CKA_KEY_TYPE (0x100) is a number (2), CKK_EC (3).
    const wanted = [
      [0, 2, 3],
      [0x100, 2, 3],
    ].map((words) =>
      Buffer.concat(words.map((word) => Buffer.from(word.toString(16).padStart(16, '0'), 'hex'))),
    );
    return readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.object') && !name.endsWith('token.object'))
      .map((name) => join(root, name))
      .filter((path) => {
        const bytes = readFileSync(path);
        return wanted.every((part) => bytes.includes(part));
      });
  }

  /** Puts the bytes of one object in the place of another, as newer: its handle stays, and stands for another key. */
  function replaceInPlace(path: string, content: Buffer): void {
    const newer = Buffer.from(content);
    newer.writeBigUInt64BE(readFileSync(path).readBigUInt64BE(0) + 1n, 0);
    const { uid, gid } = statSync(path);
    writeFileSync(`${path}.new`, newer, { mode: 0o600 });
    chownSync(`${path}.new`, uid, gid);
    renameSync(`${path}.new`, path);
  }

  it('a key that turned into another one signs wrongly once: nothing of it is released, the token leaves service', async () => {
    const publicKey = await publicKeyOf(client);
    const load = new Load(client, 'replaced in place', 8);
    await load.more(100);
    const [first, second, ...others] = privateEcKeyFiles('b').map((path) => ({
      path,
      content: readFileSync(path),
    }));
    expect(others).toEqual([]);
    replaceInPlace(first!.path, second!.content);
    replaceInPlace(second!.path, first!.content);
    const now = await untilStatus(asOperator, (status) => tokenOf(status, 'b').state === 'blocked');
    await load.more(100);
    await load.stop();
    expect(load.reasons()).toEqual({});
    const log = await wholeLog(asOperator);
    expect(findings(load.held, publicKey, log)).toEqual([]);
    expect(
      [...log.values()].flatMap(({ attempts = [] }) => attempts).map(({ outcome }) => outcome),
    ).toContain('mismatch');
    expect(tokenOf(now, 'b').advice).toContain(`a signature of ${KEY}#1 does not verify`);
    expect(tokenOf(now, 'b').advice).toContain('lastmile tokens unblock b');

    // Whoever changed places took its CKA_ID along: found again by that and proven, both keys are what they were.
    await runLastmile([
      'tokens',
      'unblock',
      'b',
      '--reason',
      'looked into',
      '--instance',
      instance.directory,
    ]);
    await untilStatus(asOperator, (status) => isServing(status, 'b'));
  });

  it('a key replaced under its id and label is refused on that token, while it serves and after a restart', async () => {
    const publicKey = await publicKeyOf(client);
    const load = new Load(client, 'replaced by label', 8);
    await load.more(100);
    const id = idOf('a', `${KEY}#1`);
    for (const type of ['privkey', 'pubkey']) pkcs11Tool('a', '--delete-object', '--type', type, '--id', id);
    pkcs11Tool('a', '--keypairgen', '--key-type', 'EC:prime256v1', '--label', `${KEY}#1`, '--id', id);
    await load.more(200);
    await untilStatus(
      asOperator,
      (now) => tokenOf(now, 'a').unusableKeys.join() === `${KEY}#1: the object is gone`,
    );

    await killTokenWorker(asOperator, 'a');
    const after = await untilStatus(asOperator, (now) => tokenOf(now, 'a').unusableKeys.length > 0);
    expect(tokenOf(after, 'a').unusableKeys.join()).toContain('another key');
    expect(tokenOf(after, 'a').keys).not.toContain(`${KEY}#1`);
    await load.more(100);
    await load.stop();
    expect(load.reasons()).toEqual({});
    expect(findings(load.held, publicKey, await wholeLog(asOperator))).toEqual([]);
  });

  it('a key deleted everywhere is KEY_UNUSABLE, and the status says where it is missing', async () => {
    const id = idOf('b', `${KEY}#1`);
    pkcs11Tool('b', '--delete-object', '--type', 'privkey', '--id', id);
    const refused = await refusal(client.sign(request));
    expect(refused).toMatchObject({ code: 'FAILED_PRECONDITION', reason: 'KEY_UNUSABLE' });
    const now = await status(asOperator);
    for (const name of ['a', 'b']) {
      expect(tokenOf(now, name).state).toBe('ready');
      expect(tokenOf(now, name).unusableKeys.join()).toContain(`${KEY}#1`);
    }
    // Other keys of the same tokens are served as before.
    await client.mac({ key: 'payments/webhook', message });
    await client.encrypt({ key: 'payments/data', plaintext: message });
    expect(JSON.parse(await verifyAudit(instance))).toMatchObject({ isSound: true });
  });
});
