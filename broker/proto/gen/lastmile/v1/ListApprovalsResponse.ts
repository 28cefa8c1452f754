// Original file: broker/proto/lastmile/v1/approvals.proto

import type { Approval as _lastmile_v1_Approval, Approval__Output as _lastmile_v1_Approval__Output } from '../../lastmile/v1/Approval.ts';
import type { Long } from '@grpc/proto-loader';

export interface ListApprovalsResponse {
  'approvals'?: (_lastmile_v1_Approval)[];
  'cursor'?: (number | string | Long);
}

export interface ListApprovalsResponse__Output {
  'approvals': (_lastmile_v1_Approval__Output)[];
  'cursor': (number);
}
