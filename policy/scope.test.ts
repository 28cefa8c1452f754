import { describe, expect, it } from 'vitest';
import { compileScope } from './scope.ts';

const API = 'spiffe://example.org/ns/payments/sa/api';

describe('scope', () => {
  it('shows everything where there is none', () => {
    const sees = compileScope(undefined);
    expect(sees({ subject: 'lastmile' })).toBe(true);
    expect(sees({ subject: API, key: 'a' })).toBe(true);
  });

  it.each([
    [{ subject: API, key: 'payments/jwt' }, true],
    [{ subject: API, key: 'treasury/jwt' }, false],
    [{ subject: API }, false],
    [{ subject: API, key: 'payments//jwt' }, false],
    [{ subject: 'spiffe://example.org/other', key: 'payments/jwt' }, false],
    [{ subject: 'spiffe://evil.org/ns/payments/sa/api', key: 'payments/jwt' }, false],
    [{ subject: 'lastmile', key: 'payments/jwt' }, false],
  ])('wants all that it names: %j %s', (entry, expected) => {
    const sees = compileScope({
      trustDomains: ['example.org'],
      workloads: ['spiffe://example.org/ns/**'],
      keys: ['payments/**'],
    });
    expect(sees(entry)).toBe(expected);
  });

  it('shows the own entries of the broker where only keys are named', () => {
    expect(compileScope({ keys: ['a/*'] })({ subject: 'lastmile', key: 'a/b' })).toBe(true);
  });
});
