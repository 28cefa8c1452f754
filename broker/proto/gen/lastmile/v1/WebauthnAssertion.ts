// Original file: broker/proto/lastmile/v1/approvals.proto


export interface WebauthnAssertion {
  'credentialId'?: (string);
  'authenticatorData'?: (string);
  'clientDataJson'?: (string);
  'signature'?: (string);
}

export interface WebauthnAssertion__Output {
  'credentialId': (string);
  'authenticatorData': (string);
  'clientDataJson': (string);
  'signature': (string);
}
