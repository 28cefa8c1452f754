// Original file: broker/proto/lastmile/v1/admin.proto


export interface RuleExplanation {
  'rule'?: (string);
  'matched'?: (boolean);
  'missing'?: (string)[];
  'effect'?: (string);
}

export interface RuleExplanation__Output {
  'rule': (string);
  'matched': (boolean);
  'missing': (string)[];
  'effect': (string);
}
