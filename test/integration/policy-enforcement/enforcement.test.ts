import { appendFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LastmileClient } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import {
  entries,
  operator,
  PAYMENTS,
  rawClient,
  refusal,
  status,
  workload,
} from '../../fakes/instance-clients.ts';
import { busyTokens } from '../broker/busy-tokens.ts';

/** What a policy takes account of, in a whole broker: limits by what they count, over restarts and without their file. */

const DAY = 86_400_000;
const soon = new Date(Date.now() + DAY).toISOString().replace(/\.\d+Z$/, 'Z');
const rule = (id: string, key: string, rest: string): string => `
  - id: ${id}
    workloads: ["${PAYMENTS}"]
    keys: [${key}]
    operations: [sign]
    ${rest}
`;
const RULES = [
  rule('twice-a-day', 'rules/daily', 'limits: [{ max: 2, per: 1d, by: key }]'),
  rule('fixed', 'rules/fixed', 'limits: [{ max: 2, per: 1h, by: workload, window: fixed }]'),
  rule(
    'together',
    'rules/together',
    'limits: [{ max: 100, per: 1s, by: key }, { max: 1, per: 1h, by: workload-and-key }]',
  ),
  rule('bytes', 'rules/bytes', 'limits: [{ max: 1000, per: 1h, by: trust-domain, unit: bytes }]'),
  rule('ever', 'rules/ever', 'limits: [{ max: 3, per: life, by: key }]'),
  rule('seconds', 'rules/second', 'limits: [{ max: 1, per: 1s, by: rule }]'),
  rule('short', 'rules/conditional', "when: 'request.bytes <= 10'"),
  rule('probation', 'rules/observed', `when: 'request.bytes <= 10'\n    mode: observe\n    until: ${soon}`),
  rule('open', 'rules/denied', 'algorithms: [ES256]'),
  rule('not-these', 'rules/denied', "effect: deny\n    when: 'request.bytes / (request.bytes - 7) > 2'"),
  `
  - id: mints
    workloads: ["${PAYMENTS}"]
    keys: [rules/jwt]
    operations: [sign-jwt]
    guards: [{ monotonic: request.jwt.seq }, { unique: request.jwt.sub }]
  - id: raw
    workloads: ["${PAYMENTS}"]
    keys: [rules/jwt]
    operations: [sign]
`,
].join('');

let instance: RunningInstance;
let admin: OperatorClient;
let client: LastmileClient;

async function clients(): Promise<void> {
  admin = await operator(instance);
  client = await workload(instance, 'payments', { maxAttempts: 1 });
}

beforeAll(async () => {
  instance = await startInstance({
    prepare: (directory) => appendFile(join(directory, 'policy.yaml'), RULES),
  });
  await clients();
  for (const [, key] of RULES.matchAll(/keys: \[(rules\/[a-z]+)\]/g)) {
    await admin
      .admin('CreateKey', { key: key!, purpose: 'sign', algorithms: ['ES256'] })
      .catch((error: Error) => {
        if (!error.message.includes('exists already')) throw error;
      });
  }
});

afterAll(async () => {
  client?.close();
  admin?.close();
  await instance?.stop();
});

async function restart(signal?: NodeJS.Signals, between?: () => Promise<void>): Promise<void> {
  client.close();
  admin.close();
  await instance.end(signal);
  await between?.();
  instance = await instance.serveAgain();
  await clients();
}

const sign = (name: string, bytes = 5) =>
  client.sign({ key: `rules/${name}`, algorithm: 'ES256', message: Buffer.alloc(bytes, 7) });
const mint = (seq: number, sub: string) =>
  client.signJwt({ key: 'rules/jwt', claims: { seq, sub }, lifetimeSeconds: 60 });
const LIMITED = { code: 'RESOURCE_EXHAUSTED', reason: 'RATE_LIMITED', performed: 'no' };
const DENIED = { code: 'PERMISSION_DENIED', reason: 'POLICY_DENIED', performed: 'no' };

