// Original file: broker/proto/lastmile/v1/admin.proto

import type { ClockStatus as _lastmile_v1_ClockStatus, ClockStatus__Output as _lastmile_v1_ClockStatus__Output } from '../../lastmile/v1/ClockStatus.ts';
import type { LogPosition as _lastmile_v1_LogPosition, LogPosition__Output as _lastmile_v1_LogPosition__Output } from '../../lastmile/v1/LogPosition.ts';

export interface AcceptClockResponse {
  'clock'?: (_lastmile_v1_ClockStatus | null);
  'log'?: (_lastmile_v1_LogPosition | null);
}

export interface AcceptClockResponse__Output {
  'clock': (_lastmile_v1_ClockStatus__Output | null);
  'log': (_lastmile_v1_LogPosition__Output | null);
}
