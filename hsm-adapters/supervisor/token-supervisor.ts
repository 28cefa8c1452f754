import {
  AdapterError,
  type DecryptOperation,
  type EncryptResult,
  type LoginLedger,
  type ObjectRef,
  type OperationContext,
  type SignOperation,
  type TokenAdapter,
  type TokenAdministration,
  type TokenConfig,
  type TokenInfo,
  type TokenState,
} from '../adapter.ts';
import {
  type ChildExit,
  type ChildHandlers,
  type ChildSpec,
  SupervisedChild,
  systemTimers,
  type Timers,
} from '../frames/child-process.ts';
import type { ChildUser } from '../frames/child-side.ts';
import { type FrameChannel, FrameError } from '../frames/frame-channel.ts';
import { type AdministrationRequest, type WorkerFailure, WorkerFrame } from '../frames/worker-frames.ts';
import { findProfile, PROFILE_NAMES } from '../profiles/profiles.ts';
import { LoginGate } from './login-gate.ts';
import { type PinSource, pinSource } from './pin-source.ts';
import { remoteAdministration } from './remote-administration.ts';
import { RemoteOperations } from './remote-operations.ts';
import { type Decode, RequestTable } from './request-table.ts';
import { type Phase, TokenStatus } from './token-status.ts';
import { readFailure, readLoginOutcome, readTokenInfo } from './worker-messages.ts';
import { startMessage, workerSpec } from './worker-start.ts';

/** What the supervisor needs of its worker process: `SupervisedChild`, or a fake in tests. */
export type WorkerProcess = Pick<
  SupervisedChild,
  'start' | 'stop' | 'kill' | 'pid' | 'uid' | 'restarts' | 'consecutiveFailures'
>;

export interface TokenAdapterOptions {
  readonly config: TokenConfig;
  readonly ledger: LoginLedger;
  /** What the worker becomes; absent when user ids are shared. */
  readonly user?: ChildUser | undefined;
  /** The tree that the worker runs from; by default this one. */
  readonly root?: string | undefined;
  readonly log: (line: string) => void;
  /** Operations at the worker for each of its sessions; the rest of a rush waits, or is refused, in the broker. */
  readonly pipelining?: number | undefined;
  readonly timers?: Timers | undefined;
  /** An operator took it out of service before this broker started. */
  readonly isDrained?: boolean | undefined;
  readonly startWorker?: ((spec: ChildSpec, handlers: ChildHandlers) => WorkerProcess) | undefined;
}

/** While one operation runs, the next is on its way: with 1 a session idles for a round trip between two. */
const DEFAULT_PIPELINING = 4;
const MAX_ADMINISTRATIONS = 64;
/** Loading a module, reaching the token, a PIN command, C_Login. */
const LEAST_START_LIMIT_MS = 30_000;
/** An RSA pair takes a slow token a minute. */
const ADMINISTRATION_HANG_FACTOR = 12;
const DRAIN_LIMIT_MS = 5_000;
/** An HSM that was away is back in service within this long of its return. */
const RESTARTS = { firstDelayMs: 50, maxDelayMs: 5_000, healthyAfterMs: 30_000 } as const;
/** Good answers after a failure of the token's own, before it counts as healthy again. */
const PROBATION = 16;

/**
 * One token's worker process, seen from the broker.
 *
 * Owns the worker, the table of what it was asked, and what moves the token from one phase to the next: the worker's
 * frames, its death, and an operator's word. How an operation is framed is in `remote-operations.ts`, whether C_Login
 * may be called in `login-gate.ts`; that the gate is asked, and an attempt on record, before Login leaves is `#found`.
 *
 * Over 400 lines because everything that moves a token from one phase to another is in one place: spread over files,
 * nobody could tell which of two moves comes first.
 *
 * A crash of the broker takes the worker with it; what was in flight may have happened.
 */
