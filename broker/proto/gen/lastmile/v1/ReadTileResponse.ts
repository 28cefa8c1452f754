// Original file: broker/proto/lastmile/v1/audit.proto


export interface ReadTileResponse {
  'content'?: (Buffer | Uint8Array | string);
}

export interface ReadTileResponse__Output {
  'content': (Buffer);
}
