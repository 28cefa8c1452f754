import { execFile } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { treeRoot } from '../../../hsm-adapters/frames/isolation.ts';
import type { BrokerFindings, BrokerOrder } from './programs/broker.ts';
import type { Targets } from './programs/targets.ts';

/**
 * An intruder in each role, started by the product's own supervisors with the very same flags, user, environment
 * and descriptors, dropping what the real program drops, and then trying what an intruder would.
 *
 * Three boundaries are told apart: what the user ids alone hold back (`native`: a vendor's code, which Node's
 * permissions do not restrain), what the permissions hold back too, and what is left where user ids are shared.
 */
const isRoot = process.getuid?.() === 0;
const programs = fileURLToPath(new URL('programs/', import.meta.url));
const made: string[] = [];

afterAll(() => {
  for (const directory of made) rmSync(directory, { recursive: true });
});

/** The drops of the real program, out of its source: a program that stops dropping lets the intruder through. */
function dropsOf(path: string): string[] {
  const source = readFileSync(join(treeRoot(), path), 'utf8');
  const calls = [...source.matchAll(/^ *dropPermissions\((\[[^\]]*\])\);$/gm)];
  expect(calls, path).toHaveLength(1);
  expect(source, path).toMatch(/^ *dropPrivileges\((child\.)?user\);$/m);
  return JSON.parse((calls[0]?.[1] ?? '').replaceAll("'", '"')) as string[];
}

async function letIntrudersIn(shareUserIds: boolean): Promise<BrokerFindings> {
  const base = mkdtempSync(join(tmpdir(), 'lastmile-intruders-'));
  made.push(base);
  chmodSync(base, 0o755);
  const tree = join(base, 'tree/');
  const frames = join(tree, 'hsm-adapters/frames/');
  cpSync(join(treeRoot(), 'hsm-adapters/frames/'), frames, { recursive: true });
  writeFileSync(join(tree, 'package.json'), '{"type":"module"}');
  const install = (program: string, target: string, directory: string) => {
    mkdirSync(dirname(join(tree, target)), { recursive: true });
    const source = readFileSync(join(programs, program), 'utf8');
    const moved = source
      .replaceAll('../../../../hsm-adapters/frames/', directory)
      .replaceAll(/'\.\/(intrusions|targets)\.ts'/g, `'${directory}$1.ts'`);
    writeFileSync(join(tree, target), moved);
  };
  for (const program of ['intrusions.ts', 'targets.ts'])
    install(program, `hsm-adapters/frames/${program}`, './');
  install('intruder.ts', 'broker/gateway/gateway.ts', '../../hsm-adapters/frames/');
  install('intruder.ts', 'hsm-adapters/pkcs11/worker.ts', '../frames/');

  const instance = join(base, 'instance');
  const scratch = join(base, 'scratch');
  mkdirSync(instance, { mode: 0o700 });
  mkdirSync(scratch);
  chmodSync(scratch, 0o777);
  const pinFile = join(base, 'pin');
  const stateFile = join(instance, 'state.db');
  writeFileSync(pinFile, '1234', { mode: 0o600 });
  writeFileSync(stateFile, 'state', { mode: 0o600 });
  const gatewayDrops = dropsOf('broker/gateway/gateway.ts');
  const targets: Omit<Targets, 'tcpPort' | 'siblingPid'> = {
    pinFile,
    stateDirectory: instance,
    stateFile,
    scratch,
    addOn: createRequire(import.meta.url).resolve('pkcs11js/build/Release/pkcs11.node'),
    unixSocket: join(scratch, 'service.sock'),
    drops: {
      gateway: gatewayDrops,
      'control-gateway': gatewayDrops,
      'token-worker': dropsOf('hsm-adapters/pkcs11/worker.ts'),
    } as Targets['drops'],
  };
  const order: BrokerOrder = { tree, targetsFile: join(frames, 'targets.json'), targets, shareUserIds };
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--inspect-port=127.0.0.1:0', join(programs, 'broker.ts'), JSON.stringify(order)],
    { env: { ...process.env, LEAKED_SECRET: 'x', LD_LEAKED: 'x' } },
  );
  return JSON.parse(stdout) as BrokerFindings;
}

