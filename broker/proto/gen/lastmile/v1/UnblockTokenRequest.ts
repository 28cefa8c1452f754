// Original file: broker/proto/lastmile/v1/admin.proto


export interface UnblockTokenRequest {
  'token'?: (string);
  'reason'?: (string);
}

export interface UnblockTokenRequest__Output {
  'token': (string);
  'reason': (string);
}
