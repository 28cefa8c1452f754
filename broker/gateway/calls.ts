import {
  Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  status,
} from '@grpc/grpc-js';
import { type FrameChannel, MAX_FRAME_BYTES } from '../../hsm-adapters/frames/frame-channel.ts';
import type { Method } from '../proto/methods.ts';
import { EdgeFrame, type GatewayConfiguration, REQUEST_HEADER_BYTES } from './edge-frames.ts';
import type { Connection, Listener } from './listener.ts';
import {
  BUSY,
  type CallFailure,
  DEADLINE,
  DRAINING,
  failure,
  MALFORMED,
  TOO_LARGE,
} from './local-failures.ts';

const MAX_PAYLOAD_BYTES = MAX_FRAME_BYTES - 5 - REQUEST_HEADER_BYTES;
/** Requests without an answer, over all connections: about what the broker can hold at its usual rate for a second. */
const MAX_IN_FLIGHT = 16_384;
/** Bytes the broker has not taken yet; beyond, it is the broker that is slow. */
const MAX_PENDING_BYTES = 32 << 20;
/** The broker answers by the deadline itself; this is for a broker that does not. */
const DEADLINE_GRACE_MS = 1_000;
/** A client that takes nothing of its answers for so long loses its connection. */
const STALLED_MS = 30_000;

interface Waiting {
  readonly call: UnaryCall | StreamCall;
  /** `performance.now()`, milliseconds. */
  readonly deadline: number;
}

/**
 * The gRPC calls of one gateway: each request message becomes a Request frame, undecoded, and each Reply or Failure
 * frame an answer.
 *
 * They sit below grpc-js's call objects, as a server interceptor that passes nothing on: what an event emitter and
 * two object streams cost per message is more than all the rest of this file.
 *
 * Invariants:
 *   - an id is in `#waiting` exactly while the broker owes an answer that somebody still wants
 *   - a stream has at most `maxStreamInFlight` messages unanswered or answered and not yet taken by the client
 */
export class Calls {
  readonly configuration: GatewayConfiguration;
  readonly #channel: Pick<FrameChannel, 'send' | 'pendingBytes'>;
  readonly #listener: Pick<Listener, 'find'>;
  readonly #waiting = new Map<number, Waiting>();
  readonly #streams = new Set<StreamCall>();
  readonly #header = Buffer.alloc(REQUEST_HEADER_BYTES);
  #lastId = 0;
  #draining = false;

  constructor(
    configuration: GatewayConfiguration,
    channel: Pick<FrameChannel, 'send' | 'pendingBytes'>,
    listener: Pick<Listener, 'find'>,
  ) {
    this.configuration = configuration;
    this.#channel = channel;
    this.#listener = listener;
  }

  /** Takes every call of these methods, by path; no handler sees one. */
  interceptor(methods: ReadonlyMap<string, Method>): ServerInterceptor {
    return (definition, call) =>
      new ServerInterceptingCall(call, {
        // Never calls `next`: nothing above this line sees the call.
        start: () => this.#start(methods.get(definition.path), call),
      });
  }

  get isCongested(): boolean {
    return this.#waiting.size >= MAX_IN_FLIGHT || this.#channel.pendingBytes > MAX_PENDING_BYTES;
  }

  /** @returns the request's id, or why it was not sent */
  submit(
    call: UnaryCall | StreamCall,
    { connection, method, callDeadline }: CallContext,
    payload: Buffer,
  ): number | CallFailure {
    if (payload.length > MAX_PAYLOAD_BYTES) return TOO_LARGE;
    const left = Math.min(callDeadline - Date.now(), this.configuration.maxDeadlineMs);
    if (left <= 0) return DEADLINE;
    do {
      this.#lastId = (this.#lastId + 1) >>> 0;
    } while (this.#waiting.has(this.#lastId));
    const id = this.#lastId;
    this.#waiting.set(id, { call, deadline: performance.now() + left });
    this.#header.writeUInt32BE(connection.number, 0);
    this.#header.writeUInt8(method.number, 4);
    this.#header.writeUInt32BE(Math.ceil(left), 5);
    this.#channel.send(EdgeFrame.Request, id, this.#header, payload);
    return id;
  }

  /** Nobody wants the answer any more. */
  cancel(id: number): void {
    if (this.#waiting.delete(id)) this.#channel.send(EdgeFrame.Cancel, id);
  }

  /** A Reply frame. An answer that came too late finds nobody. */
  reply(id: number, payload: Buffer): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    waiting.call.answered(id, payload);
  }

  /** A Failure frame. */
  fail(id: number, payload: Buffer): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    const messageEnd = 3 + payload.readUInt16BE(1);
    const message = payload.toString('utf8', 3, messageEnd);
    waiting.call.failed(id, failure(payload.readUInt8(0), message, payload.subarray(messageEnd)));
  }

