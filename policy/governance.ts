/** What may not change by a changed file alone. */
import { GOVERNANCE_RULE } from './authority.ts';
import type { Allowance, PolicySet } from './decision.ts';

/**
 * What has to be agreed to before `next` may replace the policy in force; undefined: nothing. The governance that counts
 * is the one in force, whatever the next policy says of it. Every other file is another policy: its hash is what
 * decisions are recorded under, so that one word for people in it is a change too.
 */
export function governedChange(
  inForce: Pick<PolicySet, 'hash' | 'governance'>,
  next: Pick<PolicySet, 'hash'>,
): Required<Pick<Allowance, 'rule' | 'quorum'>> | undefined {
  const { governance } = inForce;
  if (governance === undefined || next.hash === inForce.hash) return undefined;
  return {
    rule: GOVERNANCE_RULE,
    quorum: {
      ...governance,
      uses: 1,
      blind: false,
      withoutPresence: false,
      covers: 'act',
      emergency: false,
    },
  };
}
