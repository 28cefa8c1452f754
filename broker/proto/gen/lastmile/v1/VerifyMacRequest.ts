// Original file: broker/proto/lastmile/v1/key_use.proto


export interface VerifyMacRequest {
  'key'?: (string);
  'version'?: (number);
  'algorithm'?: (string);
  'message'?: (Buffer | Uint8Array | string);
  'mac'?: (Buffer | Uint8Array | string);
}

export interface VerifyMacRequest__Output {
  'key': (string);
  'version': (number);
  'algorithm': (string);
  'message': (Buffer);
  'mac': (Buffer);
}
