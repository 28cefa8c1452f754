import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakePolicyLog } from '../../test/fakes/fake-policy-log.ts';
import { AuditError } from '../audit/entry.ts';
import { PolicyRows } from '../state/policy-rows.ts';
import { StateStore } from '../state/state-store.ts';
import { policyHash } from './policy-history.ts';
import { PolicyHolder } from './policy-holder.ts';

const API = 'spiffe://example.org/ns/payments/sa/api';
const ALICE = 'spiffe://example.org/human/alice';

function policy(operations: string): string {
  return `version: 1
rules:
  - id: signs
    workloads: [${API}]
    keys: [payments/jwt]
    operations: [${operations}]
`;
}

const [ONE, TWO] = [policy('sign'), policy('sign, verify')];
const hashOf = (text: string): string => policyHash(Buffer.from(text));

let directory: string;
let file: string;
let log: FakePolicyLog;
let rows: PolicyRows;
let holder: PolicyHolder | undefined;

async function open(): Promise<PolicyHolder> {
  holder?.close();
  holder = await PolicyHolder.open({
    file,
    history: join(directory, 'policies'),
    administrators: [ALICE],
    trustDomain: 'example.org',
    audit: log,
    rows,
    log: () => undefined,
  });
  return holder;
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'policy-holder-'));
  file = join(directory, 'policy.yaml');
  log = new FakePolicyLog();
  rows = new PolicyRows(new StateStore(':memory:'));
  await writeFile(file, ONE);
});
afterEach(async () => {
  holder?.close();
  holder = undefined;
  await rm(directory, { recursive: true });
});

describe('the policy in force', () => {
  it('is on record from the first start on, once', async () => {
    await open();
    expect(log.entries).toMatchObject([
      { kind: 'policy', decision: 'allow', detail: { before: '', after: hashOf(ONE), rules: 1 } },
    ]);
    await open();
    expect(log.entries).toHaveLength(1);
  });

  it('that was changed while the broker was away is on record with the differences', async () => {
    await open();
    await writeFile(file, TWO);
    await open();
    expect(log.entries[1]?.detail).toEqual({
      before: hashOf(ONE),
      after: hashOf(TWO),
      rules: 1,
      differences: [
        'rule signs changed',
        '  operations: ["sign"] becomes ["sign","verify"]',
        `${API} gains verify with payments/jwt, by signs`,
      ],
    });
  });

  it('changes with the file, after it is kept and on record', async () => {
    const held = await open();
    await writeFile(file, TWO);
    log.onAppend = () => expect(held.current.hash).toBe(hashOf(ONE));
    expect((await held.reload()).hash).toBe(hashOf(TWO));
    expect(held.current.hash).toBe(hashOf(TWO));
    expect(Buffer.from((await held.read(''))!).toString()).toBe(TWO);
    expect(Buffer.from((await held.read(hashOf(ONE)))!).toString()).toBe(ONE);
  });

  it('keeps its windows, limits and conditions on the way from the thread', async () => {
    const held = await open();
    await writeFile(
      file,
      `${ONE}    when: 'request.bytes <= 64'
    windows: [{ days: mon-fri, from: "08:00", to: "18:00", zone: Europe/Berlin }]
    limits: [{ max: 5, per: 1s, by: workload }]
`,
    );
    await held.reload();
    const decide = (bytes: number, now: string) =>
      held.current.decide({
        spiffeId: API,
        key: 'payments/jwt',
        operation: 'sign',
        algorithm: 'ES256',
        circumstances: {
          now: Date.parse(now),
          clockDoubtMs: 0,
          bytes,
          content: 'message',
          version: 0,
          evidence: ['x509-svid'],
          peerAddress: '10.0.0.1',
        },
      });
    expect(decide(64, '2026-11-23T12:00:00Z')).toMatchObject({
      effect: 'allow',
      alternatives: [{ limits: [{ max: 5 }] }],
    });
    expect(decide(65, '2026-11-23T12:00:00Z').effect).toBe('deny');
    expect(decide(64, '2026-11-23T20:00:00Z').effect).toBe('deny');
  });

  it('stays when the new one cannot be recorded', async () => {
    const held = await open();
    await writeFile(file, TWO);
    log.failure = new AuditError('AUDIT_UNAVAILABLE', 'no space left');
    await expect(held.reload()).rejects.toThrow(AuditError);
    expect(held.current.hash).toBe(hashOf(ONE));
    log.failure = undefined;
    await held.reload();
    expect(held.current.hash).toBe(hashOf(TWO));
  });

  it('stays when the new one has a mistake, and that is told once', async () => {
    const held = await open();
    await writeFile(file, 'version: 1\nrules: 7\n');
    for (let i = 0; i < 2; i++) {
      await expect(held.reload()).rejects.toMatchObject({ reason: 'REQUEST_INVALID' });
    }
    expect(held.refusal).toContain('policy.yaml:2:8: ');
    expect(log.entries.filter(({ decision }) => decision === 'deny')).toHaveLength(1);
    await writeFile(file, ONE);
    await held.reload();
    expect(held.refusal).toBe('');
  });

  it('is never half of two changes', async () => {
    const held = await open();
    await writeFile(file, TWO);
    const [first, second] = await Promise.all([held.reload(), held.activate(hashOf(ONE), ALICE)]);
    expect([first.hash, second.hash]).toEqual([hashOf(TWO), hashOf(ONE)]);
    expect(held.current.hash).toBe(hashOf(ONE));
  });
});

