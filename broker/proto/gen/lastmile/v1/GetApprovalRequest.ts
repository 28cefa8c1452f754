// Original file: broker/proto/lastmile/v1/approvals.proto


export interface GetApprovalRequest {
  'id'?: (string);
}

export interface GetApprovalRequest__Output {
  'id': (string);
}
