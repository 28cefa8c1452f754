// Original file: broker/proto/lastmile/v1/key_use.proto

import type { Long } from '@grpc/proto-loader';

export interface GetReceiptRequest {
  'leafIndex'?: (number | string | Long);
}

export interface GetReceiptRequest__Output {
  'leafIndex': (number);
}
