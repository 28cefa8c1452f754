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

const LOG = { origin: 'example.org/log', leafIndex: 7 };
let shell: CommandLine;
let seen: Record<string, unknown>;

beforeAll(async () => {
  shell = await CommandLine.start();
});
afterAll(() => shell.stop());
beforeEach(() => shell.broker.answers.clear());

function answers(method: string, response: Record<string, unknown>): void {
  shell.broker.answers.set(method, (request) => {
    seen = { ...request };
    return response;
  });
}

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
    answers('ListKeyVersions', { keys: [KEY] });
    expect((await shell.run(['keys', 'list'])).out).toBe(
      'KEY           VERSION  PURPOSE  ALGORITHMS  STATE   TOKENS  PROVEN ON  PROVENANCE\n' +
        'payments/jwt  1        sign     ES256       active  a,b     a          replicated\n',
    );
    expect(JSON.parse((await shell.run(['keys', 'list', '--json'])).out)).toMatchObject([KEY]);
  });

  it('show has the public key', async () => {
    answers('GetKey', { versions: [KEY] });
    const run = await shell.run(['keys', 'show', 'payments/jwt']);
    expect(seen).toMatchObject({ key: 'payments/jwt' });
    expect(run.out).toContain('proven on:  a\n');
    expect(run.out.endsWith('-----END PUBLIC KEY-----\n')).toBe(true);
  });

  it('create sends what was asked for', async () => {
    answers('CreateKey', { versions: [KEY], log: LOG });
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
    expect(seen).toMatchObject({
      key: 'r',
      purpose: 'sign',
      algorithms: ['RS256', 'PS256'],
      tokens: ['b'],
      modulusBits: 3072,
      verify: '',
    });
  });

  it('import binds by label, or unwraps a blob', async () => {
    answers('ImportKey', { version: KEY, log: LOG });
    const argv = ['keys', 'import', 'k', '--purpose', 'sign', '--algorithm', 'ES256', '--token', 'a'];
    await shell.run([...argv, '--label', 'old']);
    expect(seen).toMatchObject({ key: 'k', token: 'a', label: 'old' });
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
    expect(seen.wrapped).toMatchObject({
      blob: Buffer.from('wrapped'),
      unwrappingKey: '01',
      mechanism: 'aes-kwp',
      publicKeyPem: 'PEM',
    });
  });
});

describe('tokens', () => {
  it('list says what to do, and does not obey labels', async () => {
    answers('ListTokens', { tokens: [TOKEN] });
    const { out } = await shell.run(['tokens', 'list']);
    expect(out).toContain('a: correct the PIN, then `lastmile tokens unblock a`\n');
    expect(out).toContain('a: cannot use payments/data#1: missing\n');
    expect(out).not.toContain('\u001b');
  });

  it('status shows one token with its errors, and knows no other', async () => {
    const errors = { CKR_DEVICE_ERROR: 3 };
    answers('ListTokens', { tokens: [{ ...TOKEN, errors, serviceMicros: 1250, pinFinalTry: true }] });
    const { out } = await shell.run(['tokens', 'status', 'a']);
    expect(out).toContain('CKR_DEVICE_ERROR 3\n');
    expect(out).toContain('1.25 ms\n');
    expect(out).toContain('one try left before it locks\n');
    expect(out).not.toContain('\u001b');
    expect((await shell.run(['tokens', 'status', 'z'])).code).toBe(2);
  });

  it.each(['drain', 'undrain'])('%s needs a reason and sends it', async (verb) => {
    answers(verb === 'drain' ? 'DrainToken' : 'UndrainToken', { log: LOG, inFlight: 2 });
    expect((await shell.run(['tokens', verb, 'a'])).code).toBe(2);
    const { code, out } = await shell.run(['tokens', verb, 'a', '--reason', 'firmware']);
    expect(code).toBe(0);
    expect(out).toBe(
      verb === 'drain'
        ? 'a gets no more work; it still has 2 operations\n'
        : 'a is in service again; `lastmile tokens list` shows its state\n',
    );
    expect(seen).toMatchObject({ token: 'a', reason: 'firmware' });
  });

  it('unblock needs a reason and sends it', async () => {
    answers('UnblockToken', { log: LOG });
    expect((await shell.run(['tokens', 'unblock', 'a'])).code).toBe(2);
    expect((await shell.run(['tokens', 'unblock', 'a', '--reason', 'corrected'])).code).toBe(0);
    expect(seen).toMatchObject({ token: 'a', reason: 'corrected' });
  });
});

