// Original file: broker/proto/lastmile/v1/audit.proto

import type { Long } from '@grpc/proto-loader';

export interface LoggedEntry {
  'leafIndex'?: (number | string | Long);
  'entry'?: (Buffer | Uint8Array | string);
}

export interface LoggedEntry__Output {
  'leafIndex': (number);
  'entry': (Buffer);
}
