import { spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import inspector from 'node:inspector';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { startGateway } from '../../../../broker/gateway/gateway-supervisor.ts';
import { SupervisedChild } from '../../../../hsm-adapters/frames/child-process.ts';
import { entryUrl, isolationReport, roleUsers } from '../../../../hsm-adapters/frames/isolation.ts';
import { createTokenAdapter } from '../../../../hsm-adapters/supervisor/token-supervisor.ts';
import type { Targets } from './targets.ts';

/** Plays the broker for intruders in each role, with the product's own supervisors; prints what became of it all. */
export interface BrokerOrder {
  /** The tree whose programs are intruders. */
  readonly tree: string;
  readonly targetsFile: string;
  readonly targets: Omit<Targets, 'tcpPort' | 'siblingPid'>;
  readonly shareUserIds: boolean;
}

export interface BrokerFindings {
  readonly report: string;
  /** By role: what each intrusion came to. */
  readonly intruders: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** By role: descriptors that lead to files. */
  readonly descriptors: Readonly<Record<string, readonly string[]>>;
  readonly coreLimits: Readonly<Record<string, string>>;
  /** Signals that reached the broker. */
  readonly signals: readonly string[];
  readonly isInspectorOpen: boolean;
}

const order = JSON.parse(process.argv[2] ?? '') as BrokerOrder;
const { tree, targets } = order;
const users = roleUsers(order.shareUserIds ? { isRoot: false } : {});
const signals: string[] = [];
process.on('SIGTERM', () => signals.push('SIGTERM'));

const state = openSync(targets.stateFile, 'r+');
const tcp = createServer().listen(0, '127.0.0.1');
const unix = createServer().listen({ path: targets.unixSocket, writableAll: true, readableAll: true });
await Promise.all([tcp, unix].map((server) => new Promise((resolve) => server.once('listening', resolve))));
const otherUser = order.shareUserIds ? {} : { uid: 64_900, gid: 64_900 };
// Ends when this process does, whatever happens.
const sibling = spawn('/bin/cat', { stdio: ['pipe', 'ignore', 'ignore'], ...otherUser });
const tcpPort = (tcp.address() as AddressInfo).port;
writeFileSync(order.targetsFile, JSON.stringify({ ...targets, tcpPort, siblingPid: sibling.pid }));

const intruders: Record<string, Record<string, string>> = {};
const ROLES = ['gateway', 'control-gateway', 'token-worker', 'native'];

await new Promise<void>((finish, fail) => {
  const listen = (role: string) => (line: string) => {
    const at = line.indexOf('INTRUDER ');
    if (at < 0) process.stderr.write(`${role}: ${line}\n`);
    else
      intruders[role] = JSON.parse(line.slice(at + 9, line.lastIndexOf('}') + 1)) as Record<string, string>;
    if (Object.keys(intruders).length === ROLES.length) finish();
  };
  for (const role of ['workload', 'control'] as const) {
    startGateway({
      configuration: {
        role,
        trustDomain: 'example.org',
        host: '127.0.0.1',
        port: 0,
        tls: { certificate: '', key: '', trustBundle: [] },
        maxConnections: 1,
        maxConnectionsPerAddress: 1,
        maxStreamsPerConnection: 1,
        maxStreamInFlight: 1,
        maxDeadlineMs: 1_000,
      },
      count: 1,
      user: role === 'workload' ? users.gateway : users.controlGateway,
      root: tree,
      log: (_level, message, fields) =>
        listen(role === 'workload' ? 'gateway' : 'control-gateway')(
          [message, ...Object.values(fields ?? {})].join(' '),
        ),
      onOpen: () => undefined,
      onClosed: () => undefined,
      onRequest: () => undefined,
      onCancel: () => undefined,
      onRefused: () => undefined,
    }).catch(fail);
  }
  createTokenAdapter({
    config: {
      name: 'one',
      module: '/usr/lib/softhsm/libsofthsm2.so',
      profile: 'softhsm2',
      label: 'one',
      pin: { kind: 'file', path: targets.pinFile },
      sessions: 1,
      directory: targets.scratch,
      environment: {},
      groups: [],
      hangLimitMs: 60_000,
    },
    ledger: {
      recordAttempt: () => undefined,
      recordOutcome: () => undefined,
      lookup: () => 'clear',
      clear: () => undefined,
      recordFinding: () => undefined,
      finding: () => undefined,
      clearFinding: () => undefined,
    },
    user: users.worker(0),
    root: tree,
    log: listen('token-worker'),
  });
  const native = new SupervisedChild(
    {
      role: 'native',
      name: 'native',
      entry: entryUrl('hsm-adapters/pkcs11/worker', tree),
      flags: [],
      env: {},
      cwd: '/',
      user: users.worker(1),
    },
    { started: () => undefined, frame: () => undefined, exited: () => undefined, log: listen('native') },
  );
  native.start();
});

// A signal is delivered to a thread that has to get round to it, and nothing tells when.
for (let turn = 0; turn < 200 && order.shareUserIds && inspector.url() === undefined; turn += 1)
  await pause(10);

const descriptors: Record<string, string[]> = {};
const coreLimits: Record<string, string> = {};
for (const [role, { pid }] of Object.entries(intruders)) {
  const directory = `/proc/${pid}/fd`;
  descriptors[role] = readdirSync(directory)
    .map((name) => readlinkSync(join(directory, name)))
    .filter((target) => target.startsWith('/') && !target.startsWith('/dev/'))
    // What the intruder opened itself.
    .filter((target) => !target.startsWith(targets.scratch));
  coreLimits[role] =
    /Max core file size +(\S+ +\S+)/.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1] ?? '';
}
const findings: BrokerFindings = {
  report: isolationReport([users.gateway, users.controlGateway, users.worker(0)]),
  intruders,
  descriptors,
  coreLimits,
  signals,
  isInspectorOpen: inspector.url() !== undefined,
};
closeSync(state);
sibling.kill('SIGKILL');
process.stdout.write(`${JSON.stringify(findings)}\n`, () => process.exit(0));
