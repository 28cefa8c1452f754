import { type ClientDuplexStream, Metadata } from '@grpc/grpc-js';
import type { Codec } from '../proto/codec.ts';
import { LastmileError } from './errors.ts';
import { explain, type Probe, parseTarget, probe, type Target, trustDomainOf } from './handshake.ts';
import { call, connected, Lane } from './lane.ts';
import { deadlineExceeded, jitteredBackoff, type Patience, type RetryPolicy, withRetries } from './retry.ts';
import { type Svid, type SvidFiles, SvidSource } from './svid.ts';

/** How to reach a broker, and as whom. */
export interface ConnectOptions {
  /** `host:port` of the gateway. */
  readonly target: string;
  /** The broker's own SPIFFE ID; a server with any other is refused, whatever name was dialled. */
  readonly brokerId: string;
  readonly svid: SvidFiles;
  /** For every call that does not say its own; default 5000. */
  readonly deadlineMs?: number;
  /** Attempts of one call, the first included; default: as many as the deadline has room for. */
  readonly maxAttempts?: number;
}

/** Per call. */
export interface CallOptions {
  /** Milliseconds from now, retries included. */
  readonly deadlineMs?: number;
  /** Gives the call up: work that the broker has not begun is not done. */
  readonly signal?: AbortSignal;
  /**
   * Where people have to agree first: wait for them within the deadline. Otherwise the call rejects with
   * APPROVAL_REQUIRED and the approval's id in `metadata.approval`; asked again with this set, it goes on waiting.
   */
  readonly waitForApproval?: boolean;
  /** Break-glass: ask under a rule for emergencies. Loud. */
  readonly emergency?: boolean;
}

/** What a test may put in place of time and chance. */
export interface TransportSeams {
  readonly backoff?: (attempt: number) => number;
  readonly now?: () => number;
}

/** One method of the public contract with its messages. */
export interface UnaryMethod<In extends object, Out extends object> {
  readonly path: string;
  readonly request: Codec<In, never>;
  readonly response: Codec<never, Out>;
}

export const DEFAULT_DEADLINE_MS = 5000;
const PROBE_TIMEOUT_MS = 2000;

/**
 * What clients of the workload gateway and of the control gateway share: mTLS with an SVID from disk, deadlines,
 * retries, and errors that say what happened.
 */
export class Transport {
  readonly #target: Target;
  readonly #targetText: string;
  readonly #brokerId: string;
  readonly #source: SvidSource;
  readonly #deadlineMs: number;
  readonly #retry: RetryPolicy;
  readonly #maxResponseBytes: number;
  #lane: Lane;
  #isClosed = false;
  #diagnosis: Promise<Probe> | undefined;

