// Original file: broker/proto/lastmile/v1/audit.proto

import type { LoggedEntry as _lastmile_v1_LoggedEntry, LoggedEntry__Output as _lastmile_v1_LoggedEntry__Output } from '../../lastmile/v1/LoggedEntry.ts';
import type { Long } from '@grpc/proto-loader';

export interface QueryResponse {
  'entries'?: (_lastmile_v1_LoggedEntry)[];
  'logSize'?: (number | string | Long);
  'continueBefore'?: (number | string | Long);
}

export interface QueryResponse__Output {
  'entries': (_lastmile_v1_LoggedEntry__Output)[];
  'logSize': (number);
  'continueBefore': (number);
}
