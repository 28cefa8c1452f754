// Original file: broker/proto/lastmile/v1/key_use.proto


export interface GetReceiptResponse {
  'receipt'?: (string);
  'entry'?: (Buffer | Uint8Array | string);
  'leafHash'?: (Buffer | Uint8Array | string);
}

export interface GetReceiptResponse__Output {
  'receipt': (string);
  'entry': (Buffer);
  'leafHash': (Buffer);
}
