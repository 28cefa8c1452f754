// Original file: broker/proto/lastmile/v1/admin.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { AcceptClockRequest as _lastmile_v1_AcceptClockRequest, AcceptClockRequest__Output as _lastmile_v1_AcceptClockRequest__Output } from '../../lastmile/v1/AcceptClockRequest.ts';
import type { AcceptClockResponse as _lastmile_v1_AcceptClockResponse, AcceptClockResponse__Output as _lastmile_v1_AcceptClockResponse__Output } from '../../lastmile/v1/AcceptClockResponse.ts';
import type { ActivatePolicyRequest as _lastmile_v1_ActivatePolicyRequest, ActivatePolicyRequest__Output as _lastmile_v1_ActivatePolicyRequest__Output } from '../../lastmile/v1/ActivatePolicyRequest.ts';
import type { ActivatePolicyResponse as _lastmile_v1_ActivatePolicyResponse, ActivatePolicyResponse__Output as _lastmile_v1_ActivatePolicyResponse__Output } from '../../lastmile/v1/ActivatePolicyResponse.ts';
import type { CheckPolicyRequest as _lastmile_v1_CheckPolicyRequest, CheckPolicyRequest__Output as _lastmile_v1_CheckPolicyRequest__Output } from '../../lastmile/v1/CheckPolicyRequest.ts';
import type { CheckPolicyResponse as _lastmile_v1_CheckPolicyResponse, CheckPolicyResponse__Output as _lastmile_v1_CheckPolicyResponse__Output } from '../../lastmile/v1/CheckPolicyResponse.ts';
import type { CreateKeyRequest as _lastmile_v1_CreateKeyRequest, CreateKeyRequest__Output as _lastmile_v1_CreateKeyRequest__Output } from '../../lastmile/v1/CreateKeyRequest.ts';
import type { CreateKeyResponse as _lastmile_v1_CreateKeyResponse, CreateKeyResponse__Output as _lastmile_v1_CreateKeyResponse__Output } from '../../lastmile/v1/CreateKeyResponse.ts';
import type { DrainTokenRequest as _lastmile_v1_DrainTokenRequest, DrainTokenRequest__Output as _lastmile_v1_DrainTokenRequest__Output } from '../../lastmile/v1/DrainTokenRequest.ts';
import type { DrainTokenResponse as _lastmile_v1_DrainTokenResponse, DrainTokenResponse__Output as _lastmile_v1_DrainTokenResponse__Output } from '../../lastmile/v1/DrainTokenResponse.ts';
import type { ExplainPolicyRequest as _lastmile_v1_ExplainPolicyRequest, ExplainPolicyRequest__Output as _lastmile_v1_ExplainPolicyRequest__Output } from '../../lastmile/v1/ExplainPolicyRequest.ts';
import type { ExplainPolicyResponse as _lastmile_v1_ExplainPolicyResponse, ExplainPolicyResponse__Output as _lastmile_v1_ExplainPolicyResponse__Output } from '../../lastmile/v1/ExplainPolicyResponse.ts';
import type { FreezeRequest as _lastmile_v1_FreezeRequest, FreezeRequest__Output as _lastmile_v1_FreezeRequest__Output } from '../../lastmile/v1/FreezeRequest.ts';
import type { FreezeResponse as _lastmile_v1_FreezeResponse, FreezeResponse__Output as _lastmile_v1_FreezeResponse__Output } from '../../lastmile/v1/FreezeResponse.ts';
import type { GetKeyRequest as _lastmile_v1_GetKeyRequest, GetKeyRequest__Output as _lastmile_v1_GetKeyRequest__Output } from '../../lastmile/v1/GetKeyRequest.ts';
import type { GetKeyResponse as _lastmile_v1_GetKeyResponse, GetKeyResponse__Output as _lastmile_v1_GetKeyResponse__Output } from '../../lastmile/v1/GetKeyResponse.ts';
import type { GetPolicyRequest as _lastmile_v1_GetPolicyRequest, GetPolicyRequest__Output as _lastmile_v1_GetPolicyRequest__Output } from '../../lastmile/v1/GetPolicyRequest.ts';
import type { GetPolicyResponse as _lastmile_v1_GetPolicyResponse, GetPolicyResponse__Output as _lastmile_v1_GetPolicyResponse__Output } from '../../lastmile/v1/GetPolicyResponse.ts';
import type { GetStatusRequest as _lastmile_v1_GetStatusRequest, GetStatusRequest__Output as _lastmile_v1_GetStatusRequest__Output } from '../../lastmile/v1/GetStatusRequest.ts';
import type { GetStatusResponse as _lastmile_v1_GetStatusResponse, GetStatusResponse__Output as _lastmile_v1_GetStatusResponse__Output } from '../../lastmile/v1/GetStatusResponse.ts';
import type { ImportKeyRequest as _lastmile_v1_ImportKeyRequest, ImportKeyRequest__Output as _lastmile_v1_ImportKeyRequest__Output } from '../../lastmile/v1/ImportKeyRequest.ts';
import type { ImportKeyResponse as _lastmile_v1_ImportKeyResponse, ImportKeyResponse__Output as _lastmile_v1_ImportKeyResponse__Output } from '../../lastmile/v1/ImportKeyResponse.ts';
import type { ListFreezesRequest as _lastmile_v1_ListFreezesRequest, ListFreezesRequest__Output as _lastmile_v1_ListFreezesRequest__Output } from '../../lastmile/v1/ListFreezesRequest.ts';
import type { ListFreezesResponse as _lastmile_v1_ListFreezesResponse, ListFreezesResponse__Output as _lastmile_v1_ListFreezesResponse__Output } from '../../lastmile/v1/ListFreezesResponse.ts';
import type { ListKeyVersionsRequest as _lastmile_v1_ListKeyVersionsRequest, ListKeyVersionsRequest__Output as _lastmile_v1_ListKeyVersionsRequest__Output } from '../../lastmile/v1/ListKeyVersionsRequest.ts';
import type { ListKeyVersionsResponse as _lastmile_v1_ListKeyVersionsResponse, ListKeyVersionsResponse__Output as _lastmile_v1_ListKeyVersionsResponse__Output } from '../../lastmile/v1/ListKeyVersionsResponse.ts';
import type { ListPoliciesRequest as _lastmile_v1_ListPoliciesRequest, ListPoliciesRequest__Output as _lastmile_v1_ListPoliciesRequest__Output } from '../../lastmile/v1/ListPoliciesRequest.ts';
import type { ListPoliciesResponse as _lastmile_v1_ListPoliciesResponse, ListPoliciesResponse__Output as _lastmile_v1_ListPoliciesResponse__Output } from '../../lastmile/v1/ListPoliciesResponse.ts';
import type { ListTokensRequest as _lastmile_v1_ListTokensRequest, ListTokensRequest__Output as _lastmile_v1_ListTokensRequest__Output } from '../../lastmile/v1/ListTokensRequest.ts';
import type { ListTokensResponse as _lastmile_v1_ListTokensResponse, ListTokensResponse__Output as _lastmile_v1_ListTokensResponse__Output } from '../../lastmile/v1/ListTokensResponse.ts';
import type { ProposePolicyRequest as _lastmile_v1_ProposePolicyRequest, ProposePolicyRequest__Output as _lastmile_v1_ProposePolicyRequest__Output } from '../../lastmile/v1/ProposePolicyRequest.ts';
import type { ProposePolicyResponse as _lastmile_v1_ProposePolicyResponse, ProposePolicyResponse__Output as _lastmile_v1_ProposePolicyResponse__Output } from '../../lastmile/v1/ProposePolicyResponse.ts';
import type { ReloadPolicyRequest as _lastmile_v1_ReloadPolicyRequest, ReloadPolicyRequest__Output as _lastmile_v1_ReloadPolicyRequest__Output } from '../../lastmile/v1/ReloadPolicyRequest.ts';
import type { ReloadPolicyResponse as _lastmile_v1_ReloadPolicyResponse, ReloadPolicyResponse__Output as _lastmile_v1_ReloadPolicyResponse__Output } from '../../lastmile/v1/ReloadPolicyResponse.ts';
import type { UnblockTokenRequest as _lastmile_v1_UnblockTokenRequest, UnblockTokenRequest__Output as _lastmile_v1_UnblockTokenRequest__Output } from '../../lastmile/v1/UnblockTokenRequest.ts';
import type { UnblockTokenResponse as _lastmile_v1_UnblockTokenResponse, UnblockTokenResponse__Output as _lastmile_v1_UnblockTokenResponse__Output } from '../../lastmile/v1/UnblockTokenResponse.ts';
import type { UndrainTokenRequest as _lastmile_v1_UndrainTokenRequest, UndrainTokenRequest__Output as _lastmile_v1_UndrainTokenRequest__Output } from '../../lastmile/v1/UndrainTokenRequest.ts';
import type { UndrainTokenResponse as _lastmile_v1_UndrainTokenResponse, UndrainTokenResponse__Output as _lastmile_v1_UndrainTokenResponse__Output } from '../../lastmile/v1/UndrainTokenResponse.ts';
import type { UnfreezeRequest as _lastmile_v1_UnfreezeRequest, UnfreezeRequest__Output as _lastmile_v1_UnfreezeRequest__Output } from '../../lastmile/v1/UnfreezeRequest.ts';
import type { UnfreezeResponse as _lastmile_v1_UnfreezeResponse, UnfreezeResponse__Output as _lastmile_v1_UnfreezeResponse__Output } from '../../lastmile/v1/UnfreezeResponse.ts';