describe('rolling back', () => {
  it('puts an earlier version into force and into the file, by name of who did', async () => {
    const held = await open();
    await writeFile(file, TWO);
    await held.reload();
    await held.activate(hashOf(ONE), ALICE);
    expect(held.current.hash).toBe(hashOf(ONE));
    expect(await readFile(file, 'utf8')).toBe(ONE);
    expect(await held.activations(10)).toMatchObject([
      { policyHash: hashOf(ONE), before: hashOf(TWO), by: ALICE, leafIndex: 2, isKept: true },
      { policyHash: hashOf(TWO), before: hashOf(ONE), by: '', leafIndex: 1, isKept: true },
      { policyHash: hashOf(ONE), before: '', by: '', leafIndex: 0, isKept: true },
    ]);
  });

  it('repairs a file with a mistake', async () => {
    const held = await open();
    await writeFile(file, 'no policy');
    await expect(held.reload()).rejects.toThrow();
    await held.activate(hashOf(ONE), ALICE);
    expect([held.refusal, await readFile(file, 'utf8')]).toEqual(['', ONE]);
  });

  it('is to what was in force here, and nothing else', async () => {
    const held = await open();
    await expect(held.activate(hashOf('version: 1\n'), ALICE)).rejects.toMatchObject({
      reason: 'REQUEST_INVALID',
    });
  });

  it('does nothing where it cannot be recorded', async () => {
    const held = await open();
    await writeFile(file, TWO);
    await held.reload();
    log.failure = new AuditError('AUDIT_UNAVAILABLE', 'no space left');
    await expect(held.activate(hashOf(ONE), ALICE)).rejects.toThrow(AuditError);
    expect([held.current.hash, await readFile(file, 'utf8')]).toEqual([hashOf(TWO), TWO]);
  });
});

describe('the file', () => {
  it('is read when it changes', async () => {
    const held = await open();
    held.startWatching();
    const recorded = new Promise<void>((resolve) => {
      log.onAppend = () => resolve();
    });
    await writeFile(file, TWO);
    await recorded;
    // Behind the change that is under way.
    await held.reload();
    expect(held.current.hash).toBe(hashOf(TWO));
  });

  it('of ten thousand rules is read without holding the event loop up', async () => {
    const held = await open();
    const rules = Array.from(
      { length: 10_000 },
      (_, i) => `  - id: rule-${i}
    workloads: [spiffe://example.org/ns/n${i % 97}/sa/w${i}]
    keys: [team-${i % 89}/key-${i}]
    operations: [sign, verify]
`,
    );
    await writeFile(file, `version: 1\nrules:\n${rules.join('')}`);
    let longestMs = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      longestMs = Math.max(longestMs, performance.now() - last);
      last = performance.now();
    }, 5);
    const policyOfMany = await held.reload();
    clearInterval(timer);
    expect(policyOfMany.ruleCount).toBe(10_000);
    // Compiling and receiving plain data; reading it alone takes a second.
    expect(longestMs).toBeLessThan(500);
  });
});

describe('a certificate profile that cannot be used', () => {
  const PROFILE = `certificateProfiles:
  - id: web
    issuer: |
      -----BEGIN CERTIFICATE-----
      AAAA
      -----END CERTIFICATE-----
    subject: {}
    names: { dns: ["*.example.org"] }
    validity: { max: 1d }
    keyUsage: [digitalSignature]
`;

  it('refuses the policy where it stands, when it is loaded and at a start', async () => {
    const held = await open();
    await writeFile(file, `${TWO}${PROFILE}`);
    await expect(held.reload()).rejects.toThrow(
      /policy\.yaml:9:13: a certificate of the issuer cannot be read/,
    );
    expect(held.current.hash).toBe(hashOf(ONE));
    await expect(open()).rejects.toThrow(/policy\.yaml:9:13: a certificate of the issuer cannot be read/);
  });

  it('is told of by a check, with the names that are known', async () => {
    holder = await PolicyHolder.open({
      file,
      history: join(directory, 'policies'),
      administrators: [ALICE],
      trustDomain: 'example.org',
      audit: log,
      rows,
      names: () => ({ knownKeys: ['payments/other'], knownWorkloads: [API] }),
      log: () => undefined,
    });
    expect((await holder.check(Buffer.from(`${TWO}${PROFILE}`), 'new.yaml')).issues).toMatchObject([
      { file: 'new.yaml', line: 9, message: expect.stringContaining('cannot be read') },
    ]);
    expect(await holder.check(Buffer.from(TWO), 'new.yaml')).toMatchObject({
      issues: [],
      warnings: [{ file: 'new.yaml', line: 5, message: expect.stringContaining('key') }],
      summary: { allowRules: 1, denyRules: 0, roles: 0 },
    });
    expect(holder.current.hash).toBe(hashOf(ONE));
  });
});
