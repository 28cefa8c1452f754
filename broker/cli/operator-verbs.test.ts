import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CommandLine } from '../../test/fakes/command-line.ts';

const LOG = { origin: 'example.org/log', leafIndex: 7 };
let shell: CommandLine;
beforeAll(async () => {
  shell = await CommandLine.start();
});
afterAll(() => shell.stop());
beforeEach(() => shell.forgetWhatWas());

const KEY = {
  key: 'payments/jwt',
  version: 1,
  purpose: 'sign',
  algorithms: ['ES256'],
  state: 'active',
  createdAt: '2026-11-21T04:00:00.000Z',
  provenance: 'replicated',
  tokens: ['a', 'b'],
  provenOn: ['a'],
  verify: 'always',
  publicKeyPem: '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n',
  kid: 'kid1',
};
const TOKEN = {
  name: 'a',
  serial: '0123',
  label: 'token-a\u001b[31m',
  model: 'SoftHSM v2',
  state: 'blocked',
  advice: 'correct the PIN, then `lastmile tokens unblock a`',
  software: true,
  sessionsLimit: 8,
  sessionsInUse: 1,
  keys: ['payments/jwt'],
  unusableKeys: ['payments/data#1: missing'],
};

describe('keys', () => {
  it('list is an aligned table', async () => {
    shell.answers('ListKeyVersions', { keys: [KEY] });
    expect((await shell.run(['keys', 'list'])).out).toBe(
      'KEY           VERSION  PURPOSE  ALGORITHMS  STATE   TOKENS  PROVEN ON  PROVENANCE\n' +
        'payments/jwt  1        sign     ES256       active  a,b     a          replicated\n',
    );
    expect(JSON.parse((await shell.run(['keys', 'list', '--json'])).out)).toMatchObject([KEY]);
  });

  it('show has the public key', async () => {
    shell.answers('GetKey', { versions: [KEY] });
    const run = await shell.run(['keys', 'show', 'payments/jwt']);
    expect(shell.seen).toMatchObject({ key: 'payments/jwt' });
    expect(run.out).toContain('proven on:  a\n');
    expect(run.out.endsWith('-----END PUBLIC KEY-----\n')).toBe(true);
  });

  it('create sends what was asked for', async () => {
    shell.answers('CreateKey', { versions: [KEY], log: LOG });
    const argv = [
      'keys',
      'create',
      'r',
      '--purpose',
      'sign',
      '--algorithm',
      'RS256',
      '--algorithm',
      'PS256',
      '--token',
      'b',
      '--modulus-bits',
      '3072',
    ];
    expect((await shell.run(argv)).code).toBe(0);
    expect(shell.seen).toMatchObject({
      key: 'r',
      purpose: 'sign',
      algorithms: ['RS256', 'PS256'],
      tokens: ['b'],
      modulusBits: 3072,
      verify: '',
    });
  });

  it('import binds by label, or unwraps a blob', async () => {
    shell.answers('ImportKey', { version: KEY, log: LOG });
    const argv = ['keys', 'import', 'k', '--purpose', 'sign', '--algorithm', 'ES256', '--token', 'a'];
    await shell.run([...argv, '--label', 'old']);
    expect(shell.seen).toMatchObject({ key: 'k', token: 'a', label: 'old' });
    writeFileSync(shell.path('blob'), 'wrapped');
    writeFileSync(shell.path('key.pem'), 'PEM');
    await shell.run([
      ...argv,
      '--wrapped',
      'blob',
      '--unwrapping-key',
      '01',
      '--mechanism',
      'aes-kwp',
      '--public-key',
      'key.pem',
    ]);
    expect(shell.seen?.['wrapped']).toMatchObject({
      blob: Buffer.from('wrapped'),
      unwrappingKey: '01',
      mechanism: 'aes-kwp',
      publicKeyPem: 'PEM',
    });
  });
});

