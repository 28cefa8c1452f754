// Original file: broker/proto/lastmile/v1/approvals.proto

import type { LogPosition as _lastmile_v1_LogPosition, LogPosition__Output as _lastmile_v1_LogPosition__Output } from '../../lastmile/v1/LogPosition.ts';

export interface AcceptStateResponse {
  'voided'?: (number);
  'log'?: (_lastmile_v1_LogPosition | null);
}

export interface AcceptStateResponse__Output {
  'voided': (number);
  'log': (_lastmile_v1_LogPosition__Output | null);
}
