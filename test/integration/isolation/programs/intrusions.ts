import { spawnSync } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { openSync, readdirSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Targets } from './targets.ts';

/** Resolves or returns: it was possible. Throws: it was not. */
export type Intrusion = () => unknown;

/**
 * What somebody tries who has taken over a child. The order matters: what would make noise in the broker comes last.
 */
export function intrusions(targets: Targets, parent: number): Readonly<Record<string, Intrusion>> {
  return {
    'write a file': () => writeFileSync(join(targets.scratch, `written-${process.pid}`), 'x'),
    'write into the state': () => writeFileSync(targets.stateFile, 'x'),
    'read the PIN': () => readFileSync(targets.pinFile),
    'read the state': () => readFileSync(targets.stateFile),
    'list the state': () => readdirSync(targets.stateDirectory),
    'read the memory of the broker': () =>
      readSync(openSync(`/proc/${parent}/mem`, 'r'), Buffer.alloc(1), 0, 1, 0x400000),
    'read the environment of the broker': () => readFileSync(`/proc/${parent}/environ`),
    'start a program': () => {
      const { error } = spawnSync('/bin/true');
      if (error !== undefined) throw error;
    },
    'start a thread': () => once(new Worker('0', { eval: true }), 'exit'),
    'load an add-on': () => process.dlopen({ exports: {} }, targets.addOn),
    'open a database': () => {
      const sqlite = process.getBuiltinModule('node:sqlite');
      if (sqlite === undefined) throw Object.assign(new Error('no such module'), { code: 'NO_SUCH_MODULE' });
      new sqlite.DatabaseSync(join(targets.scratch, `database-${process.pid}`)).exec('create table t (a)');
    },
    'connect out': () => once(connect(targets.tcpPort, '127.0.0.1'), 'connect'),
    'connect to a Unix socket': () => once(connect(targets.unixSocket), 'connect'),
    'ask a name server': () => lookup('localhost.'),
    'open a listener': () => listen({ port: 0, host: '127.0.0.1' }),
    'open a listener on a Unix socket': () =>
      listen({ path: join(targets.scratch, `socket-${process.pid}`) }),
    'become root again': () => process.setuid?.(0),
    'signal another role': () => process.kill(targets.siblingPid, 0),
    'signal the broker': () => process.kill(parent, 0),
    'open the inspector of the broker': () => process.kill(parent, 'SIGUSR1'),
    'end the broker': () => process.kill(parent, 'SIGTERM'),
  };
}

async function listen(where: { port: number; host: string } | { path: string }): Promise<void> {
  const server = createServer();
  try {
    server.listen(where);
    await once(server, 'listening');
  } finally {
    server.close();
  }
}

/** `done`, or the code of the refusal. Some refusals are thrown where nobody can catch them. */
export async function attempt(intrusion: Intrusion): Promise<string> {
  let reject: (error: unknown) => void = () => undefined;
  const uncaught = new Promise<never>((_, fail) => {
    reject = fail;
  });
  process.once('uncaughtException', reject);
  try {
    await Promise.race([intrusion(), uncaught]);
    return 'done';
  } catch (error) {
    if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
    return String(error);
  } finally {
    process.off('uncaughtException', reject);
  }
}
