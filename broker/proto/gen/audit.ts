import type * as grpc from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';

import type { AuditClient as _lastmile_v1_AuditClient, AuditDefinition as _lastmile_v1_AuditDefinition } from './lastmile/v1/Audit.ts';
import type { GetCheckpointRequest as _lastmile_v1_GetCheckpointRequest, GetCheckpointRequest__Output as _lastmile_v1_GetCheckpointRequest__Output } from './lastmile/v1/GetCheckpointRequest.ts';
import type { GetCheckpointResponse as _lastmile_v1_GetCheckpointResponse, GetCheckpointResponse__Output as _lastmile_v1_GetCheckpointResponse__Output } from './lastmile/v1/GetCheckpointResponse.ts';
import type { GetEntryRequest as _lastmile_v1_GetEntryRequest, GetEntryRequest__Output as _lastmile_v1_GetEntryRequest__Output } from './lastmile/v1/GetEntryRequest.ts';
import type { GetEntryResponse as _lastmile_v1_GetEntryResponse, GetEntryResponse__Output as _lastmile_v1_GetEntryResponse__Output } from './lastmile/v1/GetEntryResponse.ts';
import type { GetProofRequest as _lastmile_v1_GetProofRequest, GetProofRequest__Output as _lastmile_v1_GetProofRequest__Output } from './lastmile/v1/GetProofRequest.ts';
import type { GetProofResponse as _lastmile_v1_GetProofResponse, GetProofResponse__Output as _lastmile_v1_GetProofResponse__Output } from './lastmile/v1/GetProofResponse.ts';
import type { LoggedEntry as _lastmile_v1_LoggedEntry, LoggedEntry__Output as _lastmile_v1_LoggedEntry__Output } from './lastmile/v1/LoggedEntry.ts';
import type { QueryRequest as _lastmile_v1_QueryRequest, QueryRequest__Output as _lastmile_v1_QueryRequest__Output } from './lastmile/v1/QueryRequest.ts';
import type { QueryResponse as _lastmile_v1_QueryResponse, QueryResponse__Output as _lastmile_v1_QueryResponse__Output } from './lastmile/v1/QueryResponse.ts';
import type { ReadTileRequest as _lastmile_v1_ReadTileRequest, ReadTileRequest__Output as _lastmile_v1_ReadTileRequest__Output } from './lastmile/v1/ReadTileRequest.ts';
import type { ReadTileResponse as _lastmile_v1_ReadTileResponse, ReadTileResponse__Output as _lastmile_v1_ReadTileResponse__Output } from './lastmile/v1/ReadTileResponse.ts';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  lastmile: {
    v1: {
      Audit: SubtypeConstructor<typeof grpc.Client, _lastmile_v1_AuditClient> & { service: _lastmile_v1_AuditDefinition }
      GetCheckpointRequest: MessageTypeDefinition<_lastmile_v1_GetCheckpointRequest, _lastmile_v1_GetCheckpointRequest__Output>
      GetCheckpointResponse: MessageTypeDefinition<_lastmile_v1_GetCheckpointResponse, _lastmile_v1_GetCheckpointResponse__Output>
      GetEntryRequest: MessageTypeDefinition<_lastmile_v1_GetEntryRequest, _lastmile_v1_GetEntryRequest__Output>
      GetEntryResponse: MessageTypeDefinition<_lastmile_v1_GetEntryResponse, _lastmile_v1_GetEntryResponse__Output>
      GetProofRequest: MessageTypeDefinition<_lastmile_v1_GetProofRequest, _lastmile_v1_GetProofRequest__Output>
      GetProofResponse: MessageTypeDefinition<_lastmile_v1_GetProofResponse, _lastmile_v1_GetProofResponse__Output>
      LoggedEntry: MessageTypeDefinition<_lastmile_v1_LoggedEntry, _lastmile_v1_LoggedEntry__Output>
      QueryRequest: MessageTypeDefinition<_lastmile_v1_QueryRequest, _lastmile_v1_QueryRequest__Output>
      QueryResponse: MessageTypeDefinition<_lastmile_v1_QueryResponse, _lastmile_v1_QueryResponse__Output>
      ReadTileRequest: MessageTypeDefinition<_lastmile_v1_ReadTileRequest, _lastmile_v1_ReadTileRequest__Output>
      ReadTileResponse: MessageTypeDefinition<_lastmile_v1_ReadTileResponse, _lastmile_v1_ReadTileResponse__Output>
    }
  }
}

