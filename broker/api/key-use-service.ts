import { leafHash } from '../audit/tlog/hash.ts';
import type { Call, Caller } from '../keyuse/call.ts';
import { Failure } from '../keyuse/failure.ts';
import type { KeyUse } from '../keyuse/key-use.ts';
import type { Content } from '../keyuse/request-form.ts';
import type { DecryptRequest__Output } from '../proto/gen/lastmile/v1/DecryptRequest.ts';
import type { EncryptRequest__Output } from '../proto/gen/lastmile/v1/EncryptRequest.ts';
import type { GenerateDataKeyRequest__Output } from '../proto/gen/lastmile/v1/GenerateDataKeyRequest.ts';
import type { GenerateRandomRequest__Output } from '../proto/gen/lastmile/v1/GenerateRandomRequest.ts';
import type { GetPublicKeyRequest__Output } from '../proto/gen/lastmile/v1/GetPublicKeyRequest.ts';
import type { GetReceiptRequest__Output } from '../proto/gen/lastmile/v1/GetReceiptRequest.ts';
import type { MacRequest__Output } from '../proto/gen/lastmile/v1/MacRequest.ts';
import type { SignRequest__Output } from '../proto/gen/lastmile/v1/SignRequest.ts';
import type { SignStreamRequest__Output } from '../proto/gen/lastmile/v1/SignStreamRequest.ts';
import type { VerifyMacRequest__Output } from '../proto/gen/lastmile/v1/VerifyMacRequest.ts';
import type { VerifyRequest__Output } from '../proto/gen/lastmile/v1/VerifyRequest.ts';
import type { KeyUseMethod } from '../proto/methods.ts';
import { message, reply } from './messages.ts';
import { asFailure, wireStatus } from './status.ts';
import { type TypedSources, typedHandlers } from './typed-handlers.ts';

export type Handler = (caller: Caller, call: Call, payload: Uint8Array) => Promise<Uint8Array>;

/** What GetReceipt needs of the log. */
export interface ReceiptSource {
  readonly origin: string;
  getReceipt(leafIndex: number): Promise<string | undefined>;
  getEntry(leafIndex: number): Promise<Uint8Array | undefined>;
}

const SIGNATURE_FORMATS = 2;