export interface AdminClient extends grpc.Client {
  AcceptClock(argument: _lastmile_v1_AcceptClockRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_AcceptClockResponse__Output>): grpc.ClientUnaryCall;
  AcceptClock(argument: _lastmile_v1_AcceptClockRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_AcceptClockResponse__Output>): grpc.ClientUnaryCall;
  AcceptClock(argument: _lastmile_v1_AcceptClockRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_AcceptClockResponse__Output>): grpc.ClientUnaryCall;
  AcceptClock(argument: _lastmile_v1_AcceptClockRequest, callback: grpc.requestCallback<_lastmile_v1_AcceptClockResponse__Output>): grpc.ClientUnaryCall;
  acceptClock(argument: _lastmile_v1_AcceptClockRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_AcceptClockResponse__Output>): grpc.ClientUnaryCall;
  acceptClock(argument: _lastmile_v1_AcceptClockRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_AcceptClockResponse__Output>): grpc.ClientUnaryCall;
  acceptClock(argument: _lastmile_v1_AcceptClockRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_AcceptClockResponse__Output>): grpc.ClientUnaryCall;
  acceptClock(argument: _lastmile_v1_AcceptClockRequest, callback: grpc.requestCallback<_lastmile_v1_AcceptClockResponse__Output>): grpc.ClientUnaryCall;
  
