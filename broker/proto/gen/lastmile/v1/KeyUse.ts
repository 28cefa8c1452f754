// Original file: broker/proto/lastmile/v1/key_use.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { DecryptRequest as _lastmile_v1_DecryptRequest, DecryptRequest__Output as _lastmile_v1_DecryptRequest__Output } from '../../lastmile/v1/DecryptRequest.ts';
import type { DecryptResponse as _lastmile_v1_DecryptResponse, DecryptResponse__Output as _lastmile_v1_DecryptResponse__Output } from '../../lastmile/v1/DecryptResponse.ts';
import type { EncryptRequest as _lastmile_v1_EncryptRequest, EncryptRequest__Output as _lastmile_v1_EncryptRequest__Output } from '../../lastmile/v1/EncryptRequest.ts';
import type { EncryptResponse as _lastmile_v1_EncryptResponse, EncryptResponse__Output as _lastmile_v1_EncryptResponse__Output } from '../../lastmile/v1/EncryptResponse.ts';
import type { GenerateDataKeyRequest as _lastmile_v1_GenerateDataKeyRequest, GenerateDataKeyRequest__Output as _lastmile_v1_GenerateDataKeyRequest__Output } from '../../lastmile/v1/GenerateDataKeyRequest.ts';
import type { GenerateDataKeyResponse as _lastmile_v1_GenerateDataKeyResponse, GenerateDataKeyResponse__Output as _lastmile_v1_GenerateDataKeyResponse__Output } from '../../lastmile/v1/GenerateDataKeyResponse.ts';
import type { GenerateRandomRequest as _lastmile_v1_GenerateRandomRequest, GenerateRandomRequest__Output as _lastmile_v1_GenerateRandomRequest__Output } from '../../lastmile/v1/GenerateRandomRequest.ts';
import type { GenerateRandomResponse as _lastmile_v1_GenerateRandomResponse, GenerateRandomResponse__Output as _lastmile_v1_GenerateRandomResponse__Output } from '../../lastmile/v1/GenerateRandomResponse.ts';
import type { GetPublicKeyRequest as _lastmile_v1_GetPublicKeyRequest, GetPublicKeyRequest__Output as _lastmile_v1_GetPublicKeyRequest__Output } from '../../lastmile/v1/GetPublicKeyRequest.ts';
import type { GetPublicKeyResponse as _lastmile_v1_GetPublicKeyResponse, GetPublicKeyResponse__Output as _lastmile_v1_GetPublicKeyResponse__Output } from '../../lastmile/v1/GetPublicKeyResponse.ts';
import type { GetReceiptRequest as _lastmile_v1_GetReceiptRequest, GetReceiptRequest__Output as _lastmile_v1_GetReceiptRequest__Output } from '../../lastmile/v1/GetReceiptRequest.ts';
import type { GetReceiptResponse as _lastmile_v1_GetReceiptResponse, GetReceiptResponse__Output as _lastmile_v1_GetReceiptResponse__Output } from '../../lastmile/v1/GetReceiptResponse.ts';
import type { ListKeysRequest as _lastmile_v1_ListKeysRequest, ListKeysRequest__Output as _lastmile_v1_ListKeysRequest__Output } from '../../lastmile/v1/ListKeysRequest.ts';
import type { ListKeysResponse as _lastmile_v1_ListKeysResponse, ListKeysResponse__Output as _lastmile_v1_ListKeysResponse__Output } from '../../lastmile/v1/ListKeysResponse.ts';
import type { MacRequest as _lastmile_v1_MacRequest, MacRequest__Output as _lastmile_v1_MacRequest__Output } from '../../lastmile/v1/MacRequest.ts';
import type { MacResponse as _lastmile_v1_MacResponse, MacResponse__Output as _lastmile_v1_MacResponse__Output } from '../../lastmile/v1/MacResponse.ts';
import type { SignCertificateRequest as _lastmile_v1_SignCertificateRequest, SignCertificateRequest__Output as _lastmile_v1_SignCertificateRequest__Output } from '../../lastmile/v1/SignCertificateRequest.ts';
import type { SignCertificateResponse as _lastmile_v1_SignCertificateResponse, SignCertificateResponse__Output as _lastmile_v1_SignCertificateResponse__Output } from '../../lastmile/v1/SignCertificateResponse.ts';
import type { SignDsseRequest as _lastmile_v1_SignDsseRequest, SignDsseRequest__Output as _lastmile_v1_SignDsseRequest__Output } from '../../lastmile/v1/SignDsseRequest.ts';
import type { SignDsseResponse as _lastmile_v1_SignDsseResponse, SignDsseResponse__Output as _lastmile_v1_SignDsseResponse__Output } from '../../lastmile/v1/SignDsseResponse.ts';
import type { SignJwtRequest as _lastmile_v1_SignJwtRequest, SignJwtRequest__Output as _lastmile_v1_SignJwtRequest__Output } from '../../lastmile/v1/SignJwtRequest.ts';
import type { SignJwtResponse as _lastmile_v1_SignJwtResponse, SignJwtResponse__Output as _lastmile_v1_SignJwtResponse__Output } from '../../lastmile/v1/SignJwtResponse.ts';
import type { SignRequest as _lastmile_v1_SignRequest, SignRequest__Output as _lastmile_v1_SignRequest__Output } from '../../lastmile/v1/SignRequest.ts';
import type { SignResponse as _lastmile_v1_SignResponse, SignResponse__Output as _lastmile_v1_SignResponse__Output } from '../../lastmile/v1/SignResponse.ts';
import type { SignStreamRequest as _lastmile_v1_SignStreamRequest, SignStreamRequest__Output as _lastmile_v1_SignStreamRequest__Output } from '../../lastmile/v1/SignStreamRequest.ts';
import type { SignStreamResponse as _lastmile_v1_SignStreamResponse, SignStreamResponse__Output as _lastmile_v1_SignStreamResponse__Output } from '../../lastmile/v1/SignStreamResponse.ts';
import type { VerifyMacRequest as _lastmile_v1_VerifyMacRequest, VerifyMacRequest__Output as _lastmile_v1_VerifyMacRequest__Output } from '../../lastmile/v1/VerifyMacRequest.ts';
import type { VerifyMacResponse as _lastmile_v1_VerifyMacResponse, VerifyMacResponse__Output as _lastmile_v1_VerifyMacResponse__Output } from '../../lastmile/v1/VerifyMacResponse.ts';
import type { VerifyRequest as _lastmile_v1_VerifyRequest, VerifyRequest__Output as _lastmile_v1_VerifyRequest__Output } from '../../lastmile/v1/VerifyRequest.ts';
import type { VerifyResponse as _lastmile_v1_VerifyResponse, VerifyResponse__Output as _lastmile_v1_VerifyResponse__Output } from '../../lastmile/v1/VerifyResponse.ts';

