// Original file: broker/proto/lastmile/v1/key_use.proto


export interface SignDsseRequest {
  'key'?: (string);
  'version'?: (number);
  'algorithm'?: (string);
  'payloadType'?: (string);
  'payload'?: (Buffer | Uint8Array | string);
  'waitForApproval'?: (boolean);
  'emergency'?: (boolean);
}

export interface SignDsseRequest__Output {
  'key': (string);
  'version': (number);
  'algorithm': (string);
  'payloadType': (string);
  'payload': (Buffer);
  'waitForApproval': (boolean);
  'emergency': (boolean);
}
