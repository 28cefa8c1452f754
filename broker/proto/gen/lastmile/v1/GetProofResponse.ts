// Original file: broker/proto/lastmile/v1/audit.proto

import type { Long } from '@grpc/proto-loader';

export interface GetProofResponse {
  'hashes'?: (Buffer | Uint8Array | string)[];
  'treeSize'?: (number | string | Long);
}

export interface GetProofResponse__Output {
  'hashes': (Buffer)[];
  'treeSize': (number);
}
