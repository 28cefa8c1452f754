import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Activation, compileExpression } from '../../../policy/condition/expression.ts';
import { FactsError } from '../../../policy/condition/facts.ts';
import type { FactValue, KeyUseQuestion } from '../../../policy/decision.ts';
import { matchesText } from '../../../policy/text-pattern.ts';

const fact: fc.Arbitrary<FactValue> = fc.letrec<{ value: FactValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.string({ maxLength: 10 }),
    fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.date(),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(
      fc.oneof(fc.string({ maxLength: 5 }), fc.constantFrom('a', 'constructor', '__proto__', 'size')),
      tie('value'),
      {
        maxKeys: 5,
      },
    ),
  ),
})).value;

const question = (facts: Readonly<Record<string, FactValue>>): KeyUseQuestion => ({
  spiffeId: 'spiffe://example.org/a/b',
  operation: 'sign-jwt',
  key: 'a/b',
  algorithm: 'ES256',
  circumstances: {
    now: 0,
    clockDoubtMs: 0,
    bytes: 1,
    content: 'typed',
    version: 0,
    typed: { type: 'jwt', facts },
    evidence: [],
    peerAddress: '',
  },
});

/** Refused with a place and words, or evaluated to a value or a failure; never thrown out of. */
function feed(text: string, facts: Readonly<Record<string, FactValue>>): void {
  for (const kind of ['condition', 'monotonic', 'unique'] as const) {
    const compiled = compileExpression(text, kind);
    if (!compiled.ok) {
      expect(compiled.offset).toBeGreaterThanOrEqual(0);
      expect(compiled.offset).toBeLessThanOrEqual(text.length);
      expect(compiled.message).not.toMatch(/[\p{Cc}]/u);
      expect(compiled.message.length).toBeGreaterThan(0);
      expect(compiled.message.length).toBeLessThan(300);
      continue;
    }
    const activation = new Activation(question(facts), 0, true);
    const result = compiled.expression.evaluate(activation);
    if (!result.ok) expect(result.message).not.toMatch(/[\p{Cc}]/u);
    else
      expect(typeof result.value).toBe({ condition: 'boolean', monotonic: 'bigint', unique: 'string' }[kind]);
    expect(compiled.expression.evaluate(activation)).toEqual(result);
  }
}

const token = fc.constantFrom(
  ...[
    'request',
    'workload',
    'key',
    'evidence',
    'connection',
    'now',
    'cel',
    'google',
    'int',
    'x',
    'a',
    '__proto__',
  ],
  ...[
    '.',
    '.jwt',
    '.a',
    '.size()',
    '.all(x, ',
    '.map(x, ',
    '.exists(x,',
    '.matches(',
    'has(',
    '.constructor',
    '.?',
    '[?',
  ],
  ...[
    '&&',
    '||',
    '!',
    '==',
    '!=',
    '<',
    '+',
    '-',
    '*',
    '/',
    '%',
    '?',
    ':',
    ' in ',
    '(',
    ')',
    '[',
    ']',
    '{',
    '}',
    ',',
  ],
  ...[
    '1',
    '1u',
    '0.5',
    '"a"',
    "'b'",
    'r"\\d"',
    'b"\\xff"',
    'null',
    'true',
    'false',
    '9223372036854775807',
    '//',
    '\n',
    '\u0000',
  ],
  ...['timestamp("2026-01-01T00:00:00Z")', 'duration("1h")', 'type(', 'string(', 'int(', 'dyn(', 'bytes('],
);
const GOOD = [
  'request.jwt.a == "x" && request.jwt.all(k, k.size() < 9) || now > timestamp("2026-01-01T00:00:00Z")',
  'request.jwt.a.map(x, x + 1).exists(x, x in [1, 2, 3]) ? has(request.jwt.b) : key.path[0] == workload.path[1]',
  'request.jwt.a.filter(x, string(x).matches("^[a-z]+$")).size() + int("5") > 3 && -request.bytes < 0',
];

describe('expressions', () => {
  it('survive any pile of tokens', () => {
    fc.assert(
      fc.property(
        fc.array(token, { maxLength: 25 }),
        fc.dictionary(fc.constantFrom('a', 'b'), fact),
        (tokens, facts) => feed(tokens.join(''), facts),
      ),
      { numRuns: 3000 },
    );
  });

  it('survive any text', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60, unit: 'binary' }), (text) => feed(text, {})),
      { numRuns: 1000 },
    );
  });

  it.each(GOOD)('survive a good one with a piece replaced, and any facts: %s', (good) => {
    fc.assert(
      fc.property(
        fc.nat(good.length),
        fc.nat(10),
        fc.oneof(token, fc.constant('')),
        fc.dictionary(fc.constantFrom('a', 'b', 'c'), fact),
        (at, length, by, facts) => {
          feed(good, facts);
          feed(good.slice(0, at) + by + good.slice(at + length), facts);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('refuse circumstances that are no numbers, by name', () => {
    for (const bytes of [0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      const asked = question({});
      const odd = { ...asked, circumstances: { ...asked.circumstances!, bytes } };
      expect(() => new Activation(odd, 0, true)).toThrow(RangeError);
    }
    expect(() => new Activation({ ...question({}), algorithm: 'a'.repeat(10_000) }, 0, true)).toThrow(
      FactsError,
    );
  });
});

it('text with `*` is matched as a naive matcher does', () => {
  const naive = (pattern: string, text: string): boolean => {
    if (pattern === '') return text === '';
    if (pattern[0] === '*')
      return naive(pattern.slice(1), text) || (text !== '' && naive(pattern, text.slice(1)));
    return text !== '' && pattern[0] === text[0] && naive(pattern.slice(1), text.slice(1));
  };
  const letters = (unit: string[], maxLength: number) =>
    fc.array(fc.constantFrom(...unit), { maxLength }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(letters(['a', 'b', '*'], 7), letters(['a', 'b'], 9), (pattern, text) => {
      expect(matchesText(pattern, text)).toBe(naive(pattern, text));
    }),
    { numRuns: 5000 },
  );
});
