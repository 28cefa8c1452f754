// Original file: broker/proto/lastmile/v1/admin.proto


export interface ProposePolicyRequest {
  'content'?: (Buffer | Uint8Array | string);
  'reason'?: (string);
}

export interface ProposePolicyRequest__Output {
  'content': (Buffer);
  'reason': (string);
}
