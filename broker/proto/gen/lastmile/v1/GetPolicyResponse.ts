// Original file: broker/proto/lastmile/v1/admin.proto


export interface GetPolicyResponse {
  'policyHash'?: (string);
  'content'?: (Buffer | Uint8Array | string);
  'inForce'?: (boolean);
}

export interface GetPolicyResponse__Output {
  'policyHash': (string);
  'content': (Buffer);
  'inForce': (boolean);
}
