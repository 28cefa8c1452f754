// Original file: broker/proto/lastmile/v1/key_use.proto


export interface DecryptRequest {
  'key'?: (string);
  'ciphertext'?: (Buffer | Uint8Array | string);
  'associatedData'?: (Buffer | Uint8Array | string);
  'waitForApproval'?: (boolean);
  'emergency'?: (boolean);
}

export interface DecryptRequest__Output {
  'key': (string);
  'ciphertext': (Buffer);
  'associatedData': (Buffer);
  'waitForApproval': (boolean);
  'emergency': (boolean);
}
