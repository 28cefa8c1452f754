// Original file: broker/proto/lastmile/v1/approvals.proto


export interface WithdrawRequest {
  'id'?: (string);
}

export interface WithdrawRequest__Output {
  'id': (string);
}
