import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningInstance, runLastmile, startInstance } from '../../fakes/instance.ts';
import { entries, operator, tokenOf, untilStatus, workload } from '../../fakes/instance-clients.ts';
import { edit, isServing, KEY, killTokenWorker } from './harness.ts';

/** Shows every call that a module gets, and passes it on (OpenSC). */
const SPY = '/usr/lib/x86_64-linux-gnu/pkcs11-spy.so';
const SOFTHSM = '/usr/lib/softhsm/libsofthsm2.so';
const WRONG_PIN = '00000000';

let instance: RunningInstance;
let pinFile: string;
let rightPin: string;

beforeAll(async () => {
  instance = await startInstance({
    prepare: async (directory) => {
      const yaml = join(directory, 'lastmile.yaml');
      edit(yaml, /module: .*/, `module: ${SPY}`);
      edit(
        yaml,
        /environment: \{ (.*) \}/,
        `environment: { $1, PKCS11SPY: ${SOFTHSM}, PKCS11SPY_OUTPUT: spy.log }`,
      );
      pinFile = join(directory, 'secrets', 'token-a.pin');
      rightPin = readFileSync(pinFile, 'utf8');
      writeFileSync(pinFile, WRONG_PIN);
    },
  });
});

afterAll(async () => {
  await instance?.stop();
});

/** How often the token of `a` was given a PIN, since it was made. */
function logins(): number {
  const log = readFileSync(join(instance.directory, 'tokens', 'a', 'spy.log'), 'utf8');
  return log.match(/^\d+: C_Login$/gm)?.length ?? 0;
}

async function expectBlocked(): Promise<void> {
  const asOperator = await operator(instance);
  try {
    const { state, advice } = tokenOf(
      await untilStatus(asOperator, (now) => tokenOf(now, 'b').state === 'ready'),
      'a',
    );
    expect(state).toBe('blocked');
    expect(advice).toContain(pinFile);
    expect(advice).toContain('lastmile tokens unblock a');
    expect(advice).not.toContain(WRONG_PIN);
    const listed = await runLastmile(['tokens', 'list', '--instance', instance.directory]);
    expect(listed).toMatch(/^a +blocked/m);
    expect(listed).toContain(`a: ${advice}`);
  } finally {
    asOperator.close();
  }
}

/** All of them succeed, and on these tokens. */
async function expectServing(names: readonly string[]): Promise<void> {
  const client = await workload(instance, 'payments', { maxAttempts: 1 });
  const asOperator = await operator(instance);
  try {
    const now = await untilStatus(asOperator, (status) => names.every((name) => isServing(status, name)));
    const message = Buffer.from('a message');
    for (let i = 0; i < 20; i++) await client.sign({ key: KEY, algorithm: 'ES256', message });
    const used = await entries(asOperator, { kind: 'key-use', limit: 20 });
    expect(new Set(used.map(({ attempts }) => attempts?.at(-1)?.token))).toEqual(
      new Set(names.map((name) => tokenOf(now, name).serial)),
    );
  } finally {
    client.close();
    asOperator.close();
  }
}

async function killWorker(name: string): Promise<void> {
  const asOperator = await operator(instance);
  try {
    await killTokenWorker(asOperator, name);
  } finally {
    asOperator.close();
  }
}

const unblock = () =>
  runLastmile(['tokens', 'unblock', 'a', '--reason', 'PIN corrected', '--instance', instance.directory]);

describe('a wrong PIN', () => {
  it('is tried once, and the other token serves', async () => {
    await expectBlocked();
    await expectServing(['b']);
    expect(logins()).toBe(1);
  });

  it('is not tried again when another worker dies, or the broker ends or is killed', async () => {
    await killWorker('b');
    await expectBlocked();
    for (const signal of ['SIGTERM', 'SIGKILL', 'SIGKILL'] as const) {
      await instance.end(signal);
      instance = await instance.serveAgain();
      await expectBlocked();
      await expectServing(['b']);
    }
    expect(logins()).toBe(1);
  });

  it('stays blocked after the PIN is corrected, until an operator says so', async () => {
    writeFileSync(pinFile, rightPin);
    await instance.end();
    instance = await instance.serveAgain();
    await expectBlocked();
    expect(logins()).toBe(1);

    await unblock();
    await expectServing(['a', 'b']);
    expect(logins()).toBe(2);
  });

  it('that turns up while the broker runs costs one attempt, and each unblock one more', async () => {
    writeFileSync(pinFile, WRONG_PIN);
    await killWorker('a');
    await expectBlocked();
    expect(logins()).toBe(3);
    await expectServing(['b']);

    await unblock();
    const asOperator = await operator(instance);
    await untilStatus(asOperator, (now) => tokenOf(now, 'a').state === 'blocked');
    asOperator.close();
    await expectBlocked();
    expect(logins()).toBe(4);

    writeFileSync(pinFile, rightPin);
    await unblock();
    await expectServing(['a', 'b']);
    expect(logins()).toBe(5);
  });
});
