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

  it('is the same for a certificate that is asked for again later', () => {
    const facts = { dns: ['a.example'], lifetime: 60n, notBefore: new Date(0), notAfter: new Date(60_000) };
    const later = { ...facts, notBefore: new Date(5_000), notAfter: new Date(65_000) };
    expect(showFacts('x509', later)).toEqual(showFacts('x509', facts));
    expect(showFacts('x509', facts).content).toMatchObject({
      kind: 'shown',
      text: '{"dns":["a.example"],"lifetime":60}',
    });
    expect(showFacts('x509', { ...facts, lifetime: 61n })).not.toEqual(showFacts('x509', facts));
  });

  it('is another thing for claims that only look like moments, and for numbers that look like texts', () => {
    const show = (claims: object) => showFacts('jwt', { claims, lifetime: 60 });
    expect(show({ sub: 'x', notAfter: '2026' })).not.toEqual(show({ sub: 'x', notAfter: '2099' }));
    expect(show({ amount: 100 })).not.toEqual(show({ amount: '100' }));
    expect(show({ aud: 'x' })).not.toEqual(show({ aud: ['x'] }));
    expect(showFacts('dsse', { bytes: 2n ** 60n })).not.toEqual(
      showFacts('dsse', { bytes: String(2n ** 60n) }),
    );
  });
});
