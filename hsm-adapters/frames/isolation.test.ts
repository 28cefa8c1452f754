import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  courierFlags,
  entryUrl,
  gatewayFlags,
  isolationReport,
  roleUsers,
  treeRoot,
  workerFlags,
} from './isolation.ts';

let base: string;

beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), 'lastmile-tree-')));
});
afterEach(() => rmSync(base, { recursive: true }));

const granted = (flags: readonly string[]) =>
  flags.filter((flag) => flag.startsWith('--allow-fs-read=')).map((flag) => flag.slice(16).replace(base, ''));

function makeTree(root: string, ...directories: readonly string[]): void {
  for (const directory of directories) mkdirSync(join(base, directory), { recursive: true });
  writeFileSync(join(base, root, 'package.json'), '{}');
}

describe('grants', () => {
  test('of a clone are its code, never the clone itself, where an instance may lie', () => {
    makeTree('clone', 'clone/node_modules/pkcs11js', 'clone/.lastmile');
    const root = join(base, 'clone/');
    expect(granted(workerFlags(root, { module: '/lib/m.so', pinFile: '/etc/pin' }))).toEqual([
      '/clone/hsm-adapters/',
      '/clone/node_modules/pkcs11js/',
      '/clone/package.json',
      '/lib/m.so',
      '/etc/pin',
    ]);
    expect(granted(gatewayFlags(root))).toEqual([
      '/clone/broker/',
      '/clone/policy/',
      '/clone/hsm-adapters/frames/',
      '/clone/node_modules/',
      '/clone/package.json',
    ]);
  });

  test('of an installed build reach the packages beside it', () => {
    makeTree('app/node_modules/lastmile', 'app/node_modules/lastmile/dist', 'app/node_modules/pkcs11js');
    const root = join(base, 'app/node_modules/lastmile/dist/');
    expect(granted(workerFlags(root, { module: '/lib/m.so' }))).toEqual([
      '/app/node_modules/lastmile/dist/hsm-adapters/',
      '/app/node_modules/pkcs11js/',
      '/app/node_modules/lastmile/package.json',
      '/lib/m.so',
    ]);
  });

  test('follow links, and stay exact', () => {
    makeTree('clone', 'clone/node_modules', 'store/pkcs11js');
    writeFileSync(join(base, 'real.so'), '');
    symlinkSync(join(base, 'store/pkcs11js'), join(base, 'clone/node_modules/pkcs11js'));
    symlinkSync(join(base, 'real.so'), join(base, 'link.so'));
    const flags = workerFlags(join(base, 'clone/'), { module: join(base, 'link.so') });
    expect(granted(flags)).toEqual(expect.arrayContaining(['/store/pkcs11js/', '/link.so', '/real.so']));
  });

  test.each(['/etc/*', '/etc/a,b'])(
    'a PIN path that Node would read as more than itself is refused: %s',
    (pinFile) => {
      expect(() => workerFlags('/srv/', { module: '/m', pinFile })).toThrow('cannot be granted');
    },
  );

  test('of the courier are its own code, its secrets and its queue, and programs only where there are hooks', () => {
    makeTree('clone', 'clone/broker', 'queue');
    const files = {
      queueDirectory: join(base, 'queue'),
      files: [join(base, 'secret')],
      hasHooks: false,
    };
    const flags = courierFlags(join(base, 'clone/'), files);
    expect(granted(flags)).toEqual([
      '/clone/broker/courier/',
      '/clone/hsm-adapters/frames/',
      '/clone/package.json',
      '/secret',
      '/queue/',
    ]);
    expect(flags.filter((flag) => /write/.test(flag))).toEqual([`--allow-fs-write=${join(base, 'queue')}/`]);
    expect(flags).not.toContain('--allow-child-process');
    expect(courierFlags(join(base, 'clone/'), { ...files, hasHooks: true })).toContain(
      '--allow-child-process',
    );
    expect(() => courierFlags('/srv/', { ...files, queueDirectory: '/var/*' })).toThrow('cannot be granted');
  });

  test('no role may write, start programs or open the inspector', () => {
    for (const flags of [gatewayFlags(treeRoot()), workerFlags(treeRoot(), { module: '/m' })]) {
      expect(flags).toContain('--permission');
      expect(flags).toContain('--disable-sigusr1');
      expect(flags.filter((flag) => /write|child|wasi|inspect/.test(flag))).toEqual([]);
    }
    expect(gatewayFlags(treeRoot())).not.toContain('--allow-addons');
    expect(workerFlags(treeRoot(), { module: '/m' })).not.toContain('--allow-net');
  });

  test('an entry is found in a directory of any name', () => {
    expect(entryUrl('hsm-adapters/pkcs11/worker', '/srv/a b#1/').href).toBe(
      'file:///srv/a%20b%231/hsm-adapters/pkcs11/worker.ts',
    );
  });
});

describe('user ids', () => {
  test('are one for each role and each token, and none of them is root or nobody', () => {
    const users = roleUsers({ isRoot: true });
    const all = [users.gateway, users.controlGateway, users.courier, users.worker(0), users.worker(1)];
    expect(all.map((user) => user?.uid)).toEqual([64_000, 64_001, 64_002, 64_010, 64_011]);
    expect(isolationReport(all, 0)).toBe('processes isolated by user id');
    expect(() => roleUsers({ isRoot: true, uidBase: 65_500 }).worker(24)).toThrow('nobody');
    expect(() => roleUsers({ isRoot: true, uidBase: 0 })).toThrow('1000');
    expect(() => users.worker(-1)).toThrow('no user id');
  });

  test('are shared where the broker is not root, and that is said', () => {
    const users = roleUsers({ isRoot: false });
    expect(isolationReport([users.gateway, users.controlGateway, users.worker(0)], 1000)).toBe(
      'processes not isolated',
    );
  });

  test.each([
    ['two roles share one', [1, 1]],
    ['a role is the broker', [0, 1]],
  ])('do not isolate when %s', (_what, uids) => {
    const users = uids.map((uid) => ({ uid, gid: uid, groups: [] }));
    expect(isolationReport(users, 0)).toBe('processes not isolated');
  });

  test('keep the groups that a module needs, and no unknown or powerful one', () => {
    const users = roleUsers({ isRoot: true });
    expect(users.worker(0, ['daemon'])?.groups).toEqual([1]);
    expect(() => users.worker(0, ['no-such-group'])).toThrow('no-such-group');
    expect(() => users.worker(0, ['root'])).toThrow('root');
  });
});