/** Decodes each KeyUse request, calls the transaction, encodes what came out. Nothing is decided here. */
export function keyUseHandlers(
  keyUse: KeyUse,
  receipts: ReceiptSource,
  typed: TypedSources = { profileOf: () => undefined, now: Date.now },
): Readonly<Record<Exclude<KeyUseMethod, 'SignStream'>, Handler>> & {
  /** One message of a stream: an error is an answer of its own, carrying the caller's request id. */
  readonly signStream: (
    caller: Caller,
    call: (deadline: number) => Call,
    deadline: number,
    payload: Uint8Array,
    /** Hears of every refusal and failure, with the cause of what the caller is only told is an internal error. */
    onFailure: (failure: Failure) => void,
  ) => Promise<Uint8Array>;
} {
  const log = (leafIndex: number): object => ({ origin: receipts.origin, leafIndex });
  const signRequest = message<SignRequest__Output>('SignRequest');
  const signResponse = reply('SignResponse');
  const streamRequest = message<SignStreamRequest__Output>('SignStreamRequest');
  const streamResponse = reply('SignStreamResponse');

  async function sign(caller: Caller, call: Call, request: SignRequest__Output): Promise<object> {
    call.waitsForApproval = request.waitForApproval;
    call.isEmergency = request.emergency;
    const done = await keyUse.sign(caller, call, {
      key: request.key,
      version: request.version,
      algorithm: request.algorithm,
      content: contentOf(request),
      der: isDer(request.signatureFormat),
    });
    return { signature: done.signature, version: done.version, log: log(done.leafIndex) };
  }

  const verifyRequest = message<VerifyRequest__Output>('VerifyRequest');
  const verifyResponse = reply('VerifyResponse');
  const encryptRequest = message<EncryptRequest__Output>('EncryptRequest');
  const encryptResponse = reply('EncryptResponse');
  const decryptRequest = message<DecryptRequest__Output>('DecryptRequest');
  const decryptResponse = reply('DecryptResponse');
  const macRequest = message<MacRequest__Output>('MacRequest');
  const macResponse = reply('MacResponse');
  const verifyMacRequest = message<VerifyMacRequest__Output>('VerifyMacRequest');
  const verifyMacResponse = reply('VerifyMacResponse');
  const dataKeyRequest = message<GenerateDataKeyRequest__Output>('GenerateDataKeyRequest');
  const dataKeyResponse = reply('GenerateDataKeyResponse');
  const randomRequest = message<GenerateRandomRequest__Output>('GenerateRandomRequest');
  const randomResponse = reply('GenerateRandomResponse');
  const publicKeyRequest = message<GetPublicKeyRequest__Output>('GetPublicKeyRequest');
  const publicKeyResponse = reply('GetPublicKeyResponse');
  const listKeysRequest = message<object>('ListKeysRequest');
  const listKeysResponse = reply('ListKeysResponse');
  const receiptRequest = message<GetReceiptRequest__Output>('GetReceiptRequest');
  const receiptResponse = reply('GetReceiptResponse');

  return {
    ...typedHandlers(keyUse, typed, log),

    Sign: async (caller, call, payload) =>
      signResponse(await sign(caller, call, signRequest.decode(payload))),

    signStream: async (caller, makeCall, deadline, payload, onFailure) => {
      const request = streamRequest.decode(payload);
      const { requestId } = request;
      if (requestId === '' || Buffer.byteLength(requestId) > 64) {
        throw new Failure('REQUEST_INVALID', 'request_id must be 1 to 64 bytes');
      }
      const own =
        request.timeoutMs === 0 ? deadline : Math.min(deadline, performance.now() + request.timeoutMs);
      try {
        if (request.sign === null || request.sign === undefined)
          throw new Failure('REQUEST_INVALID', 'sign is missing');
        return streamResponse({ requestId, signed: await sign(caller, makeCall(own), request.sign) });
      } catch (error) {
        const failure = asFailure(error);
        onFailure(failure);
        return streamResponse({ requestId, error: wireStatus(failure) });
      }
    },

    Verify: async (caller, call, payload) => {
      const request = verifyRequest.decode(payload);
      const { valid, version } = await keyUse.verify(caller, call, {
        key: request.key,
        version: request.version,
        algorithm: request.algorithm,
        content: contentOf(request),
        signature: request.signature,
        der: isDer(request.signatureFormat),
      });
      return verifyResponse({ valid, version });
    },

    Encrypt: async (caller, call, payload) => {
      const request = encryptRequest.decode(payload);
      call.waitsForApproval = request.waitForApproval;
      call.isEmergency = request.emergency;
      const done = await keyUse.encrypt(caller, call, request);
      return encryptResponse({
        ciphertext: done.ciphertext,
        version: done.version,
        log: log(done.leafIndex),
      });
    },

    Decrypt: async (caller, call, payload) => {
      const request = decryptRequest.decode(payload);
      call.waitsForApproval = request.waitForApproval;
      call.isEmergency = request.emergency;
      const done = await keyUse.decrypt(caller, call, request);
      return decryptResponse({ plaintext: done.plaintext, version: done.version, log: log(done.leafIndex) });
    },

    Mac: async (caller, call, payload) => {
      const request = macRequest.decode(payload);
      call.waitsForApproval = request.waitForApproval;
      call.isEmergency = request.emergency;
      const done = await keyUse.mac(caller, call, request);
      return macResponse({ mac: done.mac, version: done.version, log: log(done.leafIndex) });
    },

    VerifyMac: async (caller, call, payload) => {
      const done = await keyUse.verifyMac(caller, call, verifyMacRequest.decode(payload));
      return verifyMacResponse({ valid: done.valid, version: done.version, log: log(done.leafIndex) });
    },

    GenerateDataKey: async (caller, call, payload) => {
      const request = dataKeyRequest.decode(payload);
      call.waitsForApproval = request.waitForApproval;
      call.isEmergency = request.emergency;
      const done = await keyUse.generateDataKey(caller, call, request);
      return dataKeyResponse({
        plaintext: done.plaintext,
        wrapped: done.wrapped,
        version: done.version,
        log: log(done.leafIndex),
      });
    },

    GenerateRandom: async (caller, call, payload) => {
      const { random, leafIndex } = await keyUse.random(caller, call, randomRequest.decode(payload).length);
      return randomResponse({ random, log: log(leafIndex) });
    },

    GetPublicKey: async (caller, call, payload) => {
      const found = await keyUse.publicKey(caller, call, publicKeyRequest.decode(payload));
      return publicKeyResponse({
        pem: found.published.pem,
        jwk: JSON.stringify(found.published.jwk),
        kid: found.published.kid,
        version: found.version.version,
        algorithms: found.version.algorithms,
        otherJwks: found.others.map((other) => JSON.stringify(other.jwk)),
      });
    },

    ListKeys: async (caller, call, payload) => {
      listKeysRequest.decode(payload);
      const keys = await keyUse.usableKeys(caller, call);
      return listKeysResponse({
        keys: keys.map(({ version, operations }) => ({
          key: version.name,
          activeVersion: version.version,
          purpose: version.purpose,
          algorithms: version.algorithms,
          operations,
        })),
      });
    },

    GetReceipt: async (caller, call, payload) => {
      const { leafIndex } = receiptRequest.decode(payload);
      await keyUse.identify(caller, call, 'get-receipt');
      const entry = await receipts.getEntry(leafIndex);
      const shown = entry === undefined ? undefined : ownUse(entry, caller.identity.spiffeId.id);
      // Somebody else's entry and none at all look the same; and a refusal's says more than its caller was told.
      if (entry === undefined || shown === undefined) {
        const denied = new Failure('POLICY_DENIED', 'the policy does not allow this');
        throw await keyUse.refuse(caller, call, 'get-receipt', denied);
      }
      const receipt = await receipts.getReceipt(leafIndex);
      if (receipt === undefined) {
        throw new Failure(
          'AUDIT_UNAVAILABLE',
          'no checkpoint can be signed now: the key of the log cannot be reached',
        );
      }
      return receiptResponse({ receipt, entry: shown, leafHash: leafHash(entry) });
    },
  };
}

