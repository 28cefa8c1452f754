import { describe, expect, test } from 'vitest';
import { POLICY_YAML } from '../broker/init/instance-files.ts';
import { compilePolicy } from '../policy/compile.ts';
import { loadPolicy } from '../policy/load.ts';
import {
  benchRules,
  FORBIDDEN_KEY,
  FULL_PATH_KEYS,
  OTHER_RULES,
  UNKNOWN_KEY,
  UNKNOWN_KEY_WITHIN_RULES,
} from './bench-instance.ts';

const bytes = Buffer.from(POLICY_YAML + benchRules());

describe('the policy of the bench', () => {
  test('has so many rules of others, and they are not idle: many name the workload that measures', () => {
    const { rules } = loadPolicy(bytes);
    expect(rules.filter(({ id }) => id.startsWith('house-'))).toHaveLength(OTHER_RULES);
    expect(benchRules().split('spiffe://example.org/ns/payments/sa/api').length - 2).toBe(OTHER_RULES / 4);
  });

  test('allows what is measured, and refuses what is to be refused', () => {
    const policy = compilePolicy(bytes, { hash: 'sha256:00' });
    const spiffeId = 'spiffe://example.org/ns/payments/sa/api';
    const decide = (key: string, operation: 'sign' | 'encrypt', algorithm: string) =>
      policy.decide({ spiffeId, key, operation, algorithm }).effect;
    for (const { key, algorithm } of FULL_PATH_KEYS) {
      const operation = algorithm === 'A256GCM' ? 'encrypt' : 'sign';
      expect([key, decide(key, operation, algorithm)]).toEqual([key, 'allow']);
    }
    expect(decide(FORBIDDEN_KEY, 'sign', 'ES256')).toBe('deny');
    expect(decide(UNKNOWN_KEY, 'sign', 'ES256')).toBe('deny');
    expect(decide(UNKNOWN_KEY_WITHIN_RULES, 'sign', 'ES256')).toBe('allow');
    expect(UNKNOWN_KEY).toHaveLength(FORBIDDEN_KEY.length);
  });
});
