// Original file: broker/proto/lastmile/v1/approvals.proto

import type { ApprovalVote as _lastmile_v1_ApprovalVote, ApprovalVote__Output as _lastmile_v1_ApprovalVote__Output } from '../../lastmile/v1/ApprovalVote.ts';
import type { Long } from '@grpc/proto-loader';

export interface Approval {
  'id'?: (string);
  'state'?: (string);
  'act'?: (string);
  'approvals'?: (number);
  'approvalsNeeded'?: (number);
  'groups'?: (string)[];
  'methods'?: (string)[];
  'votes'?: (_lastmile_v1_ApprovalVote)[];
  'used'?: (number);
  'openedAt'?: (string);
  'reason'?: (string);
  'closedBy'?: (string);
  'emergency'?: (boolean);
  'leafIndex'?: (number | string | Long);
}

export interface Approval__Output {
  'id': (string);
  'state': (string);
  'act': (string);
  'approvals': (number);
  'approvalsNeeded': (number);
  'groups': (string)[];
  'methods': (string)[];
  'votes': (_lastmile_v1_ApprovalVote__Output)[];
  'used': (number);
  'openedAt': (string);
  'reason': (string);
  'closedBy': (string);
  'emergency': (boolean);
  'leafIndex': (number);
}
