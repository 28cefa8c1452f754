// Original file: broker/proto/lastmile/v1/approvals.proto

import type { Long } from '@grpc/proto-loader';

export interface WatchRequest {
  'cursor'?: (number | string | Long);
}

export interface WatchRequest__Output {
  'cursor': (number);
}
