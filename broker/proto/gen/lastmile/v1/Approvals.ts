// Original file: broker/proto/lastmile/v1/approvals.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { AcceptStateRequest as _lastmile_v1_AcceptStateRequest, AcceptStateRequest__Output as _lastmile_v1_AcceptStateRequest__Output } from '../../lastmile/v1/AcceptStateRequest.ts';
import type { AcceptStateResponse as _lastmile_v1_AcceptStateResponse, AcceptStateResponse__Output as _lastmile_v1_AcceptStateResponse__Output } from '../../lastmile/v1/AcceptStateResponse.ts';
import type { ApproveRequest as _lastmile_v1_ApproveRequest, ApproveRequest__Output as _lastmile_v1_ApproveRequest__Output } from '../../lastmile/v1/ApproveRequest.ts';
import type { ApproveResponse as _lastmile_v1_ApproveResponse, ApproveResponse__Output as _lastmile_v1_ApproveResponse__Output } from '../../lastmile/v1/ApproveResponse.ts';
import type { GetApprovalRequest as _lastmile_v1_GetApprovalRequest, GetApprovalRequest__Output as _lastmile_v1_GetApprovalRequest__Output } from '../../lastmile/v1/GetApprovalRequest.ts';
import type { GetApprovalResponse as _lastmile_v1_GetApprovalResponse, GetApprovalResponse__Output as _lastmile_v1_GetApprovalResponse__Output } from '../../lastmile/v1/GetApprovalResponse.ts';
import type { GetAttachmentRequest as _lastmile_v1_GetAttachmentRequest, GetAttachmentRequest__Output as _lastmile_v1_GetAttachmentRequest__Output } from '../../lastmile/v1/GetAttachmentRequest.ts';
import type { GetAttachmentResponse as _lastmile_v1_GetAttachmentResponse, GetAttachmentResponse__Output as _lastmile_v1_GetAttachmentResponse__Output } from '../../lastmile/v1/GetAttachmentResponse.ts';
import type { ListApprovalsRequest as _lastmile_v1_ListApprovalsRequest, ListApprovalsRequest__Output as _lastmile_v1_ListApprovalsRequest__Output } from '../../lastmile/v1/ListApprovalsRequest.ts';
import type { ListApprovalsResponse as _lastmile_v1_ListApprovalsResponse, ListApprovalsResponse__Output as _lastmile_v1_ListApprovalsResponse__Output } from '../../lastmile/v1/ListApprovalsResponse.ts';
import type { RejectRequest as _lastmile_v1_RejectRequest, RejectRequest__Output as _lastmile_v1_RejectRequest__Output } from '../../lastmile/v1/RejectRequest.ts';
import type { RejectResponse as _lastmile_v1_RejectResponse, RejectResponse__Output as _lastmile_v1_RejectResponse__Output } from '../../lastmile/v1/RejectResponse.ts';
import type { WatchRequest as _lastmile_v1_WatchRequest, WatchRequest__Output as _lastmile_v1_WatchRequest__Output } from '../../lastmile/v1/WatchRequest.ts';
import type { WatchResponse as _lastmile_v1_WatchResponse, WatchResponse__Output as _lastmile_v1_WatchResponse__Output } from '../../lastmile/v1/WatchResponse.ts';
import type { WithdrawRequest as _lastmile_v1_WithdrawRequest, WithdrawRequest__Output as _lastmile_v1_WithdrawRequest__Output } from '../../lastmile/v1/WithdrawRequest.ts';
import type { WithdrawResponse as _lastmile_v1_WithdrawResponse, WithdrawResponse__Output as _lastmile_v1_WithdrawResponse__Output } from '../../lastmile/v1/WithdrawResponse.ts';

