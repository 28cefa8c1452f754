import { readSync, writeSync } from 'node:fs';
import {
  connectToParent,
  dropPrivileges,
  readChildArguments,
  startLifeline,
} from '../../../../hsm-adapters/frames/child-side.ts';
import { ChildOrder } from './child-orders.ts';

/** A child that does what it is told, good or bad. */
const child = readChildArguments();
await startLifeline();
dropPrivileges(child.user);
const channel = connectToParent({
  frame: (type, id, payload) => {
    switch (type) {
      case ChildOrder.Echo:
        channel.send(type, id, payload);
        break;
      case ChildOrder.Abort:
        process.abort();
        break;
      case ChildOrder.Garbage:
        writeSync(3, Buffer.from('this is not a frame'));
        break;
      case ChildOrder.Block:
        channel.send(type, id);
        channel.flush();
        setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
        break;
      case ChildOrder.Print:
        process.stderr.write(payload);
        break;
      case ChildOrder.Environment:
        channel.send(type, id, Buffer.from(JSON.stringify(process.env)));
        break;
      case ChildOrder.ReadDescriptor5: {
        const buffer = Buffer.alloc(100);
        let length = 0;
        for (let read = -1; read !== 0; length += read)
          read = readSync(5, buffer, length, 100 - length, null);
        channel.send(type, id, buffer.subarray(0, length));
        break;
      }
      default:
        throw new Error(`no order ${type}`);
    }
  },
  closed: () => undefined,
});
channel.send(0, 0);