export interface KeyUseClient extends grpc.Client {
  Decrypt(argument: _lastmile_v1_DecryptRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_DecryptResponse__Output>): grpc.ClientUnaryCall;
  Decrypt(argument: _lastmile_v1_DecryptRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_DecryptResponse__Output>): grpc.ClientUnaryCall;
  Decrypt(argument: _lastmile_v1_DecryptRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_DecryptResponse__Output>): grpc.ClientUnaryCall;
  Decrypt(argument: _lastmile_v1_DecryptRequest, callback: grpc.requestCallback<_lastmile_v1_DecryptResponse__Output>): grpc.ClientUnaryCall;
  decrypt(argument: _lastmile_v1_DecryptRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_DecryptResponse__Output>): grpc.ClientUnaryCall;
  decrypt(argument: _lastmile_v1_DecryptRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_DecryptResponse__Output>): grpc.ClientUnaryCall;
  decrypt(argument: _lastmile_v1_DecryptRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_DecryptResponse__Output>): grpc.ClientUnaryCall;
  decrypt(argument: _lastmile_v1_DecryptRequest, callback: grpc.requestCallback<_lastmile_v1_DecryptResponse__Output>): grpc.ClientUnaryCall;
  
  Encrypt(argument: _lastmile_v1_EncryptRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_EncryptResponse__Output>): grpc.ClientUnaryCall;
  Encrypt(argument: _lastmile_v1_EncryptRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_EncryptResponse__Output>): grpc.ClientUnaryCall;
  Encrypt(argument: _lastmile_v1_EncryptRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_EncryptResponse__Output>): grpc.ClientUnaryCall;
  Encrypt(argument: _lastmile_v1_EncryptRequest, callback: grpc.requestCallback<_lastmile_v1_EncryptResponse__Output>): grpc.ClientUnaryCall;
  encrypt(argument: _lastmile_v1_EncryptRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_EncryptResponse__Output>): grpc.ClientUnaryCall;
  encrypt(argument: _lastmile_v1_EncryptRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_EncryptResponse__Output>): grpc.ClientUnaryCall;
  encrypt(argument: _lastmile_v1_EncryptRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_EncryptResponse__Output>): grpc.ClientUnaryCall;
  encrypt(argument: _lastmile_v1_EncryptRequest, callback: grpc.requestCallback<_lastmile_v1_EncryptResponse__Output>): grpc.ClientUnaryCall;
  