  ActivatePolicy(argument: _lastmile_v1_ActivatePolicyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ActivatePolicyResponse__Output>): grpc.ClientUnaryCall;
  ActivatePolicy(argument: _lastmile_v1_ActivatePolicyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ActivatePolicyResponse__Output>): grpc.ClientUnaryCall;
  ActivatePolicy(argument: _lastmile_v1_ActivatePolicyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ActivatePolicyResponse__Output>): grpc.ClientUnaryCall;
  ActivatePolicy(argument: _lastmile_v1_ActivatePolicyRequest, callback: grpc.requestCallback<_lastmile_v1_ActivatePolicyResponse__Output>): grpc.ClientUnaryCall;
  activatePolicy(argument: _lastmile_v1_ActivatePolicyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ActivatePolicyResponse__Output>): grpc.ClientUnaryCall;
  activatePolicy(argument: _lastmile_v1_ActivatePolicyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ActivatePolicyResponse__Output>): grpc.ClientUnaryCall;
  activatePolicy(argument: _lastmile_v1_ActivatePolicyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ActivatePolicyResponse__Output>): grpc.ClientUnaryCall;
  activatePolicy(argument: _lastmile_v1_ActivatePolicyRequest, callback: grpc.requestCallback<_lastmile_v1_ActivatePolicyResponse__Output>): grpc.ClientUnaryCall;
  
  CheckPolicy(argument: _lastmile_v1_CheckPolicyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_CheckPolicyResponse__Output>): grpc.ClientUnaryCall;
  CheckPolicy(argument: _lastmile_v1_CheckPolicyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_CheckPolicyResponse__Output>): grpc.ClientUnaryCall;
  CheckPolicy(argument: _lastmile_v1_CheckPolicyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_CheckPolicyResponse__Output>): grpc.ClientUnaryCall;
  CheckPolicy(argument: _lastmile_v1_CheckPolicyRequest, callback: grpc.requestCallback<_lastmile_v1_CheckPolicyResponse__Output>): grpc.ClientUnaryCall;
  checkPolicy(argument: _lastmile_v1_CheckPolicyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_CheckPolicyResponse__Output>): grpc.ClientUnaryCall;
  checkPolicy(argument: _lastmile_v1_CheckPolicyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_CheckPolicyResponse__Output>): grpc.ClientUnaryCall;
  checkPolicy(argument: _lastmile_v1_CheckPolicyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_CheckPolicyResponse__Output>): grpc.ClientUnaryCall;
  checkPolicy(argument: _lastmile_v1_CheckPolicyRequest, callback: grpc.requestCallback<_lastmile_v1_CheckPolicyResponse__Output>): grpc.ClientUnaryCall;
  
  CreateKey(argument: _lastmile_v1_CreateKeyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_CreateKeyResponse__Output>): grpc.ClientUnaryCall;
  CreateKey(argument: _lastmile_v1_CreateKeyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_CreateKeyResponse__Output>): grpc.ClientUnaryCall;
  CreateKey(argument: _lastmile_v1_CreateKeyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_CreateKeyResponse__Output>): grpc.ClientUnaryCall;
  CreateKey(argument: _lastmile_v1_CreateKeyRequest, callback: grpc.requestCallback<_lastmile_v1_CreateKeyResponse__Output>): grpc.ClientUnaryCall;
  createKey(argument: _lastmile_v1_CreateKeyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_CreateKeyResponse__Output>): grpc.ClientUnaryCall;
  createKey(argument: _lastmile_v1_CreateKeyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_CreateKeyResponse__Output>): grpc.ClientUnaryCall;
  createKey(argument: _lastmile_v1_CreateKeyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_CreateKeyResponse__Output>): grpc.ClientUnaryCall;
  createKey(argument: _lastmile_v1_CreateKeyRequest, callback: grpc.requestCallback<_lastmile_v1_CreateKeyResponse__Output>): grpc.ClientUnaryCall;
  
  DrainToken(argument: _lastmile_v1_DrainTokenRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_DrainTokenResponse__Output>): grpc.ClientUnaryCall;
  DrainToken(argument: _lastmile_v1_DrainTokenRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_DrainTokenResponse__Output>): grpc.ClientUnaryCall;
  DrainToken(argument: _lastmile_v1_DrainTokenRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_DrainTokenResponse__Output>): grpc.ClientUnaryCall;
  DrainToken(argument: _lastmile_v1_DrainTokenRequest, callback: grpc.requestCallback<_lastmile_v1_DrainTokenResponse__Output>): grpc.ClientUnaryCall;
  drainToken(argument: _lastmile_v1_DrainTokenRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_DrainTokenResponse__Output>): grpc.ClientUnaryCall;
  drainToken(argument: _lastmile_v1_DrainTokenRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_DrainTokenResponse__Output>): grpc.ClientUnaryCall;
  drainToken(argument: _lastmile_v1_DrainTokenRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_DrainTokenResponse__Output>): grpc.ClientUnaryCall;
  drainToken(argument: _lastmile_v1_DrainTokenRequest, callback: grpc.requestCallback<_lastmile_v1_DrainTokenResponse__Output>): grpc.ClientUnaryCall;
  
