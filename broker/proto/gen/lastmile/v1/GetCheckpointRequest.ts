// Original file: broker/proto/lastmile/v1/audit.proto


export interface GetCheckpointRequest {
  'fresh'?: (boolean);
}

export interface GetCheckpointRequest__Output {
  'fresh': (boolean);
}