  GenerateDataKey(argument: _lastmile_v1_GenerateDataKeyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GenerateDataKeyResponse__Output>): grpc.ClientUnaryCall;
  GenerateDataKey(argument: _lastmile_v1_GenerateDataKeyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GenerateDataKeyResponse__Output>): grpc.ClientUnaryCall;
  GenerateDataKey(argument: _lastmile_v1_GenerateDataKeyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GenerateDataKeyResponse__Output>): grpc.ClientUnaryCall;
  GenerateDataKey(argument: _lastmile_v1_GenerateDataKeyRequest, callback: grpc.requestCallback<_lastmile_v1_GenerateDataKeyResponse__Output>): grpc.ClientUnaryCall;
  generateDataKey(argument: _lastmile_v1_GenerateDataKeyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GenerateDataKeyResponse__Output>): grpc.ClientUnaryCall;
  generateDataKey(argument: _lastmile_v1_GenerateDataKeyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GenerateDataKeyResponse__Output>): grpc.ClientUnaryCall;
  generateDataKey(argument: _lastmile_v1_GenerateDataKeyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GenerateDataKeyResponse__Output>): grpc.ClientUnaryCall;
  generateDataKey(argument: _lastmile_v1_GenerateDataKeyRequest, callback: grpc.requestCallback<_lastmile_v1_GenerateDataKeyResponse__Output>): grpc.ClientUnaryCall;
  
  GenerateRandom(argument: _lastmile_v1_GenerateRandomRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GenerateRandomResponse__Output>): grpc.ClientUnaryCall;
  GenerateRandom(argument: _lastmile_v1_GenerateRandomRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GenerateRandomResponse__Output>): grpc.ClientUnaryCall;
  GenerateRandom(argument: _lastmile_v1_GenerateRandomRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GenerateRandomResponse__Output>): grpc.ClientUnaryCall;
  GenerateRandom(argument: _lastmile_v1_GenerateRandomRequest, callback: grpc.requestCallback<_lastmile_v1_GenerateRandomResponse__Output>): grpc.ClientUnaryCall;
  generateRandom(argument: _lastmile_v1_GenerateRandomRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GenerateRandomResponse__Output>): grpc.ClientUnaryCall;
  generateRandom(argument: _lastmile_v1_GenerateRandomRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GenerateRandomResponse__Output>): grpc.ClientUnaryCall;
  generateRandom(argument: _lastmile_v1_GenerateRandomRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GenerateRandomResponse__Output>): grpc.ClientUnaryCall;
  generateRandom(argument: _lastmile_v1_GenerateRandomRequest, callback: grpc.requestCallback<_lastmile_v1_GenerateRandomResponse__Output>): grpc.ClientUnaryCall;
  
