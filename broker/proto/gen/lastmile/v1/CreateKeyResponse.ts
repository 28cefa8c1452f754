// Original file: broker/proto/lastmile/v1/admin.proto

import type { KeyVersion as _lastmile_v1_KeyVersion, KeyVersion__Output as _lastmile_v1_KeyVersion__Output } from '../../lastmile/v1/KeyVersion.ts';
import type { LogPosition as _lastmile_v1_LogPosition, LogPosition__Output as _lastmile_v1_LogPosition__Output } from '../../lastmile/v1/LogPosition.ts';

export interface CreateKeyResponse {
  'versions'?: (_lastmile_v1_KeyVersion)[];
  'log'?: (_lastmile_v1_LogPosition | null);
}

export interface CreateKeyResponse__Output {
  'versions': (_lastmile_v1_KeyVersion__Output)[];
  'log': (_lastmile_v1_LogPosition__Output | null);
}
