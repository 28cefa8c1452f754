// Original file: broker/proto/lastmile/v1/key_use.proto


export interface GenerateDataKeyRequest {
  'key'?: (string);
  'version'?: (number);
  'length'?: (number);
  'associatedData'?: (Buffer | Uint8Array | string);
  'waitForApproval'?: (boolean);
  'emergency'?: (boolean);
}

export interface GenerateDataKeyRequest__Output {
  'key': (string);
  'version': (number);
  'length': (number);
  'associatedData': (Buffer);
  'waitForApproval': (boolean);
  'emergency': (boolean);
}
