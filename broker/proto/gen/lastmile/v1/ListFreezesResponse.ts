// Original file: broker/proto/lastmile/v1/admin.proto

import type { FreezeRecord as _lastmile_v1_FreezeRecord, FreezeRecord__Output as _lastmile_v1_FreezeRecord__Output } from '../../lastmile/v1/FreezeRecord.ts';

export interface ListFreezesResponse {
  'freezes'?: (_lastmile_v1_FreezeRecord)[];
}

export interface ListFreezesResponse__Output {
  'freezes': (_lastmile_v1_FreezeRecord__Output)[];
}
