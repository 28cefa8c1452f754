import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CommandLine } from '../../test/fakes/command-line.ts';
import { refusal } from '../../test/fakes/fake-broker.ts';
import { formatTreeHead } from '../audit/tlog/checkpoint.ts';
import { leafHash, nodeHash } from '../audit/tlog/hash.ts';
import { formatNote, formatVerifierKey, makeVerifierKey } from '../audit/tlog/note.ts';
import { formatTlogProof } from '../audit/tlog/tlog-proof.ts';

let shell: CommandLine;
beforeAll(async () => {
  shell = await CommandLine.start();
});
afterAll(() => shell.stop());
beforeEach(() => shell.forgetWhatWas());

/** A log of two entries as it is published, signed by a key of its own. */
class TwoEntryLog {
  readonly files = new Map<string, Buffer>();
  readonly verifierKey: string;
  readonly entries: readonly Buffer[];
  readonly checkpoint: string;

  constructor(privateKey: KeyObject, publicKey: KeyObject) {
    const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
    const key = makeVerifierKey('example.org/log', raw);
    this.verifierKey = formatVerifierKey(key);
    const entry = (leaf: number, seq: number, prev: string): Buffer =>
      Buffer.from(
        JSON.stringify({
          v: 1,
          leaf,
          seq,
          prev,
          subject: 'spiffe://example.org/x',
          time: '2026-11-21T04:00:00.000Z',
          decision: 'deny',
          operation: 'sign',
          key: 'k',
          reason: 'POLICY_DENIED',
        }),
      );
    const first = entry(0, 0, '');
    const second = entry(1, 1, Buffer.from(leafHash(first)).toString('base64url'));
    this.entries = [first, second];
    const hashes = this.entries.map(leafHash);
    const text = formatTreeHead({
      origin: 'example.org/log',
      treeSize: 2,
      rootHash: nodeHash(hashes[0]!, hashes[1]!),
    });
    const signature = sign(null, Buffer.from(text), privateKey);
    this.checkpoint = formatNote({
      text,
      signatures: [{ name: key.name, noteKeyId: key.noteKeyId, signature }],
    });
    this.files.set('checkpoint', Buffer.from(this.checkpoint));
    this.files.set('tile/0/000.p/2', Buffer.concat(hashes));
    const lengthOf = (bytes: Buffer): Buffer => Buffer.from([bytes.length >> 8, bytes.length & 255]);
    this.files.set(
      'tile/entries/000.p/2',
      Buffer.concat(this.entries.flatMap((bytes) => [lengthOf(bytes), bytes])),
    );
  }

  receipt(leafIndex: 0 | 1): string {
    return formatTlogProof({
      leafIndex,
      hashes: [leafHash(this.entries[1 - leafIndex]!)],
      checkpoint: this.checkpoint,
    });
  }
}

