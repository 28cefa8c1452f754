// Original file: broker/proto/lastmile/v1/key_use.proto

import type { SignatureFormat as _lastmile_v1_SignatureFormat, SignatureFormat__Output as _lastmile_v1_SignatureFormat__Output } from '../../lastmile/v1/SignatureFormat.ts';

export interface SignRequest {
  'key'?: (string);
  'version'?: (number);
  'algorithm'?: (string);
  'message'?: (Buffer | Uint8Array | string);
  'digest'?: (Buffer | Uint8Array | string);
  'signatureFormat'?: (_lastmile_v1_SignatureFormat);
  'waitForApproval'?: (boolean);
  'emergency'?: (boolean);
  'content'?: "message"|"digest";
}

export interface SignRequest__Output {
  'key': (string);
  'version': (number);
  'algorithm': (string);
  'message'?: (Buffer);
  'digest'?: (Buffer);
  'signatureFormat': (_lastmile_v1_SignatureFormat__Output);
  'waitForApproval': (boolean);
  'emergency': (boolean);
  'content'?: "message"|"digest";
}
