// Original file: broker/proto/lastmile/v1/admin.proto


export interface WrappedKey {
  'blob'?: (Buffer | Uint8Array | string);
  'unwrappingKey'?: (string);
  'mechanism'?: (string);
  'publicKeyPem'?: (string);
}

export interface WrappedKey__Output {
  'blob': (Buffer);
  'unwrappingKey': (string);
  'mechanism': (string);
  'publicKeyPem': (string);
}
