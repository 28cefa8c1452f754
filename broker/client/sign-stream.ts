import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { codec } from '../proto/codec.ts';
import type { SignRequest } from '../proto/gen/lastmile/v1/SignRequest.ts';
import type { SignResponse__Output } from '../proto/gen/lastmile/v1/SignResponse.ts';
import type { SignStreamRequest } from '../proto/gen/lastmile/v1/SignStreamRequest.ts';
import type { SignStreamResponse__Output } from '../proto/gen/lastmile/v1/SignStreamResponse.ts';
import { fromServiceError, fromStatus, LastmileError } from './errors.ts';
import { cancelled, deadlineExceeded, type Patience, withRetries } from './retry.ts';
import type { CallOptions, Transport } from './transport.ts';

const PATH = '/lastmile.v1.KeyUse/SignStream';
const requestCodec = codec<SignStreamRequest, never>('lastmile.v1.SignStreamRequest');
const responseCodec = codec<never, SignStreamResponse__Output>('lastmile.v1.SignStreamResponse');

interface Waiter {
  resolve(signed: SignResponse__Output): void;
  reject(error: LastmileError): void;
}

/** One gRPC stream. `waiting` is owned by SignStream; an id leaves it exactly once, with its outcome. */
interface Pipe {
  readonly stream: ClientDuplexStream<SignStreamRequest, SignStreamResponse__Output>;
  readonly waiting: Map<string, Waiter>;
  readonly isCurrent: () => boolean;
  /** Settles when the stream may be written to again. */
  drained: Promise<void> | undefined;
  isOver: boolean;
  readonly over: Promise<void>;
}

/**
 * Many signatures in flight over one stream; each call resolves on its own, in any order.
 *
 * At most `maxInFlight` requests are with the broker at a time; further calls wait for their turn within their
 * deadline. When the stream breaks, what was in flight rejects with `performed: unknown`, and the next call opens
 * another stream; when the SVID is renewed, new calls go over a new connection while the old stream drains.
 */
export class SignStream {
  readonly #transport: Transport;
  readonly #maxInFlight: number;
  readonly #turns: (() => void)[] = [];
  #inFlight = 0;
  #nextId = 0;
  #pipe: Promise<Pipe> | undefined;
  /** What `#pipe` came to, while it can be written to. */
  #ready: Pipe | undefined;
  readonly #pipes = new Set<Pipe>();
  #isEnded = false;

  constructor(transport: Transport, maxInFlight: number) {
    this.#transport = transport;
    this.#maxInFlight = maxInFlight;
  }

  /** Signs one message or digest. @throws LastmileError */
  sign(request: SignRequest, options: CallOptions = {}): Promise<SignResponse__Output> {
    const patience = this.#transport.patience(options);
    return withRetries(() => this.#attempt(request, patience), this.#transport.retryPolicy, patience);
  }

  /** Refuses new calls, waits for those in flight, and closes the streams. */
  async end(): Promise<void> {
    this.#isEnded = true;
    const opening = this.#pipe;
    // An opening that fails rejects the call that wanted it; there is nothing to end then.
    if (opening !== undefined) await Promise.allSettled([opening]);
    for (const pipe of this.#pipes) halfCloseWhenIdle(pipe, true);
    await Promise.all([...this.#pipes].map((pipe) => pipe.over));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end();
  }

  async #attempt(request: SignRequest, patience: Patience): Promise<SignResponse__Output> {
    if (this.#inFlight >= this.#maxInFlight) await this.#turn(patience);
    else this.#inFlight++;
    try {
      const pipe = await this.#writablePipe(patience);
      return await this.#exchange(pipe, request, patience);
    } finally {
      this.#passTurn();
    }
  }

  /** A turn is handed on, not given back and taken again: nobody who comes later overtakes the queue. */
  #passTurn(): void {
    const next = this.#turns.shift();
    if (next === undefined) this.#inFlight--;
    else next();
  }

  async #turn(patience: Patience): Promise<void> {
    let mine: (() => void) | undefined;
    const turn = new Promise<void>((resolve) => {
      mine = resolve;
      this.#turns.push(resolve);
    });
    try {
      await within(turn, patience, 'no');
    } catch (error) {
      const at = this.#turns.indexOf(mine!);
      if (at >= 0) this.#turns.splice(at, 1);
      // It was handed to us in the very moment that we gave up.
      else this.#passTurn();
      throw error;
    }
  }

  async #writablePipe(patience: Patience): Promise<Pipe> {
    for (;;) {
      if (this.#isEnded)
        throw new LastmileError('CLIENT_CLOSED', 'the stream was ended', {
          code: 'CANCELLED',
          performed: 'no',
        });
      // The common case waits for nothing and sets no timer.
      const ready = this.#ready;
      if (ready !== undefined && !ready.isOver && ready.drained === undefined && ready.isCurrent())
        return ready;
      const opening = this.#pipe ?? this.#startOpening(patience);
      let pipe: Pipe;
      try {
        pipe = await within(opening, patience, 'no');
      } catch (error) {
        // It may have been the deadline of the call that began to open; ours may be later.
        const isOurs = patience.signal?.aborted || performance.now() >= patience.deadlineAt;
        if (error instanceof LastmileError && error.reason === 'DEADLINE_EXCEEDED' && !isOurs) continue;
        throw error;
      }
      if (pipe.isOver || !pipe.isCurrent()) {
        if (this.#pipe === opening) this.#pipe = undefined;
        halfCloseWhenIdle(pipe, true);
        continue;
      }
      this.#ready = pipe;
      if (pipe.drained === undefined) return pipe;
      await within(pipe.drained, patience, 'no');
    }
  }

  /** Calls that come while a stream is being opened share the opening; one that failed is forgotten at once. */
  #startOpening(patience: Patience): Promise<Pipe> {
    const opening = this.#open(patience).catch((error: unknown) => {
      if (this.#pipe === opening) this.#pipe = undefined;
      throw error;
    });
    this.#pipe = opening;
    return opening;
  }

  #exchange(pipe: Pipe, sign: SignRequest, patience: Patience): Promise<SignResponse__Output> {
    const { signal } = patience;
    const remainingMs = patience.deadlineAt - performance.now();
    if (signal?.aborted) throw cancelled(signal, 'no');
    if (remainingMs < 1) throw deadlineExceeded('no');
    const requestId = (this.#nextId++).toString(36);
    const { promise, resolve, reject } = Promise.withResolvers<SignResponse__Output>();
    const giveUp = (error: LastmileError): void => {
      pipe.waiting.delete(requestId);
      halfCloseWhenIdle(pipe, false);
      settled();
      reject(error);
    };
    const timer = setTimeout(() => giveUp(deadlineExceeded('unknown')), remainingMs);
    const abort = (): void => giveUp(cancelled(signal!, 'unknown'));
    signal?.addEventListener('abort', abort, { once: true });
    const settled = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    };
    pipe.waiting.set(requestId, {
      resolve: (signed) => {
        settled();
        resolve(signed);
      },
      reject: (error) => {
        settled();
        reject(error);
      },
    });
    if (
      !pipe.stream.write({ requestId, sign, timeoutMs: Math.ceil(remainingMs) }) &&
      pipe.drained === undefined
    ) {
      pipe.drained = new Promise((drained) => {
        const resume = (): void => {
          pipe.drained = undefined;
          pipe.stream.off('drain', resume);
          drained();
        };
        pipe.stream.on('drain', resume);
        void pipe.over.then(resume);
      });
    }
    return promise;
  }

