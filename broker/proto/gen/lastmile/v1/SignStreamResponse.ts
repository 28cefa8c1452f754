// Original file: broker/proto/lastmile/v1/key_use.proto

import type { SignResponse as _lastmile_v1_SignResponse, SignResponse__Output as _lastmile_v1_SignResponse__Output } from '../../lastmile/v1/SignResponse.ts';
import type { Status as _google_rpc_Status, Status__Output as _google_rpc_Status__Output } from '../../google/rpc/Status.ts';

export interface SignStreamResponse {
  'requestId'?: (string);
  'signed'?: (_lastmile_v1_SignResponse | null);
  'error'?: (_google_rpc_Status | null);
  'outcome'?: "signed"|"error";
}

export interface SignStreamResponse__Output {
  'requestId': (string);
  'signed'?: (_lastmile_v1_SignResponse__Output | null);
  'error'?: (_google_rpc_Status__Output | null);
  'outcome'?: "signed"|"error";
}
