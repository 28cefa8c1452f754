import { formatDuration } from './duration.ts';
import type { Quorum } from './quorum.ts';

/** `2 approvals of treasury, within 15m`: what a rule waits for, for people. */
export function quorumWords({ approvals, groups, withinMs, uses, covers, emergency }: Quorum): string {
  const parts = [
    `${approvals} ${approvals === 1 ? 'approval' : 'approvals'} of ${groups.join(', ')}`,
    `within ${formatDuration(withinMs)}`,
    ...(covers === 'rule' ? [`for up to ${uses} uses`] : uses === 1 ? [] : [`for ${uses} uses of one act`]),
    ...(emergency ? ['in an emergency'] : []),
  ];
  return parts.join(', ');
}
