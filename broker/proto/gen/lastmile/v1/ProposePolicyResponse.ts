// Original file: broker/proto/lastmile/v1/admin.proto

import type { LogPosition as _lastmile_v1_LogPosition, LogPosition__Output as _lastmile_v1_LogPosition__Output } from '../../lastmile/v1/LogPosition.ts';

export interface ProposePolicyResponse {
  'policyHash'?: (string);
  'approval'?: (string);
  'approved'?: (boolean);
  'differences'?: (string)[];
  'log'?: (_lastmile_v1_LogPosition | null);
}

export interface ProposePolicyResponse__Output {
  'policyHash': (string);
  'approval': (string);
  'approved': (boolean);
  'differences': (string)[];
  'log': (_lastmile_v1_LogPosition__Output | null);
}
