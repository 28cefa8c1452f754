import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type LastmileClient, LastmileError, type Signed } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import { entries, operator, status, tokenOf, untilStatus, workload } from '../../fakes/instance-clients.ts';
import {
  descendants,
  edit,
  findings,
  isRunning,
  isServing,
  KEY,
  Load,
  processOf,
  publicKeyOf,
  until,
  verifyAudit,
  wholeLog,
} from './harness.ts';

/**
 * SoftHSM2 takes a lock on its files for each use of a key. Whoever else holds it makes the module hang, as an HSM
 * does whose network is gone: the calls return when the lock is released, and not before.
 */
class HeldToken {
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess) {
    this.#process = process;
  }

  static async hold(directory: string, token: string): Promise<HeldToken> {
    const root = join(directory, 'tokens', token, 'objects');
    const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((name) => /(generation|\.object)$/.test(name))
      .map((name) => join(root, name));
    if (files.length === 0) throw new Error(`no files of a token in ${root}`);
    const program = `
import fcntl, sys
held = [open(name, "r+") for name in sys.argv[1:]]
for file in held: fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()`;
    const child = spawn('python3', ['-c', program, ...files], { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    return new HeldToken(child);
  }

  get isHeld(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  async release(): Promise<void> {
    if (!this.isHeld) return;
    const gone = once(this.#process, 'exit');
    this.#process.stdin?.end();
    await gone;
  }
}

const HANG_LIMIT_MS = 8000;
const MAX_DEADLINE_MS = 2000;
const message = Buffer.from('signed in time or not at all');
const request = { key: KEY, algorithm: 'ES256', message };

let instance: RunningInstance;
let client: LastmileClient;
let asOperator: OperatorClient;
let held: HeldToken | undefined;

beforeAll(async () => {
  instance = await startInstance({
    prepare: async (directory) => {
      edit(
        join(directory, 'lastmile.yaml'),
        /sessions: 4\n/g,
        `sessions: 4\n    hang_limit: ${HANG_LIMIT_MS}ms\n`,
      );
      appendFileSync(join(directory, 'lastmile.yaml'), `limits:\n  max_deadline: ${MAX_DEADLINE_MS}ms\n`);
    },
  });
  client = await workload(instance, 'payments', { maxAttempts: 1 });
  asOperator = await operator(instance);
});

// Whatever became of a test: the next one needs the token.
afterEach(() => held?.release());
afterAll(async () => {
  client?.close();
  asOperator?.close();
  await instance?.stop();
});

async function outcome(call: Promise<Signed>): Promise<'signed' | LastmileError> {
  try {
    await call;
    return 'signed';
  } catch (error) {
    if (error instanceof LastmileError) return error;
    throw error;
  }
}

describe('a token that hangs', () => {
  it('costs its callers their deadline and no more, is replaced, and comes back', async () => {
    const publicKey = await publicKeyOf(client);
    const before = await status(asOperator);
    const worker = await processOf(asOperator, 'token worker a');
    held = await HeldToken.hold(instance.directory, 'a');

    // Side by side, so that both tokens get some: those at the hung one end by their deadline, the others are signed.
    // Two of four would wait for a minute: it is the broker whose longest deadline ends them. Some of both are early
    // enough to meet the hung token: once it is silent for longer than the other takes, it gets no more but a trial now
    // and then, the first of a round: that is a patient one in every other round.
    const AT_ONCE = 12;
    const isPatient = (at: number): boolean => (at + 2 * Math.floor(at / AT_ONCE)) % 4 >= 2;
    const outcomes: ('signed' | LastmileError)[] = [];
    // Whoever meets it is told before its worker is replaced.
    const end = performance.now() + HANG_LIMIT_MS - 2 * MAX_DEADLINE_MS;
    while (performance.now() < end && !outcomes.some((one, at) => isPatient(at) && one !== 'signed')) {
      const first = outcomes.length;
      outcomes.push(
        ...(await Promise.all(
          Array.from({ length: AT_ONCE }, (_, at) =>
            outcome(client.sign(request, { deadlineMs: isPatient(first + at) ? 60_000 : 1000 })),
          ),
        )),
      );
    }
    expect(held.isHeld).toBe(true);
    const late = outcomes.filter((one) => one !== 'signed');
    expect(outcomes.length - late.length).toBeGreaterThan(0);
    expect(new Set(outcomes.filter((_, at) => isPatient(at)))).not.toEqual(new Set(['signed']));
    for (const { code, reason, performed } of late) {
      expect({ code, reason, performed }).toEqual({
        code: 'DEADLINE_EXCEEDED',
        reason: 'DEADLINE_EXCEEDED',
        performed: 'unknown',
      });
    }

    // The hang limit ends the worker; the status says why. Its successor cannot log in while the token hangs.
    const during = await untilStatus(asOperator, (now) => tokenOf(now, 'a').state !== 'ready');
    expect(tokenOf(during, 'a').advice).not.toBe('');
    expect(tokenOf(during, 'b').state).toBe('ready');
    const load = new Load(client, 'beside a hung token');
    await load.more(300);
    await load.stop();
    expect(load.reasons()).toEqual({});
    expect(held.isHeld).toBe(true);
    expect(isRunning(worker.pid)).toBe(false);

    // Late or not, each attempt is on record.
    const log = await wholeLog(asOperator);
    expect(findings(load.held, publicKey, log)).toEqual([]);
    // Of the first half the caller left when its own time was up, and the broker may have heard of that first.
    const serial = tokenOf(before, 'a').serial;
    const hung = [...log.values()].filter(({ attempts }) =>
      attempts?.some(({ token, outcome: how }) => token === serial && how === 'failed'),
    );
    expect(hung).toHaveLength(late.length);
    for (const entry of hung) {
      expect(entry).toMatchObject({ decision: 'allow', performed: 'unknown' });
      expect(entry.output).toBeUndefined();
      expect(['DEADLINE_EXCEEDED', 'CANCELLED']).toContain(entry.reason);
    }
    expect(hung.map(({ reason }) => reason)).toContain('DEADLINE_EXCEEDED');

    await held.release();
    await untilStatus(asOperator, (now) => isServing(now, 'a'), 40_000);
    // It gets its turn again; which of the next operations that is, is the pool's to say.
    await until('the token signs again', async () => {
      await client.sign(request);
      const [newest] = await entries(asOperator, { kind: 'key-use', limit: 1 });
      return newest?.attempts?.at(-1)?.token === serial;
    });
    expect(JSON.parse(await verifyAudit(instance))).toMatchObject({ isSound: true });
  });

  it('does not keep its worker alive when the broker is killed', async () => {
    held = await HeldToken.hold(instance.directory, 'a');
    const children = descendants(instance.pid);
    expect(children).toHaveLength(4);
    const calls = Array.from({ length: 12 }, () => outcome(client.sign(request)));
    // Blocked in the module: such a worker cannot see that its pipe has closed.
    await untilStatus(asOperator, (now) => tokenOf(now, 'a').inFlight >= 1);
    expect(await instance.end('SIGKILL')).toBe(null);
    await until('all children of the killed broker are gone', () => !children.some((pid) => isRunning(pid)));
    expect(held.isHeld).toBe(true);
    await Promise.all(calls);
    await held.release();

    instance = await instance.serveAgain();
    const again = await operator(instance);
    await untilStatus(again, (now) => isServing(now, 'a') && isServing(now, 'b'), 40_000);
    again.close();
    expect(JSON.parse(await verifyAudit(instance))).toMatchObject({ isSound: true });
  });
});