  ExplainPolicy(argument: _lastmile_v1_ExplainPolicyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ExplainPolicyResponse__Output>): grpc.ClientUnaryCall;
  ExplainPolicy(argument: _lastmile_v1_ExplainPolicyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ExplainPolicyResponse__Output>): grpc.ClientUnaryCall;
  ExplainPolicy(argument: _lastmile_v1_ExplainPolicyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ExplainPolicyResponse__Output>): grpc.ClientUnaryCall;
  ExplainPolicy(argument: _lastmile_v1_ExplainPolicyRequest, callback: grpc.requestCallback<_lastmile_v1_ExplainPolicyResponse__Output>): grpc.ClientUnaryCall;
  explainPolicy(argument: _lastmile_v1_ExplainPolicyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ExplainPolicyResponse__Output>): grpc.ClientUnaryCall;
  explainPolicy(argument: _lastmile_v1_ExplainPolicyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ExplainPolicyResponse__Output>): grpc.ClientUnaryCall;
  explainPolicy(argument: _lastmile_v1_ExplainPolicyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ExplainPolicyResponse__Output>): grpc.ClientUnaryCall;
  explainPolicy(argument: _lastmile_v1_ExplainPolicyRequest, callback: grpc.requestCallback<_lastmile_v1_ExplainPolicyResponse__Output>): grpc.ClientUnaryCall;
  
  Freeze(argument: _lastmile_v1_FreezeRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_FreezeResponse__Output>): grpc.ClientUnaryCall;
  Freeze(argument: _lastmile_v1_FreezeRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_FreezeResponse__Output>): grpc.ClientUnaryCall;
  Freeze(argument: _lastmile_v1_FreezeRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_FreezeResponse__Output>): grpc.ClientUnaryCall;
  Freeze(argument: _lastmile_v1_FreezeRequest, callback: grpc.requestCallback<_lastmile_v1_FreezeResponse__Output>): grpc.ClientUnaryCall;
  freeze(argument: _lastmile_v1_FreezeRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_FreezeResponse__Output>): grpc.ClientUnaryCall;
  freeze(argument: _lastmile_v1_FreezeRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_FreezeResponse__Output>): grpc.ClientUnaryCall;
  freeze(argument: _lastmile_v1_FreezeRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_FreezeResponse__Output>): grpc.ClientUnaryCall;
  freeze(argument: _lastmile_v1_FreezeRequest, callback: grpc.requestCallback<_lastmile_v1_FreezeResponse__Output>): grpc.ClientUnaryCall;
  
  GetKey(argument: _lastmile_v1_GetKeyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetKeyResponse__Output>): grpc.ClientUnaryCall;
  GetKey(argument: _lastmile_v1_GetKeyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetKeyResponse__Output>): grpc.ClientUnaryCall;
  GetKey(argument: _lastmile_v1_GetKeyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetKeyResponse__Output>): grpc.ClientUnaryCall;
  GetKey(argument: _lastmile_v1_GetKeyRequest, callback: grpc.requestCallback<_lastmile_v1_GetKeyResponse__Output>): grpc.ClientUnaryCall;
  getKey(argument: _lastmile_v1_GetKeyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetKeyResponse__Output>): grpc.ClientUnaryCall;
  getKey(argument: _lastmile_v1_GetKeyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetKeyResponse__Output>): grpc.ClientUnaryCall;
  getKey(argument: _lastmile_v1_GetKeyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetKeyResponse__Output>): grpc.ClientUnaryCall;
  getKey(argument: _lastmile_v1_GetKeyRequest, callback: grpc.requestCallback<_lastmile_v1_GetKeyResponse__Output>): grpc.ClientUnaryCall;
  
  GetPolicy(argument: _lastmile_v1_GetPolicyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetPolicyResponse__Output>): grpc.ClientUnaryCall;
  GetPolicy(argument: _lastmile_v1_GetPolicyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetPolicyResponse__Output>): grpc.ClientUnaryCall;
  GetPolicy(argument: _lastmile_v1_GetPolicyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetPolicyResponse__Output>): grpc.ClientUnaryCall;
  GetPolicy(argument: _lastmile_v1_GetPolicyRequest, callback: grpc.requestCallback<_lastmile_v1_GetPolicyResponse__Output>): grpc.ClientUnaryCall;
  getPolicy(argument: _lastmile_v1_GetPolicyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetPolicyResponse__Output>): grpc.ClientUnaryCall;
  getPolicy(argument: _lastmile_v1_GetPolicyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetPolicyResponse__Output>): grpc.ClientUnaryCall;
  getPolicy(argument: _lastmile_v1_GetPolicyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetPolicyResponse__Output>): grpc.ClientUnaryCall;
  getPolicy(argument: _lastmile_v1_GetPolicyRequest, callback: grpc.requestCallback<_lastmile_v1_GetPolicyResponse__Output>): grpc.ClientUnaryCall;
  
  GetStatus(argument: _lastmile_v1_GetStatusRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetStatusResponse__Output>): grpc.ClientUnaryCall;
  GetStatus(argument: _lastmile_v1_GetStatusRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetStatusResponse__Output>): grpc.ClientUnaryCall;
  GetStatus(argument: _lastmile_v1_GetStatusRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetStatusResponse__Output>): grpc.ClientUnaryCall;
  GetStatus(argument: _lastmile_v1_GetStatusRequest, callback: grpc.requestCallback<_lastmile_v1_GetStatusResponse__Output>): grpc.ClientUnaryCall;
  getStatus(argument: _lastmile_v1_GetStatusRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetStatusResponse__Output>): grpc.ClientUnaryCall;
  getStatus(argument: _lastmile_v1_GetStatusRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetStatusResponse__Output>): grpc.ClientUnaryCall;
  getStatus(argument: _lastmile_v1_GetStatusRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetStatusResponse__Output>): grpc.ClientUnaryCall;
  getStatus(argument: _lastmile_v1_GetStatusRequest, callback: grpc.requestCallback<_lastmile_v1_GetStatusResponse__Output>): grpc.ClientUnaryCall;
  
