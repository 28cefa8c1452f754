import { beforeEach, expect, test } from 'vitest';
import type { Destination, Outcome } from './courier-frames.ts';
import { Dispatcher } from './dispatcher.ts';
import type { Notice } from './notice.ts';
import type { Delivery, Queue } from './queue.ts';
import { DeliveryError } from './webhook.ts';

const CHAT: Destination = {
  kind: 'webhook',
  name: 'chat',
  events: ['approval.opened', 'emergency.used'],
  url: 'https://chat.example.org/',
  secretFile: '/secret',
  timeoutMs: 1000,
};

let now: number;
let pauses: { ms: number; run: () => void }[];
let outcomes: Outcome[];
let underWay: { notice: Notice; settle: (error?: Error) => void }[];
let dispatcher: Dispatcher;

beforeEach(() => {
  now = 0;
  pauses = [];
  outcomes = [];
  underWay = [];
  let number = 0;
  const queue: Pick<Queue, 'add' | 'done'> = {
    add: (destination, notice): Delivery => {
      number += 1;
      return { file: String(number), destination, notice, queuedAt: now };
    },
    done: () => undefined,
  };
  dispatcher = new Dispatcher({
    configuration: {
      destinations: [CHAT],
      giveUpAfterMs: 86_400_000,
      firstRetryMs: 1_000,
      longestRetryMs: 300_000,
      maxQueued: 10,
    },
    queue: queue as Queue,
    deliver: (_destination, notice) =>
      new Promise((resolve, reject) => {
        underWay.push({ notice, settle: (error) => (error === undefined ? resolve() : reject(error)) });
      }),
    outcome: (outcome) => outcomes.push(outcome),
    now: () => now,
    after: (ms, run) => pauses.push({ ms, run }),
    random: () => 0,
  });
});

const notice = (id: string, type: Notice['type'] = 'approval.opened'): Notice => ({
  id,
  type,
  timestamp: '2026-11-21T08:00:00Z',
  data: {},
});

async function fail(error: Error): Promise<number> {
  underWay.shift()?.settle(error);
  await expect.poll(() => pauses.length).toBe(1);
  const [pause] = pauses.splice(0);
  pause?.run();
  return pause?.ms ?? Number.NaN;
}

test('pauses double from the first to the longest', async () => {
  dispatcher.tell(notice('a'));
  const seen: number[] = [];
  for (let i = 0; i < 11; i++) seen.push(await fail(new DeliveryError('status 500')));
  expect(seen).toEqual([
    1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000,
  ]);
  expect(outcomes.map(({ attempts }) => attempts)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
});

test('a receiver that asks for more time gets it', async () => {
  dispatcher.tell(notice('a'));
  expect(await fail(new DeliveryError('status 429', 60_000))).toBe(60_000);
});

test('four go to a destination at once; an emergency is the next', () => {
  for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) dispatcher.tell(notice(id));
  dispatcher.tell(notice('urgent', 'emergency.used'));
  expect(underWay.map((one) => one.notice.id)).toEqual(['a', 'b', 'c', 'd']);
  underWay[0]?.settle();
  return expect.poll(() => underWay.at(-1)?.notice.id).toBe('urgent');
});

test('what a destination does not want is not queued for it', () => {
  expect(dispatcher.tell(notice('a', 'approval.rejected'))).toEqual([]);
  expect(underWay).toEqual([]);
});

test('a destination that is configured no more gets nothing', () => {
  dispatcher.resume([{ file: '1', destination: 'gone', notice: notice('a'), queuedAt: 0 }]);
  expect(underWay).toEqual([]);
  expect(outcomes).toMatchObject([{ what: 'given-up', destination: 'gone' }]);
});

test('an error of our own is no detail for the outside, and is tried again', async () => {
  dispatcher.tell(notice('a'));
  await fail(new Error('a secret cause'));
  expect(outcomes[0]).toMatchObject({ what: 'failed', why: 'internal error' });
});
