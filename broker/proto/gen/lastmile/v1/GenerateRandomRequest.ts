// Original file: broker/proto/lastmile/v1/key_use.proto


export interface GenerateRandomRequest {
  'length'?: (number);
}

export interface GenerateRandomRequest__Output {
  'length': (number);
}
