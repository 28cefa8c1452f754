// Original file: broker/proto/lastmile/v1/approvals.proto


export interface AcceptStateRequest {
  'reason'?: (string);
}

export interface AcceptStateRequest__Output {
  'reason': (string);
}
