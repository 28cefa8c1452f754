// Original file: broker/proto/lastmile/v1/key_use.proto

import type { UsableKey as _lastmile_v1_UsableKey, UsableKey__Output as _lastmile_v1_UsableKey__Output } from '../../lastmile/v1/UsableKey.ts';

export interface ListKeysResponse {
  'keys'?: (_lastmile_v1_UsableKey)[];
}

export interface ListKeysResponse__Output {
  'keys': (_lastmile_v1_UsableKey__Output)[];
}
