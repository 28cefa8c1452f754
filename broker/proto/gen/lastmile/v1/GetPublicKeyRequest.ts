// Original file: broker/proto/lastmile/v1/key_use.proto


export interface GetPublicKeyRequest {
  'key'?: (string);
  'version'?: (number);
}

export interface GetPublicKeyRequest__Output {
  'key': (string);
  'version': (number);
}
