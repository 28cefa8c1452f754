import { createSecureContext } from 'node:tls';
import { Client, type ClientDuplexStream, credentials, Metadata } from '@grpc/grpc-js';
import type { SignResponse__Output } from '../broker/proto/gen/lastmile/v1/SignResponse.ts';
import type { SignStreamRequest } from '../broker/proto/gen/lastmile/v1/SignStreamRequest.ts';
import type { SignStreamResponse__Output } from '../broker/proto/gen/lastmile/v1/SignStreamResponse.ts';
import { serveParent } from './child.ts';
import { type Begin, runClosedLoop, type Sample } from './closed-loop.ts';
import type { EchoEnd } from './grpc-echo.ts';
import {
  decodeResponse,
  decodeStreamResponse,
  encodeRequest,
  encodeStreamRequest,
  REQUEST,
  RESPONSE,
  STREAM,
  UNARY,
} from './grpc-echo-messages.ts';

export type EchoClientRequest =
  | ({ readonly kind: 'connect'; readonly port: number } & EchoEnd)
  | {
      readonly kind: 'run';
      readonly mode: 'unary' | 'stream';
      readonly inFlight: number;
      readonly seconds: number;
    };

/** As the SDK has for every call. */
const DEADLINE_MS = 5000;

let connected: Client | undefined;

async function connect({ port, svid, trustBundle }: Extract<EchoClientRequest, { kind: 'connect' }>) {
  const context = createSecureContext({
    cert: svid.certificate,
    key: svid.key,
    ca: trustBundle,
    minVersion: 'TLSv1.3',
  });
  const client = new Client(`localhost:${port}`, credentials.createFromSecureContext(context));
  await new Promise<void>((resolve, reject) => {
    client.waitForReady(Date.now() + DEADLINE_MS, (error) =>
      error === undefined ? resolve() : reject(error),
    );
  });
  connected = client;
}

function expectAnswer(response: SignResponse__Output | null | undefined): void {
  if (response?.log?.leafIndex !== RESPONSE.log.leafIndex) throw new Error('a wrong answer');
}

function unary(client: Client): Begin {
  return (_lane, done) => {
    client.makeUnaryRequest(
      UNARY,
      encodeRequest,
      decodeResponse,
      REQUEST,
      new Metadata(),
      { deadline: Date.now() + DEADLINE_MS },
      (error, response) => {
        if (error) done(error);
        else {
          expectAnswer(response);
          done();
        }
      },
    );
  };
}

function overStream(
  stream: ClientDuplexStream<SignStreamRequest, SignStreamResponse__Output>,
  waiting: Map<string, () => void>,
): Begin {
  let nextId = 0;
  return (_lane, done) => {
    const requestId = (nextId++).toString(36);
    waiting.set(requestId, done);
    stream.write({ requestId, sign: REQUEST, timeoutMs: DEADLINE_MS });
  };
}

async function run({
  mode,
  inFlight,
  seconds,
}: Extract<EchoClientRequest, { kind: 'run' }>): Promise<Sample> {
  const client = connected;
  if (client === undefined) throw new Error('not connected');
  const sample = await (mode === 'unary'
    ? runClosedLoop({ inFlight, seconds }, unary(client))
    : runStream(client, inFlight, seconds));
  if (Object.keys(sample.failures).length > 0) throw new Error(JSON.stringify(sample.failures));
  return sample;
}

async function runStream(client: Client, inFlight: number, seconds: number): Promise<Sample> {
  const stream = client.makeBidiStreamRequest<SignStreamRequest, SignStreamResponse__Output>(
    STREAM,
    encodeStreamRequest,
    decodeStreamResponse,
    new Metadata(),
  );
  const waiting = new Map<string, () => void>();
  stream.on('data', ({ requestId, signed }: SignStreamResponse__Output) => {
    expectAnswer(signed);
    const done = waiting.get(requestId);
    waiting.delete(requestId);
    done?.();
  });
  const ended = new Promise<void>((resolve, reject) => {
    stream.on('end', resolve);
    stream.on('error', reject);
  });
  const sample = await Promise.race([
    runClosedLoop({ inFlight, seconds }, overStream(stream, waiting)),
    ended.then(() => {
      throw new Error('the server ended the stream');
    }),
  ]);
  stream.end();
  await ended;
  return sample;
}

serveParent<EchoClientRequest>(
  async (request) => (request.kind === 'connect' ? connect(request) : run(request)),
  () => connected?.close(),
);
