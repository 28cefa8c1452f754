import { chmodSync, existsSync, readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { TokenConfig } from '../../../hsm-adapters/adapter.ts';
import type { ModuleUnderTest } from '../../conformance/adapters/module-under-test.ts';
import { descendants } from '../../fault/broker/harness.ts';
import { becomes, KeyUseUnderLoad, type Outcome, openWorker } from '../../fault/tokens/harness.ts';
import { MODULE } from '../../integration/pkcs11/soft-token.ts';
import { Daemon } from '../modules/daemon.ts';
import { startP11Kit } from '../modules/p11-kit-module.ts';

/** What happens on the way to a token that is reached through a socket: two p11-kit servers, one behind a path. */

type Trouble = 'none' | 'drop' | 'cut' | 'flip' | { readonly delayMs: number };

/** Stands before a socket. What comes back through it is late, lost, cut off or wrong, as `trouble` says. */
class FaultyPath {
  trouble: Trouble = 'none';
  flipped = 0;
  readonly path: string;
  readonly #server: net.Server;
  readonly #open = new Set<net.Socket>();

  constructor(path: string, upstream: string) {
    this.path = path;
    this.#server = net.createServer((client) => {
      const server = net.connect(upstream);
      for (const [one, other] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#open.add(one);
        one.on('error', () => one.destroy());
        one.on('close', () => {
          this.#open.delete(one);
          other.destroy();
        });
      }
      client.on('data', (bytes: Buffer) => server.write(bytes));
      server.on('data', (bytes: Buffer) => this.#answer(client, server, bytes));
    });
  }

  #answer(client: net.Socket, server: net.Socket, bytes: Buffer): void {
    const { trouble } = this;
    if (trouble === 'none') client.write(bytes);
    else if (trouble === 'drop') return;
    else if (trouble === 'cut') {
      client.write(bytes.subarray(0, bytes.length >> 1));
      client.destroy();
      server.destroy();
    } else if (trouble === 'flip') {
      // An answer's last bytes are the last argument: of C_Sign, the signature. Short answers have none.
      if (bytes.length > 64) {
        bytes[bytes.length - 1]! ^= 1;
        this.flipped++;
      }
      client.write(bytes);
    } else setTimeout(() => client.write(bytes), trouble.delayMs);
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.path, resolve));
    chmodSync(this.path, 0o777);
  }

  cutAll(): void {
    for (const socket of this.#open) socket.destroy();
  }

  async close(): Promise<void> {
    this.cutAll();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.path, { force: true });
  }
}

const HANG_LIMIT_MS = 1500;
/** So long that workers are replaced several times, each to hang like the one before. */
const STOPPED_MS = 30_000;

let module: ModuleUnderTest;
let path: FaultyPath;
let upstreamPath: string;
let all: KeyUseUnderLoad;
/** In the place of one that was killed. */
let nextServer: Daemon | undefined;

beforeEach(async () => {
  module = await startP11Kit();
  const [one, two] = module.tokens as readonly [TokenConfig, TokenConfig];
  upstreamPath = one.environment['P11_KIT_SERVER_ADDRESS']!.slice('unix:path='.length);
  path = new FaultyPath(join(one.directory, 'proxy'), upstreamPath);
  await path.listen();
  expect(existsSync(path.path)).toBe(true);
  const lines: string[] = [];
  const log = (line: string) => lines.push(line);
  // p11-kit wraps no EC keys: they are made where they lie, and used through the sockets.
  const behind = [one, two].map((config) => ({
    ...config,
    module: MODULE,
    profile: 'softhsm2',
    environment: { SOFTHSM2_CONF: 'softhsm2.conf' },
  }));
  const maker = new KeyUseUnderLoad(
    behind.map((config) => openWorker(config, log, module.user)),
    lines,
  );
  await maker.begin([['app/sign', 'ES256']]);
  await maker.close({ keepsStore: true });
  const limits = { sessions: 4, hangLimitMs: HANG_LIMIT_MS };
  const configs = [
    { ...one, ...limits, environment: { P11_KIT_SERVER_ADDRESS: `unix:path=${path.path}` } },
    { ...two, ...limits },
  ];
  all = new KeyUseUnderLoad(
    configs.map((config) => openWorker(config, log, module.user)),
    lines,
    { store: maker.store },
  );
  await all.begin([]);
});

