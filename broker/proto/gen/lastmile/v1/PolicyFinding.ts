// Original file: broker/proto/lastmile/v1/admin.proto


export interface PolicyFinding {
  'file'?: (string);
  'line'?: (number);
  'column'?: (number);
  'path'?: (string);
  'message'?: (string);
  'expected'?: (string);
  'nearest'?: (string);
}

export interface PolicyFinding__Output {
  'file': (string);
  'line': (number);
  'column': (number);
  'path': (string);
  'message': (string);
  'expected': (string);
  'nearest': (string);
}
