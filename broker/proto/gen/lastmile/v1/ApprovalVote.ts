// Original file: broker/proto/lastmile/v1/approvals.proto

import type { Long } from '@grpc/proto-loader';

export interface ApprovalVote {
  'approver'?: (string);
  'method'?: (string);
  'leafIndex'?: (number | string | Long);
  'counts'?: (boolean);
}

export interface ApprovalVote__Output {
  'approver': (string);
  'method': (string);
  'leafIndex': (number);
  'counts': (boolean);
}
