// Original file: broker/proto/lastmile/v1/key_use.proto


export interface VerifyResponse {
  'valid'?: (boolean);
  'version'?: (number);
}

export interface VerifyResponse__Output {
  'valid': (boolean);
  'version': (number);
}
