// Original file: broker/proto/lastmile/v1/admin.proto

import type { Long } from '@grpc/proto-loader';

export interface ProcessStatus {
  'role'?: (string);
  'pid'?: (number);
  'uid'?: (number);
  'state'?: (string);
  'restarts'?: (number);
  'residentBytes'?: (number | string | Long);
}

export interface ProcessStatus__Output {
  'role': (string);
  'pid': (number);
  'uid': (number);
  'state': (string);
  'restarts': (number);
  'residentBytes': (number);
}
