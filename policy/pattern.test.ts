import { describe, expect, it } from 'vitest';
import {
  matchesPattern,
  type Pattern,
  PatternError,
  parseKeyPattern,
  parseSpiffeIdPattern,
  patternCovers,
  patternsOverlap,
  spiffeIdSegments,
} from './pattern.ts';
import { parseSpiffeId } from './spiffe-id.ts';

const matchesId = (pattern: string, id: string): boolean =>
  matchesPattern(parseSpiffeIdPattern(pattern), spiffeIdSegments(parseSpiffeId(id)));
const key = (text: string): Pattern => parseKeyPattern(text);

describe('SPIFFE ID patterns', () => {
  it.each([
    ['spiffe://example.org/ns/payments/sa/*', 'spiffe://example.org/ns/payments/sa/api', true],
    ['spiffe://example.org/ns/payments/sa/*', 'spiffe://example.org/ns/payments/sa', false],
    ['spiffe://example.org/ns/payments/sa/*', 'spiffe://example.org/ns/payments/sa/api/v2', false],
    ['spiffe://example.org/ns/*/sa/api', 'spiffe://example.org/ns/payments/sa/api', true],
    ['spiffe://example.org/ns/*/sa/api', 'spiffe://example.org/ns/a/b/sa/api', false],
    ['spiffe://example.org/**', 'spiffe://example.org/a', true],
    ['spiffe://example.org/**', 'spiffe://example.org/a/b/c', true],
    ['spiffe://example.org/a/**', 'spiffe://example.org/a', true],
    ['spiffe://example.org/**/z', 'spiffe://example.org/a/z/b/z', true],
    ['spiffe://example.org/**/z', 'spiffe://example.org/a/z/b', false],
    ['spiffe://example.org/**/a/*/b/**', 'spiffe://example.org/a/a/x/b/c', true],
    ['spiffe://example.org/**/a/*/b/**', 'spiffe://example.org/a/x/y/b', false],
    ['spiffe://example.org/a', 'spiffe://example.org/A', false],
    ['spiffe://example.org/a', 'spiffe://example.orga/a', false],
    ['spiffe://example.org/**', 'spiffe://other.org/a', false],
  ])('%s on %s: %s', (pattern, id, expected) => {
    expect(matchesId(pattern, id)).toBe(expected);
  });

  it.each([
    ['spiffe://*/a', /wildcard in the trust domain/],
    ['spiffe://**', /wildcard in the trust domain/],
    ['spiffe://example.org', /no workload is/],
    ['spiffe://Example.org/a', /trust domain/],
    ['spiffe://example.org/', /empty segment/],
    ['spiffe://example.org/a//b', /empty segment/],
    ['spiffe://example.org/a/../b', /dot segment/],
    ['spiffe://example.org/api*', /inside a segment/],
    ['spiffe://example.org/***', /inside a segment/],
    ['spiffe://example.org/**/**', /twice in a row/],
    ['spiffe://example.org/a?b', /character/],
    ['spiffe://example.org/%61', /character/],
    ['https://example.org/a', /start with/],
    ['*', /start with/],
    [`spiffe://example.org${'/a'.repeat(30)}`, /more than 30/],
  ])('refuses %s', (pattern, message) => {
    expect(() => parseSpiffeIdPattern(pattern)).toThrow(PatternError);
    expect(() => parseSpiffeIdPattern(pattern)).toThrow(message);
  });

  it('takes time linear in the name, whatever the pattern', () => {
    const pattern = parseKeyPattern(`${'**/a/'.repeat(14)}b`);
    const steps = new Array<string>(100_000).fill('a');
    expect(matchesPattern(pattern, steps)).toBe(false);
    expect(matchesPattern(pattern, [...steps, 'b'])).toBe(true);
  });
});

describe('key patterns', () => {
  it.each(['lastmile/log', 'lastmile/**', 'lastmile/*', 'lastmile'])(
    'refuses %s, the keys that make authority',
    (text) => {
      expect(() => parseKeyPattern(text)).toThrow(/broker's own/);
    },
  );

  it.each(['', '/a', 'a/', 'a b', 'ä', 'a'.repeat(129)])('refuses %j', (text) => {
    expect(() => parseKeyPattern(text)).toThrow(PatternError);
  });
});

describe('overlap of two patterns', () => {
  it.each([
    ['a/*', 'a/b', true],
    ['a/*', '*/b', true],
    ['a/*', 'b/*', false],
    ['a/**', '**/b', true],
    ['a/**/c', 'a/b', false],
    ['**/a', '**/b', false],
    ['**/a/**', 'b/**', true],
    ['*/*', '*', false],
    ['**', '*', true],
    ['a/**', 'a', true],
    ['**/x/*/y', 'x/**/z/y', true],
    ['*/a/*', 'a/**/a', true],
    ['*/a/b', 'a/**/a', false],
  ])('%s and %s: %s', (a, b, expected) => {
    expect(patternsOverlap(key(a), key(b))).toBe(expected);
    expect(patternsOverlap(key(b), key(a))).toBe(expected);
  });
});

describe('cover', () => {
  it.each([
    ['**', 'a/*/b', true],
    ['a/*', 'a/b', true],
    ['a/b', 'a/*', false],
    ['a/**', 'a/**/b', true],
    ['a/*', 'a/**', false],
    ['**/b', '**/a/b', true],
    ['**/b', '**', false],
  ])('%s covers %s: %s', (wide, narrow, expected) => {
    expect(patternCovers(key(wide), key(narrow))).toBe(expected);
  });
});
