// Original file: broker/proto/lastmile/v1/admin.proto


export interface FreezeRequest {
  'kind'?: (string);
  'subject'?: (string);
  'reason'?: (string);
}

export interface FreezeRequest__Output {
  'kind': (string);
  'subject': (string);
  'reason': (string);
}
