import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Failure } from '../keyuse/failure.ts';
import { parseStrictJson } from './strict-json.ts';

const parse = (text: string | Uint8Array, integers = true): unknown =>
  parseStrictJson(typeof text === 'string' ? Buffer.from(text) : text, {
    what: 'claims',
    maxDepth: 8,
    integers,
  });

function refusal(text: string | Uint8Array, integers = true): string {
  try {
    parse(text, integers);
  } catch (error) {
    if (error instanceof Failure && error.reason === 'REQUEST_INVALID') return error.message;
    throw error;
  }
  throw new Error('it was taken');
}

describe('strict JSON', () => {
  test('reads what JSON.parse writes, and gives the same value', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5, noUnicodeString: false }), (text) => {
        fc.pre(!text.includes('__proto__'));
        expect(parse(JSON.stringify(JSON.parse(text)), false)).toEqual(normal(JSON.parse(text)));
      }),
    );
  });

  test('never takes what JSON.parse does not', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...'{}[]:,"\\u0123e+-. ntrue\n\u0001'), maxLength: 40 }),
        (text) => {
          let value: unknown;
          try {
            value = parse(text, false);
          } catch (error) {
            expect(error).toBeInstanceOf(Failure);
            return;
          }
          expect(normal(JSON.parse(text))).toEqual(value);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('freezes everything', () => {
    const value = parse('{"a":[{"b":1}]}') as { a: [object] };
    expect([value, value.a, value.a[0]].every(Object.isFrozen)).toBe(true);
  });

  test.each([
    ['a member twice', '{"sub":"a","sub":"b"}', 'a member stands twice'],
    ['a member twice under an escape', '{"sub":"a","\\u0073ub":"b"}', 'a member stands twice'],
    ['a member twice, further in', '[{"x":{"y":1,"y":1}}]', 'a member stands twice'],
    ['`__proto__`', '{"__proto__":{"admin":true}}', '`__proto__` cannot be'],
    ['two values', '{} {}', 'something after the value'],
    ['a comma too many', '{"a":1,}', 'not a string'],
    ['a comment', '{/* */}', 'not a string'],
    ['half of a surrogate pair', '["\\ud800"]', 'half of a surrogate pair'],
    ['a raw control character', '["\u0000"]', 'not a string'],
    ['too much depth', '[[[[[[[[[0]]]]]]]]]', 'nested too deeply'],
    ['a fraction', '[1.5]', 'not an integer'],
    ['more than 2^53', '[9007199254740993]', 'not an integer'],
    ['infinity', '[1e999]', 'not an integer'],
    ['a leading zero', '[01]', 'does not end'],
    ['a byte order mark', '\ufeff{}', 'not a JSON value'],
    ['nothing', '', 'not a JSON value'],
  ])('refuses %s', (_, text, problem) => {
    expect(refusal(text)).toContain(problem);
  });

  test('refuses what is not UTF-8', () => {
    expect(refusal(Uint8Array.of(0x22, 0xc0, 0xaf, 0x22))).toBe('claims are not UTF-8');
  });

  test('takes fractions where they are allowed, but nothing infinite', () => {
    expect(parse('[1.5]', false)).toEqual([1.5]);
    expect(refusal('[1e999]', false)).toContain('too large');
  });

  test('reads minus zero as zero', () => {
    expect(Object.is((parse('[-0]') as number[])[0], 0)).toBe(true);
  });

  test('tells nothing of the input', () => {
    expect(refusal('{"secret-claim":"secret-value" x')).not.toContain('secret');
  });
});

/** -0 as 0. */
function normal(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value)) as unknown;
}
