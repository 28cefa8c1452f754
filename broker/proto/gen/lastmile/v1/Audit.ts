// Original file: broker/proto/lastmile/v1/audit.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { GetCheckpointRequest as _lastmile_v1_GetCheckpointRequest, GetCheckpointRequest__Output as _lastmile_v1_GetCheckpointRequest__Output } from '../../lastmile/v1/GetCheckpointRequest.ts';
import type { GetCheckpointResponse as _lastmile_v1_GetCheckpointResponse, GetCheckpointResponse__Output as _lastmile_v1_GetCheckpointResponse__Output } from '../../lastmile/v1/GetCheckpointResponse.ts';
import type { GetEntryRequest as _lastmile_v1_GetEntryRequest, GetEntryRequest__Output as _lastmile_v1_GetEntryRequest__Output } from '../../lastmile/v1/GetEntryRequest.ts';
import type { GetEntryResponse as _lastmile_v1_GetEntryResponse, GetEntryResponse__Output as _lastmile_v1_GetEntryResponse__Output } from '../../lastmile/v1/GetEntryResponse.ts';
import type { GetProofRequest as _lastmile_v1_GetProofRequest, GetProofRequest__Output as _lastmile_v1_GetProofRequest__Output } from '../../lastmile/v1/GetProofRequest.ts';
import type { GetProofResponse as _lastmile_v1_GetProofResponse, GetProofResponse__Output as _lastmile_v1_GetProofResponse__Output } from '../../lastmile/v1/GetProofResponse.ts';
import type { QueryRequest as _lastmile_v1_QueryRequest, QueryRequest__Output as _lastmile_v1_QueryRequest__Output } from '../../lastmile/v1/QueryRequest.ts';
import type { QueryResponse as _lastmile_v1_QueryResponse, QueryResponse__Output as _lastmile_v1_QueryResponse__Output } from '../../lastmile/v1/QueryResponse.ts';
import type { ReadTileRequest as _lastmile_v1_ReadTileRequest, ReadTileRequest__Output as _lastmile_v1_ReadTileRequest__Output } from '../../lastmile/v1/ReadTileRequest.ts';
import type { ReadTileResponse as _lastmile_v1_ReadTileResponse, ReadTileResponse__Output as _lastmile_v1_ReadTileResponse__Output } from '../../lastmile/v1/ReadTileResponse.ts';

export interface AuditClient extends grpc.Client {
  GetCheckpoint(argument: _lastmile_v1_GetCheckpointRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetCheckpointResponse__Output>): grpc.ClientUnaryCall;
  GetCheckpoint(argument: _lastmile_v1_GetCheckpointRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetCheckpointResponse__Output>): grpc.ClientUnaryCall;
  GetCheckpoint(argument: _lastmile_v1_GetCheckpointRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetCheckpointResponse__Output>): grpc.ClientUnaryCall;
  GetCheckpoint(argument: _lastmile_v1_GetCheckpointRequest, callback: grpc.requestCallback<_lastmile_v1_GetCheckpointResponse__Output>): grpc.ClientUnaryCall;
  getCheckpoint(argument: _lastmile_v1_GetCheckpointRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetCheckpointResponse__Output>): grpc.ClientUnaryCall;
  getCheckpoint(argument: _lastmile_v1_GetCheckpointRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetCheckpointResponse__Output>): grpc.ClientUnaryCall;
  getCheckpoint(argument: _lastmile_v1_GetCheckpointRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetCheckpointResponse__Output>): grpc.ClientUnaryCall;
  getCheckpoint(argument: _lastmile_v1_GetCheckpointRequest, callback: grpc.requestCallback<_lastmile_v1_GetCheckpointResponse__Output>): grpc.ClientUnaryCall;
  
  GetEntry(argument: _lastmile_v1_GetEntryRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetEntryResponse__Output>): grpc.ClientUnaryCall;
  GetEntry(argument: _lastmile_v1_GetEntryRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetEntryResponse__Output>): grpc.ClientUnaryCall;
  GetEntry(argument: _lastmile_v1_GetEntryRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetEntryResponse__Output>): grpc.ClientUnaryCall;
  GetEntry(argument: _lastmile_v1_GetEntryRequest, callback: grpc.requestCallback<_lastmile_v1_GetEntryResponse__Output>): grpc.ClientUnaryCall;
  getEntry(argument: _lastmile_v1_GetEntryRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetEntryResponse__Output>): grpc.ClientUnaryCall;
  getEntry(argument: _lastmile_v1_GetEntryRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetEntryResponse__Output>): grpc.ClientUnaryCall;
  getEntry(argument: _lastmile_v1_GetEntryRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetEntryResponse__Output>): grpc.ClientUnaryCall;
  getEntry(argument: _lastmile_v1_GetEntryRequest, callback: grpc.requestCallback<_lastmile_v1_GetEntryResponse__Output>): grpc.ClientUnaryCall;
  
