// Original file: broker/proto/lastmile/v1/audit.proto

import type { Long } from '@grpc/proto-loader';

export interface QueryRequest {
  'workload'?: (string);
  'key'?: (string);
  'decision'?: (string);
  'operation'?: (string);
  'since'?: (string);
  'until'?: (string);
  'limit'?: (number);
  'before'?: (number | string | Long);
  'kind'?: (string);
}

export interface QueryRequest__Output {
  'workload': (string);
  'key': (string);
  'decision': (string);
  'operation': (string);
  'since': (string);
  'until': (string);
  'limit': (number);
  'before': (number);
  'kind': (string);
}