  ImportKey(argument: _lastmile_v1_ImportKeyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ImportKeyResponse__Output>): grpc.ClientUnaryCall;
  ImportKey(argument: _lastmile_v1_ImportKeyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ImportKeyResponse__Output>): grpc.ClientUnaryCall;
  ImportKey(argument: _lastmile_v1_ImportKeyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ImportKeyResponse__Output>): grpc.ClientUnaryCall;
  ImportKey(argument: _lastmile_v1_ImportKeyRequest, callback: grpc.requestCallback<_lastmile_v1_ImportKeyResponse__Output>): grpc.ClientUnaryCall;
  importKey(argument: _lastmile_v1_ImportKeyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ImportKeyResponse__Output>): grpc.ClientUnaryCall;
  importKey(argument: _lastmile_v1_ImportKeyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ImportKeyResponse__Output>): grpc.ClientUnaryCall;
  importKey(argument: _lastmile_v1_ImportKeyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ImportKeyResponse__Output>): grpc.ClientUnaryCall;
  importKey(argument: _lastmile_v1_ImportKeyRequest, callback: grpc.requestCallback<_lastmile_v1_ImportKeyResponse__Output>): grpc.ClientUnaryCall;
  
  ListFreezes(argument: _lastmile_v1_ListFreezesRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListFreezesResponse__Output>): grpc.ClientUnaryCall;
  ListFreezes(argument: _lastmile_v1_ListFreezesRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ListFreezesResponse__Output>): grpc.ClientUnaryCall;
  ListFreezes(argument: _lastmile_v1_ListFreezesRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListFreezesResponse__Output>): grpc.ClientUnaryCall;
  ListFreezes(argument: _lastmile_v1_ListFreezesRequest, callback: grpc.requestCallback<_lastmile_v1_ListFreezesResponse__Output>): grpc.ClientUnaryCall;
  listFreezes(argument: _lastmile_v1_ListFreezesRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListFreezesResponse__Output>): grpc.ClientUnaryCall;
  listFreezes(argument: _lastmile_v1_ListFreezesRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ListFreezesResponse__Output>): grpc.ClientUnaryCall;
  listFreezes(argument: _lastmile_v1_ListFreezesRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListFreezesResponse__Output>): grpc.ClientUnaryCall;
  listFreezes(argument: _lastmile_v1_ListFreezesRequest, callback: grpc.requestCallback<_lastmile_v1_ListFreezesResponse__Output>): grpc.ClientUnaryCall;
  
  ListKeyVersions(argument: _lastmile_v1_ListKeyVersionsRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListKeyVersionsResponse__Output>): grpc.ClientUnaryCall;
  ListKeyVersions(argument: _lastmile_v1_ListKeyVersionsRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ListKeyVersionsResponse__Output>): grpc.ClientUnaryCall;
  ListKeyVersions(argument: _lastmile_v1_ListKeyVersionsRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListKeyVersionsResponse__Output>): grpc.ClientUnaryCall;
  ListKeyVersions(argument: _lastmile_v1_ListKeyVersionsRequest, callback: grpc.requestCallback<_lastmile_v1_ListKeyVersionsResponse__Output>): grpc.ClientUnaryCall;
  listKeyVersions(argument: _lastmile_v1_ListKeyVersionsRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListKeyVersionsResponse__Output>): grpc.ClientUnaryCall;
  listKeyVersions(argument: _lastmile_v1_ListKeyVersionsRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ListKeyVersionsResponse__Output>): grpc.ClientUnaryCall;
  listKeyVersions(argument: _lastmile_v1_ListKeyVersionsRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListKeyVersionsResponse__Output>): grpc.ClientUnaryCall;
  listKeyVersions(argument: _lastmile_v1_ListKeyVersionsRequest, callback: grpc.requestCallback<_lastmile_v1_ListKeyVersionsResponse__Output>): grpc.ClientUnaryCall;
  
  ListPolicies(argument: _lastmile_v1_ListPoliciesRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListPoliciesResponse__Output>): grpc.ClientUnaryCall;
  ListPolicies(argument: _lastmile_v1_ListPoliciesRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ListPoliciesResponse__Output>): grpc.ClientUnaryCall;
  ListPolicies(argument: _lastmile_v1_ListPoliciesRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListPoliciesResponse__Output>): grpc.ClientUnaryCall;
  ListPolicies(argument: _lastmile_v1_ListPoliciesRequest, callback: grpc.requestCallback<_lastmile_v1_ListPoliciesResponse__Output>): grpc.ClientUnaryCall;
  listPolicies(argument: _lastmile_v1_ListPoliciesRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListPoliciesResponse__Output>): grpc.ClientUnaryCall;
  listPolicies(argument: _lastmile_v1_ListPoliciesRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ListPoliciesResponse__Output>): grpc.ClientUnaryCall;
  listPolicies(argument: _lastmile_v1_ListPoliciesRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListPoliciesResponse__Output>): grpc.ClientUnaryCall;
  listPolicies(argument: _lastmile_v1_ListPoliciesRequest, callback: grpc.requestCallback<_lastmile_v1_ListPoliciesResponse__Output>): grpc.ClientUnaryCall;
  