  async #open(patience: Patience): Promise<Pipe> {
    // The stream outlives the call that opens it: that caller's signal is not the stream's.
    const opened = await this.#transport.duplex<SignStreamRequest, SignStreamResponse__Output>(
      PATH,
      requestCodec,
      responseCodec,
      { deadlineAt: patience.deadlineAt, signal: undefined },
    );
    const { promise: over, resolve: finish } = Promise.withResolvers<void>();
    const pipe: Pipe = {
      stream: opened.stream,
      waiting: new Map(),
      isCurrent: opened.isCurrent,
      drained: undefined,
      isOver: false,
      over,
    };
    this.#pipes.add(pipe);
    const close = (error: LastmileError): void => {
      if (pipe.isOver) return;
      pipe.isOver = true;
      this.#pipes.delete(pipe);
      opened.release();
      for (const waiter of pipe.waiting.values()) waiter.reject(error);
      pipe.waiting.clear();
      finish();
    };
    pipe.stream.on('data', (response: SignStreamResponse__Output) => {
      const waiter = pipe.waiting.get(response.requestId);
      // Given up here meanwhile, by deadline or abort.
      if (waiter === undefined) return;
      pipe.waiting.delete(response.requestId);
      if (response.signed) waiter.resolve(response.signed);
      else if (response.error) waiter.reject(fromStatus(response.error));
      else
        waiter.reject(
          new LastmileError('INTERNAL', 'the answer has no outcome', {
            code: 'INTERNAL',
            performed: 'unknown',
          }),
        );
      halfCloseWhenIdle(pipe, false);
    });
    pipe.stream.on('error', (error: ServiceError) => close(ofWholeStream(fromServiceError(error))));
    pipe.stream.on('end', () =>
      close(new LastmileError('CONNECTION_LOST', 'the broker ended the stream', { performed: 'unknown' })),
    );
    return pipe;
  }
}

/**
 * The end of a stream says nothing of the single requests on it: whatever the status claims, each of them may have
 * been performed. Only a stream that the broker's HTTP/2 never took is sure (`BROKER_UNREACHABLE`).
 */
function ofWholeStream(error: LastmileError): LastmileError {
  if (error.performed === 'unknown' || error.reason === 'BROKER_UNREACHABLE') return error;
  return new LastmileError(error.reason, error.message, {
    code: error.code,
    performed: 'unknown',
    metadata: error.metadata,
    cause: error.cause,
  });
}

const retiring = new WeakSet<Pipe>();

/** With `retire`, no more is written: the stream is half-closed as soon as nothing waits on it. */
function halfCloseWhenIdle(pipe: Pipe, retire: boolean): void {
  if (retire) retiring.add(pipe);
  if (retiring.has(pipe) && pipe.waiting.size === 0 && !pipe.isOver && !pipe.stream.writableEnded)
    pipe.stream.end();
}

/** Waits for `work` no longer than the caller has patience. The work itself goes on. */
async function within<T>(work: Promise<T>, patience: Patience, performed: 'no' | 'unknown'): Promise<T> {
  const { signal } = patience;
  if (signal?.aborted) throw cancelled(signal, performed);
  const { promise: lost, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(deadlineExceeded(performed)),
    Math.max(0, patience.deadlineAt - performance.now()),
  );
  const abort = (): void => reject(cancelled(signal!, performed));
  signal?.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, lost]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}
