// Original file: broker/proto/lastmile/v1/audit.proto

import type { Long } from '@grpc/proto-loader';

export interface GetProofRequest {
  'leafIndex'?: (number | string | Long);
  'fromSize'?: (number | string | Long);
  'treeSize'?: (number | string | Long);
  'proof'?: "leafIndex"|"fromSize";
}

export interface GetProofRequest__Output {
  'leafIndex'?: (number);
  'fromSize'?: (number);
  'treeSize': (number);
  'proof'?: "leafIndex"|"fromSize";
}
