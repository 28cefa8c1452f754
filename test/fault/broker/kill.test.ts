import type { KeyObject } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LastmileClient } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import { operator, tokenOf, untilStatus, workload } from '../../fakes/instance-clients.ts';
import {
  descendants,
  findings,
  isRunning,
  isServing,
  keepPorts,
  Load,
  processOf,
  publicKeyOf,
  until,
  verifyAudit,
  wholeLog,
} from './harness.ts';

let instance: RunningInstance;
let client: LastmileClient;
let asOperator: OperatorClient;
let publicKey: KeyObject;

beforeAll(async () => {
  instance = await startInstance();
  keepPorts(instance);
  // One attempt: what the broker and its processes make of a death shall be seen, not what the SDK repairs.
  client = await workload(instance, 'payments', { maxAttempts: 1 });
  asOperator = await operator(instance);
  publicKey = await publicKeyOf(client);
});

afterAll(async () => {
  client?.close();
  asOperator?.close();
  await instance?.stop();
});

/** SIGKILL under load, then until the successor of the killed process is at work. */
async function killUnderLoad(role: string, load: Load, workingState: string): Promise<void> {
  await load.more(200);
  const before = await processOf(asOperator, role);
  process.kill(before.pid, 'SIGKILL');
  await untilStatus(asOperatorAgain(), ({ processes }) =>
    processes.some(
      (now) =>
        now.role === role &&
        now.pid !== before.pid &&
        now.state === workingState &&
        now.restarts === before.restarts + 1,
    ),
  );
  await load.more(200);
  expect(isRunning(before.pid)).toBe(false);
}

/** The operator's client reconnects by itself: what it asked of a control gateway that died is asked again. */
function asOperatorAgain(): OperatorClient {
  return new Proxy(asOperator, {
    get(target, name) {
      if (name !== 'admin') return Reflect.get(target, name, target);
      return async (...args: Parameters<OperatorClient['admin']>) => {
        for (;;) {
          try {
            return await target.admin(...args);
          } catch (error) {
            if ((error as { reason?: string }).reason !== 'CONNECTION_LOST') throw error;
          }
        }
      };
    },
  });
}

async function expectSoundLog(...loads: readonly Load[]): Promise<void> {
  const log = await wholeLog(asOperator);
  for (const load of loads) expect(findings(load.held, publicKey, log)).toEqual([]);
  expect(JSON.parse(await verifyAudit(instance))).toMatchObject({ isSound: true, isSignatureVerified: true });
}

describe('SIGKILL under load', () => {
  it.each(['a', 'b'])(
    'of the worker of token %s: the other token takes over, no call fails',
    async (name) => {
      // More than one token takes at once: when the other one is gone, some have to wait, and none is turned away.
      const load = new Load(client, `worker ${name}`, 28);
      await killUnderLoad(`token worker ${name}`, load, 'ready');
      const { serial } = tokenOf(await untilStatus(asOperator, (now) => isServing(now, name)), name);
      const served = load.held.length;
      // The replacement has proven its keys, and takes its share again.
      await until('the replacement signs', async () => {
        await load.more(50);
        const log = await wholeLog(asOperator);
        return load.held
          .slice(served)
          .some(({ leafIndex }) => log.get(leafIndex)?.attempts?.at(-1)?.token === serial);
      });
      await load.stop();
      expect(load.reasons()).toEqual({});
      await expectSoundLog(load);
    },
  );

  it('of the gateway: what is in flight fails with performed unknown, and another serves the port', async () => {
    const load = new Load(client, 'gateway');
    await killUnderLoad('gateway-1', load, 'listening');
    await load.stop();
    const expected = new Set(['CONNECTION_LOST unknown', 'BROKER_UNREACHABLE no']);
    expect(Object.keys(load.reasons()).filter((reason) => !expected.has(reason))).toEqual([]);
    expect(load.reasons()['CONNECTION_LOST unknown']).toBeGreaterThan(0);
    await expectSoundLog(load);
  });

  it('of the control gateway: workloads notice nothing', async () => {
    const load = new Load(client, 'control gateway');
    await killUnderLoad('control-gateway', load, 'listening');
    await load.stop();
    expect(load.reasons()).toEqual({});
    await expectSoundLog(load);
  });

  it('of the broker, again and again: its children go with it, the ports are free, every held signature is in the log', async () => {
    const loads: Load[] = [];
    for (let round = 0; round < 3; round++) {
      const load = new Load(client, `broker ${round}`);
      loads.push(load);
      // Killed while it signs, after a different amount of work each time.
      await load.more(150 + 77 * round);
      const children = descendants(instance.pid);
      expect(children).toHaveLength(4);
      expect(await instance.end('SIGKILL')).toBe(null);
      await until(
        'all children of the killed broker are gone',
        () => !children.some((pid) => isRunning(pid)),
      );
      // On the same ports; the clients come back by themselves.
      instance = await instance.serveAgain();
      await load.more(100);
      await load.stop();
    }
    await expectSoundLog(...loads);
  });
});
