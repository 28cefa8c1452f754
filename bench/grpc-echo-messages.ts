import { codec } from '../broker/proto/codec.ts';
import type { SignRequest } from '../broker/proto/gen/lastmile/v1/SignRequest.ts';
import type { SignResponse__Output } from '../broker/proto/gen/lastmile/v1/SignResponse.ts';
import type { SignStreamRequest } from '../broker/proto/gen/lastmile/v1/SignStreamRequest.ts';
import type { SignStreamResponse__Output } from '../broker/proto/gen/lastmile/v1/SignStreamResponse.ts';
import { MESSAGE_BYTES } from './algorithms.ts';

/** The messages of an ES256 signature as a client of the broker sends and gets them. */
export const UNARY = '/lastmile.v1.KeyUse/Sign';
export const STREAM = '/lastmile.v1.KeyUse/SignStream';

export const REQUEST: SignRequest = {
  key: 'payments/bench/es256',
  algorithm: 'ES256',
  message: Buffer.alloc(MESSAGE_BYTES, 'lastmile'),
};

export const RESPONSE = {
  signature: Buffer.alloc(64, 0x5a),
  version: 1,
  log: { origin: 'example.org/lastmile/development', leafIndex: 1_000_000 },
} as const;

export const encodeRequest = codec<SignRequest, never>('lastmile.v1.SignRequest').encode;
export const decodeResponse = codec<never, SignResponse__Output>('lastmile.v1.SignResponse').decode;
export const encodeStreamRequest = codec<SignStreamRequest, never>('lastmile.v1.SignStreamRequest').encode;
export const decodeStreamResponse = codec<never, SignStreamResponse__Output>(
  'lastmile.v1.SignStreamResponse',
).decode;
