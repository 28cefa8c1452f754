import { chmodSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Receiver } from '../../integration/courier/receiver.ts';
import { courierPlace, notice } from '../../integration/courier/told.ts';

let place: ReturnType<typeof courierPlace>;

beforeEach(() => {
  place = courierPlace();
});
afterEach(async () => {
  await place.end();
  await place.remove();
});

const ids = ({ received }: Receiver): string[] => [...new Set(received.map((one) => one.notice.id))].sort();

test('a destination that is away gets everything when it is back', async () => {
  const before = await place.receiver();
  const { url, port } = before;
  await before.stop();
  const { tell, courier, outcomes, until } = place.start([place.webhook(url)]);
  for (const id of ['a', 'b', 'c']) tell(notice(id));
  await until(() => outcomes.filter(({ what }) => what === 'failed').length >= 6);
  expect(outcomes[0]).toMatchObject({ why: 'ECONNREFUSED' });
  expect(courier.status().queued).toBe(3);
  const chat = await place.receiver({ port });
  await until(() => outcomes.filter(({ what }) => what === 'delivered').length === 3);
  expect(ids(chat)).toEqual(['a', 'b', 'c']);
  expect(readdirSync(place.queueDirectory)).toEqual([]);
});

test('a courier that is killed is replaced, and delivers what it had on disk and what it had not', async () => {
  const chat = await place.receiver();
  chat.answer = () => ({ status: 503 });
  const { tell, courier, outcomes, until } = place.start([place.webhook(chat.url)]);
  for (let i = 0; i < 10; i++) tell(notice(`on-disk-${i}`));
  await until(() => outcomes.length >= 10);
  for (let round = 0; round < 3; round++) {
    const { pid, restarts } = courier.status();
    // Told and killed in the same turn: the pipe has it, the disk may not.
    tell(notice(`in-the-pipe-${round}`));
    process.kill(pid ?? 0, 'SIGKILL');
    await until(() => courier.status().restarts > restarts && courier.status().isReady);
  }
  chat.received.length = 0;
  chat.answer = () => ({ status: 200 });
  await until(() => courier.status().untaken === 0 && courier.status().queued === 0);
  expect(ids(chat)).toEqual([
    ...[0, 1, 2].map((i) => `in-the-pipe-${i}`),
    ...Array.from({ length: 10 }, (_, i) => `on-disk-${i}`),
  ]);
});

test('the next broker’s courier takes up the queue; what holds no notice is deleted, and said', async () => {
  const chat = await place.receiver();
  chat.answer = () => ({ status: 503 });
  const first = place.start([place.webhook(chat.url)]);
  first.tell(notice('a'));
  await first.until(() => first.outcomes.length > 0);
  await place.end();
  const [file = ''] = readdirSync(place.queueDirectory);
  // Half a file, as a crash leaves it.
  const torn = `${file.slice(0, 24)}-torn.json`.replace(/-\d{10}-/, '-0000000999-');
  writeFileSync(join(place.queueDirectory, torn), '{"id":"b","ty');
  chmodSync(join(place.queueDirectory, torn), 0o644);
  writeFileSync(join(place.queueDirectory, 'README'), 'not ours');

  chat.answer = () => ({ status: 200 });
  const second = place.start([place.webhook(chat.url)]);
  await second.until(() => second.outcomes.some(({ what }) => what === 'delivered'));
  expect(second.outcomes.some(({ what }) => what === 'unreadable')).toBe(true);
  expect(ids(chat)).toEqual(['a']);
  expect(readdirSync(place.queueDirectory)).toEqual(['README']);
});

test('a full queue keeps room for emergencies, and what is not queued is in the log', async () => {
  const chat = await place.receiver();
  chat.answer = () => ({ status: 503 });
  const { tell, courier, log, until } = place.start([place.webhook(chat.url)], { maxQueued: 10 });
  for (let i = 0; i < 12; i++) tell(notice(`a${i}`));
  tell(notice('urgent', { type: 'emergency.used' }));
  await until(
    () => courier.status().untaken === 0 && chat.received.some((one) => one.notice.id === 'urgent'),
  );
  expect(readdirSync(place.queueDirectory)).toHaveLength(10);
  expect(courier.status().lost).toBe(3);
  expect(log.filter((line) => line.startsWith('a notice has no room in the queue'))).toHaveLength(3);
  expect(log.join()).toContain('chat (9 deliveries wait)');
});

test('what is never taken is given up after its time, and said', async () => {
  const chat = await place.receiver();
  chat.answer = () => ({ status: 400 });
  const { tell, log, outcomes, until } = place.start([place.webhook(chat.url)], { giveUpAfterMs: 150 });
  tell(notice('a'));
  await until(() => outcomes.some(({ what }) => what === 'given-up'));
  expect(outcomes.at(-1)).toMatchObject({ what: 'given-up', notice: 'a', why: 'status 400' });
  expect(log.some((line) => line.startsWith('a notice is given up'))).toBe(true);
  expect(readdirSync(place.queueDirectory)).toEqual([]);
});

test('one delivery that always fails holds up no other', async () => {
  const chat = await place.receiver();
  chat.answer = ({ notice: { id } }) => ({ status: id === 'poison' ? 400 : 200 });
  const { tell, outcomes, until } = place.start([place.webhook(chat.url)]);
  tell(notice('poison'));
  for (let i = 0; i < 20; i++) tell(notice(`a${i}`));
  await until(() => outcomes.filter(({ what }) => what === 'delivered').length === 20);
});

test('a notice that is none reaches nobody, and harms nothing', async () => {
  const chat = await place.receiver();
  const { tell, courier, log } = place.start([place.webhook(chat.url)]);
  tell(notice('with a space'));
  tell(notice('long', { data: { text: 'x'.repeat(17_000) } }));
  tell(notice('fine'));
  await chat.until((received) => received.length === 1);
  expect(ids(chat)).toEqual(['fine']);
  expect(log.filter((line) => line.startsWith('a notice cannot be told'))).toHaveLength(2);
  expect(courier.status().restarts).toBe(0);
});
