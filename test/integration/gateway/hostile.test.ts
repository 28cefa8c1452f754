import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { GatewayConfiguration } from '../../../broker/gateway/edge-frames.ts';
import { type GatewayEvents, startGateway } from '../../../broker/gateway/gateway-supervisor.ts';
import { method } from './edge.ts';

/**
 * A gateway that was taken over: a process that stands where the gateway stands and sends what the test says.
 * `frame(type, id, ...hexOrText)` writes one frame.
 */
const PROGRAM = (attack: string) => `
import { Socket } from 'node:net';
const pipe = new Socket({ fd: 3, readable: true, writable: true });
const frame = (type: number, id: number, payload: string | Buffer = '') => {
  const body = Buffer.from(payload as string);
  const head = Buffer.alloc(9);
  head.writeUInt32BE(5 + body.length, 0);
  head.writeUInt8(type, 4);
  head.writeUInt32BE(id, 5);
  pipe.write(Buffer.concat([head, body]));
};
const request = (connection: number, method: number) => {
  const header = Buffer.alloc(9);
  header.writeUInt32BE(connection, 0);
  header.writeUInt8(method, 4);
  header.writeUInt32BE(4294967295, 5);
  return header;
};
const peer = Buffer.concat([Buffer.from([0, 1, 0x78, 0, 0, 0, 1]), Buffer.from('c')]);
pipe.on('end', () => process.exit(0));
pipe.once('data', () => {
  ${attack}
});
`;

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function attack(script: string, role: GatewayConfiguration['role'] = 'workload') {
  const root = mkdtempSync(join(tmpdir(), 'lastmile-hostile-'));
  cleanups.push(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, 'broker/gateway'), { recursive: true });
  writeFileSync(join(root, 'package.json'), '{"type":"module"}');
  writeFileSync(join(root, 'broker/gateway/gateway.ts'), PROGRAM(script));
  const events: string[] = [];
  const reasons: string[] = [];
  const deadlines: number[] = [];
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const record =
    (name: keyof GatewayEvents) =>
    (...details: unknown[]) => {
      if (name === 'onRequest')
        deadlines.push((details[0] as { deadline: number }).deadline - performance.now());
      events.push(name);
    };
  const gateway = await startGateway({
    configuration: {
      role,
      trustDomain: 'example.org',
      host: '127.0.0.1',
      port: 0,
      tls: { certificate: '', key: '', trustBundle: [] },
      maxConnections: 10,
      maxConnectionsPerAddress: 10,
      maxStreamsPerConnection: 10,
      maxStreamInFlight: 10,
      maxDeadlineMs: 1_000,
    },
    count: 1,
    user: undefined,
    root,
    // Dead is dead here: the next one would only do it again.
    restartPolicy: { firstDelayMs: 600_000, maxDelayMs: 600_000, healthyAfterMs: 0 },
    log: (level, message) => {
      if (level !== 'error') return;
      reasons.push(message);
      resolve();
    },
    onOpen: record('onOpen'),
    onClosed: record('onClosed'),
    onRequest: record('onRequest'),
    onCancel: record('onCancel'),
    onRefused: record('onRefused'),
  });
  cleanups.push(() => gateway.stop());
  return { ended, events, reasons, deadlines, gateway };
}

const LISTENING = `frame(2, 0, '{"address":"127.0.0.1","port":1}');`;

describe('a gateway that was taken over is ended', () => {
  it.each<[string, GatewayConfiguration['role'], string, RegExp]>([
    [
      'when it asks for an operators’ method',
      'workload',
      `frame(4, 1, peer); frame(7, 1, request(1, ${method('Freeze').number}));`,
      /method it may not pass on/,
    ],
    [
      'when it is the operators’ and asks for key use',
      'control',
      `frame(4, 1, peer); frame(7, 1, request(1, ${method('Sign').number}));`,
      /method it may not pass on/,
    ],
    [
      'when it asks for a method that there is not',
      'workload',
      'frame(4, 1, peer); frame(7, 1, request(1, 254));',
      /method/,
    ],
    ['when it asks for a connection that is not open', 'workload', 'frame(7, 1, request(9, 1));', /not open/],
    [
      'when it asks for a connection that it closed',
      'workload',
      'frame(4, 1, peer); frame(5, 1); frame(7, 1, request(1, 1));',
      /not open/,
    ],
    [
      'when it uses one number for two requests',
      'workload',
      'frame(4, 1, peer); frame(7, 1, request(1, 1)); frame(7, 1, request(1, 1));',
      /in use/,
    ],
    ['when it opens a connection twice', 'workload', 'frame(4, 1, peer); frame(4, 1, peer);', /twice/],
    ['when it closes one that is not open', 'workload', 'frame(5, 7);', /not open/],
    [
      'when it opens too many',
      'workload',
      'for (let i = 0; i < 21; i++) frame(4, i, peer);',
      /more connections/,
    ],
    [
      'when it floods',
      'workload',
      'frame(4, 1, peer); for (let i = 0; i < 40000; i++) frame(7, i, request(1, 1));',
      /in flight/,
    ],
    ['when a connection has no chain', 'workload', 'frame(4, 1, Buffer.from([0, 1, 0x78]));', /malformed/],
    ['when a chain is cut off', 'workload', 'frame(4, 1, peer.subarray(0, 7));', /malformed/],
    [
      'when a request is cut off',
      'workload',
      'frame(4, 1, peer); frame(7, 1, request(1, 1).subarray(0, 8));',
      /header/,
    ],
    ['when it counts refusals that there are not', 'workload', "frame(11, 1, 'because');", /reason/],
    ['when it sends what only the broker sends', 'workload', "frame(9, 1, 'x');", /unknown type/],
    ['when it says twice that it listens', 'workload', LISTENING, /listens/],
    [
      'when it announces a frame of 4 GiB',
      'workload',
      'pipe.write(Buffer.alloc(16, 0xff));',
      /outside the limits/,
    ],
  ])('%s', async (_name, role, script, reason) => {
    const { ended, reasons, events } = await attack(LISTENING + script, role);
    await ended;
    expect(reasons[0]).toMatch(reason);
    const count = (name: string) => events.filter((event) => event === name).length;
    expect(count('onClosed'), 'connections closed').toBe(count('onOpen'));
    expect(count('onCancel'), 'requests cancelled').toBe(count('onRequest'));
  });

  it('and what it asks before it listens is not looked at', async () => {
    await expect(attack('frame(4, 1, peer);')).rejects.toThrow(/before it listens/);
  });
});

it('a gateway cannot give its callers more time than the configuration does', async () => {
  const { deadlines, ended, gateway } = await attack(
    `${LISTENING} frame(4, 1, peer); frame(7, 1, request(1, 1)); pipe.end();`,
  );
  await ended;
  expect(deadlines).toHaveLength(1);
  expect(deadlines[0]).toBeLessThanOrEqual(1_000);
  expect(gateway.processes()[0]!.isListening).toBe(false);
});
