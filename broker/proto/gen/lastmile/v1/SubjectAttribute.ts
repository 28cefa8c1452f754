// Original file: broker/proto/lastmile/v1/key_use.proto


export interface SubjectAttribute {
  'type'?: (string);
  'value'?: (string);
}

export interface SubjectAttribute__Output {
  'type': (string);
  'value': (string);
}
