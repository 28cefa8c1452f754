import { AuditError, type AuditLog } from '../audit/entry.ts';
import { Call, type Caller } from '../keyuse/call.ts';
import { Failure, type Reason } from '../keyuse/failure.ts';
import { type Method, methodByNumber } from '../proto/methods.ts';
import { checkHealth, type Serving } from './health.ts';
import type { Handler, keyUseHandlers } from './key-use-service.ts';
import { Unreadable } from './messages.ts';
import { asFailure, codeOf, encodeStatus, NO_SUCH_SERVICE, wireStatus } from './status.ts';

/** One undecoded request, from whatever carried it here. */
export interface IncomingRequest {
  readonly connection: number;
  readonly method: number;
  /** `performance.now()`, milliseconds. */
  readonly deadline: number;
  readonly payload: Uint8Array;
}

export interface Reply {
  ok(bytes: Uint8Array): void;
  fail(code: number, message: string, statusBytes: Uint8Array): void;
}

export interface RouterOptions {
  readonly keyUse: ReturnType<typeof keyUseHandlers>;
  /** Admin and Audit, by gRPC path. */
  readonly operators: ReadonlyMap<string, Handler>;
  readonly audit: AuditLog;
  /** The connection is to be closed: its workload floods the log with refusals. */
  readonly onOverQuota: (connection: number) => void;
  readonly onInternalError: (method: string, error: unknown) => void;
  readonly serving: () => Serving;
  /**
   * Hears how every request ended, every message of a stream on its own, probes excepted.
   * `reason`: what the caller was told; undefined when it was served.
   */
  readonly onEnd?: (method: Method, reason: Reason | undefined, milliseconds: number) => void;
}

/** Bytes of requests that are not answered, of one workload and of all: what waits stays in memory. */
const MAX_BYTES_PER_WORKLOAD = 32 << 20;
const MAX_BYTES = 256 << 20;

/** Brings each request to its handler, and every outcome back as a status. Nothing it is given makes it throw. */
export class Router {
  readonly #options: RouterOptions;
  readonly #callers = new Map<number, Caller>();
  readonly #open = new Map<Reply, Call[]>();
  readonly #bytes = new Map<string, number>();
  #allBytes = 0;

  constructor(options: RouterOptions) {
    this.#options = options;
  }

  /** A connection whose chain the broker has verified. */
  opened(connection: number, caller: Caller): void {
    this.#callers.set(connection, caller);
  }

  closed(connection: number): void {
    this.#callers.delete(connection);
  }

  get openRequests(): number {
    return this.#open.size;
  }

