import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { compilePolicy } from '../../policy/compile.ts';
import { CommandLine } from '../../test/fakes/command-line.ts';
import { refusal } from '../../test/fakes/fake-broker.ts';
import { formatTreeHead } from '../audit/tlog/checkpoint.ts';
import { formatNote } from '../audit/tlog/note.ts';
import { TILE_WIDTH, tilePath } from '../audit/tlog/tile.ts';

const API = 'spiffe://example.org/ns/payments/sa/api';
const POLICY = `version: 1
rules:
  - id: signs
    workloads: [${API}]
    keys: [payments/jwt]
    operations: [sign]
`;
const CASES = `version: 1
policy: policy.yaml
cases:
  - name: the API signs
    workload: ${API}
    key: payments/jwt
    operation: sign
    expect: allow
`;

let shell: CommandLine;
beforeAll(async () => {
  shell = await CommandLine.start();
  writeFileSync(shell.path('policy.yaml'), POLICY);
  writeFileSync(shell.path('wider.yaml'), POLICY.replace('[sign]', '[sign, verify]'));
  writeFileSync(shell.path('wrong.yaml'), 'version: 1\nrules: 7\n');
  writeFileSync(shell.path('cases.yaml'), CASES);
});
afterAll(() => shell.stop());
beforeEach(() => shell.forgetWhatWas());

describe('policy test', () => {
  it('passes, with the policy that the cases name or another', async () => {
    expect(await shell.run(['policy', 'test', 'cases.yaml'])).toMatchObject({
      code: 0,
      out: '1 of 1 cases pass\n',
    });
    const run = await shell.run(['policy', 'test', 'cases.yaml', '--policy', 'wider.yaml', '--json']);
    expect(JSON.parse(run.out)).toEqual({ policy: 'wider.yaml', cases: 1, passed: 1, failures: [] });
  });

  it('fails at the line of the expectation', async () => {
    writeFileSync(shell.path('failing.yaml'), CASES.replace('sign\n    expect', 'verify\n    expect'));
    const run = await shell.run(['policy', 'test', 'failing.yaml']);
    expect(run.code).toBe(1);
    expect(run.out).toMatch(/^failing\.yaml:8:13: the API signs: expected allow, but it is deny: /);
    expect(run.err).toContain('1 of 1 cases fail');
  });

  it.each([
    ['a file of cases that is wrong', ['wrong.yaml'], 2, 'wrong.yaml:2:1: '],
    ['cases without a policy', ['nameless.yaml'], 2, 'which policy?'],
    ['a policy that is wrong', ['cases.yaml', '--policy', 'wrong.yaml'], 1, 'wrong.yaml:2:8: '],
    ['a file that is not there', ['nowhere.yaml'], 2, 'cannot read `nowhere.yaml`'],
  ])('refuses %s', async (_what, argv, code, message) => {
    writeFileSync(shell.path('nameless.yaml'), CASES.replace('policy: policy.yaml\n', ''));
    const run = await shell.run(['policy', 'test', ...argv]);
    expect([run.code, run.err.includes(message)]).toEqual([code, true]);
  });
});

describe('policy diff', () => {
  it('says what changes for whom', async () => {
    const run = await shell.run(['policy', 'diff', 'policy.yaml', 'wider.yaml']);
    expect(run).toMatchObject({
      code: 0,
      out: `rule signs changed\n  operations: ["sign"] becomes ["sign","verify"]\n${API} gains verify with payments/jwt, by signs\n`,
    });
    const { out } = await shell.run(['policy', 'diff', 'policy.yaml', 'wider.yaml', '--json']);
    expect(JSON.parse(out)).toMatchObject({
      isCut: false,
      access: [{ change: 'gains', operation: 'verify' }],
    });
  });

  it('says which of the two is wrong', async () => {
    const run = await shell.run(['policy', 'diff', 'policy.yaml', 'wrong.yaml']);
    expect([run.code, run.err.includes('wrong.yaml:2:8: ')]).toEqual([2, true]);
  });
});

/** A log of `count` uses of a key, one a minute; every tenth is refused. */
const START = Date.UTC(2026, 9, 1);
function entry(leaf: number): Buffer {
  const isAllowed = leaf % 10 !== 0;
  return Buffer.from(
    JSON.stringify({
      leaf,
      time: new Date(START + leaf * 60_000).toISOString(),
      kind: 'key-use',
      subject: API,
      operation: isAllowed ? 'sign' : 'decrypt',
      key: 'payments/jwt',
      algorithm: isAllowed ? 'ES256' : 'A256GCM',
      decision: isAllowed ? 'allow' : 'deny',
      ...(isAllowed ? { rule: 'old', performed: 'yes' } : { reason: 'POLICY_DENIED', performed: 'no' }),
      inputs: { at: START + leaf * 60_000, bytes: 1, content: 'message', evidence: ['x509-svid'], peer: '' },
    }),
  );
}

