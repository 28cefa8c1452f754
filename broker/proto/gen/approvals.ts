import type * as grpc from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';

import type { AcceptStateRequest as _lastmile_v1_AcceptStateRequest, AcceptStateRequest__Output as _lastmile_v1_AcceptStateRequest__Output } from './lastmile/v1/AcceptStateRequest.ts';
import type { AcceptStateResponse as _lastmile_v1_AcceptStateResponse, AcceptStateResponse__Output as _lastmile_v1_AcceptStateResponse__Output } from './lastmile/v1/AcceptStateResponse.ts';
import type { Approval as _lastmile_v1_Approval, Approval__Output as _lastmile_v1_Approval__Output } from './lastmile/v1/Approval.ts';
import type { ApprovalVote as _lastmile_v1_ApprovalVote, ApprovalVote__Output as _lastmile_v1_ApprovalVote__Output } from './lastmile/v1/ApprovalVote.ts';
import type { ApprovalsClient as _lastmile_v1_ApprovalsClient, ApprovalsDefinition as _lastmile_v1_ApprovalsDefinition } from './lastmile/v1/Approvals.ts';
import type { ApproveRequest as _lastmile_v1_ApproveRequest, ApproveRequest__Output as _lastmile_v1_ApproveRequest__Output } from './lastmile/v1/ApproveRequest.ts';
import type { ApproveResponse as _lastmile_v1_ApproveResponse, ApproveResponse__Output as _lastmile_v1_ApproveResponse__Output } from './lastmile/v1/ApproveResponse.ts';
import type { GetApprovalRequest as _lastmile_v1_GetApprovalRequest, GetApprovalRequest__Output as _lastmile_v1_GetApprovalRequest__Output } from './lastmile/v1/GetApprovalRequest.ts';
import type { GetApprovalResponse as _lastmile_v1_GetApprovalResponse, GetApprovalResponse__Output as _lastmile_v1_GetApprovalResponse__Output } from './lastmile/v1/GetApprovalResponse.ts';
import type { GetAttachmentRequest as _lastmile_v1_GetAttachmentRequest, GetAttachmentRequest__Output as _lastmile_v1_GetAttachmentRequest__Output } from './lastmile/v1/GetAttachmentRequest.ts';
import type { GetAttachmentResponse as _lastmile_v1_GetAttachmentResponse, GetAttachmentResponse__Output as _lastmile_v1_GetAttachmentResponse__Output } from './lastmile/v1/GetAttachmentResponse.ts';
import type { ListApprovalsRequest as _lastmile_v1_ListApprovalsRequest, ListApprovalsRequest__Output as _lastmile_v1_ListApprovalsRequest__Output } from './lastmile/v1/ListApprovalsRequest.ts';
import type { ListApprovalsResponse as _lastmile_v1_ListApprovalsResponse, ListApprovalsResponse__Output as _lastmile_v1_ListApprovalsResponse__Output } from './lastmile/v1/ListApprovalsResponse.ts';
import type { LogPosition as _lastmile_v1_LogPosition, LogPosition__Output as _lastmile_v1_LogPosition__Output } from './lastmile/v1/LogPosition.ts';
import type { RejectRequest as _lastmile_v1_RejectRequest, RejectRequest__Output as _lastmile_v1_RejectRequest__Output } from './lastmile/v1/RejectRequest.ts';
import type { RejectResponse as _lastmile_v1_RejectResponse, RejectResponse__Output as _lastmile_v1_RejectResponse__Output } from './lastmile/v1/RejectResponse.ts';
import type { WatchRequest as _lastmile_v1_WatchRequest, WatchRequest__Output as _lastmile_v1_WatchRequest__Output } from './lastmile/v1/WatchRequest.ts';
import type { WatchResponse as _lastmile_v1_WatchResponse, WatchResponse__Output as _lastmile_v1_WatchResponse__Output } from './lastmile/v1/WatchResponse.ts';
import type { WebauthnAssertion as _lastmile_v1_WebauthnAssertion, WebauthnAssertion__Output as _lastmile_v1_WebauthnAssertion__Output } from './lastmile/v1/WebauthnAssertion.ts';
import type { WithdrawRequest as _lastmile_v1_WithdrawRequest, WithdrawRequest__Output as _lastmile_v1_WithdrawRequest__Output } from './lastmile/v1/WithdrawRequest.ts';
import type { WithdrawResponse as _lastmile_v1_WithdrawResponse, WithdrawResponse__Output as _lastmile_v1_WithdrawResponse__Output } from './lastmile/v1/WithdrawResponse.ts';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  lastmile: {
    v1: {
      AcceptStateRequest: MessageTypeDefinition<_lastmile_v1_AcceptStateRequest, _lastmile_v1_AcceptStateRequest__Output>
      AcceptStateResponse: MessageTypeDefinition<_lastmile_v1_AcceptStateResponse, _lastmile_v1_AcceptStateResponse__Output>
      Approval: MessageTypeDefinition<_lastmile_v1_Approval, _lastmile_v1_Approval__Output>
      ApprovalVote: MessageTypeDefinition<_lastmile_v1_ApprovalVote, _lastmile_v1_ApprovalVote__Output>
      Approvals: SubtypeConstructor<typeof grpc.Client, _lastmile_v1_ApprovalsClient> & { service: _lastmile_v1_ApprovalsDefinition }
      ApproveRequest: MessageTypeDefinition<_lastmile_v1_ApproveRequest, _lastmile_v1_ApproveRequest__Output>
      ApproveResponse: MessageTypeDefinition<_lastmile_v1_ApproveResponse, _lastmile_v1_ApproveResponse__Output>
      GetApprovalRequest: MessageTypeDefinition<_lastmile_v1_GetApprovalRequest, _lastmile_v1_GetApprovalRequest__Output>
      GetApprovalResponse: MessageTypeDefinition<_lastmile_v1_GetApprovalResponse, _lastmile_v1_GetApprovalResponse__Output>
      GetAttachmentRequest: MessageTypeDefinition<_lastmile_v1_GetAttachmentRequest, _lastmile_v1_GetAttachmentRequest__Output>
      GetAttachmentResponse: MessageTypeDefinition<_lastmile_v1_GetAttachmentResponse, _lastmile_v1_GetAttachmentResponse__Output>
      ListApprovalsRequest: MessageTypeDefinition<_lastmile_v1_ListApprovalsRequest, _lastmile_v1_ListApprovalsRequest__Output>
      ListApprovalsResponse: MessageTypeDefinition<_lastmile_v1_ListApprovalsResponse, _lastmile_v1_ListApprovalsResponse__Output>
      LogPosition: MessageTypeDefinition<_lastmile_v1_LogPosition, _lastmile_v1_LogPosition__Output>
      RejectRequest: MessageTypeDefinition<_lastmile_v1_RejectRequest, _lastmile_v1_RejectRequest__Output>
      RejectResponse: MessageTypeDefinition<_lastmile_v1_RejectResponse, _lastmile_v1_RejectResponse__Output>
      WatchRequest: MessageTypeDefinition<_lastmile_v1_WatchRequest, _lastmile_v1_WatchRequest__Output>
      WatchResponse: MessageTypeDefinition<_lastmile_v1_WatchResponse, _lastmile_v1_WatchResponse__Output>
      WebauthnAssertion: MessageTypeDefinition<_lastmile_v1_WebauthnAssertion, _lastmile_v1_WebauthnAssertion__Output>
      WithdrawRequest: MessageTypeDefinition<_lastmile_v1_WithdrawRequest, _lastmile_v1_WithdrawRequest__Output>
      WithdrawResponse: MessageTypeDefinition<_lastmile_v1_WithdrawResponse, _lastmile_v1_WithdrawResponse__Output>
    }
  }
}