  ListTokens(argument: _lastmile_v1_ListTokensRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListTokensResponse__Output>): grpc.ClientUnaryCall;
  ListTokens(argument: _lastmile_v1_ListTokensRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ListTokensResponse__Output>): grpc.ClientUnaryCall;
  ListTokens(argument: _lastmile_v1_ListTokensRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListTokensResponse__Output>): grpc.ClientUnaryCall;
  ListTokens(argument: _lastmile_v1_ListTokensRequest, callback: grpc.requestCallback<_lastmile_v1_ListTokensResponse__Output>): grpc.ClientUnaryCall;
  listTokens(argument: _lastmile_v1_ListTokensRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListTokensResponse__Output>): grpc.ClientUnaryCall;
  listTokens(argument: _lastmile_v1_ListTokensRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ListTokensResponse__Output>): grpc.ClientUnaryCall;
  listTokens(argument: _lastmile_v1_ListTokensRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListTokensResponse__Output>): grpc.ClientUnaryCall;
  listTokens(argument: _lastmile_v1_ListTokensRequest, callback: grpc.requestCallback<_lastmile_v1_ListTokensResponse__Output>): grpc.ClientUnaryCall;
  
  ProposePolicy(argument: _lastmile_v1_ProposePolicyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ProposePolicyResponse__Output>): grpc.ClientUnaryCall;
  ProposePolicy(argument: _lastmile_v1_ProposePolicyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ProposePolicyResponse__Output>): grpc.ClientUnaryCall;
  ProposePolicy(argument: _lastmile_v1_ProposePolicyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ProposePolicyResponse__Output>): grpc.ClientUnaryCall;
  ProposePolicy(argument: _lastmile_v1_ProposePolicyRequest, callback: grpc.requestCallback<_lastmile_v1_ProposePolicyResponse__Output>): grpc.ClientUnaryCall;
  proposePolicy(argument: _lastmile_v1_ProposePolicyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ProposePolicyResponse__Output>): grpc.ClientUnaryCall;
  proposePolicy(argument: _lastmile_v1_ProposePolicyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ProposePolicyResponse__Output>): grpc.ClientUnaryCall;
  proposePolicy(argument: _lastmile_v1_ProposePolicyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ProposePolicyResponse__Output>): grpc.ClientUnaryCall;
  proposePolicy(argument: _lastmile_v1_ProposePolicyRequest, callback: grpc.requestCallback<_lastmile_v1_ProposePolicyResponse__Output>): grpc.ClientUnaryCall;
  
  ReloadPolicy(argument: _lastmile_v1_ReloadPolicyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ReloadPolicyResponse__Output>): grpc.ClientUnaryCall;
  ReloadPolicy(argument: _lastmile_v1_ReloadPolicyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ReloadPolicyResponse__Output>): grpc.ClientUnaryCall;
  ReloadPolicy(argument: _lastmile_v1_ReloadPolicyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ReloadPolicyResponse__Output>): grpc.ClientUnaryCall;
  ReloadPolicy(argument: _lastmile_v1_ReloadPolicyRequest, callback: grpc.requestCallback<_lastmile_v1_ReloadPolicyResponse__Output>): grpc.ClientUnaryCall;
  reloadPolicy(argument: _lastmile_v1_ReloadPolicyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ReloadPolicyResponse__Output>): grpc.ClientUnaryCall;
  reloadPolicy(argument: _lastmile_v1_ReloadPolicyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ReloadPolicyResponse__Output>): grpc.ClientUnaryCall;
  reloadPolicy(argument: _lastmile_v1_ReloadPolicyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ReloadPolicyResponse__Output>): grpc.ClientUnaryCall;
  reloadPolicy(argument: _lastmile_v1_ReloadPolicyRequest, callback: grpc.requestCallback<_lastmile_v1_ReloadPolicyResponse__Output>): grpc.ClientUnaryCall;
  
  UnblockToken(argument: _lastmile_v1_UnblockTokenRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_UnblockTokenResponse__Output>): grpc.ClientUnaryCall;
  UnblockToken(argument: _lastmile_v1_UnblockTokenRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_UnblockTokenResponse__Output>): grpc.ClientUnaryCall;
  UnblockToken(argument: _lastmile_v1_UnblockTokenRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_UnblockTokenResponse__Output>): grpc.ClientUnaryCall;
  UnblockToken(argument: _lastmile_v1_UnblockTokenRequest, callback: grpc.requestCallback<_lastmile_v1_UnblockTokenResponse__Output>): grpc.ClientUnaryCall;
  unblockToken(argument: _lastmile_v1_UnblockTokenRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_UnblockTokenResponse__Output>): grpc.ClientUnaryCall;
  unblockToken(argument: _lastmile_v1_UnblockTokenRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_UnblockTokenResponse__Output>): grpc.ClientUnaryCall;
  unblockToken(argument: _lastmile_v1_UnblockTokenRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_UnblockTokenResponse__Output>): grpc.ClientUnaryCall;
  unblockToken(argument: _lastmile_v1_UnblockTokenRequest, callback: grpc.requestCallback<_lastmile_v1_UnblockTokenResponse__Output>): grpc.ClientUnaryCall;
  
