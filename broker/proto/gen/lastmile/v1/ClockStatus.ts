// Original file: broker/proto/lastmile/v1/admin.proto

import type { Long } from '@grpc/proto-loader';

export interface ClockStatus {
  'now'?: (string);
  'machine'?: (string);
  'inDoubt'?: (boolean);
  'doubtMs'?: (number | string | Long);
}

export interface ClockStatus__Output {
  'now': (string);
  'machine': (string);
  'inDoubt': (boolean);
  'doubtMs': (number);
}
