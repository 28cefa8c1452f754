import { describe, expect, it } from 'vitest';
import { compilePolicy } from './compile.ts';
import { type AskedRequest, AskedRequestError, questionOf } from './explain-question.ts';

const API = 'spiffe://example.org/ns/payments/sa/api';
const NOON = Date.UTC(2026, 10, 23, 12);
const ASKED: AskedRequest = {
  workload: API,
  key: 'k',
  operation: 'sign-jwt',
  algorithm: 'ES256',
  at: '',
  clockDoubtMs: 0,
  content: '',
  bytes: 0,
  version: 0,
  evidence: [],
  peerAddress: '',
  facts: '',
};
const CLOCK = { nowMs: NOON, doubtMs: 5 };
const policy = compilePolicy(
  Buffer.from(`version: 1
rules:
  - id: mints
    workloads: [${API}]
    keys: [k]
    operations: [sign-jwt]
    windows: [{ days: mon-fri, from: "08:00", to: "18:00", zone: UTC }]
    when: 'request.jwt.aud == ["https://bank.example"] && request.jwt.lifetime <= duration("15m")'
`),
  { hash: 'sha256:one' },
);
const CLAIMS = '{"aud": "https://bank.example", "lifetime": 900}';
const explain = (more: Partial<AskedRequest>) => policy.explain(questionOf({ ...ASKED, ...more }, CLOCK));

describe('a request that nobody made', () => {
  it('is decided with claims as people have them, now', () => {
    expect(explain({ facts: CLAIMS })).toMatchObject({ effect: 'allow', rule: 'mints' });
    expect(questionOf(ASKED, CLOCK).circumstances).toMatchObject({
      now: NOON,
      clockDoubtMs: 5,
      content: 'typed',
      evidence: ['x509-svid'],
    });
  });

  it.each([
    ['at another time', { facts: CLAIMS, at: '2026-11-22T12:00:00Z' }],
    ['with a doubt beyond the policy’s bound', { facts: CLAIMS, clockDoubtMs: 86_400_000 }],
    ['with other claims', { facts: CLAIMS.replace('900', '901') }],
    ['with no claims', {}],
  ])('is denied %s, and says what is missing', (_name, more) => {
    const { effect, considered } = explain(more);
    expect(effect).toBe('deny');
    expect(considered[0]?.missing.length).toBeGreaterThan(0);
  });

  it('has the doubt of its own time only, when it has one', () => {
    const { circumstances } = questionOf(
      { ...ASKED, at: '2026-11-23T12:00:00+01:00', clockDoubtMs: 7 },
      CLOCK,
    );
    expect(circumstances).toMatchObject({ now: NOON - 3_600_000, clockDoubtMs: 7 });
  });

  it.each([
    [{ operation: 'everything' }, 'operation must be one of'],
    [{ at: 'tomorrow' }, 'RFC 3339'],
    [{ at: '2026-11-23' }, 'RFC 3339'],
    [{ content: 'all' }, 'content must be one of'],
    [{ operation: 'sign', facts: CLAIMS }, 'typed signing'],
    [{ facts: '[1]' }, 'names and values'],
    [{ facts: '{' }, 'facts:1'],
    [{ facts: `${'['.repeat(10_000)}` }, 'facts:'],
    [{ facts: `{"a": "${'x'.repeat(70_000)}"}` }, 'facts:'],
  ])('is refused when it cannot be understood: %#', (more, why) => {
    expect(() => explain(more)).toThrow(AskedRequestError);
    expect(() => explain(more)).toThrow(why);
  });
});