  GetProof(argument: _lastmile_v1_GetProofRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetProofResponse__Output>): grpc.ClientUnaryCall;
  GetProof(argument: _lastmile_v1_GetProofRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetProofResponse__Output>): grpc.ClientUnaryCall;
  GetProof(argument: _lastmile_v1_GetProofRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetProofResponse__Output>): grpc.ClientUnaryCall;
  GetProof(argument: _lastmile_v1_GetProofRequest, callback: grpc.requestCallback<_lastmile_v1_GetProofResponse__Output>): grpc.ClientUnaryCall;
  getProof(argument: _lastmile_v1_GetProofRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetProofResponse__Output>): grpc.ClientUnaryCall;
  getProof(argument: _lastmile_v1_GetProofRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetProofResponse__Output>): grpc.ClientUnaryCall;
  getProof(argument: _lastmile_v1_GetProofRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetProofResponse__Output>): grpc.ClientUnaryCall;
  getProof(argument: _lastmile_v1_GetProofRequest, callback: grpc.requestCallback<_lastmile_v1_GetProofResponse__Output>): grpc.ClientUnaryCall;
  
  Query(argument: _lastmile_v1_QueryRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_QueryResponse__Output>): grpc.ClientUnaryCall;
  Query(argument: _lastmile_v1_QueryRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_QueryResponse__Output>): grpc.ClientUnaryCall;
  Query(argument: _lastmile_v1_QueryRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_QueryResponse__Output>): grpc.ClientUnaryCall;
  Query(argument: _lastmile_v1_QueryRequest, callback: grpc.requestCallback<_lastmile_v1_QueryResponse__Output>): grpc.ClientUnaryCall;
  query(argument: _lastmile_v1_QueryRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_QueryResponse__Output>): grpc.ClientUnaryCall;
  query(argument: _lastmile_v1_QueryRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_QueryResponse__Output>): grpc.ClientUnaryCall;
  query(argument: _lastmile_v1_QueryRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_QueryResponse__Output>): grpc.ClientUnaryCall;
  query(argument: _lastmile_v1_QueryRequest, callback: grpc.requestCallback<_lastmile_v1_QueryResponse__Output>): grpc.ClientUnaryCall;
  
  ReadTile(argument: _lastmile_v1_ReadTileRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ReadTileResponse__Output>): grpc.ClientUnaryCall;
  ReadTile(argument: _lastmile_v1_ReadTileRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ReadTileResponse__Output>): grpc.ClientUnaryCall;
  ReadTile(argument: _lastmile_v1_ReadTileRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ReadTileResponse__Output>): grpc.ClientUnaryCall;
  ReadTile(argument: _lastmile_v1_ReadTileRequest, callback: grpc.requestCallback<_lastmile_v1_ReadTileResponse__Output>): grpc.ClientUnaryCall;
  readTile(argument: _lastmile_v1_ReadTileRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ReadTileResponse__Output>): grpc.ClientUnaryCall;
  readTile(argument: _lastmile_v1_ReadTileRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ReadTileResponse__Output>): grpc.ClientUnaryCall;
  readTile(argument: _lastmile_v1_ReadTileRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ReadTileResponse__Output>): grpc.ClientUnaryCall;
  readTile(argument: _lastmile_v1_ReadTileRequest, callback: grpc.requestCallback<_lastmile_v1_ReadTileResponse__Output>): grpc.ClientUnaryCall;
  
}

export interface AuditHandlers extends grpc.UntypedServiceImplementation {
  GetCheckpoint: grpc.handleUnaryCall<_lastmile_v1_GetCheckpointRequest__Output, _lastmile_v1_GetCheckpointResponse>;
  
  GetEntry: grpc.handleUnaryCall<_lastmile_v1_GetEntryRequest__Output, _lastmile_v1_GetEntryResponse>;
  
  GetProof: grpc.handleUnaryCall<_lastmile_v1_GetProofRequest__Output, _lastmile_v1_GetProofResponse>;
  
  Query: grpc.handleUnaryCall<_lastmile_v1_QueryRequest__Output, _lastmile_v1_QueryResponse>;
  
  ReadTile: grpc.handleUnaryCall<_lastmile_v1_ReadTileRequest__Output, _lastmile_v1_ReadTileResponse>;
  
}

export interface AuditDefinition extends grpc.ServiceDefinition {
  GetCheckpoint: MethodDefinition<_lastmile_v1_GetCheckpointRequest, _lastmile_v1_GetCheckpointResponse, _lastmile_v1_GetCheckpointRequest__Output, _lastmile_v1_GetCheckpointResponse__Output>
  GetEntry: MethodDefinition<_lastmile_v1_GetEntryRequest, _lastmile_v1_GetEntryResponse, _lastmile_v1_GetEntryRequest__Output, _lastmile_v1_GetEntryResponse__Output>
  GetProof: MethodDefinition<_lastmile_v1_GetProofRequest, _lastmile_v1_GetProofResponse, _lastmile_v1_GetProofRequest__Output, _lastmile_v1_GetProofResponse__Output>
  Query: MethodDefinition<_lastmile_v1_QueryRequest, _lastmile_v1_QueryResponse, _lastmile_v1_QueryRequest__Output, _lastmile_v1_QueryResponse__Output>
  ReadTile: MethodDefinition<_lastmile_v1_ReadTileRequest, _lastmile_v1_ReadTileResponse, _lastmile_v1_ReadTileRequest__Output, _lastmile_v1_ReadTileResponse__Output>
}
