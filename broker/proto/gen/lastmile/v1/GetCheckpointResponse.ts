// Original file: broker/proto/lastmile/v1/audit.proto


export interface GetCheckpointResponse {
  'checkpoint'?: (string);
  'verifierKey'?: (string);
}

export interface GetCheckpointResponse__Output {
  'checkpoint': (string);
  'verifierKey': (string);
}