describe('audit', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const log = new TwoEntryLog(privateKey, publicKey);
  const other = generateKeyPairSync('ed25519');
  const strangersKey = new TwoEntryLog(other.privateKey, other.publicKey).verifierKey;
  let damaged: Map<string, Buffer>;

  beforeEach(() => {
    damaged = new Map(log.files);
    const { answers: table } = shell.broker;
    table.set('GetCheckpoint', () => ({ checkpoint: log.checkpoint, verifierKey: log.verifierKey }));
    table.set('ReadTile', ({ path }) => {
      const content = damaged.get(path as string);
      if (content === undefined) throw refusal('REQUEST_INVALID', 'no', 'the log has no such file');
      return { content };
    });
    table.set('GetEntry', () => ({
      entry: { leafIndex: 1, entry: log.entries[1]! },
      receipt: log.receipt(1),
    }));
    table.set('GetReceipt', () => ({ entry: log.entries[1]!, receipt: log.receipt(1) }));
  });

  function writeLog(name: string): string {
    for (const [path, content] of damaged) {
      const file = join(shell.cwd, name, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
    }
    return name;
  }

  it('list is a table, and sends its filters', async () => {
    shell.answers('Query', { entries: [{ leafIndex: 1, entry: log.entries[1]! }], logSize: 2 });
    const run = await shell.run([
      'audit',
      'list',
      '--key',
      'k',
      '--decision',
      'deny',
      '--since',
      '2026-11-20T00:00:00Z',
      '--limit',
      '5',
    ]);
    expect(run.out).toBe(
      'LEAF  TIME                      DECISION  SUBJECT                 OPERATION  KEY  WHY\n' +
        '1     2026-11-21T04:00:00.000Z  deny      spiffe://example.org/x  sign       k    POLICY_DENIED\n',
    );
    expect(shell.seen).toMatchObject({
      key: 'k',
      decision: 'deny',
      since: '2026-11-20T00:00:00.000Z',
      limit: 5,
    });
  });

  it('show checks the inclusion before it shows', async () => {
    const run = await shell.run(['audit', 'show', '1', '--verifier-key', log.verifierKey, '--receipt', 'r']);
    expect(run.out).toContain('included in the signed checkpoint of 2 entries\n');
    expect(readFileSync(shell.path('r'), 'utf8')).toBe(log.receipt(1));
    const byBroker = await shell.run(['audit', 'show', '1']);
    expect(byBroker.out).toContain('by the key that the broker names');
    for (const argv of [
      ['audit', 'show', '1', '--verifier-key', strangersKey],
      ['audit', 'show', '0'],
    ]) {
      expect(await shell.run(argv)).toMatchObject({ code: 4, out: '' });
    }
  });

  it('receipt is checked when a key is given', async () => {
    const good = await shell.run([
      'receipt',
      '1',
      '--as',
      'payments',
      '--verifier-key',
      log.verifierKey,
      '--entry',
      'entry',
    ]);
    expect(good).toMatchObject({ code: 0, out: log.receipt(1) });
    expect(readFileSync(shell.path('entry')).equals(log.entries[1]!)).toBe(true);
    shell.broker.answers.set('GetReceipt', () => ({ entry: Buffer.from('{}'), receipt: log.receipt(1) }));
    const bad = await shell.run(['receipt', '1', '--as', 'payments', '--verifier-key', log.verifierKey]);
    expect(bad).toMatchObject({ code: 4, out: '' });
  });

  it('checkpoint is printed as it was signed', async () => {
    expect((await shell.run(['audit', 'checkpoint'])).out).toBe(log.checkpoint);
    expect(JSON.parse((await shell.run(['audit', 'checkpoint', '--json'])).out)).toEqual({
      checkpoint: log.checkpoint,
      verifierKey: log.verifierKey,
    });
  });

  it('verify reads through the broker, or a directory', async () => {
    const online = await shell.run(['audit', 'verify']);
    expect(online).toMatchObject({ code: 0, err: '' });
    expect(online.out).toContain('signature verified, by the key that the broker itself names');
    expect(online.out).toContain('no witness cosigned this log');
    writeFileSync(shell.path('log.vkey'), `${log.verifierKey}\n`);
    const offline = await shell.run([
      'audit',
      'verify',
      '--directory',
      writeLog('sound'),
      '--verifier-key',
      '@log.vkey',
      '--json',
    ]);
    expect(offline.code).toBe(0);
    expect(JSON.parse(offline.out)).toMatchObject({
      entries: 2,
      subjects: 1,
      checkpointSize: 2,
      isSound: true,
      isSignatureVerified: true,
    });
  });

  it.each([
    [
      'tile/entries/000.p/2',
      (b: Buffer) => Buffer.from(b.toString('latin1').replace('POLICY_DENIED', 'policy_denied'), 'latin1'),
    ],
    ['tile/0/000.p/2', (b: Buffer) => Buffer.concat([b.subarray(32), b.subarray(0, 32)])],
    ['checkpoint', (b: Buffer) => Buffer.from(b.toString().replace('\n2\n', '\n1\n'))],
    ['tile/entries/000.p/2', () => undefined],
    ['checkpoint', () => undefined],
  ] as const)('verify ends with 4 when %s is not what it was', async (path, change) => {
    const now = change(log.files.get(path)!);
    if (now === undefined) damaged.delete(path);
    else damaged.set(path, now);
    const online = await shell.run(['audit', 'verify']);
    expect(online.code).toBe(4);
    expect(online.out).toContain('NOT SOUND');
    const name = `damaged-${path.replaceAll('/', '-')}-${now?.length}`;
    mkdirSync(shell.path(name), { recursive: true });
    const offline = await shell.run([
      'audit',
      'verify',
      '--directory',
      writeLog(name),
      '--verifier-key',
      log.verifierKey,
    ]);
    expect(offline.code).toBe(4);
  });

  it('verify ends with 4 under a key that did not sign', async () => {
    expect((await shell.run(['audit', 'verify', '--verifier-key', strangersKey])).code).toBe(4);
  });

  it('verify ends with 3, not 4, when the broker goes away', async () => {
    shell.broker.answers.set('ReadTile', () => {
      shell.broker.cut();
      return new Promise(() => undefined);
    });
    expect((await shell.run(['audit', 'verify'])).code).toBe(3);
  });
});
