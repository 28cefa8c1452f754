// Original file: broker/proto/lastmile/v1/audit.proto


export interface ReadTileRequest {
  'path'?: (string);
}

export interface ReadTileRequest__Output {
  'path': (string);
}
