// Original file: broker/proto/lastmile/v1/key_use.proto


export interface UsableKey {
  'key'?: (string);
  'activeVersion'?: (number);
  'purpose'?: (string);
  'algorithms'?: (string)[];
  'operations'?: (string)[];
}

export interface UsableKey__Output {
  'key': (string);
  'activeVersion': (number);
  'purpose': (string);
  'algorithms': (string)[];
  'operations': (string)[];
}
