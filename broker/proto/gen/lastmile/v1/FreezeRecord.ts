// Original file: broker/proto/lastmile/v1/admin.proto


export interface FreezeRecord {
  'kind'?: (string);
  'subject'?: (string);
  'reason'?: (string);
  'by'?: (string);
  'since'?: (string);
}

export interface FreezeRecord__Output {
  'kind': (string);
  'subject': (string);
  'reason': (string);
  'by': (string);
  'since': (string);
}