  private constructor(
    target: Target,
    options: ConnectOptions,
    source: SvidSource,
    svid: Svid,
    maxResponseBytes: number,
    seams: TransportSeams,
  ) {
    this.#target = target;
    this.#targetText = options.target;
    this.#brokerId = options.brokerId;
    this.#source = source;
    this.#deadlineMs = options.deadlineMs ?? DEFAULT_DEADLINE_MS;
    this.#retry = {
      maxAttempts: options.maxAttempts ?? Number.POSITIVE_INFINITY,
      backoff: seams.backoff ?? jitteredBackoff,
    };
    this.#maxResponseBytes = maxResponseBytes;
    this.#lane = this.#newLane(svid);
  }

  /** Reads the SVID; the connection is made by the first call. */
  static async open(
    options: ConnectOptions,
    maxResponseBytes: number,
    seams: TransportSeams = {},
  ): Promise<Transport> {
    const target = parseTarget(options.target);
    if (trustDomainOf(options.brokerId) === undefined) {
      throw new LastmileError('REQUEST_INVALID', `brokerId \`${options.brokerId}\` is not a SPIFFE ID`, {
        code: 'INVALID_ARGUMENT',
        performed: 'no',
      });
    }
    const source = await SvidSource.open(options.svid, seams.now);
    return new Transport(target, options, source, await source.current(), maxResponseBytes, seams);
  }

  get retryPolicy(): RetryPolicy {
    return this.#retry;
  }

  patience(options: CallOptions): Patience {
    return {
      deadlineAt: performance.now() + (options.deadlineMs ?? this.#deadlineMs),
      signal: options.signal,
    };
  }

  /** One call, with retries. @throws LastmileError and nothing else */
  async unary<In extends object, Out extends object>(
    method: UnaryMethod<In, Out>,
    request: In,
    options: CallOptions,
  ): Promise<Out> {
    const patience = this.patience(options);
    // Encoded once: every attempt sends the identical bytes.
    const asked = {
      ...request,
      ...(options.waitForApproval === true ? { waitForApproval: true } : {}),
      ...(options.emergency === true ? { emergency: true } : {}),
    };
    const bytes = encoded(method.request, asked);
    return withRetries(() => this.#attempt(method, bytes, patience), this.#retry, patience);
  }

  async #attempt<In extends object, Out extends object>(
    method: UnaryMethod<In, Out>,
    request: Buffer,
    patience: Patience,
  ): Promise<Out> {
    const lane = await this.#readyLane(patience);
    try {
      return await call(lane.client, method.path, request, method.response, patience);
    } catch (error) {
      if (error instanceof LastmileError && error.reason === 'BROKER_UNREACHABLE') {
        throw await this.#whyNotConnected(lane, patience, error);
      }
      throw error;
    } finally {
      lane.release();
    }
  }

  /**
   * Opens a bidirectional call on a connection that is up. The caller calls `release` once, when the stream is over;
   * `isCurrent` turns false when newer calls go over another channel, because the SVID was renewed.
   */
  async duplex<In extends object, Out extends object>(
    path: string,
    request: Codec<In, never>,
    response: Codec<never, Out>,
    patience: Patience,
  ): Promise<{ stream: ClientDuplexStream<In, Out>; isCurrent: () => boolean; release: () => void }> {
    const lane = await this.#readyLane(patience);
    const stream = lane.client.makeBidiStreamRequest<In, Out>(
      path,
      request.encode,
      response.decode,
      new Metadata(),
    );
    return {
      stream,
      isCurrent: () => {
        const svid = this.#source.current();
        if (!(svid instanceof Promise)) this.#adopt(svid);
        else void svid.then((next) => this.#adopt(next));
        return this.#lane === lane && !this.#isClosed;
      },
      release: () => lane.release(),
    };
  }

  /** Calls in flight come to their end; new ones are refused. */
  close(): void {
    this.#isClosed = true;
    this.#lane.retire();
  }

  #newLane(svid: Svid): Lane {
    try {
      return new Lane(this.#target, this.#brokerId, svid, this.#maxResponseBytes);
    } catch (cause) {
      throw new LastmileError(
        'SVID_INVALID',
        'OpenSSL does not accept the certificate, key or trust bundle',
        {
          code: 'UNAUTHENTICATED',
          performed: 'no',
          cause,
        },
      );
    }
  }

  #adopt(svid: Svid): void {
    if (this.#isClosed || svid.fingerprint === this.#lane.svid.fingerprint) return;
    this.#replaceLane(svid);
  }

  #replaceLane(svid: Svid): void {
    const old = this.#lane;
    this.#lane = this.#newLane(svid);
    old.retire();
  }

  /** A lane whose connection is up, taken for one call. Whatever goes wrong here was not sent: `performed: no`. */
  async #readyLane(patience: Patience): Promise<Lane> {
    const svid = this.#source.current();
    this.#adopt(svid instanceof Promise ? await svid : svid);
    if (this.#isClosed)
      throw new LastmileError('CLIENT_CLOSED', 'the client was closed', {
        code: 'CANCELLED',
        performed: 'no',
      });
    const lane = this.#lane;
    lane.take();
    if (lane.isReady) return lane;
    try {
      if (await connected(lane.client, patience)) return lane;
      throw await this.#whyNotConnected(lane, patience);
    } catch (error) {
      lane.release();
      throw error;
    }
  }

  /**
   * gRPC says UNAVAILABLE for a refused certificate, a false broker and a broker that is away alike. One handshake of
   * our own tells them apart; calls that fail together share it.
   */
  async #whyNotConnected(lane: Lane, patience: Patience, cause?: LastmileError): Promise<LastmileError> {
    const remainingMs = patience.deadlineAt - performance.now();
    if (remainingMs <= 0) return deadlineExceeded('no', cause);
    this.#diagnosis ??= probe(
      this.#target,
      lane.svid,
      this.#brokerId,
      Math.min(PROBE_TIMEOUT_MS, remainingMs),
    ).finally(() => {
      this.#diagnosis = undefined;
    });
    const result = await this.#diagnosis;
    // The files may have been renewed since the lane was made: then the next attempt goes with the new SVID.
    const svid = await this.#source.refresh();
    if (this.#isClosed)
      return new LastmileError('CLIENT_CLOSED', 'the client was closed', {
        code: 'CANCELLED',
        performed: 'no',
      });
    if (svid.fingerprint !== lane.svid.fingerprint) {
      this.#adopt(svid);
      return new LastmileError('BROKER_UNREACHABLE', 'the X.509-SVID was renewed meanwhile', {
        performed: 'no',
        cause,
      });
    }
    if (result.outcome !== 'accepted') return explain(result, this.#targetText, lane.svid, this.#brokerId);
    // It answers now: a fresh channel does not sit out the old one's back-off.
    if (this.#lane === lane && !lane.isReady) this.#replaceLane(svid);
    return new LastmileError('BROKER_UNREACHABLE', `the connection to ${this.#targetText} broke`, {
      performed: 'no',
      cause,
    });
  }
}

function encoded<In extends object>(codec: Codec<In, never>, request: In): Buffer {
  try {
    return codec.encode(request);
  } catch (cause) {
    throw new LastmileError('REQUEST_INVALID', `the request cannot be encoded: ${(cause as Error).message}`, {
      code: 'INVALID_ARGUMENT',
      performed: 'no',
      cause,
    });
  }
}
