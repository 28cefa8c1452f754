// Original file: broker/proto/lastmile/v1/approvals.proto


export interface RejectRequest {
  'id'?: (string);
  'reason'?: (string);
}

export interface RejectRequest__Output {
  'id': (string);
  'reason': (string);
}
