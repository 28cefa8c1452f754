import { spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { afterEach, describe, expect, test } from 'vitest';
import {
  type ChildExit,
  type ChildSpec,
  type RestartPolicy,
  SupervisedChild,
  systemTimers,
  type Timers,
} from '../../../hsm-adapters/frames/child-process.ts';
import { isAlive } from './processes.ts';
import { ChildOrder } from './programs/child-orders.ts';

interface Frame {
  readonly type: number;
  readonly id: number;
  readonly payload: Buffer;
}

/** Things that happen, in order, for a test to wait for. */
class Happenings<T> {
  readonly #waiting: ((item: T) => void)[] = [];
  readonly #items: T[] = [];

  add(item: T): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#items.push(item);
    else next(item);
  }

  next(): Promise<T> {
    const item = this.#items.shift();
    return item === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(item);
  }
}

const opened: SupervisedChild[] = [];

function open(
  options: {
    spec?: Partial<ChildSpec>;
    timers?: Timers;
    restartPolicy?: RestartPolicy;
    onFrame?: (frame: Frame) => void;
  } = {},
) {
  const frames = new Happenings<Frame>();
  const exits = new Happenings<ChildExit>();
  const lines = new Happenings<string>();
  const child = new SupervisedChild(
    {
      role: 'test',
      name: 'one',
      entry: new URL('programs/child.ts', import.meta.url),
      flags: [],
      env: {},
      cwd: '/',
      ...options.spec,
    },
    {
      started: () => undefined,
      frame: (type, id, payload) => {
        options.onFrame?.({ type, id, payload });
        frames.add({ type, id, payload });
      },
      exited: (exit) => exits.add(exit),
      log: (line) => lines.add(line),
    },
    options,
  );
  opened.push(child);
  child.start();
  return { child, frames, exits, lines };
}

/** Its next process is ready for orders. */
async function ready({ frames }: { frames: Happenings<Frame> }): Promise<void> {
  expect((await frames.next()).type).toBe(0);
}

afterEach(async () => {
  await Promise.all(opened.splice(0).map((child) => child.stop({ graceMs: 1 })));
});

