// Original file: broker/proto/lastmile/v1/approvals.proto


export interface GetAttachmentRequest {
  'id'?: (string);
}

export interface GetAttachmentRequest__Output {
  'id': (string);
}
