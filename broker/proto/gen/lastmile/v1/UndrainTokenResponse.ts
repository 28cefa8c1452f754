// Original file: broker/proto/lastmile/v1/admin.proto

import type { LogPosition as _lastmile_v1_LogPosition, LogPosition__Output as _lastmile_v1_LogPosition__Output } from '../../lastmile/v1/LogPosition.ts';

export interface UndrainTokenResponse {
  'log'?: (_lastmile_v1_LogPosition | null);
}

export interface UndrainTokenResponse__Output {
  'log': (_lastmile_v1_LogPosition__Output | null);
}
