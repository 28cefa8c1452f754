// Original file: broker/proto/lastmile/v1/admin.proto

import type { ProcessStatus as _lastmile_v1_ProcessStatus, ProcessStatus__Output as _lastmile_v1_ProcessStatus__Output } from '../../lastmile/v1/ProcessStatus.ts';
import type { TokenStatus as _lastmile_v1_TokenStatus, TokenStatus__Output as _lastmile_v1_TokenStatus__Output } from '../../lastmile/v1/TokenStatus.ts';
import type { FreezeRecord as _lastmile_v1_FreezeRecord, FreezeRecord__Output as _lastmile_v1_FreezeRecord__Output } from '../../lastmile/v1/FreezeRecord.ts';
import type { ClockStatus as _lastmile_v1_ClockStatus, ClockStatus__Output as _lastmile_v1_ClockStatus__Output } from '../../lastmile/v1/ClockStatus.ts';
import type { Long } from '@grpc/proto-loader';

export interface GetStatusResponse {
  'state'?: (string);
  'warnings'?: (string)[];
  'version'?: (string);
  'origin'?: (string);
  'policyHash'?: (string);
  'policyLoadedAt'?: (string);
  'policyRefusal'?: (string);
  'logSize'?: (number | string | Long);
  'checkpointSize'?: (number | string | Long);
  'auditFailure'?: (string);
  'processes'?: (_lastmile_v1_ProcessStatus)[];
  'tokens'?: (_lastmile_v1_TokenStatus)[];
  'freezes'?: (_lastmile_v1_FreezeRecord)[];
  'refusedHandshakes'?: ({[key: string]: number | string | Long});
  'softwareGeneration'?: (number | string | Long);
  'reads'?: ({[key: string]: number | string | Long});
  'clock'?: (_lastmile_v1_ClockStatus | null);
}

export interface GetStatusResponse__Output {
  'state': (string);
  'warnings': (string)[];
  'version': (string);
  'origin': (string);
  'policyHash': (string);
  'policyLoadedAt': (string);
  'policyRefusal': (string);
  'logSize': (number);
  'checkpointSize': (number);
  'auditFailure': (string);
  'processes': (_lastmile_v1_ProcessStatus__Output)[];
  'tokens': (_lastmile_v1_TokenStatus__Output)[];
  'freezes': (_lastmile_v1_FreezeRecord__Output)[];
  'refusedHandshakes': ({[key: string]: number});
  'softwareGeneration': (number);
  'reads': ({[key: string]: number});
  'clock': (_lastmile_v1_ClockStatus__Output | null);
}