afterEach(async () => {
  await all?.close();
  await path?.close();
  await nextServer?.stop();
  nextServer = undefined;
  await module?.stop();
});

const signed = (outcomes: readonly Outcome[]) => outcomes.filter(({ signature }) => signature !== undefined);
const reasons = (outcomes: readonly Outcome[]) =>
  new Set(outcomes.flatMap(({ failure }) => failure?.reason ?? []));

/** Both tokens have work when the trouble begins. */
const REQUESTS_BEFORE = 100;

/** What a test does at the begin of a trouble, once it is seen, and when it ends. */
interface Course {
  readonly begin?: () => void;
  readonly meanwhile?: () => Promise<void>;
  readonly end?: () => void;
}

/** Load, with trouble on the way to the first token until `isSeen`, and then none until it serves again. */
async function through(
  trouble: Trouble,
  isSeen: () => boolean,
  { begin = () => undefined, meanwhile = async () => undefined, end = () => undefined }: Course = {},
): Promise<readonly Outcome[]> {
  const [token] = all.adapters as [(typeof all.adapters)[number]];
  const { loginGeneration } = token;
  const isBack = (): boolean =>
    token.loginGeneration > loginGeneration && token.state !== 'down' && token.state !== 'blocked';
  let isOver = false;
  let asked = 0;
  const underWay = Promise.withResolvers<void>();
  const act = async (): Promise<void> => {
    await underWay.promise;
    path.trouble = trouble;
    begin();
    try {
      await becomes(token, isSeen);
      await meanwhile();
    } finally {
      path.trouble = 'none';
      end();
    }
    // What came back wrong may be found out when the worker has gone already: the finding counts for its successor.
    while (!isBack()) {
      await becomes(token, () => token.state === 'blocked' || isBack(), 30_000);
      if (token.state === 'blocked') await token.unblock();
    }
    await all.keys.settled();
    isOver = true;
  };
  const acting = act().finally(() => {
    isOver = true;
  });
  const load = all.load(
    12,
    () => {
      asked += 1;
      if (asked === REQUESTS_BEFORE) underWay.resolve();
      return isOver;
    },
    1000,
  );
  const [outcomes] = await Promise.all([load, acting]);
  expect(all.findings(outcomes)).toEqual([]);
  expect(signed(outcomes).length).toBeGreaterThan(100);
  return outcomes;
}

describe('on the way to a network token', () => {
  it('a byte that is flipped never reaches a caller: the token leaves service', async () => {
    const [token] = all.adapters;
    const outcomes = await through('flip', () => token!.state === 'blocked' || token!.state === 'down');
    expect(path.flipped).toBeGreaterThan(0);
    expect(reasons(outcomes).has('INTERNAL')).toBe(false);
  });

  it('answers that are dropped make a hang: callers go by their deadline, the worker is replaced', async () => {
    const [token] = all.adapters;
    const outcomes = await through('drop', () => token!.state === 'down');
    for (const reason of reasons(outcomes)) expect(reason).toBe('DEADLINE_EXCEEDED');
    expect(outcomes.filter(({ failure }) => failure !== undefined).length).toBeLessThanOrEqual(17);
  });

  it('a connection that is cut in the middle of an answer costs what was on it, at the most', async () => {
    const [token] = all.adapters;
    const outcomes = await through('cut', () => token!.state === 'down');
    // p11-kit fails the call whose answer it reads, and may leave others waiting for theirs: those are a hang.
    for (const reason of reasons(outcomes)) expect(reason).toBe('DEADLINE_EXCEEDED');
    expect(outcomes.filter(({ failure }) => failure !== undefined).length).toBeLessThanOrEqual(17);
  });

  it('a delay sends the work to the other token', async () => {
    const [slow] = all.adapters;
    path.trouble = { delayMs: 40 };
    const end = performance.now() + 2500;
    const outcomes = await all.load(12, () => performance.now() > end);
    path.trouble = 'none';
    expect(all.findings(outcomes)).toEqual([]);
    expect(reasons(outcomes)).toEqual(new Set());
    const attempts = all.uses.flatMap((use) => use.attempts ?? []);
    const late = attempts.filter(({ token }) => token === slow!.info!.serial);
    expect(late.length / attempts.length).toBeLessThan(0.2);
  });
});

