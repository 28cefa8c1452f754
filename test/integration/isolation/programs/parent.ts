import { SupervisedChild } from '../../../../hsm-adapters/frames/child-process.ts';
import { ChildOrder } from './child-orders.ts';

/** Starts children, blocks the second in native code, prints their process ids as JSON and waits to be killed. */
const entry = new URL('child.ts', import.meta.url);
const children = ['idle', 'blocked'].map((name) => {
  const child = new SupervisedChild(
    { role: 'test', name, entry, flags: [], env: {}, cwd: '/' },
    {
      started: () => undefined,
      frame: (type, id) => {
        if (type === 0 && name === 'blocked') child.channel?.send(ChildOrder.Block, id);
        else ready();
      },
      exited: () => undefined,
      log: () => undefined,
    },
  );
  return child;
});
let left = children.length;
for (const child of children) child.start();

function ready(): void {
  left -= 1;
  if (left === 0) process.stdout.write(`${JSON.stringify(children.map(({ pid }) => pid))}\n`);
}

process.stdin.on('data', (order: Buffer) => {
  if (order.toString().startsWith('abort')) process.abort();
});