describe('SupervisedChild', () => {
  test('speaks frames with its child, and stops it', async () => {
    const { child, frames, exits } = open();
    await ready({ frames });
    const { pid } = child;
    child.channel?.send(ChildOrder.Echo, 12, Buffer.from('hello'));
    expect(await frames.next()).toMatchObject({
      type: ChildOrder.Echo,
      id: 12,
      payload: Buffer.from('hello'),
    });
    await child.stop();
    expect(await exits.next()).toEqual({ code: 0, signal: null, error: undefined });
    expect(child).toMatchObject({ state: 'stopped', pid: undefined, restarts: 0 });
    expect(isAlive(pid!)).toBe(false);
    child.start();
    await ready({ frames });
    expect(child.restarts).toBe(1);
  });

  test('replaces a child that dies, later each time, and at once again after a healthy while', async () => {
    const delays: number[] = [];
    let now = 0;
    const timers: Timers = {
      now: () => now,
      after: (ms, run) => {
        delays.push(ms);
        return systemTimers.after(ms < 1_000 ? 0 : ms, run);
      },
    };
    const restartPolicy = { firstDelayMs: 10, maxDelayMs: 40, healthyAfterMs: 5_000 };
    const bench = open({ timers, restartPolicy });
    for (let turn = 0; turn < 4; turn += 1) {
      await ready(bench);
      bench.child.channel?.send(ChildOrder.Abort, 0);
      expect((await bench.exits.next()).signal).toBe('SIGABRT');
    }
    expect(delays.filter((ms) => ms < 1_000)).toEqual([10, 20, 40, 40]);
    expect(bench.child.consecutiveFailures).toBe(4);
    await ready(bench);
    now += 5_000;
    bench.child.channel?.send(ChildOrder.Abort, 0);
    await bench.exits.next();
    expect(delays.filter((ms) => ms < 1_000).at(-1)).toBe(10);
    await ready(bench);
    expect(bench.child.restarts).toBe(5);
  });

  test('a child that sends garbage is killed, and another takes its place', async () => {
    const bench = open({ restartPolicy: { firstDelayMs: 1, maxDelayMs: 1, healthyAfterMs: 1_000 } });
    await ready(bench);
    const { pid } = bench.child;
    bench.child.channel?.send(ChildOrder.Garbage, 0);
    const exit = await bench.exits.next();
    expect(exit.signal).toBe('SIGKILL');
    expect(exit.error?.message).toContain('outside the limits');
    await ready(bench);
    expect(bench.child.pid).not.toBe(pid);
  });

  test('a frame that its reader throws at kills the child, not the parent', async () => {
    const bench = open({
      onFrame: ({ type }) => {
        if (type === ChildOrder.Echo) throw new RangeError('cut short');
      },
    });
    await ready(bench);
    bench.child.channel?.send(ChildOrder.Echo, 1);
    const exit = await bench.exits.next();
    expect(exit.signal).toBe('SIGKILL');
    expect(exit.error?.cause).toBeInstanceOf(RangeError);
  });

  test('a child that is blocked in native code is killed when it does not stop', async () => {
    const bench = open();
    await ready(bench);
    bench.child.channel?.send(ChildOrder.Block, 1);
    await bench.frames.next();
    const farewell = () => bench.child.channel?.send(ChildOrder.Echo, 2);
    await bench.child.stop({ farewell, graceMs: 50 });
    expect(await bench.exits.next()).toMatchObject({
      signal: 'SIGKILL',
      error: { message: 'did not stop in time' },
    });
  });

  test('a start that fails is an exit, and is tried again', async () => {
    const bench = open({
      spec: { cwd: '/nonexistent' },
      restartPolicy: { firstDelayMs: 1, maxDelayMs: 1, healthyAfterMs: 1_000 },
    });
    expect((await bench.exits.next()).error?.message).toContain('ENOENT');
    expect((await bench.exits.next()).error?.message).toContain('ENOENT');
    await bench.child.stop();
    expect(bench.child.state).toBe('stopped');
  });

  test('hands on what a child prints line by line, cut, and without control characters', async () => {
    const bench = open();
    await ready(bench);
    bench.child.channel?.send(
      ChildOrder.Print,
      0,
      Buffer.from(`first\n\x1b[31mred\n${'x'.repeat(10_000)}\nlast\n`),
    );
    expect(await bench.lines.next()).toBe('first');
    expect(await bench.lines.next()).toBe('\\x1b[31mred');
    expect(await bench.lines.next()).toHaveLength(2048);
    expect(await bench.lines.next()).toBe('last');
  });

  test('a child that floods its log is heard for 200 lines', async () => {
    const bench = open();
    await ready(bench);
    bench.child.channel?.send(ChildOrder.Print, 0, Buffer.from('line\n'.repeat(5_000)));
    bench.child.channel?.send(ChildOrder.Echo, 0);
    await bench.frames.next();
    await bench.child.stop();
    for (let line = 0; line < 200; line += 1) expect(await bench.lines.next()).toBe('line');
    expect(await bench.lines.next()).toBe('(4800 lines left out)');
  });

  test('gives a child the environment that is named and nothing else', async () => {
    const bench = open({ spec: { env: { ONLY: 'this' } } });
    await ready(bench);
    bench.child.channel?.send(ChildOrder.Environment, 0);
    const environment: unknown = JSON.parse((await bench.frames.next()).payload.toString());
    // The shell that sets the limits adds PWD, and some add more of their own.
    expect(environment).toMatchObject({ ONLY: 'this' });
    expect(
      Object.keys(environment as object).filter((name) => !/^(ONLY|PWD|OLDPWD|SHLVL|_)$/.test(name)),
    ).toEqual([]);
  });

  test('wires descriptor 5 to another process, so that nothing of it passes through here', async () => {
    const ends: Duplex[] = [];
    const bench = open({
      spec: {
        wireDescriptor5: (end) => {
          ends.push(end);
          spawn('/bin/echo', ['the secret'], { stdio: ['ignore', end, 'ignore'] });
        },
      },
    });
    await ready(bench);
    bench.child.channel?.send(ChildOrder.ReadDescriptor5, 0);
    expect((await bench.frames.next()).payload.toString()).toBe('the secret\n');
    expect(ends).toHaveLength(1);
    expect(ends[0]).toMatchObject({ bytesRead: 0, bytesWritten: 0, destroyed: true });
  });
});
