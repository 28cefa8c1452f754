import type * as grpc from '@grpc/grpc-js';
import type { EnumTypeDefinition, MessageTypeDefinition } from '@grpc/proto-loader';

import type { Any as _google_protobuf_Any, Any__Output as _google_protobuf_Any__Output } from './google/protobuf/Any.ts';
import type { ErrorInfo as _google_rpc_ErrorInfo, ErrorInfo__Output as _google_rpc_ErrorInfo__Output } from './google/rpc/ErrorInfo.ts';
import type { Status as _google_rpc_Status, Status__Output as _google_rpc_Status__Output } from './google/rpc/Status.ts';
import type { DecryptRequest as _lastmile_v1_DecryptRequest, DecryptRequest__Output as _lastmile_v1_DecryptRequest__Output } from './lastmile/v1/DecryptRequest.ts';
import type { DecryptResponse as _lastmile_v1_DecryptResponse, DecryptResponse__Output as _lastmile_v1_DecryptResponse__Output } from './lastmile/v1/DecryptResponse.ts';
import type { EncryptRequest as _lastmile_v1_EncryptRequest, EncryptRequest__Output as _lastmile_v1_EncryptRequest__Output } from './lastmile/v1/EncryptRequest.ts';
import type { EncryptResponse as _lastmile_v1_EncryptResponse, EncryptResponse__Output as _lastmile_v1_EncryptResponse__Output } from './lastmile/v1/EncryptResponse.ts';
import type { GenerateDataKeyRequest as _lastmile_v1_GenerateDataKeyRequest, GenerateDataKeyRequest__Output as _lastmile_v1_GenerateDataKeyRequest__Output } from './lastmile/v1/GenerateDataKeyRequest.ts';
import type { GenerateDataKeyResponse as _lastmile_v1_GenerateDataKeyResponse, GenerateDataKeyResponse__Output as _lastmile_v1_GenerateDataKeyResponse__Output } from './lastmile/v1/GenerateDataKeyResponse.ts';
import type { GenerateRandomRequest as _lastmile_v1_GenerateRandomRequest, GenerateRandomRequest__Output as _lastmile_v1_GenerateRandomRequest__Output } from './lastmile/v1/GenerateRandomRequest.ts';
import type { GenerateRandomResponse as _lastmile_v1_GenerateRandomResponse, GenerateRandomResponse__Output as _lastmile_v1_GenerateRandomResponse__Output } from './lastmile/v1/GenerateRandomResponse.ts';
import type { GetPublicKeyRequest as _lastmile_v1_GetPublicKeyRequest, GetPublicKeyRequest__Output as _lastmile_v1_GetPublicKeyRequest__Output } from './lastmile/v1/GetPublicKeyRequest.ts';
import type { GetPublicKeyResponse as _lastmile_v1_GetPublicKeyResponse, GetPublicKeyResponse__Output as _lastmile_v1_GetPublicKeyResponse__Output } from './lastmile/v1/GetPublicKeyResponse.ts';
import type { GetReceiptRequest as _lastmile_v1_GetReceiptRequest, GetReceiptRequest__Output as _lastmile_v1_GetReceiptRequest__Output } from './lastmile/v1/GetReceiptRequest.ts';
import type { GetReceiptResponse as _lastmile_v1_GetReceiptResponse, GetReceiptResponse__Output as _lastmile_v1_GetReceiptResponse__Output } from './lastmile/v1/GetReceiptResponse.ts';
import type { KeyUseClient as _lastmile_v1_KeyUseClient, KeyUseDefinition as _lastmile_v1_KeyUseDefinition } from './lastmile/v1/KeyUse.ts';
import type { ListKeysRequest as _lastmile_v1_ListKeysRequest, ListKeysRequest__Output as _lastmile_v1_ListKeysRequest__Output } from './lastmile/v1/ListKeysRequest.ts';
import type { ListKeysResponse as _lastmile_v1_ListKeysResponse, ListKeysResponse__Output as _lastmile_v1_ListKeysResponse__Output } from './lastmile/v1/ListKeysResponse.ts';
import type { LogPosition as _lastmile_v1_LogPosition, LogPosition__Output as _lastmile_v1_LogPosition__Output } from './lastmile/v1/LogPosition.ts';
import type { MacRequest as _lastmile_v1_MacRequest, MacRequest__Output as _lastmile_v1_MacRequest__Output } from './lastmile/v1/MacRequest.ts';
import type { MacResponse as _lastmile_v1_MacResponse, MacResponse__Output as _lastmile_v1_MacResponse__Output } from './lastmile/v1/MacResponse.ts';
import type { PublicKeyApplicant as _lastmile_v1_PublicKeyApplicant, PublicKeyApplicant__Output as _lastmile_v1_PublicKeyApplicant__Output } from './lastmile/v1/PublicKeyApplicant.ts';
import type { SignCertificateRequest as _lastmile_v1_SignCertificateRequest, SignCertificateRequest__Output as _lastmile_v1_SignCertificateRequest__Output } from './lastmile/v1/SignCertificateRequest.ts';
import type { SignCertificateResponse as _lastmile_v1_SignCertificateResponse, SignCertificateResponse__Output as _lastmile_v1_SignCertificateResponse__Output } from './lastmile/v1/SignCertificateResponse.ts';
import type { SignDsseRequest as _lastmile_v1_SignDsseRequest, SignDsseRequest__Output as _lastmile_v1_SignDsseRequest__Output } from './lastmile/v1/SignDsseRequest.ts';
import type { SignDsseResponse as _lastmile_v1_SignDsseResponse, SignDsseResponse__Output as _lastmile_v1_SignDsseResponse__Output } from './lastmile/v1/SignDsseResponse.ts';
import type { SignJwtRequest as _lastmile_v1_SignJwtRequest, SignJwtRequest__Output as _lastmile_v1_SignJwtRequest__Output } from './lastmile/v1/SignJwtRequest.ts';
import type { SignJwtResponse as _lastmile_v1_SignJwtResponse, SignJwtResponse__Output as _lastmile_v1_SignJwtResponse__Output } from './lastmile/v1/SignJwtResponse.ts';
import type { SignRequest as _lastmile_v1_SignRequest, SignRequest__Output as _lastmile_v1_SignRequest__Output } from './lastmile/v1/SignRequest.ts';
import type { SignResponse as _lastmile_v1_SignResponse, SignResponse__Output as _lastmile_v1_SignResponse__Output } from './lastmile/v1/SignResponse.ts';
import type { SignStreamRequest as _lastmile_v1_SignStreamRequest, SignStreamRequest__Output as _lastmile_v1_SignStreamRequest__Output } from './lastmile/v1/SignStreamRequest.ts';
import type { SignStreamResponse as _lastmile_v1_SignStreamResponse, SignStreamResponse__Output as _lastmile_v1_SignStreamResponse__Output } from './lastmile/v1/SignStreamResponse.ts';
import type { SubjectAttribute as _lastmile_v1_SubjectAttribute, SubjectAttribute__Output as _lastmile_v1_SubjectAttribute__Output } from './lastmile/v1/SubjectAttribute.ts';
import type { UsableKey as _lastmile_v1_UsableKey, UsableKey__Output as _lastmile_v1_UsableKey__Output } from './lastmile/v1/UsableKey.ts';
import type { VerifyMacRequest as _lastmile_v1_VerifyMacRequest, VerifyMacRequest__Output as _lastmile_v1_VerifyMacRequest__Output } from './lastmile/v1/VerifyMacRequest.ts';
import type { VerifyMacResponse as _lastmile_v1_VerifyMacResponse, VerifyMacResponse__Output as _lastmile_v1_VerifyMacResponse__Output } from './lastmile/v1/VerifyMacResponse.ts';
import type { VerifyRequest as _lastmile_v1_VerifyRequest, VerifyRequest__Output as _lastmile_v1_VerifyRequest__Output } from './lastmile/v1/VerifyRequest.ts';
import type { VerifyResponse as _lastmile_v1_VerifyResponse, VerifyResponse__Output as _lastmile_v1_VerifyResponse__Output } from './lastmile/v1/VerifyResponse.ts';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  google: {
    protobuf: {
      Any: MessageTypeDefinition<_google_protobuf_Any, _google_protobuf_Any__Output>
    }
    rpc: {
      ErrorInfo: MessageTypeDefinition<_google_rpc_ErrorInfo, _google_rpc_ErrorInfo__Output>
      Status: MessageTypeDefinition<_google_rpc_Status, _google_rpc_Status__Output>
    }
  }
  lastmile: {
    v1: {
      DecryptRequest: MessageTypeDefinition<_lastmile_v1_DecryptRequest, _lastmile_v1_DecryptRequest__Output>
      DecryptResponse: MessageTypeDefinition<_lastmile_v1_DecryptResponse, _lastmile_v1_DecryptResponse__Output>
      EncryptRequest: MessageTypeDefinition<_lastmile_v1_EncryptRequest, _lastmile_v1_EncryptRequest__Output>
      EncryptResponse: MessageTypeDefinition<_lastmile_v1_EncryptResponse, _lastmile_v1_EncryptResponse__Output>
      GenerateDataKeyRequest: MessageTypeDefinition<_lastmile_v1_GenerateDataKeyRequest, _lastmile_v1_GenerateDataKeyRequest__Output>
      GenerateDataKeyResponse: MessageTypeDefinition<_lastmile_v1_GenerateDataKeyResponse, _lastmile_v1_GenerateDataKeyResponse__Output>
      GenerateRandomRequest: MessageTypeDefinition<_lastmile_v1_GenerateRandomRequest, _lastmile_v1_GenerateRandomRequest__Output>
      GenerateRandomResponse: MessageTypeDefinition<_lastmile_v1_GenerateRandomResponse, _lastmile_v1_GenerateRandomResponse__Output>
      GetPublicKeyRequest: MessageTypeDefinition<_lastmile_v1_GetPublicKeyRequest, _lastmile_v1_GetPublicKeyRequest__Output>
      GetPublicKeyResponse: MessageTypeDefinition<_lastmile_v1_GetPublicKeyResponse, _lastmile_v1_GetPublicKeyResponse__Output>
      GetReceiptRequest: MessageTypeDefinition<_lastmile_v1_GetReceiptRequest, _lastmile_v1_GetReceiptRequest__Output>
      GetReceiptResponse: MessageTypeDefinition<_lastmile_v1_GetReceiptResponse, _lastmile_v1_GetReceiptResponse__Output>
      KeyUse: SubtypeConstructor<typeof grpc.Client, _lastmile_v1_KeyUseClient> & { service: _lastmile_v1_KeyUseDefinition }
      ListKeysRequest: MessageTypeDefinition<_lastmile_v1_ListKeysRequest, _lastmile_v1_ListKeysRequest__Output>
      ListKeysResponse: MessageTypeDefinition<_lastmile_v1_ListKeysResponse, _lastmile_v1_ListKeysResponse__Output>
      LogPosition: MessageTypeDefinition<_lastmile_v1_LogPosition, _lastmile_v1_LogPosition__Output>
      MacRequest: MessageTypeDefinition<_lastmile_v1_MacRequest, _lastmile_v1_MacRequest__Output>
      MacResponse: MessageTypeDefinition<_lastmile_v1_MacResponse, _lastmile_v1_MacResponse__Output>
      PublicKeyApplicant: MessageTypeDefinition<_lastmile_v1_PublicKeyApplicant, _lastmile_v1_PublicKeyApplicant__Output>
      SignCertificateRequest: MessageTypeDefinition<_lastmile_v1_SignCertificateRequest, _lastmile_v1_SignCertificateRequest__Output>
      SignCertificateResponse: MessageTypeDefinition<_lastmile_v1_SignCertificateResponse, _lastmile_v1_SignCertificateResponse__Output>
      SignDsseRequest: MessageTypeDefinition<_lastmile_v1_SignDsseRequest, _lastmile_v1_SignDsseRequest__Output>
      SignDsseResponse: MessageTypeDefinition<_lastmile_v1_SignDsseResponse, _lastmile_v1_SignDsseResponse__Output>
      SignJwtRequest: MessageTypeDefinition<_lastmile_v1_SignJwtRequest, _lastmile_v1_SignJwtRequest__Output>
      SignJwtResponse: MessageTypeDefinition<_lastmile_v1_SignJwtResponse, _lastmile_v1_SignJwtResponse__Output>
      SignRequest: MessageTypeDefinition<_lastmile_v1_SignRequest, _lastmile_v1_SignRequest__Output>
      SignResponse: MessageTypeDefinition<_lastmile_v1_SignResponse, _lastmile_v1_SignResponse__Output>
      SignStreamRequest: MessageTypeDefinition<_lastmile_v1_SignStreamRequest, _lastmile_v1_SignStreamRequest__Output>
      SignStreamResponse: MessageTypeDefinition<_lastmile_v1_SignStreamResponse, _lastmile_v1_SignStreamResponse__Output>
      SignatureFormat: EnumTypeDefinition
      SubjectAttribute: MessageTypeDefinition<_lastmile_v1_SubjectAttribute, _lastmile_v1_SubjectAttribute__Output>
      UsableKey: MessageTypeDefinition<_lastmile_v1_UsableKey, _lastmile_v1_UsableKey__Output>
      VerifyMacRequest: MessageTypeDefinition<_lastmile_v1_VerifyMacRequest, _lastmile_v1_VerifyMacRequest__Output>
      VerifyMacResponse: MessageTypeDefinition<_lastmile_v1_VerifyMacResponse, _lastmile_v1_VerifyMacResponse__Output>
      VerifyRequest: MessageTypeDefinition<_lastmile_v1_VerifyRequest, _lastmile_v1_VerifyRequest__Output>
      VerifyResponse: MessageTypeDefinition<_lastmile_v1_VerifyResponse, _lastmile_v1_VerifyResponse__Output>
    }
  }
}