/** Only Node's permissions stand in the way of these: the user id does not forbid them. */
const BY_PERMISSION = {
  'write a file': 'ERR_ACCESS_DENIED',
  'start a program': 'ERR_ACCESS_DENIED',
  'start a thread': 'ERR_ACCESS_DENIED',
  'load an add-on': expect.stringMatching(/^ERR_(ACCESS_DENIED|DLOPEN_DISABLED)$/) as string,
  'open a database': 'NO_SUCH_MODULE',
  'connect out': 'ERR_ACCESS_DENIED',
  'connect to a Unix socket': 'ERR_ACCESS_DENIED',
  'ask a name server': 'ERR_ACCESS_DENIED',
  'open a listener': 'ERR_ACCESS_DENIED',
  'open a listener on a Unix socket': 'ERR_ACCESS_DENIED',
};
/** Both forbid these. */
const FILES = [
  'write into the state',
  'read the PIN',
  'read the state',
  'list the state',
  'read the memory of the broker',
  'read the environment of the broker',
];
/** Only the user id forbids these. */
const BY_USER_ID = [
  'signal another role',
  'signal the broker',
  'open the inspector of the broker',
  'end the broker',
];
const each = (names: readonly string[], outcome: string) =>
  Object.fromEntries(names.map((name) => [name, outcome]));
const RESTRAINED = ['gateway', 'control-gateway', 'token-worker'];

describe.skipIf(!isRoot)('with a user of its own for each role (needs root)', () => {
  let findings: BrokerFindings;
  beforeAll(async () => {
    findings = await letIntrudersIn(false);
  });

  test.each(RESTRAINED)('an intruder in the %s gets nothing', (role) => {
    expect(findings.intruders[role]).toMatchObject({
      'what came with the environment': '',
      ...BY_PERMISSION,
      ...each(FILES, 'ERR_ACCESS_DENIED'),
      ...each(BY_USER_ID, 'EPERM'),
      'become root again': 'EPERM',
    });
  });

  test('code that no permission of Node restrains gets no PIN, no state and nobody to signal', () => {
    expect(findings.intruders.native).toMatchObject({
      'what came with the environment': '',
      ...each(FILES, 'EACCES'),
      ...each(BY_USER_ID, 'EPERM'),
      'become root again': 'EPERM',
    });
  });

  test('every role is another user', () => {
    const uids = Object.values(findings.intruders).map(({ uid }) => uid);
    expect(new Set([...uids, '0']).size).toBe(5);
  });

  test('no descriptor leads to a file, and no core file will be written', () => {
    for (const role of [...RESTRAINED, 'native']) {
      expect(findings.descriptors[role], role).toEqual([]);
      expect(findings.coreLimits[role], role).toMatch(/^0 +0$/);
    }
  });

  test('the broker noticed nothing, and says that its processes are isolated', () => {
    expect(findings).toMatchObject({
      signals: [],
      isInspectorOpen: false,
      report: 'processes isolated by user id',
    });
  });
});

describe('with shared user ids', () => {
  let findings: BrokerFindings;
  beforeAll(async () => {
    findings = await letIntrudersIn(true);
  });

  test.each(RESTRAINED)('an intruder in the %s is held back by permissions, and may signal', (role) => {
    expect(findings.intruders[role]).toMatchObject({
      'what came with the environment': '',
      ...BY_PERMISSION,
      ...each(FILES, 'ERR_ACCESS_DENIED'),
      ...each(BY_USER_ID, 'done'),
    });
  });

  test('code that no permission of Node restrains gets PIN and state', () => {
    expect(findings.intruders.native).toMatchObject({
      'write into the state': 'done',
      'read the PIN': 'done',
      'read the state': 'done',
      ...each(BY_USER_ID, 'done'),
    });
  });

  test('the broker was signalled and its inspector opened, and it says that its processes are not isolated', () => {
    expect(findings.signals.length).toBeGreaterThan(0);
    expect(findings).toMatchObject({ isInspectorOpen: true, report: 'processes not isolated' });
  });
});