class TokenSupervisor implements TokenAdapter {
  readonly administration: TokenAdministration;
  readonly #config: TokenConfig;
  readonly #log: (line: string) => void;
  readonly #timers: Timers;
  readonly #pipelining: number;
  readonly #pin: PinSource;
  readonly #gate: LoginGate;
  readonly #worker: WorkerProcess;
  readonly #requests: RequestTable;
  readonly #operations: RemoteOperations;
  readonly #status: TokenStatus;
  #channel: FrameChannel | undefined;
  #info: TokenInfo | undefined;
  #loginGeneration = 0;
  #inFlightLimit = 0;
  /** Good answers still to come before a degraded token counts as healthy. */
  #probation = 0;
  /** An operator's word: it holds for every worker to come. */
  #isDrained: boolean;
  #cancelStartLimit: (() => void) | undefined;
  #whenDrained: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: TokenAdapterOptions) {
    const { config, ledger, user, log } = options;
    const profile = findProfile(config.profile);
    if (profile === undefined) {
      throw new Error(
        `token \`${config.name}\`: no profile \`${config.profile}\`; there are: ${PROFILE_NAMES.join(', ')}`,
      );
    }
    this.#config = config;
    this.#log = (line) => log(`token \`${config.name}\`: ${line}`);
    this.#timers = options.timers ?? systemTimers;
    this.#isDrained = options.isDrained ?? false;
    this.#pipelining = options.pipelining ?? DEFAULT_PIPELINING;
    this.#pin = pinSource(config.pin, this.#log);
    this.#gate = new LoginGate(config.name, ledger, this.#pin, profile.pinFlagsReliable, this.#log);
    this.#status = new TokenStatus(config.name, this.#log);
    this.#requests = new RequestTable(this.#timers, {
      cancel: (id) => this.#channel?.send(WorkerFrame.Cancel, id),
      hangs: () => this.#replaceWorker(`the module has not answered for ${config.hangLimitMs} ms`),
    });
    this.#operations = new RemoteOperations(this.#requests, config.hangLimitMs, () => this.#admit());
    this.administration = remoteAdministration(
      (request, decode) => this.#administer(request, decode),
      (error) => {
        // Without a worker that serves, references are void anyway.
        if (!(error instanceof AdapterError)) this.#log(`release failed: ${String(error)}`);
      },
    );
    const startWorker =
      options.startWorker ??
      ((worker, handlers) =>
        new SupervisedChild(worker, handlers, { timers: this.#timers, restartPolicy: RESTARTS }));
    this.#worker = startWorker(workerSpec(config, this.#pin, user, options.root), {
      started: (channel) => this.#started(channel),
      frame: (type, id, payload) => this.#receive(type, id, payload),
      exited: (exit) => this.#exited(exit),
      log: this.#log,
    });
    this.#worker.start();
  }

  get #phase(): Phase {
    return this.#status.phase;
  }

  get name(): string {
    return this.#config.name;
  }

  get state(): TokenState {
    return this.#status.state;
  }

  get info(): TokenInfo | undefined {
    return this.#info;
  }

  get advice(): string | undefined {
    return this.#status.advice(this.#worker.consecutiveFailures, this.#requests.operations);
  }

  get inFlight(): number {
    return this.#requests.operations;
  }

  get capacity(): number {
    return this.#info?.sessions ?? this.#config.sessions;
  }

  get loginGeneration(): number {
    return this.#loginGeneration;
  }

  get worker(): TokenAdapter['worker'] {
    const { pid, uid, restarts } = this.#worker;
    return pid === undefined ? undefined : { pid, uid, restarts };
  }

  sign(operation: SignOperation, context: OperationContext): Promise<Uint8Array> {
    return this.#operations.sign(operation, context);
  }

  encrypt(
    object: ObjectRef,
    plaintext: Uint8Array,
    associatedData: Uint8Array,
    context: OperationContext,
  ): Promise<EncryptResult> {
    return this.#operations.encrypt(object, plaintext, associatedData, context);
  }

  decrypt(operation: DecryptOperation, context: OperationContext): Promise<Uint8Array> {
    return this.#operations.decrypt(operation, context);
  }

  random(bytes: number, context: OperationContext): Promise<Uint8Array> {
    return this.#operations.random(bytes, context);
  }

  watch(listener: (token: TokenAdapter) => void): () => void {
    // Wrapped: the same function watching twice is two watchers.
    return this.#status.watch(() => listener(this));
  }

  quarantine(finding: string): void {
    this.#log(`leaves service: ${finding}`);
    this.#leaveService(finding);
  }

  /** Whatever the phase: what was found counts for the next worker, and for the next broker. */
  #leaveService(finding: string): void {
    this.#block('finding', this.#gate.recordFinding(this.#info?.serial, finding));
  }

  async unblock(): Promise<void> {
    if (this.#phase.kind !== 'blocked') return;
    // Of a token that was never reached nothing is in the ledger.
    if (this.#info !== undefined) this.#gate.clear(this.#info.serial, this.#phase.by);
    await this.#worker.stop();
    // Somebody else may have unblocked or closed it meanwhile.
    if (this.#phase.kind !== 'blocked') return;
    this.#status.enter({ kind: 'starting' });
    this.#worker.start();
  }

  drain(): void {
    this.#setDrained(true);
  }

  undrain(): void {
    this.#setDrained(false);
  }

  #setDrained(isDrained: boolean): void {
    if (this.#isDrained === isDrained) return;
    this.#isDrained = isDrained;
    if (this.#phase.kind === 'serving') this.#serve(this.#phase.isDegraded);
  }

  #serve(isDegraded: boolean): void {
    this.#status.enter({ kind: 'serving', isDegraded, isDrained: this.#isDrained });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#phase.kind === 'serving' && this.#requests.operations + this.#requests.administrations > 0) {
      this.#status.enter({ kind: 'closing' });
      await new Promise<void>((resolve) => {
        const cancel = this.#timers.after(DRAIN_LIMIT_MS, resolve);
        this.#whenDrained = () => {
          cancel();
          resolve();
        };
      });
    }
    this.#status.enter({ kind: 'closed' });
    await this.#worker.stop({
      farewell: (channel) => {
        channel.send(WorkerFrame.Stop, 0);
        channel.flush();
      },
    });
  }

  /** The channel for one more operation, or why there is none. */
  #admit(): FrameChannel | AdapterError {
    const channel = this.#channel;
    if (this.#phase.kind !== 'serving' || channel === undefined) return this.#notServing();
    if (this.#requests.operations >= this.#inFlightLimit) {
      return new AdapterError('QUEUE_FULL', 'all sessions of the token are busy', { performed: 'no' });
    }
    return channel;
  }

  #notServing(): AdapterError {
    const { name, state } = this;
    return this.#phase.kind === 'blocked' && this.#phase.by === 'login'
      ? new AdapterError('TOKEN_LOGIN_BLOCKED', `token \`${name}\`: ${this.#phase.advice}`, {
          performed: 'no',
        })
      : new AdapterError('TOKEN_UNREACHABLE', `token \`${name}\` is ${state}`, { performed: 'no' });
  }

  #administer<T>(request: AdministrationRequest, decode: Decode<T>): Promise<T> {
    const channel = this.#channel;
    if (this.#phase.kind !== 'serving' || channel === undefined) return Promise.reject(this.#notServing());
    if (this.#requests.administrations >= MAX_ADMINISTRATIONS) {
      return Promise.reject(
        new AdapterError('QUEUE_FULL', 'too much key administration at once', { performed: 'no' }),
      );
    }
    const limitMs = this.#config.hangLimitMs * ADMINISTRATION_HANG_FACTOR;
    return this.#requests.administration(limitMs, decode, (id) =>
      channel.send(WorkerFrame.Administer, id, Buffer.from(JSON.stringify(request))),
    );
  }

  #started(channel: FrameChannel): void {
    this.#channel = channel;
    channel.send(WorkerFrame.Start, 0, startMessage(this.#config, this.#pin));
    const limitMs = Math.max(LEAST_START_LIMIT_MS, this.#config.hangLimitMs);
    this.#cancelStartLimit = this.#timers.after(limitMs, () =>
      this.#replaceWorker(`not ready ${limitMs} ms after its start`),
    );
    this.#status.enter({ kind: 'starting' });
  }

  /** A throw ends the worker. */
  #receive(type: number, id: number, payload: Buffer): void {
    switch (type) {
      case WorkerFrame.Done:
        this.#requests.done(type, id, payload);
        this.#wentWell();
        break;
      case WorkerFrame.DoneJson:
        this.#requests.done(type, id, payload);
        this.#answered();
        break;
      case WorkerFrame.Failed:
        this.#wentWrong(id, readFailure(payload));
        break;
      case WorkerFrame.Load:
        // Only for whoever looks at the worker itself: the table here counts what this side needs.
        break;
      case WorkerFrame.Found:
        this.#found(readTokenInfo(payload));
        break;
      case WorkerFrame.LoggedIn:
        this.#loggedIn(payload);
        break;
      case WorkerFrame.Gone:
        this.#gone(readFailure(payload));
        break;
      default:
        throw new FrameError(`token worker: a frame of type ${type}`);
    }
  }

  #found(info: TokenInfo): void {
    if (this.#phase.kind === 'blocked' || this.#status.isOver) return;
    if (this.#phase.kind !== 'starting') throw new FrameError('token worker: Found out of turn');
    const { serial, label } = this.#config;
    if ((serial !== undefined && info.serial !== serial) || (label !== undefined && info.label !== label)) {
      throw new FrameError(`token worker: found token ${info.serial} instead of the configured one`);
    }
    this.#info = { ...info, sessions: Math.min(info.sessions, this.#config.sessions) };
    const finding = this.#gate.finding(info.serial);
    if (finding !== undefined) {
      this.#block('finding', finding);
      return;
    }
    const refusal = this.#gate.refusal(info);
    if (refusal !== undefined) {
      this.#block('login', refusal);
      return;
    }
    try {
      // Durable before Login leaves. If it cannot be made durable, nobody logs in.
      this.#gate.recordAttempt(info.serial);
    } catch (error) {
      this.#replaceWorker(`the login attempt could not be recorded: ${messageOf(error)}`);
      return;
    }
    this.#channel?.send(WorkerFrame.Login, 0);
    this.#status.enter({ kind: 'logging-in' });
  }

  #loggedIn(payload: Buffer): void {
    const { outcome, ckr } = readLoginOutcome(payload);
    const info = this.#info;
    // Blocked or closed while the token was asked: what came of the attempt is on record all the same.
    const isExpected = this.#phase.kind === 'logging-in';
    if (info === undefined || (!isExpected && this.#phase.kind !== 'blocked' && !this.#status.isOver)) {
      throw new FrameError('token worker: LoggedIn out of turn');
    }
    if (outcome !== 'error') this.#gate.recordOutcome(info.serial, outcome);
    if (!isExpected) return;
    this.#cancelStartLimit?.();
    this.#cancelStartLimit = undefined;
    switch (outcome) {
      case 'accepted':
        this.#loginGeneration += 1;
        this.#probation = 0;
        this.#inFlightLimit = this.capacity * this.#pipelining;
        this.#serve(false);
        break;
      case 'rejected':
        this.#block('login', this.#gate.adviceForRejected(ckr));
        break;
      case 'error':
        this.#replaceWorker(`login failed (${ckr ?? 'no code'})`);
        break;
      default:
        outcome satisfies never;
    }
  }

  #gone(failure: WorkerFailure): void {
    const text = failure.ckr === undefined ? failure.message : `${failure.message} (${failure.ckr})`;
    this.#log(`the worker gives up: ${text}`);
    if (failure.reason === 'TOKEN_LOGIN_BLOCKED') this.#block('login', this.#gate.adviceForUnusable(text));
    else if (failure.reason === 'INVARIANT_BROKEN') this.#leaveService(text);
    else this.#replaceWorker(text);
  }

  #exited({ code, signal, error }: ChildExit): void {
    const how = error?.message ?? (signal === null ? `exit code ${code}` : signal);
    this.#channel = undefined;
    this.#cancelStartLimit?.();
    this.#cancelStartLimit = undefined;
    if (!this.#status.isOver && this.#phase.kind !== 'blocked') {
      const cause = this.#phase.kind === 'down' ? this.#phase.cause : how;
      this.#log(`the worker is gone: ${cause}${isChain(error) ? `: ${messageOf(error.cause)}` : ''}`);
      this.#status.enter({ kind: 'down', cause });
    }
    this.#requests.failAll(`the worker of token \`${this.name}\` is gone: ${how}`);
    this.#answered();
  }

  /** Not an orderly stop: what is in the module's hands may never come back. */
  #replaceWorker(cause: string): void {
    if (this.#phase.kind !== 'blocked' && !this.#status.isOver) this.#status.enter({ kind: 'down', cause });
    this.#worker.kill(new Error(cause));
  }

  #block(by: 'login' | 'finding', advice: string): void {
    if (this.#phase.kind === 'blocked' || this.#status.isOver) return;
    this.#status.enter({ kind: 'blocked', by, advice });
    // A new worker would ask the same token the same thing.
    this.#worker
      .stop()
      .catch((error: unknown) => this.#log(`the worker was not stopped: ${messageOf(error)}`));
  }

  #wentWell(): void {
    if (this.#probation > 0) {
      this.#probation -= 1;
      if (this.#probation === 0 && this.#phase.kind === 'serving') this.#serve(false);
    }
    this.#answered();
  }

  #wentWrong(id: number, failure: WorkerFailure): void {
    this.#requests.failed(id, failure);
    if (isTokensOwn(failure)) {
      this.#log(`an operation failed: ${failure.message} (${failure.ckr ?? failure.reason})`);
      this.#probation = PROBATION;
      if (this.#phase.kind === 'serving' && !this.#phase.isDegraded) this.#serve(true);
    }
    this.#answered();
  }

  #answered(): void {
    if (this.#whenDrained === undefined) return;
    if (this.#requests.operations + this.#requests.administrations > 0) return;
    this.#whenDrained();
    this.#whenDrained = undefined;
  }
}

/** Starts the worker of one token. Throws when the configuration cannot work; the token itself may be away. */
export function createTokenAdapter(options: TokenAdapterOptions): TokenAdapter {
  return new TokenSupervisor(options);
}

/** A failure that says something about the token, not about the request. */
function isTokensOwn({ reason }: WorkerFailure): boolean {
  return reason === 'TOKEN_UNREACHABLE' || reason === 'SESSION_LOST' || reason === 'SESSION_LIMIT';
}

function isChain(error: Error | undefined): error is Error {
  return error?.cause !== undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
