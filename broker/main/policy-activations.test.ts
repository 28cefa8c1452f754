import { expect, it } from 'vitest';
import type { PolicySet } from '../../policy/decision.ts';
import type { ApprovalUse } from '../approvals/approvals.ts';
import { formatEntry, parseEntry } from '../audit/entry-format.ts';
import { activationEntry } from './policy-activations.ts';

const HASH = `sha256:${'ab'.repeat(32)}`;
const governed = { hash: HASH, ruleCount: 1, governance: {} } as unknown as PolicySet;
const place = { leaf: 0, time: '2026-11-21T07:00:00.000Z', salt: 'AAAA', seq: 0, prev: '' };

function approvalBy(people: number): ApprovalUse {
  const votes = Array.from({ length: people }, (_, i) => 1_000_000_000 + i);
  return {
    id: 'a',
    votes,
    isEmergency: false,
    record: { id: 'a', votes, signatures: votes.map(() => 'A'.repeat(43)) },
    giveBack: () => undefined,
  };
}

const logged = (differences: readonly string[], approval?: ApprovalUse) =>
  parseEntry(
    Buffer.from(
      formatEntry(
        activationEntry({ before: HASH, policy: governed, differences, by: 'spiffe://a/b', approval }),
        place,
      ),
    ),
  ).detail;

it.each([
  ['in which every byte is escaped', ['\u0001'.repeat(4096)]],
  ['of three bytes a letter', Array.from({ length: 100 }, () => '\u20ac'.repeat(40))],
  ['that are many', Array.from({ length: 5000 }, () => 'rule r added')],
])('an activation keeps `governed` beside differences %s', (_what, differences) => {
  const detail = logged(differences, approvalBy(300));
  expect(detail).toMatchObject({ after: HASH, governed: true, approval: { id: 'a' } });
  const shown = (detail?.['differences'] as readonly string[] | undefined)?.length ?? 0;
  expect(detail?.['furtherDifferences']).toBe(differences.length - shown);
});

it('an activation whose approval has no room is none', () => {
  expect(() => logged([], approvalBy(1000))).toThrow('no room');
});
