import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CommandLine } from '../../test/fakes/command-line.ts';

const LOG = { origin: 'example.org/log', leafIndex: 7 };
const CSR = Buffer.from([0x30, 0x01, 0x00]);
let shell: CommandLine;

beforeAll(async () => {
  shell = await CommandLine.start();
});
afterAll(() => shell.stop());

beforeEach(() => {
  shell.forgetWhatWas();
  const made = { version: 2, log: LOG };
  shell.answers('SignJwt', { ...made, jwt: 'head.claims.signature' });
  shell.answers('SignCertificate', { ...made, certificate: Buffer.from('certificate') });
  shell.answers('SignDsse', { ...made, envelope: Buffer.from('{"payloadType":"x"}') });
});

describe('sign-jwt', () => {
  it('signs claims of standard input and prints the JWT', async () => {
    const run = await shell.run(['sign-jwt', 'payments/jwt', '--lifetime', '15m', '--as', 'payments'], {
      stdin: Buffer.from('{"sub":"a"}'),
    });
    expect(run).toMatchObject({ code: 0, out: 'head.claims.signature\n', err: '' });
    expect(shell.seen).toMatchObject({
      key: 'payments/jwt',
      claims: Buffer.from('{"sub":"a"}'),
      lifetimeSeconds: 900,
      type: '',
      algorithm: '',
      version: 0,
    });
  });

  it.each(['15', '0s', '500ms', '1.5h', '-1m', ''])('does not take the lifetime %j', async (lifetime) => {
    const run = await shell.run(['sign-jwt', 'k', `--lifetime=${lifetime}`, '--as', 'payments'], {
      stdin: Buffer.from('{}'),
    });
    expect(run.code).toBe(2);
    expect(shell.seen).toBeUndefined();
  });

  it('says when claims are too many, and sends nothing', async () => {
    const run = await shell.run(['sign-jwt', 'k', '--lifetime', '1m', '--as', 'payments'], {
      stdin: Buffer.alloc(16 * 1024 + 1, 0x20),
    });
    expect(run).toMatchObject({ code: 2, err: expect.stringContaining('over 16 KiB') });
    expect(shell.seen).toBeUndefined();
  });
});

describe('sign-certificate', () => {
  it('takes a CSR as DER or PEM, and writes PEM', async () => {
    writeFileSync(shell.path('a.csr'), CSR);
    const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${CSR.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
    writeFileSync(shell.path('b.csr'), pem);
    for (const file of ['a.csr', 'b.csr']) {
      const argv = ['sign-certificate', 'ca', file, '--profile', 'web', '--lifetime', '1d', '--out', 'a.pem'];
      expect(await shell.run([...argv, '--as', 'payments'])).toMatchObject({ code: 0, out: '', err: '' });
      expect(shell.seen).toMatchObject({ key: 'ca', profile: 'web', csr: CSR, lifetimeSeconds: 86_400 });
      expect(readFileSync(shell.path('a.pem'), 'utf8')).toBe(
        `-----BEGIN CERTIFICATE-----\n${Buffer.from('certificate').toString('base64')}\n-----END CERTIFICATE-----\n`,
      );
    }
  });

  it('takes names with a bare key', async () => {
    const argv = ['sign-certificate', 'ca', '--self', '--profile', 'root', '--as', 'payments'];
    const names = [
      '--subject',
      'CN=a=b',
      '--subject',
      'O=Example',
      '--dns',
      'a.example',
      '--dns',
      'b.example',
    ];
    expect((await shell.run([...argv, ...names, '--ip', '10.0.0.1'])).code).toBe(0);
    expect(shell.seen).toMatchObject({
      publicKey: {
        spki: Buffer.alloc(0),
        subject: [
          { type: 'CN', value: 'a=b' },
          { type: 'O', value: 'Example' },
        ],
        dnsNames: ['a.example', 'b.example'],
        ipAddresses: ['10.0.0.1'],
      },
    });
  });

  it.each([
    ['nobody', []],
    ['two', ['a.csr', '--self']],
    ['a CSR and names', ['a.csr', '--dns', 'a.example']],
    ['a subject without a value', ['--self', '--subject', 'CN']],
    ['text that is no CSR', ['text']],
  ])('does not certify %s', async (_, more) => {
    writeFileSync(shell.path('a.csr'), CSR);
    writeFileSync(shell.path('text'), 'text');
    const run = await shell.run(['sign-certificate', 'ca', ...more, '--profile', 'web', '--as', 'payments']);
    expect(run.code).not.toBe(0);
    expect(shell.seen).toBeUndefined();
  });
});

describe('sign-dsse', () => {
  it('signs a statement and prints the envelope', async () => {
    writeFileSync(shell.path('statement.json'), '{"_type":"x"}');
    const run = await shell.run(['sign-dsse', 'release/provenance', 'statement.json', '--as', 'payments']);
    expect(run).toMatchObject({ code: 0, out: '{"payloadType":"x"}\n' });
    expect(shell.seen).toMatchObject({
      payloadType: 'application/vnd.in-toto+json',
      payload: Buffer.from('{"_type":"x"}'),
    });
    const asJson = await shell.run(['sign-dsse', 'k', 'statement.json', '--json', '--as', 'payments']);
    expect(JSON.parse(asJson.out)).toMatchObject({ key: 'k', envelope: '{"payloadType":"x"}', version: 2 });
  });
});
