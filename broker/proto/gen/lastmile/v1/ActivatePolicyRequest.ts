// Original file: broker/proto/lastmile/v1/admin.proto


export interface ActivatePolicyRequest {
  'policyHash'?: (string);
  'reason'?: (string);
}

export interface ActivatePolicyRequest__Output {
  'policyHash': (string);
  'reason': (string);
}
