import { Metadata, status } from '@grpc/grpc-js';
import protobuf from 'protobufjs/minimal.js';

/**
 * The few refusals that a gateway makes by itself, because the request cannot or may not travel to the broker.
 * All others, and the mapping of reasons to codes, are the broker's (`api/status.ts`).
 */
export interface CallFailure {
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;
}

/** Nothing of a request that is refused here was performed. */
function local(code: status, reason: string, message: string): CallFailure {
  return failure(code, message, encodeStatus(code, message, reason));
}

/** @param statusBytes google.rpc.Status, protobuf */
export function failure(code: number, message: string, statusBytes: Uint8Array): CallFailure {
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', Buffer.from(statusBytes));
  return { code, details: message, metadata };
}

export const TOO_LARGE: CallFailure = local(
  status.INVALID_ARGUMENT,
  'REQUEST_INVALID',
  'request is larger than 1 MiB: send the digest instead of the message, or encrypt locally with GenerateDataKey',
);
export const MALFORMED: CallFailure = local(
  status.INVALID_ARGUMENT,
  'REQUEST_INVALID',
  'this method takes exactly one request message',
);
export const BUSY: CallFailure = local(status.RESOURCE_EXHAUSTED, 'BUSY', 'too many requests in flight');
export const DRAINING: CallFailure = local(
  status.RESOURCE_EXHAUSTED,
  'BUSY',
  'this gateway is being replaced: what was not answered was not performed, send it again',
);
export const DEADLINE: CallFailure = local(
  status.DEADLINE_EXCEEDED,
  'DEADLINE_EXCEEDED',
  'deadline exceeded',
);

/** google.rpc.Status with one google.rpc.ErrorInfo: code 1, message 2, details 3 (Any: type_url 1, value 2). */
function encodeStatus(code: number, message: string, reason: string): Uint8Array {
  const { Writer } = protobuf;
  const info = Writer.create().uint32(10).string(reason).uint32(18).string('lastmile');
  info.uint32(26).fork().uint32(10).string('performed').uint32(18);
  info.string(code === status.DEADLINE_EXCEEDED ? 'unknown' : 'no').ldelim();
  const any = Writer.create().uint32(10).string('type.googleapis.com/google.rpc.ErrorInfo');
  any.uint32(18).bytes(info.finish());
  return Writer.create()
    .uint32(8)
    .int32(code)
    .uint32(18)
    .string(message)
    .uint32(26)
    .bytes(any.finish())
    .finish();
}
