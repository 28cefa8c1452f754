// Original file: broker/proto/lastmile/v1/key_use.proto

import type { PublicKeyApplicant as _lastmile_v1_PublicKeyApplicant, PublicKeyApplicant__Output as _lastmile_v1_PublicKeyApplicant__Output } from '../../lastmile/v1/PublicKeyApplicant.ts';

export interface SignCertificateRequest {
  'key'?: (string);
  'version'?: (number);
  'algorithm'?: (string);
  'profile'?: (string);
  'csr'?: (Buffer | Uint8Array | string);
  'publicKey'?: (_lastmile_v1_PublicKeyApplicant | null);
  'lifetimeSeconds'?: (number);
  'waitForApproval'?: (boolean);
  'emergency'?: (boolean);
  'applicant'?: "csr"|"publicKey";
}

export interface SignCertificateRequest__Output {
  'key': (string);
  'version': (number);
  'algorithm': (string);
  'profile': (string);
  'csr'?: (Buffer);
  'publicKey'?: (_lastmile_v1_PublicKeyApplicant__Output | null);
  'lifetimeSeconds': (number);
  'waitForApproval': (boolean);
  'emergency': (boolean);
  'applicant'?: "csr"|"publicKey";
}