export interface ApprovalsClient extends grpc.Client {
  AcceptState(argument: _lastmile_v1_AcceptStateRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_AcceptStateResponse__Output>): grpc.ClientUnaryCall;
  AcceptState(argument: _lastmile_v1_AcceptStateRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_AcceptStateResponse__Output>): grpc.ClientUnaryCall;
  AcceptState(argument: _lastmile_v1_AcceptStateRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_AcceptStateResponse__Output>): grpc.ClientUnaryCall;
  AcceptState(argument: _lastmile_v1_AcceptStateRequest, callback: grpc.requestCallback<_lastmile_v1_AcceptStateResponse__Output>): grpc.ClientUnaryCall;
  acceptState(argument: _lastmile_v1_AcceptStateRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_AcceptStateResponse__Output>): grpc.ClientUnaryCall;
  acceptState(argument: _lastmile_v1_AcceptStateRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_AcceptStateResponse__Output>): grpc.ClientUnaryCall;
  acceptState(argument: _lastmile_v1_AcceptStateRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_AcceptStateResponse__Output>): grpc.ClientUnaryCall;
  acceptState(argument: _lastmile_v1_AcceptStateRequest, callback: grpc.requestCallback<_lastmile_v1_AcceptStateResponse__Output>): grpc.ClientUnaryCall;
  
  Approve(argument: _lastmile_v1_ApproveRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ApproveResponse__Output>): grpc.ClientUnaryCall;
  Approve(argument: _lastmile_v1_ApproveRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ApproveResponse__Output>): grpc.ClientUnaryCall;
  Approve(argument: _lastmile_v1_ApproveRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ApproveResponse__Output>): grpc.ClientUnaryCall;
  Approve(argument: _lastmile_v1_ApproveRequest, callback: grpc.requestCallback<_lastmile_v1_ApproveResponse__Output>): grpc.ClientUnaryCall;
  approve(argument: _lastmile_v1_ApproveRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ApproveResponse__Output>): grpc.ClientUnaryCall;
  approve(argument: _lastmile_v1_ApproveRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ApproveResponse__Output>): grpc.ClientUnaryCall;
  approve(argument: _lastmile_v1_ApproveRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ApproveResponse__Output>): grpc.ClientUnaryCall;
  approve(argument: _lastmile_v1_ApproveRequest, callback: grpc.requestCallback<_lastmile_v1_ApproveResponse__Output>): grpc.ClientUnaryCall;
  
  Get(argument: _lastmile_v1_GetApprovalRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetApprovalResponse__Output>): grpc.ClientUnaryCall;
  Get(argument: _lastmile_v1_GetApprovalRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetApprovalResponse__Output>): grpc.ClientUnaryCall;
  Get(argument: _lastmile_v1_GetApprovalRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetApprovalResponse__Output>): grpc.ClientUnaryCall;
  Get(argument: _lastmile_v1_GetApprovalRequest, callback: grpc.requestCallback<_lastmile_v1_GetApprovalResponse__Output>): grpc.ClientUnaryCall;
  get(argument: _lastmile_v1_GetApprovalRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetApprovalResponse__Output>): grpc.ClientUnaryCall;
  get(argument: _lastmile_v1_GetApprovalRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetApprovalResponse__Output>): grpc.ClientUnaryCall;
  get(argument: _lastmile_v1_GetApprovalRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetApprovalResponse__Output>): grpc.ClientUnaryCall;
  get(argument: _lastmile_v1_GetApprovalRequest, callback: grpc.requestCallback<_lastmile_v1_GetApprovalResponse__Output>): grpc.ClientUnaryCall;
  
  GetAttachment(argument: _lastmile_v1_GetAttachmentRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetAttachmentResponse__Output>): grpc.ClientUnaryCall;
  GetAttachment(argument: _lastmile_v1_GetAttachmentRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetAttachmentResponse__Output>): grpc.ClientUnaryCall;
  GetAttachment(argument: _lastmile_v1_GetAttachmentRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetAttachmentResponse__Output>): grpc.ClientUnaryCall;
  GetAttachment(argument: _lastmile_v1_GetAttachmentRequest, callback: grpc.requestCallback<_lastmile_v1_GetAttachmentResponse__Output>): grpc.ClientUnaryCall;
  getAttachment(argument: _lastmile_v1_GetAttachmentRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetAttachmentResponse__Output>): grpc.ClientUnaryCall;
  getAttachment(argument: _lastmile_v1_GetAttachmentRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetAttachmentResponse__Output>): grpc.ClientUnaryCall;
  getAttachment(argument: _lastmile_v1_GetAttachmentRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetAttachmentResponse__Output>): grpc.ClientUnaryCall;
  getAttachment(argument: _lastmile_v1_GetAttachmentRequest, callback: grpc.requestCallback<_lastmile_v1_GetAttachmentResponse__Output>): grpc.ClientUnaryCall;
  
