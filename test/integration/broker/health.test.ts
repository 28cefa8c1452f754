import type { Client } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { codec } from '../../../broker/proto/codec.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import {
  operator,
  type ProfileName,
  rawCall,
  rawClient,
  refusal,
  status,
  untilStatus,
  workload,
} from '../../fakes/instance-clients.ts';

const SERVING = 1;
const NOT_SERVING = 2;
const NOT_FOUND = 5;
const UNIMPLEMENTED = 12;

const request = codec<{ service: string }, object>('grpc.health.v1.HealthCheckRequest');
const response = codec<object, { status: number }>('grpc.health.v1.HealthCheckResponse');

let instance: RunningInstance;
let onWorkloads: Client;
let onControl: Client;

beforeAll(async () => {
  instance = await startInstance();
  onWorkloads = rawClient(instance, 'payments', 'target');
  onControl = rawClient(instance, 'auditor' satisfies ProfileName, 'control');
});

afterAll(async () => {
  onWorkloads?.close();
  onControl?.close();
  await instance?.stop();
});

/** The serving status, or the gRPC code of the refusal. */
async function check(client: Client, service: string): Promise<string> {
  const answer = await rawCall(client, '/grpc.health.v1.Health/Check', request.encode({ service }));
  return answer.code === 0 ? `${response.decode(answer.ok!).status}` : `code ${answer.code}`;
}

describe('grpc.health.v1', () => {
  it('says on both listeners, to whoever could connect, what is served', async () => {
    for (const client of [onWorkloads, onControl]) {
      for (const service of ['', 'lastmile.v1.KeyUse', 'lastmile.v1.Admin', 'lastmile.v1.Audit'])
        expect([service, await check(client, service)]).toEqual([service, `${SERVING}`]);
      expect(await check(client, 'lastmile.v1.Nothing')).toBe(`code ${NOT_FOUND}`);
    }
  });

  it('takes garbage for what it is, and says that nothing is watched', async () => {
    const garbage = await rawCall(onWorkloads, '/grpc.health.v1.Health/Check', Buffer.from([0xff, 0xff]));
    expect(garbage).toMatchObject({ code: 3, reason: 'REQUEST_INVALID' });
    const watch = await rawCall(onWorkloads, '/grpc.health.v1.Health/Watch', request.encode({ service: '' }));
    expect(watch.code).toBe(UNIMPLEMENTED);
  });

  it('leaves to `status` how often was read what is no entry', async () => {
    const client = await operator(instance);
    const reader = await workload(instance, 'payments');
    try {
      await reader.getPublicKey({ key: 'payments/jwt' });
      await reader.listKeys();
      await reader.listKeys();
      const refused = await refusal(reader.getPublicKey({ key: 'billing/invoices' }));
      expect(refused.reason).toBe('POLICY_DENIED');
      expect((await client.admin('GetStatus', {})).reads).toEqual({ GetPublicKey: 1, ListKeys: 2 });
    } finally {
      reader.close();
      client.close();
    }
  });

  it('says that no key is used once no token serves, while operators are still served', async () => {
    const client = await operator(instance);
    try {
      const { tokens } = await status(client);
      for (const { name } of tokens) await client.admin('DrainToken', { token: name, reason: 'test' });
      await untilStatus(client, (now) => now.tokens.every(({ state }) => state === 'draining'));
      expect(await check(onWorkloads, '')).toBe(`${NOT_SERVING}`);
      expect(await check(onWorkloads, 'lastmile.v1.KeyUse')).toBe(`${NOT_SERVING}`);
      expect(await check(onControl, 'lastmile.v1.Admin')).toBe(`${SERVING}`);
      for (const { name } of tokens) await client.admin('UndrainToken', { token: name, reason: 'test' });
      await untilStatus(client, (now) => now.tokens.every(({ state }) => state === 'ready'));
      expect(await check(onControl, '')).toBe(`${SERVING}`);
    } finally {
      client.close();
    }
  });
});
