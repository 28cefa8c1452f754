// Original file: broker/proto/lastmile/v1/admin.proto

import type { PolicyActivation as _lastmile_v1_PolicyActivation, PolicyActivation__Output as _lastmile_v1_PolicyActivation__Output } from '../../lastmile/v1/PolicyActivation.ts';

export interface ListPoliciesResponse {
  'activations'?: (_lastmile_v1_PolicyActivation)[];
  'policyHash'?: (string);
}

export interface ListPoliciesResponse__Output {
  'activations': (_lastmile_v1_PolicyActivation__Output)[];
  'policyHash': (string);
}
