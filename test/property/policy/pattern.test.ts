import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  matchesPattern,
  type Pattern,
  parseKeyPattern,
  patternCovers,
  patternsOverlap,
} from '../../../policy/pattern.ts';
import { PatternIndex } from '../../../policy/pattern-index.ts';
import { naiveMatches } from './naive-policy.ts';

const pattern: fc.Arbitrary<Pattern> = fc
  .array(fc.constantFrom('a', 'b', '*', '**'), { minLength: 1, maxLength: 4 })
  .map((parts) =>
    parseKeyPattern(parts.filter((part, i) => part !== '**' || parts[i - 1] !== '**').join('/')),
  );

// All names of up to six segments, `z` standing for whatever no pattern says. Two patterns of at most four
// segments that share a name share one of these.
const NAMES: string[][] = [[]];
for (let from = 0, length = 1; length <= 6; length++) {
  const to = NAMES.length;
  for (; from < to; from++) for (const next of ['a', 'b', 'z']) NAMES.push([...(NAMES[from] ?? []), next]);
}

it('matching is that of a naive matcher, one by one and through the index', () => {
  fc.assert(
    fc.property(fc.array(pattern, { maxLength: 6 }), fc.constantFrom(...NAMES), (patterns, name) => {
      const index = new PatternIndex();
      for (const [i, one] of patterns.entries()) index.add(one, i);
      const expected = patterns.flatMap((one, i) => (naiveMatches(one.segments, name) ? [i] : []));
      expect(patterns.flatMap((one, i) => (matchesPattern(one, name) ? [i] : []))).toEqual(expected);
      expect([...index.find(name)].toSorted()).toEqual(expected);
    }),
    { numRuns: 2000 },
  );
});

it('overlap is exact: it holds where some name matches both, and only there', () => {
  fc.assert(
    fc.property(pattern, pattern, (a, b) => {
      const shared = NAMES.some((name) => naiveMatches(a.segments, name) && naiveMatches(b.segments, name));
      expect(patternsOverlap(a, b)).toBe(shared);
      expect(patternsOverlap(b, a)).toBe(shared);
    }),
    { numRuns: 1000 },
  );
});

it('cover is sound: what covers another matches all that the other does', () => {
  fc.assert(
    fc.property(pattern, pattern, (wide, narrow) => {
      expect(patternCovers(wide, wide)).toBe(true);
      fc.pre(patternCovers(wide, narrow));
      expect(
        NAMES.filter((name) => naiveMatches(narrow.segments, name) && !naiveMatches(wide.segments, name)),
      ).toEqual([]);
    }),
    { numRuns: 500 },
  );
});