  UndrainToken(argument: _lastmile_v1_UndrainTokenRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_UndrainTokenResponse__Output>): grpc.ClientUnaryCall;
  UndrainToken(argument: _lastmile_v1_UndrainTokenRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_UndrainTokenResponse__Output>): grpc.ClientUnaryCall;
  UndrainToken(argument: _lastmile_v1_UndrainTokenRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_UndrainTokenResponse__Output>): grpc.ClientUnaryCall;
  UndrainToken(argument: _lastmile_v1_UndrainTokenRequest, callback: grpc.requestCallback<_lastmile_v1_UndrainTokenResponse__Output>): grpc.ClientUnaryCall;
  undrainToken(argument: _lastmile_v1_UndrainTokenRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_UndrainTokenResponse__Output>): grpc.ClientUnaryCall;
  undrainToken(argument: _lastmile_v1_UndrainTokenRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_UndrainTokenResponse__Output>): grpc.ClientUnaryCall;
  undrainToken(argument: _lastmile_v1_UndrainTokenRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_UndrainTokenResponse__Output>): grpc.ClientUnaryCall;
  undrainToken(argument: _lastmile_v1_UndrainTokenRequest, callback: grpc.requestCallback<_lastmile_v1_UndrainTokenResponse__Output>): grpc.ClientUnaryCall;
  
  Unfreeze(argument: _lastmile_v1_UnfreezeRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_UnfreezeResponse__Output>): grpc.ClientUnaryCall;
  Unfreeze(argument: _lastmile_v1_UnfreezeRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_UnfreezeResponse__Output>): grpc.ClientUnaryCall;
  Unfreeze(argument: _lastmile_v1_UnfreezeRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_UnfreezeResponse__Output>): grpc.ClientUnaryCall;
  Unfreeze(argument: _lastmile_v1_UnfreezeRequest, callback: grpc.requestCallback<_lastmile_v1_UnfreezeResponse__Output>): grpc.ClientUnaryCall;
  unfreeze(argument: _lastmile_v1_UnfreezeRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_UnfreezeResponse__Output>): grpc.ClientUnaryCall;
  unfreeze(argument: _lastmile_v1_UnfreezeRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_UnfreezeResponse__Output>): grpc.ClientUnaryCall;
  unfreeze(argument: _lastmile_v1_UnfreezeRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_UnfreezeResponse__Output>): grpc.ClientUnaryCall;
  unfreeze(argument: _lastmile_v1_UnfreezeRequest, callback: grpc.requestCallback<_lastmile_v1_UnfreezeResponse__Output>): grpc.ClientUnaryCall;
  
}

export interface AdminHandlers extends grpc.UntypedServiceImplementation {
  AcceptClock: grpc.handleUnaryCall<_lastmile_v1_AcceptClockRequest__Output, _lastmile_v1_AcceptClockResponse>;
  
  ActivatePolicy: grpc.handleUnaryCall<_lastmile_v1_ActivatePolicyRequest__Output, _lastmile_v1_ActivatePolicyResponse>;
  
  CheckPolicy: grpc.handleUnaryCall<_lastmile_v1_CheckPolicyRequest__Output, _lastmile_v1_CheckPolicyResponse>;
  
  CreateKey: grpc.handleUnaryCall<_lastmile_v1_CreateKeyRequest__Output, _lastmile_v1_CreateKeyResponse>;
  
  DrainToken: grpc.handleUnaryCall<_lastmile_v1_DrainTokenRequest__Output, _lastmile_v1_DrainTokenResponse>;
  
  ExplainPolicy: grpc.handleUnaryCall<_lastmile_v1_ExplainPolicyRequest__Output, _lastmile_v1_ExplainPolicyResponse>;
  
  Freeze: grpc.handleUnaryCall<_lastmile_v1_FreezeRequest__Output, _lastmile_v1_FreezeResponse>;
  
  GetKey: grpc.handleUnaryCall<_lastmile_v1_GetKeyRequest__Output, _lastmile_v1_GetKeyResponse>;
  
  GetPolicy: grpc.handleUnaryCall<_lastmile_v1_GetPolicyRequest__Output, _lastmile_v1_GetPolicyResponse>;
  
  GetStatus: grpc.handleUnaryCall<_lastmile_v1_GetStatusRequest__Output, _lastmile_v1_GetStatusResponse>;
  
  ImportKey: grpc.handleUnaryCall<_lastmile_v1_ImportKeyRequest__Output, _lastmile_v1_ImportKeyResponse>;
  
  ListFreezes: grpc.handleUnaryCall<_lastmile_v1_ListFreezesRequest__Output, _lastmile_v1_ListFreezesResponse>;
  
  ListKeyVersions: grpc.handleUnaryCall<_lastmile_v1_ListKeyVersionsRequest__Output, _lastmile_v1_ListKeyVersionsResponse>;
  
  ListPolicies: grpc.handleUnaryCall<_lastmile_v1_ListPoliciesRequest__Output, _lastmile_v1_ListPoliciesResponse>;
  
  ListTokens: grpc.handleUnaryCall<_lastmile_v1_ListTokensRequest__Output, _lastmile_v1_ListTokensResponse>;
  
  ProposePolicy: grpc.handleUnaryCall<_lastmile_v1_ProposePolicyRequest__Output, _lastmile_v1_ProposePolicyResponse>;
  
  ReloadPolicy: grpc.handleUnaryCall<_lastmile_v1_ReloadPolicyRequest__Output, _lastmile_v1_ReloadPolicyResponse>;
  
  UnblockToken: grpc.handleUnaryCall<_lastmile_v1_UnblockTokenRequest__Output, _lastmile_v1_UnblockTokenResponse>;
  
