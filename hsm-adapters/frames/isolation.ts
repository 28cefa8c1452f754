import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { ChildUser } from './child-side.ts';

/**
 * What each role may do: Node's options and the user ids.
 *
 * The boundary is the user id. The permission model is a seat belt around it: it restricts neither signals nor
 * inherited descriptors nor native code. test/integration/isolation/ starts intruders with exactly these.
 *
 * `root` is the directory that holds `broker/` and `hsm-adapters/`: the clone, or the build's output. It is never
 * granted as a whole, because an instance may lie inside it.
 */
export function treeRoot(): string {
  return fileURLToPath(new URL('../../', import.meta.url));
}

/** The extension of this tree's programs: `.ts` in a clone, `.js` in a build. */
export function entryUrl(pathWithoutExtension: string, root: string = treeRoot()): URL {
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
  return pathToFileURL(`${join(root, pathWithoutExtension)}${extension}`);
}

// `node:sqlite` writes files without any grant; SIGUSR1 would open the inspector for anybody who may signal. Young
// generations are small here: helping threads wake up for them at more cost than they save.
const EVERY_ROLE = [
  '--permission',
  '--no-parallel-scavenge',
  '--no-experimental-sqlite',
  '--disable-sigusr1',
  '--disable-warning=ExperimentalWarning',
] as const;

/** For the gateway and the control gateway. `net` and `fs.read` are dropped once it listens. */
export function gatewayFlags(root: string): string[] {
  return [
    ...EVERY_ROLE,
    '--allow-net',
    '--no-addons',
    ...reads([
      join(root, 'broker/'),
      join(root, 'policy/'),
      join(root, 'hsm-adapters/frames/'),
      ...packageDirectories(root).flatMap(withTarget),
      ...packageFiles(root),
    ]),
  ];
}

export interface WorkerFiles {
  /** Absent when the PIN comes through a descriptor. */
  readonly pinFile?: string | undefined;
  /** The PKCS#11 library: its digest goes into the software generation. */
  readonly module: string;
}

/** For a token worker. Everything but loading native code that is already open is dropped before the module runs. */
export function workerFlags(root: string, files: WorkerFiles): string[] {
  const granted = files.pinFile === undefined ? [files.module] : [files.module, files.pinFile];
  return [
    ...EVERY_ROLE,
    '--allow-addons',
    '--allow-worker',
    '--disable-warning=SecurityWarning',
    ...reads([
      join(root, 'hsm-adapters/'),
      ...packageDirectories(root).flatMap((directory) => withTarget(join(directory, 'pkcs11js/'))),
      ...packageFiles(root),
      ...granted.flatMap(withTarget),
    ]),
  ];
}

export interface CourierFiles {
  /** Read and written. */
  readonly queueDirectory: string;
  /** Secrets of its destinations, and roots that they are trusted by: read before it gives up its user id. */
  readonly files: readonly string[];
  /** Programs are configured that it starts; they run as its user, and the permission model does not reach them. */
  readonly hasHooks: boolean;
}

/** For the courier, which calls out all its life. */
export function courierFlags(root: string, { queueDirectory, files, hasHooks }: CourierFiles): string[] {
  const queue = withTarget(join(queueDirectory, '/'));
  return [
    ...EVERY_ROLE,
    '--allow-net',
    '--no-addons',
    ...(hasHooks ? ['--allow-child-process', '--disable-warning=SecurityWarning'] : []),
    ...reads([
      join(root, 'broker/courier/'),
      join(root, 'hsm-adapters/frames/'),
      ...packageFiles(root),
      ...files.flatMap(withTarget),
      ...queue,
    ]),
    ...grants('--allow-fs-write', queue),
  ];
}

function reads(paths: readonly string[]): string[] {
  return grants('--allow-fs-read', paths);
}

function grants(option: string, paths: readonly string[]): string[] {
  for (const path of paths) {
    // Node reads these as a pattern and would grant more than was meant.
    if (path.includes('*') || path.includes(','))
      throw new Error(`a path with \`*\` or \`,\` cannot be granted: ${path}`);
  }
  return [...new Set(paths)].map((path) => `${option}=${path}`);
}

