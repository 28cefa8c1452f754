// Original file: broker/proto/lastmile/v1/key_use.proto


export interface SignJwtRequest {
  'key'?: (string);
  'version'?: (number);
  'algorithm'?: (string);
  'claims'?: (Buffer | Uint8Array | string);
  'lifetimeSeconds'?: (number);
  'type'?: (string);
  'waitForApproval'?: (boolean);
  'emergency'?: (boolean);
}

export interface SignJwtRequest__Output {
  'key': (string);
  'version': (number);
  'algorithm': (string);
  'claims': (Buffer);
  'lifetimeSeconds': (number);
  'type': (string);
  'waitForApproval': (boolean);
  'emergency': (boolean);
}
