import type * as grpc from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';

import type { AcceptClockRequest as _lastmile_v1_AcceptClockRequest, AcceptClockRequest__Output as _lastmile_v1_AcceptClockRequest__Output } from './lastmile/v1/AcceptClockRequest.ts';
import type { AcceptClockResponse as _lastmile_v1_AcceptClockResponse, AcceptClockResponse__Output as _lastmile_v1_AcceptClockResponse__Output } from './lastmile/v1/AcceptClockResponse.ts';
import type { ActivatePolicyRequest as _lastmile_v1_ActivatePolicyRequest, ActivatePolicyRequest__Output as _lastmile_v1_ActivatePolicyRequest__Output } from './lastmile/v1/ActivatePolicyRequest.ts';
import type { ActivatePolicyResponse as _lastmile_v1_ActivatePolicyResponse, ActivatePolicyResponse__Output as _lastmile_v1_ActivatePolicyResponse__Output } from './lastmile/v1/ActivatePolicyResponse.ts';
import type { AdminClient as _lastmile_v1_AdminClient, AdminDefinition as _lastmile_v1_AdminDefinition } from './lastmile/v1/Admin.ts';
import type { CheckPolicyRequest as _lastmile_v1_CheckPolicyRequest, CheckPolicyRequest__Output as _lastmile_v1_CheckPolicyRequest__Output } from './lastmile/v1/CheckPolicyRequest.ts';
import type { CheckPolicyResponse as _lastmile_v1_CheckPolicyResponse, CheckPolicyResponse__Output as _lastmile_v1_CheckPolicyResponse__Output } from './lastmile/v1/CheckPolicyResponse.ts';
import type { ClockStatus as _lastmile_v1_ClockStatus, ClockStatus__Output as _lastmile_v1_ClockStatus__Output } from './lastmile/v1/ClockStatus.ts';
import type { CreateKeyRequest as _lastmile_v1_CreateKeyRequest, CreateKeyRequest__Output as _lastmile_v1_CreateKeyRequest__Output } from './lastmile/v1/CreateKeyRequest.ts';
import type { CreateKeyResponse as _lastmile_v1_CreateKeyResponse, CreateKeyResponse__Output as _lastmile_v1_CreateKeyResponse__Output } from './lastmile/v1/CreateKeyResponse.ts';
import type { DrainTokenRequest as _lastmile_v1_DrainTokenRequest, DrainTokenRequest__Output as _lastmile_v1_DrainTokenRequest__Output } from './lastmile/v1/DrainTokenRequest.ts';
import type { DrainTokenResponse as _lastmile_v1_DrainTokenResponse, DrainTokenResponse__Output as _lastmile_v1_DrainTokenResponse__Output } from './lastmile/v1/DrainTokenResponse.ts';
import type { ExplainPolicyRequest as _lastmile_v1_ExplainPolicyRequest, ExplainPolicyRequest__Output as _lastmile_v1_ExplainPolicyRequest__Output } from './lastmile/v1/ExplainPolicyRequest.ts';
import type { ExplainPolicyResponse as _lastmile_v1_ExplainPolicyResponse, ExplainPolicyResponse__Output as _lastmile_v1_ExplainPolicyResponse__Output } from './lastmile/v1/ExplainPolicyResponse.ts';
import type { FreezeRecord as _lastmile_v1_FreezeRecord, FreezeRecord__Output as _lastmile_v1_FreezeRecord__Output } from './lastmile/v1/FreezeRecord.ts';
import type { FreezeRequest as _lastmile_v1_FreezeRequest, FreezeRequest__Output as _lastmile_v1_FreezeRequest__Output } from './lastmile/v1/FreezeRequest.ts';
import type { FreezeResponse as _lastmile_v1_FreezeResponse, FreezeResponse__Output as _lastmile_v1_FreezeResponse__Output } from './lastmile/v1/FreezeResponse.ts';
import type { GetKeyRequest as _lastmile_v1_GetKeyRequest, GetKeyRequest__Output as _lastmile_v1_GetKeyRequest__Output } from './lastmile/v1/GetKeyRequest.ts';
import type { GetKeyResponse as _lastmile_v1_GetKeyResponse, GetKeyResponse__Output as _lastmile_v1_GetKeyResponse__Output } from './lastmile/v1/GetKeyResponse.ts';
import type { GetPolicyRequest as _lastmile_v1_GetPolicyRequest, GetPolicyRequest__Output as _lastmile_v1_GetPolicyRequest__Output } from './lastmile/v1/GetPolicyRequest.ts';
import type { GetPolicyResponse as _lastmile_v1_GetPolicyResponse, GetPolicyResponse__Output as _lastmile_v1_GetPolicyResponse__Output } from './lastmile/v1/GetPolicyResponse.ts';
import type { GetStatusRequest as _lastmile_v1_GetStatusRequest, GetStatusRequest__Output as _lastmile_v1_GetStatusRequest__Output } from './lastmile/v1/GetStatusRequest.ts';
import type { GetStatusResponse as _lastmile_v1_GetStatusResponse, GetStatusResponse__Output as _lastmile_v1_GetStatusResponse__Output } from './lastmile/v1/GetStatusResponse.ts';
import type { ImportKeyRequest as _lastmile_v1_ImportKeyRequest, ImportKeyRequest__Output as _lastmile_v1_ImportKeyRequest__Output } from './lastmile/v1/ImportKeyRequest.ts';
import type { ImportKeyResponse as _lastmile_v1_ImportKeyResponse, ImportKeyResponse__Output as _lastmile_v1_ImportKeyResponse__Output } from './lastmile/v1/ImportKeyResponse.ts';
import type { KeyVersion as _lastmile_v1_KeyVersion, KeyVersion__Output as _lastmile_v1_KeyVersion__Output } from './lastmile/v1/KeyVersion.ts';
import type { ListFreezesRequest as _lastmile_v1_ListFreezesRequest, ListFreezesRequest__Output as _lastmile_v1_ListFreezesRequest__Output } from './lastmile/v1/ListFreezesRequest.ts';
import type { ListFreezesResponse as _lastmile_v1_ListFreezesResponse, ListFreezesResponse__Output as _lastmile_v1_ListFreezesResponse__Output } from './lastmile/v1/ListFreezesResponse.ts';
import type { ListKeyVersionsRequest as _lastmile_v1_ListKeyVersionsRequest, ListKeyVersionsRequest__Output as _lastmile_v1_ListKeyVersionsRequest__Output } from './lastmile/v1/ListKeyVersionsRequest.ts';
import type { ListKeyVersionsResponse as _lastmile_v1_ListKeyVersionsResponse, ListKeyVersionsResponse__Output as _lastmile_v1_ListKeyVersionsResponse__Output } from './lastmile/v1/ListKeyVersionsResponse.ts';
import type { ListPoliciesRequest as _lastmile_v1_ListPoliciesRequest, ListPoliciesRequest__Output as _lastmile_v1_ListPoliciesRequest__Output } from './lastmile/v1/ListPoliciesRequest.ts';
import type { ListPoliciesResponse as _lastmile_v1_ListPoliciesResponse, ListPoliciesResponse__Output as _lastmile_v1_ListPoliciesResponse__Output } from './lastmile/v1/ListPoliciesResponse.ts';
import type { ListTokensRequest as _lastmile_v1_ListTokensRequest, ListTokensRequest__Output as _lastmile_v1_ListTokensRequest__Output } from './lastmile/v1/ListTokensRequest.ts';
import type { ListTokensResponse as _lastmile_v1_ListTokensResponse, ListTokensResponse__Output as _lastmile_v1_ListTokensResponse__Output } from './lastmile/v1/ListTokensResponse.ts';
import type { LogPosition as _lastmile_v1_LogPosition, LogPosition__Output as _lastmile_v1_LogPosition__Output } from './lastmile/v1/LogPosition.ts';
import type { PolicyActivation as _lastmile_v1_PolicyActivation, PolicyActivation__Output as _lastmile_v1_PolicyActivation__Output } from './lastmile/v1/PolicyActivation.ts';
import type { PolicyFinding as _lastmile_v1_PolicyFinding, PolicyFinding__Output as _lastmile_v1_PolicyFinding__Output } from './lastmile/v1/PolicyFinding.ts';
import type { ProcessStatus as _lastmile_v1_ProcessStatus, ProcessStatus__Output as _lastmile_v1_ProcessStatus__Output } from './lastmile/v1/ProcessStatus.ts';
import type { ProposePolicyRequest as _lastmile_v1_ProposePolicyRequest, ProposePolicyRequest__Output as _lastmile_v1_ProposePolicyRequest__Output } from './lastmile/v1/ProposePolicyRequest.ts';
import type { ProposePolicyResponse as _lastmile_v1_ProposePolicyResponse, ProposePolicyResponse__Output as _lastmile_v1_ProposePolicyResponse__Output } from './lastmile/v1/ProposePolicyResponse.ts';
import type { ReloadPolicyRequest as _lastmile_v1_ReloadPolicyRequest, ReloadPolicyRequest__Output as _lastmile_v1_ReloadPolicyRequest__Output } from './lastmile/v1/ReloadPolicyRequest.ts';
import type { ReloadPolicyResponse as _lastmile_v1_ReloadPolicyResponse, ReloadPolicyResponse__Output as _lastmile_v1_ReloadPolicyResponse__Output } from './lastmile/v1/ReloadPolicyResponse.ts';
import type { RuleExplanation as _lastmile_v1_RuleExplanation, RuleExplanation__Output as _lastmile_v1_RuleExplanation__Output } from './lastmile/v1/RuleExplanation.ts';
import type { TokenStatus as _lastmile_v1_TokenStatus, TokenStatus__Output as _lastmile_v1_TokenStatus__Output } from './lastmile/v1/TokenStatus.ts';
import type { UnblockTokenRequest as _lastmile_v1_UnblockTokenRequest, UnblockTokenRequest__Output as _lastmile_v1_UnblockTokenRequest__Output } from './lastmile/v1/UnblockTokenRequest.ts';
import type { UnblockTokenResponse as _lastmile_v1_UnblockTokenResponse, UnblockTokenResponse__Output as _lastmile_v1_UnblockTokenResponse__Output } from './lastmile/v1/UnblockTokenResponse.ts';
import type { UndrainTokenRequest as _lastmile_v1_UndrainTokenRequest, UndrainTokenRequest__Output as _lastmile_v1_UndrainTokenRequest__Output } from './lastmile/v1/UndrainTokenRequest.ts';
import type { UndrainTokenResponse as _lastmile_v1_UndrainTokenResponse, UndrainTokenResponse__Output as _lastmile_v1_UndrainTokenResponse__Output } from './lastmile/v1/UndrainTokenResponse.ts';
import type { UnfreezeRequest as _lastmile_v1_UnfreezeRequest, UnfreezeRequest__Output as _lastmile_v1_UnfreezeRequest__Output } from './lastmile/v1/UnfreezeRequest.ts';
import type { UnfreezeResponse as _lastmile_v1_UnfreezeResponse, UnfreezeResponse__Output as _lastmile_v1_UnfreezeResponse__Output } from './lastmile/v1/UnfreezeResponse.ts';
import type { WrappedKey as _lastmile_v1_WrappedKey, WrappedKey__Output as _lastmile_v1_WrappedKey__Output } from './lastmile/v1/WrappedKey.ts';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  lastmile: {
    v1: {
      AcceptClockRequest: MessageTypeDefinition<_lastmile_v1_AcceptClockRequest, _lastmile_v1_AcceptClockRequest__Output>
      AcceptClockResponse: MessageTypeDefinition<_lastmile_v1_AcceptClockResponse, _lastmile_v1_AcceptClockResponse__Output>
      ActivatePolicyRequest: MessageTypeDefinition<_lastmile_v1_ActivatePolicyRequest, _lastmile_v1_ActivatePolicyRequest__Output>
      ActivatePolicyResponse: MessageTypeDefinition<_lastmile_v1_ActivatePolicyResponse, _lastmile_v1_ActivatePolicyResponse__Output>
      Admin: SubtypeConstructor<typeof grpc.Client, _lastmile_v1_AdminClient> & { service: _lastmile_v1_AdminDefinition }
      CheckPolicyRequest: MessageTypeDefinition<_lastmile_v1_CheckPolicyRequest, _lastmile_v1_CheckPolicyRequest__Output>
      CheckPolicyResponse: MessageTypeDefinition<_lastmile_v1_CheckPolicyResponse, _lastmile_v1_CheckPolicyResponse__Output>
      ClockStatus: MessageTypeDefinition<_lastmile_v1_ClockStatus, _lastmile_v1_ClockStatus__Output>
      CreateKeyRequest: MessageTypeDefinition<_lastmile_v1_CreateKeyRequest, _lastmile_v1_CreateKeyRequest__Output>
      CreateKeyResponse: MessageTypeDefinition<_lastmile_v1_CreateKeyResponse, _lastmile_v1_CreateKeyResponse__Output>
      DrainTokenRequest: MessageTypeDefinition<_lastmile_v1_DrainTokenRequest, _lastmile_v1_DrainTokenRequest__Output>
      DrainTokenResponse: MessageTypeDefinition<_lastmile_v1_DrainTokenResponse, _lastmile_v1_DrainTokenResponse__Output>
      ExplainPolicyRequest: MessageTypeDefinition<_lastmile_v1_ExplainPolicyRequest, _lastmile_v1_ExplainPolicyRequest__Output>
      ExplainPolicyResponse: MessageTypeDefinition<_lastmile_v1_ExplainPolicyResponse, _lastmile_v1_ExplainPolicyResponse__Output>
      FreezeRecord: MessageTypeDefinition<_lastmile_v1_FreezeRecord, _lastmile_v1_FreezeRecord__Output>
      FreezeRequest: MessageTypeDefinition<_lastmile_v1_FreezeRequest, _lastmile_v1_FreezeRequest__Output>
      FreezeResponse: MessageTypeDefinition<_lastmile_v1_FreezeResponse, _lastmile_v1_FreezeResponse__Output>
      GetKeyRequest: MessageTypeDefinition<_lastmile_v1_GetKeyRequest, _lastmile_v1_GetKeyRequest__Output>
      GetKeyResponse: MessageTypeDefinition<_lastmile_v1_GetKeyResponse, _lastmile_v1_GetKeyResponse__Output>
      GetPolicyRequest: MessageTypeDefinition<_lastmile_v1_GetPolicyRequest, _lastmile_v1_GetPolicyRequest__Output>
      GetPolicyResponse: MessageTypeDefinition<_lastmile_v1_GetPolicyResponse, _lastmile_v1_GetPolicyResponse__Output>
      GetStatusRequest: MessageTypeDefinition<_lastmile_v1_GetStatusRequest, _lastmile_v1_GetStatusRequest__Output>
      GetStatusResponse: MessageTypeDefinition<_lastmile_v1_GetStatusResponse, _lastmile_v1_GetStatusResponse__Output>
      ImportKeyRequest: MessageTypeDefinition<_lastmile_v1_ImportKeyRequest, _lastmile_v1_ImportKeyRequest__Output>
      ImportKeyResponse: MessageTypeDefinition<_lastmile_v1_ImportKeyResponse, _lastmile_v1_ImportKeyResponse__Output>
      KeyVersion: MessageTypeDefinition<_lastmile_v1_KeyVersion, _lastmile_v1_KeyVersion__Output>
      ListFreezesRequest: MessageTypeDefinition<_lastmile_v1_ListFreezesRequest, _lastmile_v1_ListFreezesRequest__Output>
      ListFreezesResponse: MessageTypeDefinition<_lastmile_v1_ListFreezesResponse, _lastmile_v1_ListFreezesResponse__Output>
      ListKeyVersionsRequest: MessageTypeDefinition<_lastmile_v1_ListKeyVersionsRequest, _lastmile_v1_ListKeyVersionsRequest__Output>
      ListKeyVersionsResponse: MessageTypeDefinition<_lastmile_v1_ListKeyVersionsResponse, _lastmile_v1_ListKeyVersionsResponse__Output>
      ListPoliciesRequest: MessageTypeDefinition<_lastmile_v1_ListPoliciesRequest, _lastmile_v1_ListPoliciesRequest__Output>
      ListPoliciesResponse: MessageTypeDefinition<_lastmile_v1_ListPoliciesResponse, _lastmile_v1_ListPoliciesResponse__Output>
      ListTokensRequest: MessageTypeDefinition<_lastmile_v1_ListTokensRequest, _lastmile_v1_ListTokensRequest__Output>
      ListTokensResponse: MessageTypeDefinition<_lastmile_v1_ListTokensResponse, _lastmile_v1_ListTokensResponse__Output>
      LogPosition: MessageTypeDefinition<_lastmile_v1_LogPosition, _lastmile_v1_LogPosition__Output>
      PolicyActivation: MessageTypeDefinition<_lastmile_v1_PolicyActivation, _lastmile_v1_PolicyActivation__Output>
      PolicyFinding: MessageTypeDefinition<_lastmile_v1_PolicyFinding, _lastmile_v1_PolicyFinding__Output>
      ProcessStatus: MessageTypeDefinition<_lastmile_v1_ProcessStatus, _lastmile_v1_ProcessStatus__Output>
      ProposePolicyRequest: MessageTypeDefinition<_lastmile_v1_ProposePolicyRequest, _lastmile_v1_ProposePolicyRequest__Output>
      ProposePolicyResponse: MessageTypeDefinition<_lastmile_v1_ProposePolicyResponse, _lastmile_v1_ProposePolicyResponse__Output>
      ReloadPolicyRequest: MessageTypeDefinition<_lastmile_v1_ReloadPolicyRequest, _lastmile_v1_ReloadPolicyRequest__Output>
      ReloadPolicyResponse: MessageTypeDefinition<_lastmile_v1_ReloadPolicyResponse, _lastmile_v1_ReloadPolicyResponse__Output>
      RuleExplanation: MessageTypeDefinition<_lastmile_v1_RuleExplanation, _lastmile_v1_RuleExplanation__Output>
      TokenStatus: MessageTypeDefinition<_lastmile_v1_TokenStatus, _lastmile_v1_TokenStatus__Output>
      UnblockTokenRequest: MessageTypeDefinition<_lastmile_v1_UnblockTokenRequest, _lastmile_v1_UnblockTokenRequest__Output>
      UnblockTokenResponse: MessageTypeDefinition<_lastmile_v1_UnblockTokenResponse, _lastmile_v1_UnblockTokenResponse__Output>
      UndrainTokenRequest: MessageTypeDefinition<_lastmile_v1_UndrainTokenRequest, _lastmile_v1_UndrainTokenRequest__Output>
      UndrainTokenResponse: MessageTypeDefinition<_lastmile_v1_UndrainTokenResponse, _lastmile_v1_UndrainTokenResponse__Output>
      UnfreezeRequest: MessageTypeDefinition<_lastmile_v1_UnfreezeRequest, _lastmile_v1_UnfreezeRequest__Output>
      UnfreezeResponse: MessageTypeDefinition<_lastmile_v1_UnfreezeResponse, _lastmile_v1_UnfreezeResponse__Output>
      WrappedKey: MessageTypeDefinition<_lastmile_v1_WrappedKey, _lastmile_v1_WrappedKey__Output>
    }
  }
}