function contentOf(request: { message?: Uint8Array; digest?: Uint8Array }): Content | undefined {
  // protobufjs keeps unset members of a oneof off the object itself.
  if (Object.hasOwn(request, 'message')) return { kind: 'message', bytes: request.message! };
  if (Object.hasOwn(request, 'digest')) return { kind: 'digest', bytes: request.digest! };
  return undefined;
}

function isDer(format: number): boolean {
  if (format >= SIGNATURE_FORMATS || format < 0)
    throw new Failure('REQUEST_INVALID', 'signature_format is not known');
  return format === 1;
}

/**
 * What the subject of an entry may see of it: all of it, or nothing but its leaf hash (empty) when it names return
 * values of a token. Undefined: it is not the entry of a use by this subject.
 */
function ownUse(entry: Uint8Array, spiffeId: string): Uint8Array | undefined {
  const { subject, kind, decision, performed, attempts } = JSON.parse(
    Buffer.from(entry).toString('utf8'),
  ) as {
    readonly [field: string]: unknown;
  };
  if (subject !== spiffeId || kind !== 'key-use' || decision !== 'allow' || performed !== 'yes')
    return undefined;
  const hasReturnValue =
    Array.isArray(attempts) && attempts.some((attempt: object) => Object.hasOwn(attempt, 'ckr'));
  return hasReturnValue ? new Uint8Array() : entry;
}