  cancel(reply: Reply): void {
    for (const call of this.#open.get(reply) ?? []) call.cancel();
  }

  handle(request: IncomingRequest, reply: Reply): void {
    const method = methodByNumber(request.method);
    const caller = this.#callers.get(request.connection);
    if (method === undefined || caller === undefined) {
      this.#fail(reply, new Failure('SVID_MISSING', 'the connection has no verified identity'));
      return;
    }
    if (method.service === 'Health') {
      this.#health(request.payload, reply);
      return;
    }
    const { id } = caller.identity.spiffeId;
    const size = request.payload.length;
    if (!this.#takeBytes(id, size)) {
      this.#fail(
        reply,
        new Failure('BUSY', 'too many bytes of requests are waiting: slow down and try again'),
      );
      return;
    }
    const begun = performance.now();
    const ended = (reason?: Reason): void => this.#options.onEnd?.(method, reason, performance.now() - begun);
    const calls: Call[] = [];
    this.#open.set(reply, calls);
    const newCall = (deadline: number): Call => {
      const call = new Call(deadline);
      calls.push(call);
      return call;
    };
    // Not before the work is over: what was cancelled may still be waiting with all its bytes.
    const over = (): void => {
      this.#open.delete(reply);
      this.#giveBytes(id, size);
      // Refusals of a stream's messages are answers, too.
      if (this.#options.audit.isOverQuota(id)) this.#options.onOverQuota(request.connection);
    };
    // A refused message of a stream is a reply that goes well.
    let inStream: Reason | undefined;
    const onStreamFailure = ({ reason }: Failure): void => {
      inStream = reason;
    };
    this.#dispatch(method, caller, newCall, request, onStreamFailure).then(
      (bytes) => {
        reply.ok(bytes);
        ended(inStream);
        over();
      },
      (error: unknown) => {
        const failure = error instanceof AuditError ? fromAudit(error) : asFailure(error);
        if (failure.reason === 'INTERNAL')
          this.#options.onInternalError(method.path, failure.cause ?? failure);
        if (!(failure instanceof Unreadable)) {
          this.#fail(reply, failure);
          ended(failure.reason);
          over();
          return;
        }
        this.#recordUnreadable(method, caller, failure).then((told) => {
          this.#fail(reply, told);
          ended(told.reason);
          over();
        });
      },
    );
  }

  /** Garbage is counted like any refusal: a workload that sends nothing else shows in the log. */
  async #recordUnreadable(method: Method, caller: Caller, failure: Failure): Promise<Failure> {
    try {
      await this.#options.audit.appendRefusal({
        kind: method.service === 'KeyUse' ? 'key-use' : 'method',
        subject: caller.identity.spiffeId.id,
        credential: caller.identity.credential.sha256,
        peer: caller.peer,
        operation: `${method.service}.${method.name}`,
        decision: 'deny',
        reason: failure.reason,
        performed: 'no',
      });
      return failure;
    } catch (error) {
      return error instanceof AuditError ? fromAudit(error) : asFailure(error);
    }
  }

  #takeBytes(spiffeId: string, size: number): boolean {
    const mine = (this.#bytes.get(spiffeId) ?? 0) + size;
    if (mine > MAX_BYTES_PER_WORKLOAD || this.#allBytes + size > MAX_BYTES) return false;
    this.#bytes.set(spiffeId, mine);
    this.#allBytes += size;
    return true;
  }

  #giveBytes(spiffeId: string, size: number): void {
    const left = (this.#bytes.get(spiffeId) ?? size) - size;
    if (left === 0) this.#bytes.delete(spiffeId);
    else this.#bytes.set(spiffeId, left);
    this.#allBytes -= size;
  }

  async #dispatch(
    method: Method,
    caller: Caller,
    newCall: (deadline: number) => Call,
    request: IncomingRequest,
    onStreamFailure: (failure: Failure) => void,
  ): Promise<Uint8Array> {
    if (method.name === 'SignStream') {
      return this.#options.keyUse.signStream(
        caller,
        newCall,
        request.deadline,
        request.payload,
        (failure) => {
          onStreamFailure(failure);
          if (failure.reason === 'INTERNAL')
            this.#options.onInternalError(method.path, failure.cause ?? failure);
        },
      );
    }
    const handler =
      method.service === 'KeyUse'
        ? this.#options.keyUse[method.name as Exclude<keyof RouterOptions['keyUse'], 'signStream'>]
        : this.#options.operators.get(method.path);
    if (handler === undefined) throw new Failure('OPERATION_UNSUPPORTED', 'method is not served here');
    return handler(caller, newCall(request.deadline), request.payload);
  }

  #health(payload: Uint8Array, reply: Reply): void {
    try {
      const bytes = checkHealth(this.#options.serving(), payload);
      if (bytes === undefined)
        reply.fail(NO_SUCH_SERVICE.code, NO_SUCH_SERVICE.message, encodeStatus(NO_SUCH_SERVICE));
      else reply.ok(bytes);
    } catch (error) {
      this.#fail(reply, asFailure(error));
    }
  }

  #fail(reply: Reply, failure: Failure): void {
    reply.fail(codeOf(failure.reason), failure.message, encodeStatus(wireStatus(failure)));
  }
}

function fromAudit(error: AuditError): Failure {
  return new Failure(error.reason, 'the audit log cannot be written, so nothing is done', { cause: error });
}
