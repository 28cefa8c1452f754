import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { isAlive, whenGone } from './processes.ts';

let parent: ChildProcess | undefined;
let children: readonly number[] = [];

afterEach(() => {
  parent?.kill('SIGKILL');
  for (const pid of children) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
});

/** A broker with two children, one of which is blocked where it sees no pipe close. */
async function startFamily(): Promise<ChildProcess> {
  const started = spawn(process.execPath, [fileURLToPath(new URL('programs/parent.ts', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  parent = started;
  const [line] = (await once(started.stdout, 'data')) as [Buffer];
  children = JSON.parse(line.toString()) as number[];
  expect(children.map(isAlive)).toEqual([true, true]);
  return started;
}

describe('when the broker is gone, so are its children', () => {
  test('after SIGKILL', async () => {
    const broker = await startFamily();
    broker.kill('SIGKILL');
    await whenGone(children);
  });

  test('after a crash', async () => {
    const broker = await startFamily();
    broker.stdin?.write('abort\n');
    await whenGone(children);
  });

  test('a stopped one as soon as it may run again', async () => {
    const broker = await startFamily();
    for (const pid of children) process.kill(pid, 'SIGSTOP');
    broker.kill('SIGKILL');
    await once(broker, 'exit');
    for (const pid of children) process.kill(pid, 'SIGCONT');
    await whenGone(children);
  });
});
