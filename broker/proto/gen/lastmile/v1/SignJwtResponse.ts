// Original file: broker/proto/lastmile/v1/key_use.proto

import type { LogPosition as _lastmile_v1_LogPosition, LogPosition__Output as _lastmile_v1_LogPosition__Output } from '../../lastmile/v1/LogPosition.ts';

export interface SignJwtResponse {
  'jwt'?: (string);
  'version'?: (number);
  'log'?: (_lastmile_v1_LogPosition | null);
}

export interface SignJwtResponse__Output {
  'jwt': (string);
  'version': (number);
  'log': (_lastmile_v1_LogPosition__Output | null);
}
