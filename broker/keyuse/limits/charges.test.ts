import { describe, expect, it } from 'vitest';
import type { Limit, LimitScope } from '../../../policy/decision.ts';
import { chargesFor, decodeCharges, encodeCharges, MAX_CHARGES_BYTES } from './charges.ts';

const ID = 'spiffe://example.org/ns/payments/sa/api';
const SCOPES: readonly LimitScope[] = ['workload', 'key', 'workload-and-key', 'trust-domain', 'rule'];

function limit(by: LimitScope, rest: Partial<Limit> = {}): Limit {
  return {
    id: `rule-1/${by}/calls/1s/smooth`,
    max: 10,
    perMs: 1000,
    by,
    unit: 'calls',
    window: 'smooth',
    ...rest,
  };
}

describe('charges', () => {
  it('count calls by one and bytes by their number', () => {
    const limits = [limit('key'), limit('rule', { unit: 'bytes' })];
    const charges = chargesFor(limits, { spiffeId: ID, key: 'k', bytes: 312 });
    expect(charges.map(({ amount }) => amount)).toEqual([1, 312]);
  });

  it('come back from an entry as they were, for every scope', () => {
    const limits = SCOPES.map((by, i) => limit(by, i % 2 === 0 ? {} : { perMs: undefined, unit: 'bytes' }));
    const charges = chargesFor(limits, { spiffeId: ID, key: 'payments/jwt', bytes: 7 });
    const logged = JSON.parse(JSON.stringify(encodeCharges(charges))) as unknown;
    expect(decodeCharges(logged, ID, 'payments/jwt')).toEqual(
      charges.map(({ limit: { id, perMs }, subject, amount }) => ({ counter: id, subject, amount, perMs })),
    );
  });

  it('keep any names', () => {
    for (const ids of [
      ['a/b', 'a/b'],
      ['a/b/c', 'a/b'],
      ['/', ''],
      ['\u{1f600}/x', '\u{1f601}/x'],
      ['ab', 'ac'],
      ['a/'],
    ]) {
      const charges = chargesFor(
        ids.map((id) => limit('rule', { id })),
        { spiffeId: ID, key: 'k', bytes: 0 },
      );
      const logged = JSON.parse(JSON.stringify(encodeCharges(charges))) as unknown;
      expect(decodeCharges(logged, ID, 'k').map(({ counter }) => counter)).toEqual(ids);
    }
    expect(encodeCharges([])).toEqual([]);
    expect(decodeCharges([], ID, 'k')).toEqual([]);
  });

  it('are refused before they would be left out of an entry', () => {
    const use = { spiffeId: ID, key: 'k', bytes: 1024 * 1024 };
    const long = Array.from({ length: 30 }, (_, i) => limit('rule', { id: `${i}${'x'.repeat(100)}` }));
    expect(() => encodeCharges(chargesFor(long, use))).toThrow(TypeError);
    // As many as a rule can have, with the longest names.
    const rule = 'r'.repeat(64);
    const most = Array.from({ length: 16 }, (_, i) =>
      limit('workload-and-key', {
        id: `${rule}/workload-and-key/bytes/${366 - i}d/smooth`,
        unit: 'bytes',
        perMs: (366 - i) * 86_400_000,
      }),
    );
    const encoded = encodeCharges(chargesFor(most, use));
    expect(JSON.stringify(encoded).length).toBeLessThan(MAX_CHARGES_BYTES);
    expect(decodeCharges(encoded, ID, 'k').map(({ counter }) => counter)).toEqual(most.map(({ id }) => id));
  });

  it.each([
    ['nothing', undefined],
    ['what an entry had no room for', { omittedBytes: 5000 }],
    ['text', ['r/', 'a']],
    ['no common name', [['a', 'w', 1, 0]]],
    ['a part too few', ['r/', ['a', 'w', 1]]],
    ['an unknown scope', ['r/', ['a', 'x', 1, 0]]],
    ['a negative amount', ['r/', ['a', 'w', -1, 0]]],
    ['a fraction', ['r/', ['a', 'w', 1.5, 0]]],
    ['no name', ['r/', [1, 'w', 1, 0]]],
    ['no length', ['r/', ['a', 'w', 1, null]]],
  ])('are not read from %s', (_, encoded) => {
    expect(() => decodeCharges(encoded, ID, 'k')).toThrow(TypeError);
  });
});
