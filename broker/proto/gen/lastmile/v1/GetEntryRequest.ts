// Original file: broker/proto/lastmile/v1/audit.proto

import type { Long } from '@grpc/proto-loader';

export interface GetEntryRequest {
  'leafIndex'?: (number | string | Long);
}

export interface GetEntryRequest__Output {
  'leafIndex': (number);
}
