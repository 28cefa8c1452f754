// Original file: broker/proto/lastmile/v1/admin.proto


export interface CheckPolicyRequest {
  'content'?: (Buffer | Uint8Array | string);
  'file'?: (string);
}

export interface CheckPolicyRequest__Output {
  'content': (Buffer);
  'file': (string);
}
