// Original file: broker/proto/lastmile/v1/admin.proto

import type { Long } from '@grpc/proto-loader';

export interface PolicyActivation {
  'policyHash'?: (string);
  'before'?: (string);
  'at'?: (string);
  'by'?: (string);
  'rules'?: (number | string | Long);
  'leafIndex'?: (number | string | Long);
  'differences'?: (string)[];
  'isKept'?: (boolean);
}

export interface PolicyActivation__Output {
  'policyHash': (string);
  'before': (string);
  'at': (string);
  'by': (string);
  'rules': (number);
  'leafIndex': (number);
  'differences': (string)[];
  'isKept': (boolean);
}
