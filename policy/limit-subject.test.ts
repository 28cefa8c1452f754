import { describe, expect, it } from 'vitest';
import type { LimitScope } from './decision.ts';
import { limitSubject } from './limit-subject.ts';

const ID = 'spiffe://example.org/ns/payments/sa/api';
const SCOPES: readonly LimitScope[] = ['workload', 'key', 'workload-and-key', 'trust-domain', 'rule'];

describe('the subject of a limit', () => {
  it('is whom its scope counts', () => {
    expect(SCOPES.map((by) => limitSubject(by, ID, 'payments/jwt'))).toEqual([
      ID,
      'payments/jwt',
      `${ID} payments/jwt`,
      'example.org',
      '',
    ]);
    expect(limitSubject('trust-domain', 'spiffe://example.org', 'k')).toBe('example.org');
  });
});
