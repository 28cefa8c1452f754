// Original file: broker/proto/lastmile/v1/admin.proto


export interface CreateKeyRequest {
  'key'?: (string);
  'purpose'?: (string);
  'algorithms'?: (string)[];
  'tokens'?: (string)[];
  'modulusBits'?: (number);
  'verify'?: (string);
  'rawSigning'?: (boolean);
}

export interface CreateKeyRequest__Output {
  'key': (string);
  'purpose': (string);
  'algorithms': (string)[];
  'tokens': (string)[];
  'modulusBits': (number);
  'verify': (string);
  'rawSigning': (boolean);
}
