// Original file: broker/proto/lastmile/v1/admin.proto

import type { WrappedKey as _lastmile_v1_WrappedKey, WrappedKey__Output as _lastmile_v1_WrappedKey__Output } from '../../lastmile/v1/WrappedKey.ts';

export interface ImportKeyRequest {
  'key'?: (string);
  'purpose'?: (string);
  'algorithms'?: (string)[];
  'token'?: (string);
  'ckaId'?: (string);
  'label'?: (string);
  'wrapped'?: (_lastmile_v1_WrappedKey | null);
  'verify'?: (string);
  'rawSigning'?: (boolean);
  'source'?: "ckaId"|"label"|"wrapped";
}

export interface ImportKeyRequest__Output {
  'key': (string);
  'purpose': (string);
  'algorithms': (string)[];
  'token': (string);
  'ckaId'?: (string);
  'label'?: (string);
  'wrapped'?: (_lastmile_v1_WrappedKey__Output | null);
  'verify': (string);
  'rawSigning': (boolean);
  'source'?: "ckaId"|"label"|"wrapped";
}
