// Original file: broker/proto/lastmile/v1/key_use.proto


export interface EncryptRequest {
  'key'?: (string);
  'version'?: (number);
  'algorithm'?: (string);
  'plaintext'?: (Buffer | Uint8Array | string);
  'associatedData'?: (Buffer | Uint8Array | string);
  'waitForApproval'?: (boolean);
  'emergency'?: (boolean);
}

export interface EncryptRequest__Output {
  'key': (string);
  'version': (number);
  'algorithm': (string);
  'plaintext': (Buffer);
  'associatedData': (Buffer);
  'waitForApproval': (boolean);
  'emergency': (boolean);
}
