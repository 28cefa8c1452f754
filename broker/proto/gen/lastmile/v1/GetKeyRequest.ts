// Original file: broker/proto/lastmile/v1/admin.proto


export interface GetKeyRequest {
  'key'?: (string);
}

export interface GetKeyRequest__Output {
  'key': (string);
}
