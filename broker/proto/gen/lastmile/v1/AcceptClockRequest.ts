// Original file: broker/proto/lastmile/v1/admin.proto


export interface AcceptClockRequest {
  'reason'?: (string);
}

export interface AcceptClockRequest__Output {
  'reason': (string);
}