  GetPublicKey(argument: _lastmile_v1_GetPublicKeyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetPublicKeyResponse__Output>): grpc.ClientUnaryCall;
  GetPublicKey(argument: _lastmile_v1_GetPublicKeyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetPublicKeyResponse__Output>): grpc.ClientUnaryCall;
  GetPublicKey(argument: _lastmile_v1_GetPublicKeyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetPublicKeyResponse__Output>): grpc.ClientUnaryCall;
  GetPublicKey(argument: _lastmile_v1_GetPublicKeyRequest, callback: grpc.requestCallback<_lastmile_v1_GetPublicKeyResponse__Output>): grpc.ClientUnaryCall;
  getPublicKey(argument: _lastmile_v1_GetPublicKeyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetPublicKeyResponse__Output>): grpc.ClientUnaryCall;
  getPublicKey(argument: _lastmile_v1_GetPublicKeyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetPublicKeyResponse__Output>): grpc.ClientUnaryCall;
  getPublicKey(argument: _lastmile_v1_GetPublicKeyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetPublicKeyResponse__Output>): grpc.ClientUnaryCall;
  getPublicKey(argument: _lastmile_v1_GetPublicKeyRequest, callback: grpc.requestCallback<_lastmile_v1_GetPublicKeyResponse__Output>): grpc.ClientUnaryCall;
  
  GetReceipt(argument: _lastmile_v1_GetReceiptRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetReceiptResponse__Output>): grpc.ClientUnaryCall;
  GetReceipt(argument: _lastmile_v1_GetReceiptRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetReceiptResponse__Output>): grpc.ClientUnaryCall;
  GetReceipt(argument: _lastmile_v1_GetReceiptRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetReceiptResponse__Output>): grpc.ClientUnaryCall;
  GetReceipt(argument: _lastmile_v1_GetReceiptRequest, callback: grpc.requestCallback<_lastmile_v1_GetReceiptResponse__Output>): grpc.ClientUnaryCall;
  getReceipt(argument: _lastmile_v1_GetReceiptRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetReceiptResponse__Output>): grpc.ClientUnaryCall;
  getReceipt(argument: _lastmile_v1_GetReceiptRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_GetReceiptResponse__Output>): grpc.ClientUnaryCall;
  getReceipt(argument: _lastmile_v1_GetReceiptRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_GetReceiptResponse__Output>): grpc.ClientUnaryCall;
  getReceipt(argument: _lastmile_v1_GetReceiptRequest, callback: grpc.requestCallback<_lastmile_v1_GetReceiptResponse__Output>): grpc.ClientUnaryCall;
  
  ListKeys(argument: _lastmile_v1_ListKeysRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListKeysResponse__Output>): grpc.ClientUnaryCall;
  ListKeys(argument: _lastmile_v1_ListKeysRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ListKeysResponse__Output>): grpc.ClientUnaryCall;
  ListKeys(argument: _lastmile_v1_ListKeysRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListKeysResponse__Output>): grpc.ClientUnaryCall;
  ListKeys(argument: _lastmile_v1_ListKeysRequest, callback: grpc.requestCallback<_lastmile_v1_ListKeysResponse__Output>): grpc.ClientUnaryCall;
  listKeys(argument: _lastmile_v1_ListKeysRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListKeysResponse__Output>): grpc.ClientUnaryCall;
  listKeys(argument: _lastmile_v1_ListKeysRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_ListKeysResponse__Output>): grpc.ClientUnaryCall;
  listKeys(argument: _lastmile_v1_ListKeysRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_ListKeysResponse__Output>): grpc.ClientUnaryCall;
  listKeys(argument: _lastmile_v1_ListKeysRequest, callback: grpc.requestCallback<_lastmile_v1_ListKeysResponse__Output>): grpc.ClientUnaryCall;
  
