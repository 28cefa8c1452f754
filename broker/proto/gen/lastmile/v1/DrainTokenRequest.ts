// Original file: broker/proto/lastmile/v1/admin.proto


export interface DrainTokenRequest {
  'token'?: (string);
  'reason'?: (string);
}

export interface DrainTokenRequest__Output {
  'token': (string);
  'reason': (string);
}