  UndrainToken: grpc.handleUnaryCall<_lastmile_v1_UndrainTokenRequest__Output, _lastmile_v1_UndrainTokenResponse>;
  
  Unfreeze: grpc.handleUnaryCall<_lastmile_v1_UnfreezeRequest__Output, _lastmile_v1_UnfreezeResponse>;
  
}

export interface AdminDefinition extends grpc.ServiceDefinition {
  AcceptClock: MethodDefinition<_lastmile_v1_AcceptClockRequest, _lastmile_v1_AcceptClockResponse, _lastmile_v1_AcceptClockRequest__Output, _lastmile_v1_AcceptClockResponse__Output>
  ActivatePolicy: MethodDefinition<_lastmile_v1_ActivatePolicyRequest, _lastmile_v1_ActivatePolicyResponse, _lastmile_v1_ActivatePolicyRequest__Output, _lastmile_v1_ActivatePolicyResponse__Output>
  CheckPolicy: MethodDefinition<_lastmile_v1_CheckPolicyRequest, _lastmile_v1_CheckPolicyResponse, _lastmile_v1_CheckPolicyRequest__Output, _lastmile_v1_CheckPolicyResponse__Output>
  CreateKey: MethodDefinition<_lastmile_v1_CreateKeyRequest, _lastmile_v1_CreateKeyResponse, _lastmile_v1_CreateKeyRequest__Output, _lastmile_v1_CreateKeyResponse__Output>
  DrainToken: MethodDefinition<_lastmile_v1_DrainTokenRequest, _lastmile_v1_DrainTokenResponse, _lastmile_v1_DrainTokenRequest__Output, _lastmile_v1_DrainTokenResponse__Output>
  ExplainPolicy: MethodDefinition<_lastmile_v1_ExplainPolicyRequest, _lastmile_v1_ExplainPolicyResponse, _lastmile_v1_ExplainPolicyRequest__Output, _lastmile_v1_ExplainPolicyResponse__Output>
  Freeze: MethodDefinition<_lastmile_v1_FreezeRequest, _lastmile_v1_FreezeResponse, _lastmile_v1_FreezeRequest__Output, _lastmile_v1_FreezeResponse__Output>
  GetKey: MethodDefinition<_lastmile_v1_GetKeyRequest, _lastmile_v1_GetKeyResponse, _lastmile_v1_GetKeyRequest__Output, _lastmile_v1_GetKeyResponse__Output>
  GetPolicy: MethodDefinition<_lastmile_v1_GetPolicyRequest, _lastmile_v1_GetPolicyResponse, _lastmile_v1_GetPolicyRequest__Output, _lastmile_v1_GetPolicyResponse__Output>
  GetStatus: MethodDefinition<_lastmile_v1_GetStatusRequest, _lastmile_v1_GetStatusResponse, _lastmile_v1_GetStatusRequest__Output, _lastmile_v1_GetStatusResponse__Output>
  ImportKey: MethodDefinition<_lastmile_v1_ImportKeyRequest, _lastmile_v1_ImportKeyResponse, _lastmile_v1_ImportKeyRequest__Output, _lastmile_v1_ImportKeyResponse__Output>
  ListFreezes: MethodDefinition<_lastmile_v1_ListFreezesRequest, _lastmile_v1_ListFreezesResponse, _lastmile_v1_ListFreezesRequest__Output, _lastmile_v1_ListFreezesResponse__Output>
  ListKeyVersions: MethodDefinition<_lastmile_v1_ListKeyVersionsRequest, _lastmile_v1_ListKeyVersionsResponse, _lastmile_v1_ListKeyVersionsRequest__Output, _lastmile_v1_ListKeyVersionsResponse__Output>
  ListPolicies: MethodDefinition<_lastmile_v1_ListPoliciesRequest, _lastmile_v1_ListPoliciesResponse, _lastmile_v1_ListPoliciesRequest__Output, _lastmile_v1_ListPoliciesResponse__Output>
  ListTokens: MethodDefinition<_lastmile_v1_ListTokensRequest, _lastmile_v1_ListTokensResponse, _lastmile_v1_ListTokensRequest__Output, _lastmile_v1_ListTokensResponse__Output>
  ProposePolicy: MethodDefinition<_lastmile_v1_ProposePolicyRequest, _lastmile_v1_ProposePolicyResponse, _lastmile_v1_ProposePolicyRequest__Output, _lastmile_v1_ProposePolicyResponse__Output>
  ReloadPolicy: MethodDefinition<_lastmile_v1_ReloadPolicyRequest, _lastmile_v1_ReloadPolicyResponse, _lastmile_v1_ReloadPolicyRequest__Output, _lastmile_v1_ReloadPolicyResponse__Output>
  UnblockToken: MethodDefinition<_lastmile_v1_UnblockTokenRequest, _lastmile_v1_UnblockTokenResponse, _lastmile_v1_UnblockTokenRequest__Output, _lastmile_v1_UnblockTokenResponse__Output>
  UndrainToken: MethodDefinition<_lastmile_v1_UndrainTokenRequest, _lastmile_v1_UndrainTokenResponse, _lastmile_v1_UndrainTokenRequest__Output, _lastmile_v1_UndrainTokenResponse__Output>
  Unfreeze: MethodDefinition<_lastmile_v1_UnfreezeRequest, _lastmile_v1_UnfreezeResponse, _lastmile_v1_UnfreezeRequest__Output, _lastmile_v1_UnfreezeResponse__Output>
}
