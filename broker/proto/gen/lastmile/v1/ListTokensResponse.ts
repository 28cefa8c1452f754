// Original file: broker/proto/lastmile/v1/admin.proto

import type { TokenStatus as _lastmile_v1_TokenStatus, TokenStatus__Output as _lastmile_v1_TokenStatus__Output } from '../../lastmile/v1/TokenStatus.ts';

export interface ListTokensResponse {
  'tokens'?: (_lastmile_v1_TokenStatus)[];
}

export interface ListTokensResponse__Output {
  'tokens': (_lastmile_v1_TokenStatus__Output)[];
}