function bundle(index: number, width: number): Buffer {
  return Buffer.concat(
    Array.from({ length: width }, (_, i) => {
      const bytes = entry(index * TILE_WIDTH + i);
      const length = Buffer.alloc(2);
      length.writeUInt16BE(bytes.length);
      return Buffer.concat([length, bytes]);
    }),
  );
}

const SIZE = 5 * TILE_WIDTH + 20;
const head = formatTreeHead({ origin: 'example.org/log', treeSize: SIZE, rootHash: new Uint8Array(32) });

function files(): Map<string, Buffer> {
  const found = new Map<string, Buffer>();
  for (let index = 0; index < 5; index++) {
    found.set(tilePath({ level: 'entries', index, width: TILE_WIDTH }), bundle(index, TILE_WIDTH));
  }
  found.set(tilePath({ level: 'entries', index: 5, width: 20 }), bundle(5, 20));
  return found;
}

describe('reading the log', () => {
  const since = (leaf: number) => new Date(START + leaf * 60_000).toISOString();
  const denying = POLICY.replace('[sign]', '[verify]');
  let asked: string[];

  beforeAll(() => {
    for (const [path, bytes] of files()) {
      mkdirSync(dirname(join(shell.path('log'), path)), { recursive: true });
      writeFileSync(join(shell.path('log'), path), bytes);
    }
    writeFileSync(join(shell.path('log'), 'treehead'), head);
    writeFileSync(shell.path('denying.yaml'), denying);
  });
  beforeEach(() => {
    asked = [];
    shell.broker.answers.set('GetCheckpoint', () => ({
      checkpoint: formatNote({
        text: head,
        signatures: [
          { name: 'example.org/log', noteKeyId: new Uint8Array(4), signature: new Uint8Array(64) },
        ],
      }),
      verifierKey: '',
    }));
    shell.broker.answers.set('ReadTile', ({ path }) => {
      asked.push(String(path));
      const content = files().get(String(path));
      if (content === undefined) throw refusal('REQUEST_INVALID', 'no');
      return { content };
    });
  });

  it.each([
    ['of a broker', []],
    ['in a directory', ['--directory', 'log']],
  ])('simulates what would flip, from the time on that is asked for: %s', async (_where, more) => {
    const argv = ['policy', 'simulate', 'denying.yaml', '--since', since(1000), ...more];
    const report = JSON.parse((await shell.run([...argv, '--json'])).out);
    expect(report).toMatchObject({
      entries: SIZE - 1000,
      requests: SIZE - 1000,
      nowDenied: 270,
      stillDenied: 30,
      firstTime: since(1000),
      lastTime: since(SIZE - 1),
    });
    expect(report.flips).toMatchObject([{ change: 'now denied', ruleBefore: 'old', requests: 270 }]);
    expect(report.flips[0].entries.slice(0, 2)).toEqual([1001, 1002]);
    const { out, code } = await shell.run(argv);
    expect(code).toBe(0);
    expect(out).toContain(
      `now denied  270       ${API}  sign       payments/jwt  old -> -  1001,1002,1003,1004,1005,…  no rule allows it; nearest is signs: operation sign is not among verify`,
    );
  });

  it('reads what is needed of a long log, and not the rest', async () => {
    await shell.run(['policy', 'simulate', 'policy.yaml', '--since', since(1100), '--json']);
    expect(asked).not.toContain(tilePath({ level: 'entries', index: 0, width: TILE_WIDTH }));
    expect(asked).not.toContain(tilePath({ level: 'entries', index: 1, width: TILE_WIDTH }));
  });

  it('suggests a policy that allows what was allowed', async () => {
    const argv = ['policy', 'suggest', '--since', since(0), '--directory', 'log'];
    expect((await shell.run([...argv, '--out', 'suggested.yaml'])).code).toBe(0);
    const suggested = readFileSync(shell.path('suggested.yaml'));
    const policy = compilePolicy(suggested, { hash: 'sha256:suggested' });
    const question = { spiffeId: API, key: 'payments/jwt', operation: 'sign', algorithm: 'ES256' } as const;
    expect(policy.decide(question).effect).toBe('allow');
    expect(policy.decide({ ...question, algorithm: 'ES384' }).effect).toBe('deny');
    const other = ['--workload', 'spiffe://example.org/nobody', '--json'];
    expect(JSON.parse((await shell.run([...argv, ...other])).out)).toMatchObject({ rules: 0, requests: 0 });
  });

  it('says when a part of the log is missing, and when it is none', async () => {
    shell.broker.answers.set('ReadTile', () => {
      throw refusal('REQUEST_INVALID', 'no');
    });
    const run = await shell.run(['policy', 'simulate', 'policy.yaml']);
    expect([run.code, run.err]).toEqual([4, 'error: the log: entry bundle 5 is missing\n']);
    const none = await shell.run(['policy', 'simulate', 'policy.yaml', '--directory', '.']);
    expect(none.code).toBe(2);
  });

  it('of an auditor who may see a part of it is refused', async () => {
    shell.broker.answers.set('ReadTile', () => {
      throw refusal('POLICY_DENIED', 'no', 'your role sees part of the log');
    });
    const run = await shell.run(['policy', 'suggest']);
    expect([run.code, run.err.includes('your role sees part of the log')]).toEqual([1, true]);
  });
});