  List(argument: _lastmile_v1_ListApprovalsRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListApprovalsResponse__Output>): grpc.ClientUnaryCall;
  List(argument: _lastmile_v1_ListApprovalsRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ListApprovalsResponse__Output>): grpc.ClientUnaryCall;
  List(argument: _lastmile_v1_ListApprovalsRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListApprovalsResponse__Output>): grpc.ClientUnaryCall;
  List(argument: _lastmile_v1_ListApprovalsRequest, callback: grpc.requestCallback<_lastmile_v1_ListApprovalsResponse__Output>): grpc.ClientUnaryCall;
  list(argument: _lastmile_v1_ListApprovalsRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListApprovalsResponse__Output>): grpc.ClientUnaryCall;
  list(argument: _lastmile_v1_ListApprovalsRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ListApprovalsResponse__Output>): grpc.ClientUnaryCall;
  list(argument: _lastmile_v1_ListApprovalsRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListApprovalsResponse__Output>): grpc.ClientUnaryCall;
  list(argument: _lastmile_v1_ListApprovalsRequest, callback: grpc.requestCallback<_lastmile_v1_ListApprovalsResponse__Output>): grpc.ClientUnaryCall;
  
  Reject(argument: _lastmile_v1_RejectRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_RejectResponse__Output>): grpc.ClientUnaryCall;
  Reject(argument: _lastmile_v1_RejectRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_RejectResponse__Output>): grpc.ClientUnaryCall;
  Reject(argument: _lastmile_v1_RejectRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_RejectResponse__Output>): grpc.ClientUnaryCall;
  Reject(argument: _lastmile_v1_RejectRequest, callback: grpc.requestCallback<_lastmile_v1_RejectResponse__Output>): grpc.ClientUnaryCall;
  reject(argument: _lastmile_v1_RejectRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_RejectResponse__Output>): grpc.ClientUnaryCall;
  reject(argument: _lastmile_v1_RejectRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_RejectResponse__Output>): grpc.ClientUnaryCall;
  reject(argument: _lastmile_v1_RejectRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_RejectResponse__Output>): grpc.ClientUnaryCall;
  reject(argument: _lastmile_v1_RejectRequest, callback: grpc.requestCallback<_lastmile_v1_RejectResponse__Output>): grpc.ClientUnaryCall;
  
  Watch(argument: _lastmile_v1_WatchRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_WatchResponse__Output>): grpc.ClientUnaryCall;
  Watch(argument: _lastmile_v1_WatchRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_WatchResponse__Output>): grpc.ClientUnaryCall;
  Watch(argument: _lastmile_v1_WatchRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_WatchResponse__Output>): grpc.ClientUnaryCall;
  Watch(argument: _lastmile_v1_WatchRequest, callback: grpc.requestCallback<_lastmile_v1_WatchResponse__Output>): grpc.ClientUnaryCall;
  watch(argument: _lastmile_v1_WatchRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_WatchResponse__Output>): grpc.ClientUnaryCall;
  watch(argument: _lastmile_v1_WatchRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_WatchResponse__Output>): grpc.ClientUnaryCall;
  watch(argument: _lastmile_v1_WatchRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_WatchResponse__Output>): grpc.ClientUnaryCall;
  watch(argument: _lastmile_v1_WatchRequest, callback: grpc.requestCallback<_lastmile_v1_WatchResponse__Output>): grpc.ClientUnaryCall;
  
