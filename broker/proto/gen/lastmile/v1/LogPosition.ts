// Original file: broker/proto/lastmile/v1/common.proto

import type { Long } from '@grpc/proto-loader';

export interface LogPosition {
  'origin'?: (string);
  'leafIndex'?: (number | string | Long);
}

export interface LogPosition__Output {
  'origin': (string);
  'leafIndex': (number);
}
