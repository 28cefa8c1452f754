// Original file: broker/proto/lastmile/v1/approvals.proto

import type { Approval as _lastmile_v1_Approval, Approval__Output as _lastmile_v1_Approval__Output } from '../../lastmile/v1/Approval.ts';

export interface ApproveResponse {
  'approval'?: (_lastmile_v1_Approval | null);
}

export interface ApproveResponse__Output {
  'approval': (_lastmile_v1_Approval__Output | null);
}
