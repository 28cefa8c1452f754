import { describe, expect, it } from 'vitest';
import { showContent, showFacts } from './shown.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text);

describe('what approvers are shown', () => {
  it('is a message that is text, as it is', () => {
    expect(showContent({ kind: 'message', bytes: bytes('pay 10 €\n') })).toMatchObject({
      content: { kind: 'message', text: 'pay 10 €\n', bytes: 11 },
    });
  });

  it.each([
    ['bytes that are no UTF-8', Buffer.from([0xff, 0x00])],
    ['a control character', bytes('pay\u0007')],
    ['text that turns around when shown', bytes('pay \u202e01 ')],
    ['a character without width', bytes('pay\u200b')],
    ['more than 16 KiB', bytes('x'.repeat(16 * 1024))],
  ])('is fetched beside the act for %s', (_what, content) => {
    expect(showContent({ kind: 'message', bytes: content })).toMatchObject({
      content: { kind: 'attached', bytes: content.length },
      attachment: content,
    });
  });

  it('is nothing of a digest', () => {
    expect(showContent({ kind: 'digest', bytes: new Uint8Array(32) }).content.kind).toBe('not-shown');
  });

  it('is the same for typed content that is asked for again later', () => {
    const facts = { sub: 'a', aud: ['b'], lifetime: 60, iat: 1, exp: 61 };
    const first = showFacts('jwt', facts);
    expect(first).toEqual(showFacts('jwt', { exp: 99, iat: 39, lifetime: 60, aud: ['b'], sub: 'a' }));
    expect(first.content).toMatchObject({ kind: 'shown', text: '{"aud":["b"],"lifetime":60,"sub":"a"}' });
    expect(first).not.toEqual(showFacts('jwt', { ...facts, lifetime: 61 }));
  });
});
