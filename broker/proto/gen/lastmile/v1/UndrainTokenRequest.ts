// Original file: broker/proto/lastmile/v1/admin.proto


export interface UndrainTokenRequest {
  'token'?: (string);
  'reason'?: (string);
}

export interface UndrainTokenRequest__Output {
  'token': (string);
  'reason': (string);
}
