// Original file: broker/proto/lastmile/v1/admin.proto

import type { PolicyFinding as _lastmile_v1_PolicyFinding, PolicyFinding__Output as _lastmile_v1_PolicyFinding__Output } from '../../lastmile/v1/PolicyFinding.ts';

export interface CheckPolicyResponse {
  'issues'?: (_lastmile_v1_PolicyFinding)[];
  'warnings'?: (_lastmile_v1_PolicyFinding)[];
  'allowRules'?: (number);
  'denyRules'?: (number);
  'roles'?: (number);
}

export interface CheckPolicyResponse__Output {
  'issues': (_lastmile_v1_PolicyFinding__Output)[];
  'warnings': (_lastmile_v1_PolicyFinding__Output)[];
  'allowRules': (number);
  'denyRules': (number);
  'roles': (number);
}
