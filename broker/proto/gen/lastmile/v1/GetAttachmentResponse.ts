// Original file: broker/proto/lastmile/v1/approvals.proto


export interface GetAttachmentResponse {
  'content'?: (Buffer | Uint8Array | string);
}

export interface GetAttachmentResponse__Output {
  'content': (Buffer);
}
