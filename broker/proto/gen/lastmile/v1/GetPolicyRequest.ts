// Original file: broker/proto/lastmile/v1/admin.proto


export interface GetPolicyRequest {
  'policyHash'?: (string);
}

export interface GetPolicyRequest__Output {
  'policyHash': (string);
}
