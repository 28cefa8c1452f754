import { once } from 'node:events';
import { Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { FrameChannel, type FrameError, type FrameHandlers } from './frame-channel.ts';

/**
 * What every child process does with what it inherited: descriptor 3 is the pipe to the broker, descriptor 4 its
 * lifeline. The parent's half is `child-process.ts`.
 *
 * A child imports everything first, then gives up its user id and its permissions, and only then looks at bytes
 * from strangers or runs a vendor's code.
 */
export interface ChildUser {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups that stay; all others are dropped. */
  readonly groups: readonly number[];
}

export interface ChildArguments {
  readonly role: string;
  readonly name: string;
  /** Absent when user ids are shared. */
  readonly user?: ChildUser | undefined;
}

export type PermissionScope =
  | 'fs'
  | 'fs.read'
  | 'fs.write'
  | 'child'
  | 'worker'
  | 'net'
  | 'addon'
  | 'wasi'
  | 'inspector';

const PIPE_DESCRIPTOR = 3;
const LIFELINE_DESCRIPTOR = 4;

/** What the parent put into argv[2], as JSON. Throws when that is not what a parent writes. */
export function readChildArguments(): ChildArguments {
  const text = process.argv[2];
  if (text === undefined) throw new Error('this program is started by the broker');
  const parsed: unknown = JSON.parse(text);
  if (typeof parsed !== 'object' || parsed === null) throw new Error('argument is not an object');
  const { role, name, user } = parsed as Record<string, unknown>;
  if (typeof role !== 'string' || typeof name !== 'string') throw new Error('argument lacks role or name');
  return user === undefined ? { role, name } : { role, name, user: readUser(user) };
}

function readUser(value: unknown): ChildUser {
  const { uid, gid, groups } = (value ?? {}) as Record<string, unknown>;
  if (!isId(uid) || !isId(gid) || !Array.isArray(groups) || !groups.every(isId)) {
    throw new Error('argument has a malformed user');
  }
  return { uid, gid, groups };
}

/** Zero is no user to drop to. */
function isId(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

/**
 * The channel to the broker. When it closes, for whatever reason, `closed` is called and the process exits: a
 * child without its broker has nothing to do.
 */
export function connectToParent(handlers: FrameHandlers): FrameChannel {
  const socket = new Socket({ fd: PIPE_DESCRIPTOR, readable: true, writable: true });
  return new FrameChannel(socket, {
    frame: (type, id, payload) => handlers.frame(type, id, payload),
    closed: (error: FrameError | undefined) => {
      handlers.closed(error);
      process.exit(error === undefined ? 0 : 1);
    },
  });
}

// Runs in a thread of its own: it must not depend on the main thread's event loop, which a module can block for good.
const LIFELINE_SOURCE = `
const { Socket } = require('node:net');
const { parentPort } = require('node:worker_threads');
const die = () => process.kill(process.pid, 'SIGKILL');
const socket = new Socket({ fd: ${LIFELINE_DESCRIPTOR}, readable: true, writable: false });
socket.on('end', die).on('error', die).on('close', die).resume();
parentPort.postMessage('watching');
`;

/**
 * Ties this process to its parent even while the main thread is blocked in native code: when the parent's end of
 * descriptor 4 goes, the process kills itself with SIGKILL. Resolves once that is watched.
 */
export async function startLifeline(): Promise<void> {
  const thread = new Worker(LIFELINE_SOURCE, {
    eval: true,
    env: {},
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 1 },
  });
  await once(thread, 'message');
  // Without its watcher the process must not live on.
  thread.on('exit', () => process.kill(process.pid, 'SIGKILL'));
  thread.unref();
}

/**
 * Becomes `user` for good, with no other groups than its own. Undefined: user ids are shared and nothing changes.
 * Throws if anything of the old identity is left.
 */
export function dropPrivileges(user: ChildUser | undefined): void {
  if (user === undefined) return;
  if (process.setgroups === undefined || process.setgid === undefined || process.setuid === undefined) {
    throw new Error('this system cannot change the user of a process');
  }
  process.setgroups([...user.groups]);
  process.setgid(user.gid);
  process.setuid(user.uid);
  const groups = new Set([user.gid, ...user.groups]);
  const left = process.getgroups?.().find((group) => !groups.has(group));
  if (
    process.getuid?.() !== user.uid ||
    process.geteuid?.() !== user.uid ||
    process.getgid?.() !== user.gid ||
    process.getegid?.() !== user.gid ||
    left !== undefined
  ) {
    throw new Error('the process kept a part of the identity it should have dropped');
  }
}

/** Gives up permissions for good. Throws when the process does not run under the permission model. */
export function dropPermissions(scopes: readonly PermissionScope[]): void {
  // The type says always present; at run time it is there under --permission only.
  const permission = process.permission as typeof process.permission | undefined;
  if (permission === undefined) throw new Error('the process does not run under the permission model');
  for (const scope of scopes) {
    permission.drop(scope);
    if (permission.has(scope)) throw new Error(`permission ${scope} could not be dropped`);
  }
}
