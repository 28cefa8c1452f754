// Original file: broker/proto/lastmile/v1/key_use.proto


export interface MacRequest {
  'key'?: (string);
  'version'?: (number);
  'algorithm'?: (string);
  'message'?: (Buffer | Uint8Array | string);
  'waitForApproval'?: (boolean);
  'emergency'?: (boolean);
}

export interface MacRequest__Output {
  'key': (string);
  'version': (number);
  'algorithm': (string);
  'message': (Buffer);
  'waitForApproval': (boolean);
  'emergency': (boolean);
}