  Mac(argument: _lastmile_v1_MacRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_MacResponse__Output>): grpc.ClientUnaryCall;
  Mac(argument: _lastmile_v1_MacRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_MacResponse__Output>): grpc.ClientUnaryCall;
  Mac(argument: _lastmile_v1_MacRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_MacResponse__Output>): grpc.ClientUnaryCall;
  Mac(argument: _lastmile_v1_MacRequest, callback: grpc.requestCallback<_lastmile_v1_MacResponse__Output>): grpc.ClientUnaryCall;
  mac(argument: _lastmile_v1_MacRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_MacResponse__Output>): grpc.ClientUnaryCall;
  mac(argument: _lastmile_v1_MacRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_MacResponse__Output>): grpc.ClientUnaryCall;
  mac(argument: _lastmile_v1_MacRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_MacResponse__Output>): grpc.ClientUnaryCall;
  mac(argument: _lastmile_v1_MacRequest, callback: grpc.requestCallback<_lastmile_v1_MacResponse__Output>): grpc.ClientUnaryCall;
  
  Sign(argument: _lastmile_v1_SignRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_SignResponse__Output>): grpc.ClientUnaryCall;
  Sign(argument: _lastmile_v1_SignRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_SignResponse__Output>): grpc.ClientUnaryCall;
  Sign(argument: _lastmile_v1_SignRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_SignResponse__Output>): grpc.ClientUnaryCall;
  Sign(argument: _lastmile_v1_SignRequest, callback: grpc.requestCallback<_lastmile_v1_SignResponse__Output>): grpc.ClientUnaryCall;
  sign(argument: _lastmile_v1_SignRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_SignResponse__Output>): grpc.ClientUnaryCall;
  sign(argument: _lastmile_v1_SignRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_SignResponse__Output>): grpc.ClientUnaryCall;
  sign(argument: _lastmile_v1_SignRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_SignResponse__Output>): grpc.ClientUnaryCall;
  sign(argument: _lastmile_v1_SignRequest, callback: grpc.requestCallback<_lastmile_v1_SignResponse__Output>): grpc.ClientUnaryCall;
  
  SignCertificate(argument: _lastmile_v1_SignCertificateRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_SignCertificateResponse__Output>): grpc.ClientUnaryCall;
  SignCertificate(argument: _lastmile_v1_SignCertificateRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_SignCertificateResponse__Output>): grpc.ClientUnaryCall;
  SignCertificate(argument: _lastmile_v1_SignCertificateRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_SignCertificateResponse__Output>): grpc.ClientUnaryCall;
  SignCertificate(argument: _lastmile_v1_SignCertificateRequest, callback: grpc.requestCallback<_lastmile_v1_SignCertificateResponse__Output>): grpc.ClientUnaryCall;
  signCertificate(argument: _lastmile_v1_SignCertificateRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_SignCertificateResponse__Output>): grpc.ClientUnaryCall;
  signCertificate(argument: _lastmile_v1_SignCertificateRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_SignCertificateResponse__Output>): grpc.ClientUnaryCall;
  signCertificate(argument: _lastmile_v1_SignCertificateRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_SignCertificateResponse__Output>): grpc.ClientUnaryCall;
  signCertificate(argument: _lastmile_v1_SignCertificateRequest, callback: grpc.requestCallback<_lastmile_v1_SignCertificateResponse__Output>): grpc.ClientUnaryCall;
  
