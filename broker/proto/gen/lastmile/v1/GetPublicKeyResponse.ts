// Original file: broker/proto/lastmile/v1/key_use.proto


export interface GetPublicKeyResponse {
  'pem'?: (string);
  'jwk'?: (string);
  'kid'?: (string);
  'version'?: (number);
  'algorithms'?: (string)[];
  'otherJwks'?: (string)[];
}

export interface GetPublicKeyResponse__Output {
  'pem': (string);
  'jwk': (string);
  'kid': (string);
  'version': (number);
  'algorithms': (string)[];
  'otherJwks': (string)[];
}
