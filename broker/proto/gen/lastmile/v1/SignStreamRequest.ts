// Original file: broker/proto/lastmile/v1/key_use.proto

import type { SignRequest as _lastmile_v1_SignRequest, SignRequest__Output as _lastmile_v1_SignRequest__Output } from '../../lastmile/v1/SignRequest.ts';

export interface SignStreamRequest {
  'requestId'?: (string);
  'sign'?: (_lastmile_v1_SignRequest | null);
  'timeoutMs'?: (number);
}

export interface SignStreamRequest__Output {
  'requestId': (string);
  'sign': (_lastmile_v1_SignRequest__Output | null);
  'timeoutMs': (number);
}
