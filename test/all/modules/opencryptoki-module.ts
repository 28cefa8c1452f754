import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TokenConfig } from '../../../hsm-adapters/adapter.ts';
import { roleUsers } from '../../../hsm-adapters/frames/isolation.ts';
import type { ModuleUnderTest } from '../../conformance/adapters/module-under-test.ts';
import { Daemon } from './daemon.ts';
import { LIBRARIES, needs, ownDirectory, pinFile, removeDirectory, run } from './machine.ts';

const MODULE = `${LIBRARIES}/pkcs11/libopencryptoki.so`;
const SO_PIN = '76543210';
const PIN = '12341234';
const NAMES = ['first', 'second'] as const;

/**
 * openCryptoki with two software tokens. Every path is compiled into it, so it lives in a mount and an IPC namespace
 * of its own; processes are started there through nsenter. Its clients must be listed in the group pkcs11 by name:
 * the id alone is CKR_HOST_MEMORY.
 */
const HOLDER = `
set -eu
mount --bind "$1/etc" /etc/opencryptoki
mount --bind "$1/var" /var/lib/opencryptoki
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
mount --bind "$1/run" /run
mount -t tmpfs none /dev/shm
pkcsslotd
# The end of standard input is the end of the test, however it ended.
cat >/dev/null || true
kill "$(cat /run/pkcsslotd.pid)"
`;

export interface OpenCryptoki extends ModuleUnderTest {
  /** What only the security officer can do: the PIN is usable again. */
  resetPin(slot: number): void;
}

export async function startOpenCryptoki(): Promise<OpenCryptoki> {
  needs('opencryptoki', MODULE, '/usr/sbin/pkcsslotd', '/usr/sbin/pkcsconf');
  const user = roleUsers().worker(0, ['pkcs11']);
  if (user === undefined) throw new Error('pkcsslotd, and the namespaces that it is tested in, need root');
  const [group] = user.groups as [number];
  const directory = ownDirectory('opencryptoki', user);
  for (const name of ['etc', 'var', 'run']) mkdirSync(join(directory, name));
  const slots = NAMES.map((name, at) => `slot ${at}\n{\nstdll = libpkcs11_sw.so\ntokname = ${name}\n}\n`);
  writeFileSync(join(directory, 'etc/opencryptoki.conf'), `version opencryptoki-3.8\n${slots.join('')}`);
  const directories = ['run/lock', 'run/lock/opencryptoki', 'var'];
  for (const name of NAMES)
    directories.push(`var/${name}`, `var/${name}/TOK_OBJ`, `run/lock/opencryptoki/${name}`);
  for (const name of directories) {
    mkdirSync(join(directory, name), { recursive: true });
    chownSync(join(directory, name), 0, group);
    chmodSync(join(directory, name), 0o770);
  }
  // The module reaches its locks through these.
  for (const name of ['var', 'run', 'run/lock']) chmodSync(join(directory, name), 0o775);
  const passwd = `lastmile-worker:x:${user.uid}:${user.gid}::/nonexistent:/usr/sbin/nologin\n`;
  writeFileSync(join(directory, 'passwd'), readFileSync('/etc/passwd', 'utf8') + passwd);
  const groups = readFileSync('/etc/group', 'utf8').replace(
    /^(pkcs11:[^:]*:\d+:).*$/m,
    '$1root,lastmile-worker',
  );
  writeFileSync(join(directory, 'group'), `${groups}lastmile-worker:x:${user.gid}:\n`);

  const pidFile = join(directory, 'run/pkcsslotd.pid');
  const holder = await Daemon.start(
    'unshare',
    ['--mount', '--ipc', '--propagation', 'private', 'bash', '-c', HOLDER, 'holder', directory],
    {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      isInputHeld: true,
      isReady: () => exists(pidFile) && exists(join(directory, 'run/pkcsslotd.socket')),
    },
  );
  const target = String(holder.process.pid);
  // Worker processes are started by their supervisor as any other: it is Node's own path that leads inside.
  const node = join(directory, 'node');
  const realNode = process.execPath;
  writeFileSync(
    node,
    `#!/bin/sh\nexec nsenter --target ${target} --mount --ipc --wd="$PWD" -- '${realNode}' "$@"\n`,
    { mode: 0o755 },
  );
  process.execPath = node;
  const inside = (command: string, args: readonly string[], input?: string) =>
    run('nsenter', ['--target', target, '--mount', '--ipc', '--', command, ...args], {
      ...(input === undefined ? {} : { input }),
    });
  const stop = async () => {
    process.execPath = realNode;
    holder.process.stdin?.end();
    await holder.ended();
    removeDirectory(directory);
  };
  const resetPin = (slot: number) => {
    inside('pkcsconf', ['-u', '-c', String(slot), '-S', SO_PIN, '-n', '11111111']);
    inside('pkcsconf', ['-p', '-c', String(slot), '-U', '11111111', '-n', PIN]);
  };
  try {
    for (const [slot, name] of NAMES.entries()) {
      const at = ['-c', String(slot)];
      inside('pkcsconf', ['-I', ...at, '-S', '87654321'], `${name}\n`);
      inside('pkcsconf', ['-P', ...at, '-S', '87654321', '-n', SO_PIN]);
      resetPin(slot);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const pin = pinFile(directory, PIN);
  const tokens = NAMES.map(
    (name): TokenConfig => ({
      name,
      module: MODULE,
      profile: 'opencryptoki',
      label: name,
      pin: { kind: 'file', path: pin },
      sessions: 3,
      directory,
      environment: {},
      groups: ['pkcs11'],
      hangLimitMs: 20_000,
    }),
  );
  return { tokens, user, stop, resetPin };
}

function exists(path: string): boolean {
  try {
    return readFileSync(path, 'utf8') !== '';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // A socket is there, and cannot be read.
    if (code === 'ENXIO') return true;
    if (code === 'ENOENT') return false;
    throw error;
  }
}