/** A link is followed before the permission is asked for. A directory keeps the slash that makes its grant exact. */
function withTarget(path: string): string[] {
  if (!existsSync(path)) return [path];
  const target = realpathSync(path);
  return [path, path.endsWith('/') ? `${target}/` : target];
}

/** `node_modules` of the tree, and of the package that the tree was installed as a part of. */
function packageDirectories(root: string): string[] {
  return ancestors(root)
    .map((directory) =>
      directory.endsWith('/node_modules') ? `${directory}/` : join(directory, 'node_modules/'),
    )
    .filter((directory) => existsSync(directory));
}

/** Node looks for the nearest package.json to tell how to read a `.js` file. */
function packageFiles(root: string): string[] {
  const nearest = ancestors(root)
    .map((directory) => join(directory, 'package.json'))
    .find((file) => existsSync(file));
  return nearest === undefined ? [] : [nearest];
}

function ancestors(directory: string): string[] {
  const found: string[] = [];
  for (let at = join(directory, '.'); ; at = dirname(at)) {
    found.push(at);
    if (dirname(at) === at) return found;
  }
}

/** Numbers need no entry in /etc/passwd. */
export const DEFAULT_UID_BASE = 64_000;

/**
 * A user of its own for each role, or none (undefined) where the broker may not change users.
 *
 * All gateways for workloads are one user, because a `reusePort` listener can be joined by its own user alone. A
 * token worker's files belong to its user: `number` must stay with the token while others come and go.
 */
export interface RoleUsers {
  readonly gateway: ChildUser | undefined;
  readonly controlGateway: ChildUser | undefined;
  readonly courier: ChildUser | undefined;
  /** `number` from 0 to 999. `groups` are the names of extra groups that the module needs. */
  worker(number: number, groups?: readonly string[]): ChildUser | undefined;
}

const WORKERS_FROM = 10;
const NOBODY = 65_534;

export function roleUsers(
  options: { readonly uidBase?: number | undefined; readonly isRoot?: boolean | undefined } = {},
): RoleUsers {
  const base = options.uidBase ?? DEFAULT_UID_BASE;
  if (!(options.isRoot ?? process.getuid?.() === 0)) {
    return { gateway: undefined, controlGateway: undefined, courier: undefined, worker: () => undefined };
  }
  if (!Number.isSafeInteger(base) || base < 1000)
    throw new Error('user ids for the children start at 1000 or above');
  return {
    gateway: { uid: base, gid: base, groups: [] },
    controlGateway: { uid: base + 1, gid: base + 1, groups: [] },
    courier: { uid: base + 2, gid: base + 2, groups: [] },
    worker: (number, groups = []) => {
      if (!Number.isInteger(number) || number < 0 || number > 999) {
        throw new Error(`no user id for token worker ${number}`);
      }
      const id = base + WORKERS_FROM + number;
      if (id === NOBODY) throw new Error('the user ids for the children reach `nobody`, whom others share');
      return { uid: id, gid: id, groups: groups.map(groupId) };
    },
  };
}

function groupId(name: string): number {
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  const id = Number(line?.split(':')[2]);
  if (!Number.isSafeInteger(id) || id <= 0)
    throw new Error(`no group \`${name}\` that a token worker could keep`);
  return id;
}

export type IsolationReport = 'processes isolated by user id' | 'processes not isolated';

/** What `status` and the start-up banner say, of the user ids that the children end up with and the broker's own. */
export function isolationReport(
  children: readonly (ChildUser | undefined)[],
  brokerUid: number | undefined = process.getuid?.(),
): IsolationReport {
  const uids = children.map((user) => user?.uid);
  const isSeparate = !uids.includes(undefined) && new Set([...uids, brokerUid]).size === uids.length + 1;
  return isSeparate ? 'processes isolated by user id' : 'processes not isolated';
}
