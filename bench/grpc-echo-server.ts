import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { codec } from '../broker/proto/codec.ts';
import { serveParent } from './child.ts';
import type { EchoEnd } from './grpc-echo.ts';
import { RESPONSE, STREAM, UNARY } from './grpc-echo-messages.ts';

export type EchoServerRequest = { readonly kind: 'listen' } & EchoEnd;

const asIs = (bytes: Buffer): Buffer => bytes;
const answer = codec<typeof RESPONSE, never>('lastmile.v1.SignResponse').encode(RESPONSE);
/** Field 2, length-delimited: `signed` of SignStreamResponse, ready to be put behind a request id. */
const signed = Buffer.concat([Buffer.from([0x12, answer.length]), answer]);

const server = new Server({ 'grpc.enable_channelz': 0 });
server.register(
  UNARY,
  (_call: unknown, done: (error: null, value: Buffer) => void) => done(null, answer),
  asIs,
  asIs,
  'unary',
);
server.register(
  STREAM,
  (call: ServerDuplexStream<Buffer, Buffer>) => {
    call.on('data', (request: Buffer) => {
      // Field 1 of both messages is the request id, and encoders write fields in their order: it goes back as it came.
      call.write(Buffer.concat([request.subarray(0, 2 + request[1]!), signed]));
    });
    call.on('end', () => call.end());
  },
  asIs,
  asIs,
  'bidi',
);

function listen({ svid, trustBundle }: EchoServerRequest): Promise<number> {
  const credentials = ServerCredentials.createSsl(
    Buffer.from(trustBundle),
    [{ cert_chain: Buffer.from(svid.certificate), private_key: Buffer.from(svid.key) }],
    true,
  );
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, port) => {
      if (error) reject(error);
      else resolve(port);
    });
  });
}

serveParent<EchoServerRequest>(listen, () => server.forceShutdown());
