// Original file: broker/proto/lastmile/v1/admin.proto

import type { RuleExplanation as _lastmile_v1_RuleExplanation, RuleExplanation__Output as _lastmile_v1_RuleExplanation__Output } from '../../lastmile/v1/RuleExplanation.ts';

export interface ExplainPolicyResponse {
  'decision'?: (string);
  'rule'?: (string);
  'considered'?: (_lastmile_v1_RuleExplanation)[];
  'policyHash'?: (string);
}

export interface ExplainPolicyResponse__Output {
  'decision': (string);
  'rule': (string);
  'considered': (_lastmile_v1_RuleExplanation__Output)[];
  'policyHash': (string);
}
