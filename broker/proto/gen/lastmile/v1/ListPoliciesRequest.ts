// Original file: broker/proto/lastmile/v1/admin.proto


export interface ListPoliciesRequest {
  'limit'?: (number);
}

export interface ListPoliciesRequest__Output {
  'limit': (number);
}