  /** To be called about twice a second. */
  sweep(now: number): void {
    for (const [id, { call, deadline }] of this.#waiting) {
      if (now - deadline < DEADLINE_GRACE_MS) continue;
      this.cancel(id);
      call.failed(id, DEADLINE);
    }
    for (const stream of this.#streams) stream.sweep(now);
  }

  /** Streams read no more, get what they wait for, and end. */
  drain(): void {
    this.#draining = true;
    for (const stream of this.#streams) stream.drain();
  }

  ended(stream: StreamCall): void {
    this.#streams.delete(stream);
  }

  #start(method: Method | undefined, call: ServerInterceptingCallInterface): void {
    const connection = this.#listener.find(call.getConnectionInfo());
    // Only a connection that has just closed is not found: there is nobody to answer.
    if (method === undefined || connection === undefined) {
      call.sendStatus({ code: status.CANCELLED, details: 'connection is closed' });
      return;
    }
    connection.hasSpoken = true;
    const context = { connection, method, callDeadline: Number(call.getDeadline()) };
    if (!method.streaming) {
      call.start(new UnaryCall(this, call, context));
      return;
    }
    if (this.#draining) {
      call.sendStatus(DRAINING);
      return;
    }
    const stream = new StreamCall(this, call, context);
    this.#streams.add(stream);
    call.start(stream);
  }
}

interface CallContext {
  readonly connection: Connection;
  readonly method: Method;
  /** The caller's own, milliseconds since the epoch; Infinity when it gave none. */
  readonly callDeadline: number;
}

/** One request, one answer. */
class UnaryCall {
  readonly #calls: Calls;
  readonly #call: ServerInterceptingCallInterface;
  readonly #context: CallContext;
  #request: Buffer | undefined;
  #id: number | undefined;

  constructor(calls: Calls, call: ServerInterceptingCallInterface, context: CallContext) {
    this.#calls = calls;
    this.#call = call;
    this.#context = context;
  }

  onReceiveMetadata(_metadata: Metadata): void {
    this.#call.startRead();
  }

  onReceiveMessage(message: Buffer): void {
    if (this.#request !== undefined) {
      this.#call.sendStatus(MALFORMED);
      return;
    }
    this.#request = message;
    this.#call.startRead();
  }

  onReceiveHalfClose(): void {
    const request = this.#request;
    if (request === undefined) {
      this.#call.sendStatus(MALFORMED);
      return;
    }
    this.#request = undefined;
    const outcome = this.#calls.isCongested ? BUSY : this.#calls.submit(this, this.#context, request);
    if (typeof outcome === 'number') this.#id = outcome;
    else this.#call.sendStatus(outcome);
  }

  /** Also called after every normal end. */
  onCancel(): void {
    if (this.#id !== undefined) this.#calls.cancel(this.#id);
  }

  answered(_id: number, payload: Buffer): void {
    this.#call.sendMessage(payload, nothing);
    this.#call.sendStatus(OK);
  }

  failed(_id: number, why: CallFailure): void {
    this.#call.sendStatus(why);
  }
}

/** Many requests, each with its answer, in any order; at most so many at a time. */
class StreamCall {
  readonly #calls: Calls;
  readonly #call: ServerInterceptingCallInterface;
  readonly #context: CallContext;
  readonly #inFlight = new Set<number>();
  readonly #limit: number;
  /** Answers that the client has not taken: HTTP/2 flow control holds them here. */
  #untaken = 0;
  #takenAt = 0;
  #isReading = false;
  #halfClosed = false;
  #draining = false;
  #ended = false;

  constructor(calls: Calls, call: ServerInterceptingCallInterface, context: CallContext) {
    this.#calls = calls;
    this.#call = call;
    this.#context = context;
    this.#limit = calls.configuration.maxStreamInFlight;
  }

  onReceiveMetadata(_metadata: Metadata): void {
    // At once, so that a client learns that it was let in before its first answer.
    this.#call.sendMetadata(new Metadata());
    this.#read();
  }

  onReceiveMessage(message: Buffer): void {
    this.#isReading = false;
    if (this.#ended) return;
    const outcome = this.#calls.submit(this, this.#context, message);
    if (typeof outcome !== 'number') {
      this.#end(outcome);
      return;
    }
    this.#inFlight.add(outcome);
    this.#read();
  }

  onReceiveHalfClose(): void {
    this.#halfClosed = true;
    this.#endIfDone();
  }

  /** Also called after every normal end. */
  onCancel(): void {
    this.#ended = true;
    this.#calls.ended(this);
    for (const id of this.#inFlight) this.#calls.cancel(id);
    this.#inFlight.clear();
  }

  answered(id: number, payload: Buffer): void {
    this.#inFlight.delete(id);
    if (this.#untaken === 0) this.#takenAt = performance.now();
    this.#untaken += 1;
    this.#call.sendMessage(payload, this.#taken);
    this.#endIfDone();
    this.#read();
  }

  /** A message that was refused as a whole ends the stream; what one request was refused travels in its answer. */
  failed(id: number, why: CallFailure): void {
    this.#inFlight.delete(id);
    this.#end(why);
  }

  drain(): void {
    this.#draining = true;
    this.#endIfDone();
  }

  sweep(now: number): void {
    if (this.#untaken > 0 && now - this.#takenAt > STALLED_MS) this.#context.connection.socket.destroy();
    // Reading may have stopped because of others.
    else this.#read();
  }

  readonly #taken = (): void => {
    this.#untaken -= 1;
    this.#takenAt = performance.now();
    this.#read();
  };

  #read(): void {
    if (this.#isReading || this.#halfClosed || this.#draining || this.#ended) return;
    if (this.#inFlight.size + this.#untaken >= this.#limit || this.#calls.isCongested) return;
    this.#isReading = true;
    this.#call.startRead();
  }

  #endIfDone(): void {
    if (this.#inFlight.size > 0) return;
    if (this.#halfClosed) this.#end(OK);
    else if (this.#draining) this.#end(DRAINING);
  }

  #end(why: CallFailure | typeof OK): void {
    if (this.#ended) return;
    this.onCancel();
    this.#call.sendStatus(why);
  }
}

const OK = { code: status.OK, details: '' } as const;

function nothing(): void {
  // grpc-js wants to tell when a message was written; a unary answer has nothing to do then.
}