describe('limits', () => {
  it.each([
    ['daily', 2],
    ['fixed', 2],
    ['together', 1],
    ['ever', 3],
  ])('of rules/%s let %d through, and no more', async (name, max) => {
    for (let i = 0; i < max; i++) await sign(name);
    const refused = await refusal(sign(name));
    expect(refused).toMatchObject(LIMITED);
    // What is used up for life does not come back.
    expect('retry_after' in refused.metadata).toBe(name !== 'ever');
  });

  it('count bytes where they say so', async () => {
    await sign('bytes', 900);
    expect(await refusal(sign('bytes', 200))).toMatchObject(LIMITED);
    await sign('bytes', 100);
  });

  it('say when to come back, and the client does', async () => {
    const patient = await workload(instance, 'payments', { maxAttempts: 10 });
    try {
      const message = Buffer.from('again');
      const started = performance.now();
      for (let i = 0; i < 3; i++) await patient.sign({ key: 'rules/second', algorithm: 'ES256', message });
      expect(performance.now() - started).toBeGreaterThan(900);
    } finally {
      patient.close();
    }
  });

  it.each([
    ['an ordinary restart', undefined, false],
    ['SIGKILL', 'SIGKILL', false],
    ['the loss of their index', undefined, true],
    ['SIGKILL and the loss of their index', 'SIGKILL', true],
  ] as const)('hold over %s', async (_name, signal, isLost) => {
    await restart(signal, async () => {
      if (!isLost) return;
      for (const end of ['', '-wal', '-shm'])
        await rm(join(instance.directory, 'state', `limits.db${end}`), { force: true });
    });
    for (const name of ['daily', 'fixed', 'together', 'ever'])
      expect(await refusal(sign(name)), name).toMatchObject(LIMITED);
    expect(await refusal(sign('bytes', 100))).toMatchObject(LIMITED);
  });
});

describe('conditions', () => {
  it('hold an allow rule to what they say', async () => {
    await sign('conditional', 10);
    expect(await refusal(sign('conditional', 11))).toMatchObject(DENIED);
  });

  it('of a deny rule match when they fail', async () => {
    await sign('denied', 100);
    expect(await refusal(sign('denied', 8))).toMatchObject(DENIED);
    // Division by zero.
    expect(await refusal(sign('denied', 7))).toMatchObject(DENIED);
  });

  it('of a rule on probation refuse nothing, are on record, and status says so', async () => {
    const { log } = await sign('observed', 11);
    const { entry } = await admin.audit('GetEntry', { leafIndex: log.leafIndex });
    expect(JSON.parse(Buffer.from(entry!.entry).toString('utf8'))).toMatchObject({
      rule: 'probation',
      inputs: { observed: [['probation', 'condition is false']] },
    });
    expect((await status(admin)).warnings.join('\n')).toContain('the rule probation only observes');
  });
});

describe('guards', () => {
  it('refuse a number that does not rise and a thing that was signed, over SIGKILL and on every token', async () => {
    await mint(5, 'order-5');
    const reused = async () => {
      // Tokens take turns: each of them is asked.
      for (let i = 0; i < 4; i++) {
        expect(await refusal(mint(5, `other-${i}`))).toMatchObject(DENIED);
        expect(await refusal(mint(4, `other-${i}`))).toMatchObject(DENIED);
        expect(await refusal(mint(100 + i, 'order-5'))).toMatchObject(DENIED);
      }
    };
    await reused();
    await restart('SIGKILL');
    await reused();
    await mint(6, 'order-6');
  });

  it('are not got around by bare bytes', async () => {
    expect(await refusal(sign('jwt'))).toMatchObject(DENIED);
  });
});

describe('an operation that waits', () => {
  it('over the end of a window is refused when it would leave', async () => {
    const file = join(instance.directory, 'policy.yaml');
    const original = await readFile(file, 'utf8');
    const closesAt = Date.now() + 6000;
    const until = new Date(closesAt).toISOString();
    await writeFile(file, `${original}${rule('until', 'rules/window', `not-after: "${until}"`)}`);
    await admin.admin('CreateKey', { key: 'rules/window', purpose: 'sign', algorithms: ['ES256'] });
    await admin.admin('ReloadPolicy', {});
    await sign('window');
    const raw = rawClient(instance, 'payments', 'target');
    const patient = await workload(instance, 'payments', { maxAttempts: 1, deadlineMs: 20_000 });
    const busy = await busyTokens(admin, raw);
    try {
      const message = Buffer.from('late');
      const waiting = refusal(patient.sign({ key: 'rules/window', algorithm: 'ES256', message }));
      await patient.listKeys();
      expect(Date.now()).toBeLessThan(closesAt);
      // There is no event: the clock of the broker has to pass it.
      await new Promise((resolve) => setTimeout(resolve, closesAt + 50 - Date.now()));
      await busy.release();
      expect(await waiting).toMatchObject(DENIED);
      const { considered } = await admin.admin('ExplainPolicy', {
        workload: PAYMENTS,
        key: 'rules/window',
        operation: 'sign',
        algorithm: 'ES256',
      });
      expect(considered.find((one) => one.rule === 'until')).toMatchObject({ matched: false });
      const [refused] = await entries(admin, { key: 'rules/window', decision: 'deny', limit: 1 });
      expect(refused).toMatchObject({ reason: 'POLICY_DENIED', performed: 'no' });
    } finally {
      await busy.release();
      patient.close();
      raw.close();
    }
  });
});
