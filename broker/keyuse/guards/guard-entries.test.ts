import { describe, expect, it } from 'vitest';
import type { Guard } from '../../../policy/decision.ts';
import type { GuardHead } from '../../state/guard-rows.ts';
import {
  decodeGuards,
  decodeSnapshot,
  encodeGuards,
  guardName,
  hashOf,
  MAX_GUARDS_BYTES,
  snapshotsOf,
} from './guard-entries.ts';

describe('guards in entries', () => {
  it('come back as they were, without the text of a value', () => {
    const guards: Guard[] = [
      { id: 'r monotonic', kind: 'monotonic', value: -(2n ** 63n) },
      { id: 'r unique', kind: 'unique', value: 'pkg:npm/left-pad@1.3.0 für München' },
    ];
    const text = JSON.stringify(encodeGuards(guards));
    expect(text).not.toContain('left-pad');
    expect(decodeGuards(JSON.parse(text))).toEqual([
      { guard: 'r monotonic', kind: 'monotonic', value: -(2n ** 63n) },
      { guard: 'r unique', kind: 'unique', hash: hashOf('pkg:npm/left-pad@1.3.0 für München') },
    ]);
  });

  it('are refused before they would be left out of an entry', () => {
    const many = Array.from(
      { length: 20 },
      (_, i): Guard => ({
        id: `${'r'.repeat(64)}/unique/request.jwt.sub + "${i}" + ${'x'.repeat(4000)}`,
        kind: 'unique',
        value: 'x',
      }),
    );
    expect(() => encodeGuards(many)).toThrow(TypeError);
    // As many as a rule can have.
    const encoded = encodeGuards(many.slice(0, 8));
    expect(JSON.stringify(encoded).length).toBeLessThan(MAX_GUARDS_BYTES);
    expect(new Set(decodeGuards(encoded).map(({ guard }) => guard)).size).toBe(8);
  });

  it('have short names, which tell long ids apart', () => {
    expect(guardName('rule/monotonic/request.jwt.seq')).toBe('rule/monotonic/request.jwt.seq');
    const long = `rule/unique/${'ü'.repeat(100)}`;
    expect(Buffer.byteLength(guardName(long))).toBeLessThanOrEqual(64);
    expect(guardName(`${long}a`)).not.toBe(guardName(`${long}b`));
  });

  it.each([
    ['nothing', undefined],
    ['two parts', [['a', 'm']]],
    ['another kind', [['a', 'x', '1']]],
    ['a number that is none', [['a', 'm', '1.5']]],
    ['more than 64 bits', [['a', 'm', '9223372036854775808']]],
    ['half a hash', [['a', 'u', 'AAAA']]],
    ['a number for text', [['a', 'm', 1]]],
  ])('are not read from %s', (_, encoded) => {
    expect(() => decodeGuards(encoded)).toThrow(TypeError);
  });

  it('fit an entry each when they are a snapshot, and keep the numbers', () => {
    const heads: GuardHead[] = Array.from({ length: 1000 }, (_, i) => ({
      guard: `rule-${i} monotonic request.jwt.seq`,
      key: `payments/key-${i}`,
      kind: i % 10 === 0 ? 'unique' : 'monotonic',
      count: i,
      highest: i % 10 === 0 ? undefined : BigInt(i) * 10n ** 15n,
    }));
    const lists = [...snapshotsOf(heads)];
    expect(lists.length).toBeGreaterThan(1);
    for (const list of lists) expect(JSON.stringify(list).length).toBeLessThan(24_000);
    const numbers = lists.flatMap((list) => decodeSnapshot(JSON.parse(JSON.stringify(list))));
    expect(numbers).toHaveLength(900);
    expect(numbers[0]).toEqual({
      guard: 'rule-1 monotonic request.jwt.seq',
      key: 'payments/key-1',
      kind: 'monotonic',
      value: 10n ** 15n,
    });
    expect(() => decodeSnapshot([['a', 'b', 'm']])).toThrow(TypeError);
    expect(() => decodeSnapshot({ omittedBytes: 30_000 })).toThrow(TypeError);
  });
});