  Withdraw(argument: _lastmile_v1_WithdrawRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_WithdrawResponse__Output>): grpc.ClientUnaryCall;
  Withdraw(argument: _lastmile_v1_WithdrawRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_WithdrawResponse__Output>): grpc.ClientUnaryCall;
  Withdraw(argument: _lastmile_v1_WithdrawRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_WithdrawResponse__Output>): grpc.ClientUnaryCall;
  Withdraw(argument: _lastmile_v1_WithdrawRequest, callback: grpc.requestCallback<_lastmile_v1_WithdrawResponse__Output>): grpc.ClientUnaryCall;
  withdraw(argument: _lastmile_v1_WithdrawRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_WithdrawResponse__Output>): grpc.ClientUnaryCall;
  withdraw(argument: _lastmile_v1_WithdrawRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_WithdrawResponse__Output>): grpc.ClientUnaryCall;
  withdraw(argument: _lastmile_v1_WithdrawRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_WithdrawResponse__Output>): grpc.ClientUnaryCall;
  withdraw(argument: _lastmile_v1_WithdrawRequest, callback: grpc.requestCallback<_lastmile_v1_WithdrawResponse__Output>): grpc.ClientUnaryCall;
  
}

export interface ApprovalsHandlers extends grpc.UntypedServiceImplementation {
  AcceptState: grpc.handleUnaryCall<_lastmile_v1_AcceptStateRequest__Output, _lastmile_v1_AcceptStateResponse>;
  
  Approve: grpc.handleUnaryCall<_lastmile_v1_ApproveRequest__Output, _lastmile_v1_ApproveResponse>;
  
  Get: grpc.handleUnaryCall<_lastmile_v1_GetApprovalRequest__Output, _lastmile_v1_GetApprovalResponse>;
  
  GetAttachment: grpc.handleUnaryCall<_lastmile_v1_GetAttachmentRequest__Output, _lastmile_v1_GetAttachmentResponse>;
  
  List: grpc.handleUnaryCall<_lastmile_v1_ListApprovalsRequest__Output, _lastmile_v1_ListApprovalsResponse>;
  
  Reject: grpc.handleUnaryCall<_lastmile_v1_RejectRequest__Output, _lastmile_v1_RejectResponse>;
  
  Watch: grpc.handleUnaryCall<_lastmile_v1_WatchRequest__Output, _lastmile_v1_WatchResponse>;
  
  Withdraw: grpc.handleUnaryCall<_lastmile_v1_WithdrawRequest__Output, _lastmile_v1_WithdrawResponse>;
  
}

export interface ApprovalsDefinition extends grpc.ServiceDefinition {
  AcceptState: MethodDefinition<_lastmile_v1_AcceptStateRequest, _lastmile_v1_AcceptStateResponse, _lastmile_v1_AcceptStateRequest__Output, _lastmile_v1_AcceptStateResponse__Output>
  Approve: MethodDefinition<_lastmile_v1_ApproveRequest, _lastmile_v1_ApproveResponse, _lastmile_v1_ApproveRequest__Output, _lastmile_v1_ApproveResponse__Output>
  Get: MethodDefinition<_lastmile_v1_GetApprovalRequest, _lastmile_v1_GetApprovalResponse, _lastmile_v1_GetApprovalRequest__Output, _lastmile_v1_GetApprovalResponse__Output>
  GetAttachment: MethodDefinition<_lastmile_v1_GetAttachmentRequest, _lastmile_v1_GetAttachmentResponse, _lastmile_v1_GetAttachmentRequest__Output, _lastmile_v1_GetAttachmentResponse__Output>
  List: MethodDefinition<_lastmile_v1_ListApprovalsRequest, _lastmile_v1_ListApprovalsResponse, _lastmile_v1_ListApprovalsRequest__Output, _lastmile_v1_ListApprovalsResponse__Output>
  Reject: MethodDefinition<_lastmile_v1_RejectRequest, _lastmile_v1_RejectResponse, _lastmile_v1_RejectRequest__Output, _lastmile_v1_RejectResponse__Output>
  Watch: MethodDefinition<_lastmile_v1_WatchRequest, _lastmile_v1_WatchResponse, _lastmile_v1_WatchRequest__Output, _lastmile_v1_WatchResponse__Output>
  Withdraw: MethodDefinition<_lastmile_v1_WithdrawRequest, _lastmile_v1_WithdrawResponse, _lastmile_v1_WithdrawRequest__Output, _lastmile_v1_WithdrawResponse__Output>
}
