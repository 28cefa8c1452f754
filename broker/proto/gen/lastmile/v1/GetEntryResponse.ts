// Original file: broker/proto/lastmile/v1/audit.proto

import type { LoggedEntry as _lastmile_v1_LoggedEntry, LoggedEntry__Output as _lastmile_v1_LoggedEntry__Output } from '../../lastmile/v1/LoggedEntry.ts';

export interface GetEntryResponse {
  'entry'?: (_lastmile_v1_LoggedEntry | null);
  'receipt'?: (string);
}

export interface GetEntryResponse__Output {
  'entry': (_lastmile_v1_LoggedEntry__Output | null);
  'receipt': (string);
}
