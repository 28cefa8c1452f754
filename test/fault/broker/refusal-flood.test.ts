import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { codec } from '../../../broker/proto/codec.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import {
  BILLING,
  type Entry,
  operator,
  query,
  rawCall,
  rawClient,
  type Status,
  status,
  untilStatus,
  workload,
} from '../../fakes/instance-clients.ts';
import { edit, keepPorts, Load, verifyAudit } from './harness.ts';

const REQUESTS = 20_000;
/** Each of them costs a whole handshake. */
const REQUESTS_THROWN_OUT = 4_000;
/** gRPC status codes. */
const PERMISSION_DENIED = 7;
const UNAVAILABLE = 14;
const { encode } = codec<object, object>('lastmile.v1.SignRequest');

/** As fast as one client can, half for one key that is not its own, half for a name of its own each. */
async function flood(instance: RunningInstance, requests: number): Promise<Readonly<Record<number, number>>> {
  const codes: Record<number, number> = {};
  let client = rawClient(instance, 'billing', 'target');
  let next = 0;
  const loop = async (): Promise<void> => {
    while (next < requests) {
      const number = next++;
      const key = number % 2 === 0 ? 'payments/jwt' : `payments/try-${number}`;
      const request = encode({ key, algorithm: 'ES256', message: Buffer.from('m') });
      const sender = client;
      const { code, reason } = await rawCall(sender, '/lastmile.v1.KeyUse/Sign', request);
      if (code === PERMISSION_DENIED) expect(reason).toBe('POLICY_DENIED');
      codes[code] = (codes[code] ?? 0) + 1;
      if (code === UNAVAILABLE && client === sender) {
        // Thrown out: it comes again at once, as somebody does who means harm.
        sender.close();
        client = rawClient(instance, 'billing', 'target');
      }
    }
  };
  await Promise.all(Array.from({ length: 128 }, loop));
  client.close();
  return codes;
}

interface Flooded {
  readonly codes: Readonly<Record<number, number>>;
  readonly others: Load;
  /** Everything in the log of the one who floods. */
  readonly bytes: number;
  readonly entries: readonly Entry[];
  readonly before: Status;
  readonly after: Status;
}

async function floodBeside(instance: RunningInstance, requests: number): Promise<Flooded> {
  const client = await workload(instance, 'payments', { maxAttempts: 1 });
  const asOperator = await operator(instance);
  try {
    const before = await status(asOperator);
    const others = new Load(client, 'beside a flood', 4);
    await others.more(50);
    const codes = await flood(instance, requests);
    await others.more(50);
    await others.stop();
    const raw = await query(asOperator, { workload: BILLING });
    return {
      codes,
      others,
      bytes: raw.reduce((sum, entry) => sum + entry.length, 0),
      entries: raw.map((entry) => JSON.parse(entry.toString('utf8')) as Entry),
      before,
      after: await status(asOperator),
    };
  } finally {
    client.close();
    asOperator.close();
  }
}

const residentOf = ({ processes }: Status, role: string): number =>
  Number(processes.find((candidate) => candidate.role === role)?.residentBytes);

describe('thousands of forbidden requests of one workload', () => {
  it('are all refused, take little of the log, are all counted, and nobody else notices', async () => {
    let instance = await startInstance();
    try {
      keepPorts(instance);
      const { codes, others, bytes, entries, before, after } = await floodBeside(instance, REQUESTS);
      expect(codes).toEqual({ [PERMISSION_DENIED]: REQUESTS });
      expect(others.reasons()).toEqual({});
      // 64 kinds and what is beyond them, one entry each.
      expect(entries.length).toBeLessThanOrEqual(65);
      expect(bytes).toBeLessThan(64 * 1024);
      for (const role of ['broker', 'gateway-1']) {
        expect(residentOf(after, role) - residentOf(before, role)).toBeLessThan(192 * 1024 * 1024);
      }

      // At the end the counts are written: not one refusal is missing.
      await instance.end();
      instance = await instance.serveAgain();
      const asOperator = await operator(instance);
      await untilStatus(asOperator, ({ state }) => state === 'serving');
      const all = (await query(asOperator, { workload: BILLING })).map(
        (entry) => JSON.parse(entry.toString('utf8')) as Entry,
      );
      asOperator.close();
      const firsts = all.filter(({ kind }) => kind === 'key-use').length;
      const repeats = all
        .filter(({ kind }) => kind === 'refusals')
        .map(({ detail }) => Number(detail?.count));
      expect(firsts + repeats.reduce((sum, count) => sum + count, 0)).toBe(REQUESTS);
      expect(JSON.parse(await verifyAudit(instance))).toMatchObject({ isSound: true });
    } finally {
      await instance.stop();
    }
  });

  it('beyond its quota of log bytes close its connections, whose number does not help it', async () => {
    const instance = await startInstance({
      prepare: async (directory) =>
        edit(join(directory, 'lastmile.yaml'), '\ntokens:', '\n  refusal_quota: 16KiB\n\ntokens:'),
    });
    try {
      const { codes, others, bytes } = await floodBeside(instance, REQUESTS_THROWN_OUT);
      const { [PERMISSION_DENIED]: denied = 0, [UNAVAILABLE]: thrownOut = 0 } = codes;
      expect(denied + thrownOut).toBe(REQUESTS_THROWN_OUT);
      expect(thrownOut).toBeGreaterThan(REQUESTS_THROWN_OUT / 2);
      expect(others.reasons()).toEqual({});
      expect(bytes).toBeLessThan(20 * 1024);
    } finally {
      await instance.stop();
    }
  });
});