/** The server of the first token, and the processes that it has for its connections. */
function serverProcesses(): number[] {
  const ours = descendants(process.pid);
  const isServer = (pid: number): boolean =>
    readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(upstreamPath);
  const server = ours.find(isServer);
  if (server === undefined) throw new Error('no p11-kit server');
  return [server, ...descendants(server)];
}

describe('a network token', () => {
  it('whose processes are killed is reached again through the next, and nobody is failed by more than a crash', async () => {
    const [token] = all.adapters;
    const { loginGeneration } = token!;
    const outcomes = await through(
      'none',
      () => token!.state === 'down' || token!.loginGeneration > loginGeneration,
      {
        begin: () => {
          for (const pid of serverProcesses().slice(1)) process.kill(pid, 'SIGKILL');
        },
      },
    );
    for (const reason of reasons(outcomes)) expect(reason).toBe('DEADLINE_EXCEEDED');
    expect(outcomes.filter(({ failure }) => failure !== undefined).length).toBeLessThanOrEqual(17);
  });

  it('that is stopped for half a minute, longer than a hang may last, fails calls by their deadline, and serves when it goes on', async () => {
    const [token] = all.adapters;
    const stopped: number[] = [];
    const { restarts } = token!.worker!;
    const outcomes = await through('none', () => token!.state === 'down', {
      begin: () => {
        for (const pid of serverProcesses()) {
          process.kill(pid, 'SIGSTOP');
          stopped.push(pid);
        }
      },
      // The workers that come next hang at the same server.
      meanwhile: () => new Promise((resolve) => setTimeout(resolve, STOPPED_MS)),
      end: () => {
        for (const pid of stopped) process.kill(pid, 'SIGCONT');
      },
    });
    expect(stopped.length).toBeGreaterThan(1);
    expect(token!.worker!.restarts).toBeGreaterThan(restarts);
    for (const reason of reasons(outcomes)) expect(reason).toBe('DEADLINE_EXCEEDED');
    expect(outcomes.filter(({ failure }) => failure !== undefined).length).toBeLessThanOrEqual(17);
  });

  it('whose server is killed, with all its processes, is out until the next one listens, and then serves', async () => {
    const [token] = all.adapters;
    const [listener] = serverProcesses() as [number];
    // p11-kit has become its own subcommand.
    const args = readFileSync(`/proc/${listener}/cmdline`, 'utf8').split('\0').slice(0, -1);
    const [{ directory }] = module.tokens as [TokenConfig];
    const startServerAgain = async (): Promise<void> => {
      rmSync(upstreamPath);
      nextServer = await Daemon.start('p11-kit', args, {
        env: { SOFTHSM2_CONF: 'softhsm2.conf' },
        cwd: directory,
        user: module.user,
        isReady: () => existsSync(upstreamPath),
      });
    };
    const outcomes = await through('none', () => token!.state === 'down', {
      begin: () => {
        for (const pid of serverProcesses()) process.kill(pid, 'SIGKILL');
      },
      meanwhile: startServerAgain,
    });
    for (const reason of reasons(outcomes)) expect(reason).toBe('DEADLINE_EXCEEDED');
    expect(outcomes.filter(({ failure }) => failure !== undefined).length).toBeLessThanOrEqual(17);
  });
});