describe('versions', () => {
  const HASH = `sha256:${'a'.repeat(64)}`;

  it('history says what changed, when and by whom', async () => {
    shell.answers('ListPolicies', {
      policyHash: HASH,
      activations: [
        {
          policyHash: HASH,
          before: '',
          at: '2026-11-21T07:00:00.000Z',
          by: 'spiffe://example.org/human/operator',
          rules: 3,
          leafIndex: 17,
          differences: ['rule signs removed\u001b[31m'],
          isKept: true,
        },
      ],
    });
    const { out } = await shell.run(['policy', 'history', '--limit', '5']);
    expect(shell.seen).toEqual({ limit: 5 });
    expect(out).toBe(
      `policy:    ${HASH}\nsince:     2026-11-21T07:00:00.000Z\nby:        spiffe://example.org/human/operator\nrules:     3\nlog entry: 17\n  rule signs removed\\u{1b}[31m\n\n`,
    );
  });

  it('show gives the file byte for byte', async () => {
    const content = Buffer.from(`# caf\u00e9\r\n${POLICY}`);
    shell.answers('GetPolicy', { policyHash: HASH, content, inForce: false });
    expect((await shell.run(['policy', 'show', '--hash', HASH, '--out', 'shown.yaml'])).code).toBe(0);
    expect(shell.seen).toEqual({ policyHash: HASH });
    expect(readFileSync(shell.path('shown.yaml'))).toEqual(content);
    expect((await shell.run(['policy', 'show'])).stdout).toEqual(content);
  });

  it('propose sends a file, or asks for that of the broker, and says what comes next', async () => {
    shell.answers('ProposePolicy', {
      policyHash: HASH,
      approval: 'a-1',
      approved: false,
      differences: ['rule signs removed\u001b[31m'],
      log: { origin: 'o', leafIndex: 9 },
    });
    expect((await shell.run(['policy', 'propose', 'policy.yaml'])).code).toBe(2);
    writeFileSync(shell.path('next.yaml'), POLICY);
    const run = await shell.run(['policy', 'propose', 'next.yaml', '--reason', 'CHG-7']);
    expect(shell.seen).toEqual({ content: Buffer.from(POLICY), reason: 'CHG-7' });
    expect(run.out).toBe(
      `policy:    ${HASH}\napproval:  a-1\nnext:      when it is approved: lastmile policy activate --hash ${HASH}\nlog entry: 9\n  rule signs removed\\u{1b}[31m\n`,
    );
    await shell.run(['policy', 'propose', '--reason', 'CHG-7']);
    expect(shell.seen).toEqual({ content: Buffer.alloc(0), reason: 'CHG-7' });
    // It would be taken for the broker's own.
    writeFileSync(shell.path('empty.yaml'), '');
    expect((await shell.run(['policy', 'propose', 'empty.yaml', '--reason', 'CHG-7'])).code).toBe(2);
  });

  it('activate needs a hash and a reason, and sends them', async () => {
    shell.answers('ActivatePolicy', { policyHash: HASH, log: { origin: 'o', leafIndex: 9 } });
    expect((await shell.run(['policy', 'activate', '--hash', HASH])).code).toBe(2);
    const run = await shell.run(['policy', 'activate', '--hash', HASH, '--reason', 'INC-12']);
    expect(shell.seen).toEqual({ policyHash: HASH, reason: 'INC-12' });
    expect(run.out).toBe(`policy:    ${HASH}\nlog entry: 9\n`);
  });
});
