// Original file: broker/proto/lastmile/v1/admin.proto

import type { KeyVersion as _lastmile_v1_KeyVersion, KeyVersion__Output as _lastmile_v1_KeyVersion__Output } from '../../lastmile/v1/KeyVersion.ts';

export interface ListKeyVersionsResponse {
  'keys'?: (_lastmile_v1_KeyVersion)[];
}

export interface ListKeyVersionsResponse__Output {
  'keys': (_lastmile_v1_KeyVersion__Output)[];
}