describe('tokens', () => {
  it('list says what to do, and does not obey labels', async () => {
    shell.answers('ListTokens', { tokens: [TOKEN] });
    const { out } = await shell.run(['tokens', 'list']);
    expect(out).toContain('a: correct the PIN, then `lastmile tokens unblock a`\n');
    expect(out).toContain('a: cannot use payments/data#1: missing\n');
    expect(out).not.toContain('\u001b');
  });

  it('status shows one token with its errors, and knows no other', async () => {
    const errors = { CKR_DEVICE_ERROR: 3 };
    shell.answers('ListTokens', { tokens: [{ ...TOKEN, errors, serviceMicros: 1250, pinFinalTry: true }] });
    const { out } = await shell.run(['tokens', 'status', 'a']);
    expect(out).toContain('CKR_DEVICE_ERROR 3\n');
    expect(out).toContain('1.25 ms\n');
    expect(out).toContain('one try left before it locks\n');
    expect(out).not.toContain('\u001b');
    expect((await shell.run(['tokens', 'status', 'z'])).code).toBe(2);
  });

  it.each(['drain', 'undrain'])('%s needs a reason and sends it', async (verb) => {
    shell.answers(verb === 'drain' ? 'DrainToken' : 'UndrainToken', { log: LOG, inFlight: 2 });
    expect((await shell.run(['tokens', verb, 'a'])).code).toBe(2);
    const { code, out } = await shell.run(['tokens', verb, 'a', '--reason', 'firmware']);
    expect(code).toBe(0);
    expect(out).toBe(
      verb === 'drain'
        ? 'a gets no more work; it still has 2 operations\n'
        : 'a is in service again; `lastmile tokens list` shows its state\n',
    );
    expect(shell.seen).toMatchObject({ token: 'a', reason: 'firmware' });
  });

  it('unblock needs a reason and sends it', async () => {
    shell.answers('UnblockToken', { log: LOG });
    expect((await shell.run(['tokens', 'unblock', 'a'])).code).toBe(2);
    expect((await shell.run(['tokens', 'unblock', 'a', '--reason', 'corrected'])).code).toBe(0);
    expect(shell.seen).toMatchObject({ token: 'a', reason: 'corrected' });
  });
});

describe('freeze', () => {
  it.each(['freeze', 'unfreeze'])('%s sends kind, subject and reason', async (verb) => {
    shell.answers(verb === 'freeze' ? 'Freeze' : 'Unfreeze', { log: LOG });
    const run = await shell.run([verb, 'key', 'payments/jwt', '--reason', 'INC-12']);
    expect(run.out).toMatch(/^key payments\/jwt is .*frozen; log entry 7\n$/);
    expect(shell.seen).toMatchObject({ kind: 'key', subject: 'payments/jwt', reason: 'INC-12' });
  });
});

describe('status', () => {
  const status = {
    state: 'serving',
    warnings: ['processes not isolated', 'software token'],
    version: '0.1.0',
    origin: 'example.org/log',
    policyHash: 'sha256:00',
    logSize: 12,
    checkpointSize: 10,
    processes: [{ role: 'broker', pid: 1, uid: 0, state: 'running', restarts: 0, residentBytes: 69206016 }],
    tokens: [TOKEN],
    refusedHandshakes: { SVID_EXPIRED: 3 },
    reads: { Verify: 12, ListKeys: 1 },
  };

  it('begins with the warnings', async () => {
    shell.answers('GetStatus', status);
    const run = await shell.run(['status']);
    expect(run.code).toBe(0);
    expect(run.out).toMatch(/^warning: processes not isolated\nwarning: software token\n\nstate: +serving\n/);
    expect(run.out).toContain('12, of them 10 under a signed checkpoint');
    expect(run.out).toContain('SVID_EXPIRED 3');
    expect(run.out).toMatch(/^reads: +Verify 12, ListKeys 1$/m);
    expect(run.out).toContain('66 MiB');
  });

  it('ends with 1 when the broker is not serving', async () => {
    shell.answers('GetStatus', { ...status, state: 'not-serving', auditFailure: 'disk full' });
    expect(await shell.run(['status'])).toMatchObject({ code: 1, err: 'error: the broker is not-serving\n' });
  });
});
