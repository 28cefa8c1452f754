import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LastmileClient } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, runLastmile, startInstance } from '../../fakes/instance.ts';
import { entries, operator, status, tokenOf, untilStatus, workload } from '../../fakes/instance-clients.ts';
import {
  edit,
  findings,
  isServing,
  keepPorts,
  Load,
  publicKeyOf,
  verifyAudit,
  wholeLog,
} from '../broker/harness.ts';

/** A module that never loads beside two tokens that serve. */
const NEVER_STARTS = `
  - name: never-starts
    module: /usr/lib/softhsm/there-is-no-such-module.so
    label: nowhere
    pin: { file: secrets/token-b.pin }
`;

let instance: RunningInstance;
let client: LastmileClient;
let asOperator: OperatorClient;

beforeAll(async () => {
  instance = await startInstance({
    prepare: async (directory) =>
      edit(
        join(directory, 'lastmile.yaml'),
        '\n# Each process drops',
        `${NEVER_STARTS}\n# Each process drops`,
      ),
  });
  keepPorts(instance);
  client = await workload(instance, 'payments', { maxAttempts: 1 });
  asOperator = await operator(instance);
});

afterAll(async () => {
  client?.close();
  asOperator?.close();
  await instance?.stop();
});

const tokens = (...args: string[]) => runLastmile(['tokens', ...args, '--instance', instance.directory]);

describe('draining a token under load', () => {
  it('fails nobody, leaves it without work, lasts over a restart of the broker, and is undone', async () => {
    const publicKey = await publicKeyOf(client);
    const load = new Load(client, 'drain');
    await load.more(200);
    const { serial } = tokenOf(await status(asOperator), 'a');
    const out = await tokens('drain', 'a', '--wait', '--reason', 'firmware');
    expect(out).toBe('a gets no more work; it has nothing left to do\n');
    const from = load.held.length;
    await load.more(300);
    await load.stop();
    expect(load.reasons()).toEqual({});
    const log = await wholeLog(asOperator);
    expect(findings(load.held, publicKey, log)).toEqual([]);
    const after = load.held
      .slice(from + 32)
      .map(({ leafIndex }) => log.get(leafIndex)?.attempts?.at(-1)?.token);
    expect(after.length).toBeGreaterThan(200);
    expect(after).not.toContain(serial);
    const told = (await entries(asOperator, { kind: 'token' })).filter(
      ({ operation }) => operation === 'Admin.DrainToken',
    );
    expect(told).toMatchObject([
      { performed: 'yes', detail: { token: 'a', why: 'firmware' } },
      { performed: 'unknown', detail: { stage: 'begun' } },
    ]);

    await instance.end();
    const started = performance.now();
    instance = await instance.serveAgain();
    // A token that cannot start has had its chances long before the broker would give up waiting for it.
    expect(performance.now() - started).toBeLessThan(8000);
    const again = await untilStatus(asOperator, (now) => isServing(now, 'b'));
    expect(tokenOf(again, 'a')).toMatchObject({ state: 'draining' });
    expect(tokenOf(again, 'a').advice).toContain('lastmile tokens undrain a');
    expect(await tokens('status', 'a')).toContain('draining');

    await tokens('undrain', 'a', '--reason', 'firmware is new');
    await untilStatus(asOperator, (now) => isServing(now, 'a'));
    const later = new Load(client, 'undrained');
    await later.more(300);
    await later.stop();
    expect(later.reasons()).toEqual({});
    const whole = await wholeLog(asOperator);
    expect(findings(later.held, publicKey, whole)).toEqual([]);
    expect(later.held.map(({ leafIndex }) => whole.get(leafIndex)?.attempts?.at(-1)?.token)).toContain(
      serial,
    );
    expect(JSON.parse(await verifyAudit(instance))).toMatchObject({
      isSound: true,
      isSignatureVerified: true,
    });
  });
});