  SignDsse(argument: _lastmile_v1_SignDsseRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_SignDsseResponse__Output>): grpc.ClientUnaryCall;
  SignDsse(argument: _lastmile_v1_SignDsseRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_SignDsseResponse__Output>): grpc.ClientUnaryCall;
  SignDsse(argument: _lastmile_v1_SignDsseRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_SignDsseResponse__Output>): grpc.ClientUnaryCall;
  SignDsse(argument: _lastmile_v1_SignDsseRequest, callback: grpc.requestCallback<_lastmile_v1_SignDsseResponse__Output>): grpc.ClientUnaryCall;
  signDsse(argument: _lastmile_v1_SignDsseRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_SignDsseResponse__Output>): grpc.ClientUnaryCall;
  signDsse(argument: _lastmile_v1_SignDsseRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_SignDsseResponse__Output>): grpc.ClientUnaryCall;
  signDsse(argument: _lastmile_v1_SignDsseRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_SignDsseResponse__Output>): grpc.ClientUnaryCall;
  signDsse(argument: _lastmile_v1_SignDsseRequest, callback: grpc.requestCallback<_lastmile_v1_SignDsseResponse__Output>): grpc.ClientUnaryCall;
  
  SignJwt(argument: _lastmile_v1_SignJwtRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_SignJwtResponse__Output>): grpc.ClientUnaryCall;
  SignJwt(argument: _lastmile_v1_SignJwtRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_SignJwtResponse__Output>): grpc.ClientUnaryCall;
  SignJwt(argument: _lastmile_v1_SignJwtRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_SignJwtResponse__Output>): grpc.ClientUnaryCall;
  SignJwt(argument: _lastmile_v1_SignJwtRequest, callback: grpc.requestCallback<_lastmile_v1_SignJwtResponse__Output>): grpc.ClientUnaryCall;
  signJwt(argument: _lastmile_v1_SignJwtRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_SignJwtResponse__Output>): grpc.ClientUnaryCall;
  signJwt(argument: _lastmile_v1_SignJwtRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_SignJwtResponse__Output>): grpc.ClientUnaryCall;
  signJwt(argument: _lastmile_v1_SignJwtRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_SignJwtResponse__Output>): grpc.ClientUnaryCall;
  signJwt(argument: _lastmile_v1_SignJwtRequest, callback: grpc.requestCallback<_lastmile_v1_SignJwtResponse__Output>): grpc.ClientUnaryCall;
  
