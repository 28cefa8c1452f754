import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ACT_DOMAIN,
  type Act,
  ActError,
  actDigest,
  actDocument,
  approvalId,
  contentProblem,
  parseAct,
  renderAct,
} from './act.ts';

const sha256 = (text: string | Uint8Array): string => createHash('sha256').update(text).digest('base64url');

const TEXT = '{"amount":"100.00","to":"DE02"}';
const ACT: Act = {
  v: 1,
  origin: 'log.example.org/one',
  requester: 'spiffe://example.org/ns/treasury/sa/settle',
  operation: 'sign',
  key: 'treasury/settlement',
  version: 0,
  algorithm: 'ES256',
  content: { kind: 'message', text: TEXT, sha256: sha256(TEXT), bytes: TEXT.length },
  rule: 'treasury-moves-funds',
  authority: sha256('rule'),
  notBefore: '2026-03-01T12:00:00Z',
  notAfter: '2026-03-01T12:15:00Z',
  uses: 1,
  nonce: 'AAAAAAAAAAAAAAAAAAAAAA',
};

describe('the document', () => {
  it('is canonical JSON, and its digest has a domain of its own', () => {
    const document = actDocument(ACT);
    expect(document.startsWith('{"algorithm":"ES256","authority":')).toBe(true);
    const expected = createHash('sha256').update(`${ACT_DOMAIN}${document}`).digest();
    expect(actDigest(document)).toEqual(expected);
    expect(approvalId(document)).toBe(expected.toString('hex').slice(0, 32));
    expect(parseAct(document)).toEqual(ACT);
  });

  it('is read in this form alone, with these members alone', () => {
    const document = actDocument(ACT);
    for (const bad of [
      document.replace('{"algorithm"', '{ "algorithm"'),
      document.replace('"uses":1', '"uses":1,"uses":2'),
      document.replace('"uses":1', '"uses":0'),
      document.replace('"v":1', '"v":2'),
      actDocument({ ...ACT, extra: 1 } as Act),
      actDocument({ ...ACT, content: { kind: 'any', text: 'x' } } as unknown as Act),
      actDocument({ ...ACT, content: { kind: 'toString' } } as unknown as Act),
      actDocument({ ...ACT, notAfter: '2026-13-01T12:15:00Z' }),
      '',
      'null',
      '[]',
    ])
      expect(() => parseAct(bad), bad).toThrow(ActError);
  });

  it('changes with every member, and so does the digest', () => {
    const digest = actDigest(actDocument(ACT)).toString('hex');
    const others: Act[] = [
      { ...ACT, origin: 'log.example.org/two' },
      { ...ACT, requester: `${ACT.requester}2` },
      { ...ACT, operation: 'sign-jwt' },
      { ...ACT, key: 'treasury/other' },
      { ...ACT, version: 1 },
      { ...ACT, algorithm: 'ES384' },
      { ...ACT, content: { ...ACT.content, text: `${TEXT} ` } as Act['content'] },
      { ...ACT, rule: 'another' },
      { ...ACT, authority: sha256('changed') },
      { ...ACT, notBefore: '2026-03-01T12:00:01Z' },
      { ...ACT, notAfter: '2026-03-01T12:15:01Z' },
      { ...ACT, uses: 2 },
      { ...ACT, nonce: 'BAAAAAAAAAAAAAAAAAAAAA' },
    ];
    const digests = others.map((act) => actDigest(actDocument(act)).toString('hex'));
    expect(new Set([digest, ...digests]).size).toBe(others.length + 1);
  });
});

describe('what a person reads', () => {
  it('has everything of the document, and says once what it is for', () => {
    const text = renderAct(ACT);
    for (const part of [
      ACT.requester,
      ACT.key,
      'the version active at use',
      ACT.rule,
      'once',
      ACT.notAfter,
      ACT.origin,
      '  | {"amount":"100.00","to":"DE02"}',
    ])
      expect(text).toContain(part);
  });

  it('says when content is not shown, is any, or is attached', () => {
    const digest = sha256('x');
    expect(renderAct({ ...ACT, content: { kind: 'not-shown', sha256: digest, bytes: 32 } })).toContain(
      'CONTENT NOT SHOWN',
    );
    expect(renderAct({ ...ACT, content: { kind: 'any' }, operation: '*', algorithm: '*', uses: 50 })).toMatch(
      /everything that the rule allows[\s\S]*up to 50 times[\s\S]*ANY: a standing grant/,
    );
    expect(renderAct({ ...ACT, content: { kind: 'attached', sha256: digest, bytes: 99 } })).toContain(
      'attached, 99 bytes',
    );
  });

  it('cannot be written by whoever asks: no line of the content passes for one of the act', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (text, key) => {
        const rendered = renderAct({
          ...ACT,
          key,
          content: { kind: 'message', text, sha256: sha256(text), bytes: 1 },
        });
        const lines = rendered.trimEnd().split('\n');
        const own = lines.filter((line) => !line.startsWith('  | '));
        expect(own.length).toBe(key === '' ? 13 : 14);
        expect(rendered.replaceAll('\n', '').replaceAll('\t', '')).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u);
      }),
    );
    const rlo = renderAct({ ...ACT, key: 'pay\u202ements\nwho asks:   somebody' });
    expect(rlo).toContain('pay\\u{202e}ments\\u{a}who asks:');
  });
});

describe('what can be approved', () => {
  const digest = sha256('hello');
  it('is what its digest says', () => {
    expect(
      contentProblem({ kind: 'message', text: 'hello', sha256: digest, bytes: 5 }, undefined),
    ).toBeUndefined();
    expect(contentProblem({ kind: 'message', text: 'hullo', sha256: digest, bytes: 5 }, undefined)).toMatch(
      /digest/,
    );
    expect(
      contentProblem({ kind: 'attached', sha256: digest, bytes: 5 }, Buffer.from('hello')),
    ).toBeUndefined();
    expect(contentProblem({ kind: 'attached', sha256: digest, bytes: 5 }, Buffer.from('hullo'))).toMatch(
      /digest/,
    );
    expect(contentProblem({ kind: 'attached', sha256: digest, bytes: 5 }, undefined)).toMatch(/not attached/);
    expect(contentProblem({ kind: 'not-shown', sha256: '', bytes: 0 }, undefined)).toMatch(/no digest/);
  });

  it('fits into the act up to 16 KiB as JSON', () => {
    const of = (length: number) => {
      const text = 'a'.repeat(length);
      return contentProblem({ kind: 'message', text, sha256: sha256(text), bytes: length }, undefined);
    };
    const overhead = JSON.stringify({ kind: 'message', text: '', sha256: digest, bytes: 16_000 }).length;
    expect(of(16 * 1024 - overhead)).toBeUndefined();
    expect(of(16 * 1024 - overhead + 1)).toMatch(/too long/);
  });
});
