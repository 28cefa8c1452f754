import { execFileSync } from 'node:child_process';
import { accessSync, chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ChildUser } from '../../../hsm-adapters/frames/child-side.ts';

/** Where Debian puts libraries of this machine's kind. */
export const LIBRARIES = `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;

/** @throws with what to install: a test for a module that is not there fails by name, it is not skipped */
export function needs(packageName: string, ...paths: readonly string[]): void {
  for (const path of paths) {
    try {
      accessSync(path);
    } catch (cause) {
      throw new Error(
        `${path} is missing: bash deploy/bootstrap.sh --all installs it (package ${packageName})`,
        {
          cause,
        },
      );
    }
  }
}

/** A directory that belongs to the user that workers become, and that others can pass through. */
export function ownDirectory(name: string, user: ChildUser | undefined): string {
  const directory = mkdtempSync(join(tmpdir(), `lastmile-${name}-`));
  chmodSync(directory, 0o755);
  give(directory, user);
  return directory;
}

export function give(path: string, user: ChildUser | undefined): void {
  if (user !== undefined) chownSync(path, user.uid, user.gid);
}

export function removeDirectory(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
}

/** For the worker's start alone, as root where there is root. */
export function pinFile(directory: string, pin: string): string {
  const path = join(directory, 'pin');
  writeFileSync(path, `${pin}\n`, { mode: 0o600 });
  return path;
}

export function run(
  command: string,
  args: readonly string[],
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly cwd?: string;
    readonly user?: ChildUser | undefined;
    readonly input?: string;
  } = {},
): string {
  const { env = {}, cwd, user, input } = options;
  return execFileSync(command, args, {
    cwd,
    env: { PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin`, ...env },
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(input === undefined ? {} : { input }),
    ...(user === undefined ? {} : { uid: user.uid, gid: user.gid }),
  });
}
