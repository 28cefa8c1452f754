// Original file: broker/proto/lastmile/v1/key_use.proto

import type { LogPosition as _lastmile_v1_LogPosition, LogPosition__Output as _lastmile_v1_LogPosition__Output } from '../../lastmile/v1/LogPosition.ts';

export interface SignCertificateResponse {
  'certificate'?: (Buffer | Uint8Array | string);
  'version'?: (number);
  'log'?: (_lastmile_v1_LogPosition | null);
}

export interface SignCertificateResponse__Output {
  'certificate': (Buffer);
  'version': (number);
  'log': (_lastmile_v1_LogPosition__Output | null);
}
