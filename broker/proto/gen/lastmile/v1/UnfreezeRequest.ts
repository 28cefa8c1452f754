// Original file: broker/proto/lastmile/v1/admin.proto


export interface UnfreezeRequest {
  'kind'?: (string);
  'subject'?: (string);
  'reason'?: (string);
}

export interface UnfreezeRequest__Output {
  'kind': (string);
  'subject': (string);
  'reason': (string);
}