describe('freeze', () => {
  it.each(['freeze', 'unfreeze'])('%s sends kind, subject and reason', async (verb) => {
    answers(verb === 'freeze' ? 'Freeze' : 'Unfreeze', { log: LOG });
    const run = await shell.run([verb, 'key', 'payments/jwt', '--reason', 'INC-12']);
    expect(run.out).toMatch(/^key payments\/jwt is .*frozen; log entry 7\n$/);
    expect(seen).toMatchObject({ kind: 'key', subject: 'payments/jwt', reason: 'INC-12' });
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
    answers('GetStatus', status);
    const run = await shell.run(['status']);
    expect(run.code).toBe(0);
    expect(run.out).toMatch(/^warning: processes not isolated\nwarning: software token\n\nstate: +serving\n/);
    expect(run.out).toContain('12, of them 10 under a signed checkpoint');
    expect(run.out).toContain('SVID_EXPIRED 3');
    expect(run.out).toMatch(/^reads: +Verify 12, ListKeys 1$/m);
    expect(run.out).toContain('66 MiB');
  });

  it('ends with 1 when the broker is not serving', async () => {
    answers('GetStatus', { ...status, state: 'not-serving', auditFailure: 'disk full' });
    expect(await shell.run(['status'])).toMatchObject({ code: 1, err: 'error: the broker is not-serving\n' });
  });
});

describe('policy', () => {
  const RIGHT = `version: 1
rules:
  - id: payments-signs
    workloads: ["spiffe://example.org/ns/payments/sa/*"]
    keys: ["payments/jwt"]
    operations: [sign]
`;

  it('check says right, or where not', async () => {
    writeFileSync(shell.path('policy.yaml'), RIGHT);
    expect(await shell.run(['policy', 'check', 'policy.yaml'])).toMatchObject({
      code: 0,
      out: 'policy.yaml: right: 1 allow rules, 0 deny rules, 0 roles\n',
    });
    writeFileSync(shell.path('policy.yaml'), RIGHT.replace('[sign]', '[sing]'));
    const wrong = await shell.run(['policy', 'check', 'policy.yaml']);
    expect([wrong.code, wrong.out]).toEqual([1, '']);
    expect(wrong.err).toMatch(/^policy\.yaml:6:18: .*sing/);
    expect(wrong.err).toContain('error: policy.yaml is refused whole: 1 to correct\n');
  });

  it('explain decides by a file, without a broker', async () => {
    writeFileSync(shell.path('policy.yaml'), RIGHT);
    const argv = [
      'policy',
      'explain',
      '--policy',
      'policy.yaml',
      '--operation',
      'sign',
      '--key',
      'payments/jwt',
      '--algorithm',
      'ES256',
      '--workload',
    ];
    const allowed = await shell.run([...argv, 'spiffe://example.org/ns/payments/sa/api']);
    expect(allowed.out).toMatch(/^allow, by the rule payments-signs\n/);
    const denied = await shell.run([...argv, 'spiffe://example.org/ns/billing/sa/x', '--json']);
    expect([denied.code, JSON.parse(denied.out)]).toMatchObject([0, { effect: 'deny', rule: '' }]);
  });

  it('explain asks the broker for the policy in force', async () => {
    answers('ExplainPolicy', {
      decision: 'deny',
      rule: 'no-billing',
      policyHash: 'sha256:11',
      considered: [{ rule: 'no-billing', matched: true, missing: [], effect: 'deny' }],
    });
    const run = await shell.run([
      'policy',
      'explain',
      '--workload',
      'spiffe://example.org/x',
      '--operation',
      'random',
    ]);
    expect(run.out).toBe('deny, by the rule no-billing\npolicy sha256:11\n  deny  no-billing  matches\n');
    expect(seen).toMatchObject({ workload: 'spiffe://example.org/x', operation: 'random', key: '' });
  });

  it('explain tells of people who have to agree', async () => {
    answers('ExplainPolicy', {
      decision: 'pending',
      rule: 'settles',
      policyHash: 'sha256:11',
      considered: [
        { rule: 'settles', matched: true, missing: ['needs 2 approvals of treasury'], effect: 'allow' },
      ],
    });
    const run = await shell.run([
      ...['policy', 'explain', '--workload', 'spiffe://example.org/x', '--operation', 'random'],
    ]);
    expect(run.out).toContain('pending, by the rule settles: needs 2 approvals of treasury\n');
  });

  it('reload says the hash in force, or why not', async () => {
    answers('ReloadPolicy', { policyHash: 'sha256:22', log: LOG });
    expect((await shell.run(['policy', 'reload'])).out).toBe('policy:    sha256:22\nlog entry: 7\n');
    shell.broker.answers.set('ReloadPolicy', () => {
      throw refusal('REQUEST_INVALID', 'no', 'policy.yaml:3:1: unknown key');
    });
    expect((await shell.run(['policy', 'reload'])).err).toContain('policy.yaml:3:1: unknown key');
  });
});

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
    answers('Query', { entries: [{ leafIndex: 1, entry: log.entries[1]! }], logSize: 2 });
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
    expect(seen).toMatchObject({ key: 'k', decision: 'deny', since: '2026-11-20T00:00:00.000Z', limit: 5 });
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
