import { describe, expect, it } from 'vitest';
import type { Limit, LimitScope } from '../../../policy/decision.ts';
import { chargesFor, decodeCharges, encodeCharges, MAX_CHARGES_BYTES, subjectOf } from './charges.ts';

const ID = 'spiffe://example.org/ns/payments/sa/api';
const SCOPES: readonly LimitScope[] = ['workload', 'key', 'workload-and-key', 'trust-domain', 'rule'];

function limit(by: LimitScope, rest: Partial<Limit> = {}): Limit {
  return { id: `r|${by}`, max: 10, perMs: 1000, by, unit: 'calls', window: 'smooth', ...rest };
}

describe('charges', () => {
  it('say whom each scope counts', () => {
    expect(SCOPES.map((by) => subjectOf(by, ID, 'payments/jwt'))).toEqual([
      ID,
      'payments/jwt',
      `${ID} payments/jwt`,
      'example.org',
      '',
    ]);
    expect(subjectOf('trust-domain', 'spiffe://example.org', 'k')).toBe('example.org');
  });

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

  it('are refused before they would be left out of an entry', () => {
    const long = Array.from({ length: 30 }, () => limit('rule', { id: 'x'.repeat(100) }));
    expect(() => encodeCharges(chargesFor(long, { spiffeId: ID, key: 'k', bytes: 1 }))).toThrow(TypeError);
    const fits = encodeCharges(chargesFor(long.slice(0, 8), { spiffeId: ID, key: 'k', bytes: 1 }));
    expect(JSON.stringify(fits).length).toBeLessThan(MAX_CHARGES_BYTES);
  });

  it.each([
    ['nothing', undefined],
    ['what an entry had no room for', { omittedBytes: 5000 }],
    ['text', ['a']],
    ['a part too few', [['a', 'w', 1]]],
    ['an unknown scope', [['a', 'x', 1, 0]]],
    ['a negative amount', [['a', 'w', -1, 0]]],
    ['a fraction', [['a', 'w', 1.5, 0]]],
    ['no counter', [[1, 'w', 1, 0]]],
    ['no length', [['a', 'w', 1, null]]],
  ])('are not read from %s', (_, encoded) => {
    expect(() => decodeCharges(encoded, ID, 'k')).toThrow(TypeError);
  });
});
