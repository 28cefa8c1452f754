import { describe, expect, test } from 'vitest';
import { MAX_FRAME_BYTES } from '../../hsm-adapters/frames/frame-channel.ts';
import type { PageAnswer, PageCall } from '../proto/page-calls.ts';
import { PageInlet } from './page-inlet.ts';
import { ProtocolError } from './protocol-error.ts';

const CALL: PageCall = { name: 'approvals', peer: '192.0.2.1', signIn: undefined, body: '{}' };
const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

function inlet(onPage: (call: PageCall) => Promise<PageAnswer>) {
  const sent: { readonly id: number; readonly answer: PageAnswer }[] = [];
  const made = new PageInlet(onPage, (id, answer) =>
    sent.push({ id, answer: JSON.parse(answer.toString('utf8')) as PageAnswer }),
  );
  return { made, sent };
}

describe('what a control gateway says that a page asked for', () => {
  const never = inlet(() => new Promise(() => undefined)).made;

  test.each<[string, unknown]>([
    ['a call that there is not', { ...CALL, name: 'Admin.CreateKey' }],
    ['no address', { ...CALL, peer: undefined }],
    ['an address of any length', { ...CALL, peer: 'x'.repeat(65) }],
    ['a body that is no text', { ...CALL, body: {} }],
    ['a body that is too long', { ...CALL, body: 'x'.repeat(16 * 1024 + 1) }],
    ['a secret of any length', { ...CALL, signIn: 'x'.repeat(65) }],
    ['nothing', null],
  ])('ends it when it holds %s', (_what, value) => {
    expect(() => never.call(1, bytes(value))).toThrow(ProtocolError);
  });

  test('ends it when it is not JSON, or longer than any', () => {
    expect(() => never.call(1, Buffer.from('{'))).toThrow(ProtocolError);
    expect(() => never.call(1, Buffer.alloc(1 << 20))).toThrow(ProtocolError);
  });

  test('ends it when a number is in use, or too many wait', () => {
    const { made } = inlet(() => new Promise(() => undefined));
    for (let id = 0; id < 128; id++) made.call(id, bytes(CALL));
    expect(() => made.call(5, bytes(CALL))).toThrow('in use');
    expect(() => made.call(128, bytes(CALL))).toThrow('in flight');
  });
});

test('an answer goes to its own process alone', async () => {
  const release: (() => void)[] = [];
  const { made, sent } = inlet(
    () => new Promise((resolve) => release.push(() => resolve({ ok: true, body: {} }))),
  );
  made.call(7, bytes(CALL));
  made.ended();
  made.call(7, bytes(CALL));
  release[0]?.();
  await Promise.resolve();
  expect(sent).toEqual([]);
  release[1]?.();
  await expect.poll(() => sent).toEqual([{ id: 7, answer: { ok: true, body: {} } }]);
});

test('an answer that no frame holds becomes a refusal', async () => {
  const { made, sent } = inlet(async () => ({ ok: true, body: { content: 'x'.repeat(MAX_FRAME_BYTES) } }));
  made.call(1, bytes(CALL));
  await expect.poll(() => sent).toMatchObject([{ id: 1, answer: { ok: false, reason: 'unavailable' } }]);
});