  SignStream(metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<_lastmile_v1_SignStreamRequest, _lastmile_v1_SignStreamResponse__Output>;
  SignStream(options?: grpc.CallOptions): grpc.ClientDuplexStream<_lastmile_v1_SignStreamRequest, _lastmile_v1_SignStreamResponse__Output>;
  signStream(metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<_lastmile_v1_SignStreamRequest, _lastmile_v1_SignStreamResponse__Output>;
  signStream(options?: grpc.CallOptions): grpc.ClientDuplexStream<_lastmile_v1_SignStreamRequest, _lastmile_v1_SignStreamResponse__Output>;
  
  Verify(argument: _lastmile_v1_VerifyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_VerifyResponse__Output>): grpc.ClientUnaryCall;
  Verify(argument: _lastmile_v1_VerifyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_VerifyResponse__Output>): grpc.ClientUnaryCall;
  Verify(argument: _lastmile_v1_VerifyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_VerifyResponse__Output>): grpc.ClientUnaryCall;
  Verify(argument: _lastmile_v1_VerifyRequest, callback: grpc.requestCallback<_lastmile_v1_VerifyResponse__Output>): grpc.ClientUnaryCall;
  verify(argument: _lastmile_v1_VerifyRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_VerifyResponse__Output>): grpc.ClientUnaryCall;
  verify(argument: _lastmile_v1_VerifyRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_VerifyResponse__Output>): grpc.ClientUnaryCall;
  verify(argument: _lastmile_v1_VerifyRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_VerifyResponse__Output>): grpc.ClientUnaryCall;
  verify(argument: _lastmile_v1_VerifyRequest, callback: grpc.requestCallback<_lastmile_v1_VerifyResponse__Output>): grpc.ClientUnaryCall;
  
  VerifyMac(argument: _lastmile_v1_VerifyMacRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_VerifyMacResponse__Output>): grpc.ClientUnaryCall;
  VerifyMac(argument: _lastmile_v1_VerifyMacRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_VerifyMacResponse__Output>): grpc.ClientUnaryCall;
  VerifyMac(argument: _lastmile_v1_VerifyMacRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_VerifyMacResponse__Output>): grpc.ClientUnaryCall;
  VerifyMac(argument: _lastmile_v1_VerifyMacRequest, callback: grpc.requestCallback<_lastmile_v1_VerifyMacResponse__Output>): grpc.ClientUnaryCall;
  verifyMac(argument: _lastmile_v1_VerifyMacRequest, metadata: grpc.Metadata, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_VerifyMacResponse__Output>): grpc.ClientUnaryCall;
  verifyMac(argument: _lastmile_v1_VerifyMacRequest, metadata: grpc.Metadata, callback: grpc.requestCallback<_lastmile_v1_VerifyMacResponse__Output>): grpc.ClientUnaryCall;
  verifyMac(argument: _lastmile_v1_VerifyMacRequest, options: grpc.CallOptions, callback: grpc.requestCallback<_lastmile_v1_VerifyMacResponse__Output>): grpc.ClientUnaryCall;
  verifyMac(argument: _lastmile_v1_VerifyMacRequest, callback: grpc.requestCallback<_lastmile_v1_VerifyMacResponse__Output>): grpc.ClientUnaryCall;
  
}

export interface KeyUseHandlers extends grpc.UntypedServiceImplementation {
  Decrypt: grpc.handleUnaryCall<_lastmile_v1_DecryptRequest__Output, _lastmile_v1_DecryptResponse>;
  
  Encrypt: grpc.handleUnaryCall<_lastmile_v1_EncryptRequest__Output, _lastmile_v1_EncryptResponse>;
  
  GenerateDataKey: grpc.handleUnaryCall<_lastmile_v1_GenerateDataKeyRequest__Output, _lastmile_v1_GenerateDataKeyResponse>;
  
  GenerateRandom: grpc.handleUnaryCall<_lastmile_v1_GenerateRandomRequest__Output, _lastmile_v1_GenerateRandomResponse>;
  
  GetPublicKey: grpc.handleUnaryCall<_lastmile_v1_GetPublicKeyRequest__Output, _lastmile_v1_GetPublicKeyResponse>;
  
  GetReceipt: grpc.handleUnaryCall<_lastmile_v1_GetReceiptRequest__Output, _lastmile_v1_GetReceiptResponse>;
  
  ListKeys: grpc.handleUnaryCall<_lastmile_v1_ListKeysRequest__Output, _lastmile_v1_ListKeysResponse>;
  
  Mac: grpc.handleUnaryCall<_lastmile_v1_MacRequest__Output, _lastmile_v1_MacResponse>;
  
  Sign: grpc.handleUnaryCall<_lastmile_v1_SignRequest__Output, _lastmile_v1_SignResponse>;
  
  SignCertificate: grpc.handleUnaryCall<_lastmile_v1_SignCertificateRequest__Output, _lastmile_v1_SignCertificateResponse>;
  
  SignDsse: grpc.handleUnaryCall<_lastmile_v1_SignDsseRequest__Output, _lastmile_v1_SignDsseResponse>;
  
  SignJwt: grpc.handleUnaryCall<_lastmile_v1_SignJwtRequest__Output, _lastmile_v1_SignJwtResponse>;
  
  SignStream: grpc.handleBidiStreamingCall<_lastmile_v1_SignStreamRequest__Output, _lastmile_v1_SignStreamResponse>;
  
  Verify: grpc.handleUnaryCall<_lastmile_v1_VerifyRequest__Output, _lastmile_v1_VerifyResponse>;
  
  VerifyMac: grpc.handleUnaryCall<_lastmile_v1_VerifyMacRequest__Output, _lastmile_v1_VerifyMacResponse>;
  
}

export interface KeyUseDefinition extends grpc.ServiceDefinition {
  Decrypt: MethodDefinition<_lastmile_v1_DecryptRequest, _lastmile_v1_DecryptResponse, _lastmile_v1_DecryptRequest__Output, _lastmile_v1_DecryptResponse__Output>
  Encrypt: MethodDefinition<_lastmile_v1_EncryptRequest, _lastmile_v1_EncryptResponse, _lastmile_v1_EncryptRequest__Output, _lastmile_v1_EncryptResponse__Output>
  GenerateDataKey: MethodDefinition<_lastmile_v1_GenerateDataKeyRequest, _lastmile_v1_GenerateDataKeyResponse, _lastmile_v1_GenerateDataKeyRequest__Output, _lastmile_v1_GenerateDataKeyResponse__Output>
  GenerateRandom: MethodDefinition<_lastmile_v1_GenerateRandomRequest, _lastmile_v1_GenerateRandomResponse, _lastmile_v1_GenerateRandomRequest__Output, _lastmile_v1_GenerateRandomResponse__Output>
  GetPublicKey: MethodDefinition<_lastmile_v1_GetPublicKeyRequest, _lastmile_v1_GetPublicKeyResponse, _lastmile_v1_GetPublicKeyRequest__Output, _lastmile_v1_GetPublicKeyResponse__Output>
  GetReceipt: MethodDefinition<_lastmile_v1_GetReceiptRequest, _lastmile_v1_GetReceiptResponse, _lastmile_v1_GetReceiptRequest__Output, _lastmile_v1_GetReceiptResponse__Output>
  ListKeys: MethodDefinition<_lastmile_v1_ListKeysRequest, _lastmile_v1_ListKeysResponse, _lastmile_v1_ListKeysRequest__Output, _lastmile_v1_ListKeysResponse__Output>
  Mac: MethodDefinition<_lastmile_v1_MacRequest, _lastmile_v1_MacResponse, _lastmile_v1_MacRequest__Output, _lastmile_v1_MacResponse__Output>
  Sign: MethodDefinition<_lastmile_v1_SignRequest, _lastmile_v1_SignResponse, _lastmile_v1_SignRequest__Output, _lastmile_v1_SignResponse__Output>
  SignCertificate: MethodDefinition<_lastmile_v1_SignCertificateRequest, _lastmile_v1_SignCertificateResponse, _lastmile_v1_SignCertificateRequest__Output, _lastmile_v1_SignCertificateResponse__Output>
  SignDsse: MethodDefinition<_lastmile_v1_SignDsseRequest, _lastmile_v1_SignDsseResponse, _lastmile_v1_SignDsseRequest__Output, _lastmile_v1_SignDsseResponse__Output>
  SignJwt: MethodDefinition<_lastmile_v1_SignJwtRequest, _lastmile_v1_SignJwtResponse, _lastmile_v1_SignJwtRequest__Output, _lastmile_v1_SignJwtResponse__Output>
  SignStream: MethodDefinition<_lastmile_v1_SignStreamRequest, _lastmile_v1_SignStreamResponse, _lastmile_v1_SignStreamRequest__Output, _lastmile_v1_SignStreamResponse__Output>
  Verify: MethodDefinition<_lastmile_v1_VerifyRequest, _lastmile_v1_VerifyResponse, _lastmile_v1_VerifyRequest__Output, _lastmile_v1_VerifyResponse__Output>
  VerifyMac: MethodDefinition<_lastmile_v1_VerifyMacRequest, _lastmile_v1_VerifyMacResponse, _lastmile_v1_VerifyMacRequest__Output, _lastmile_v1_VerifyMacResponse__Output>
}
