import {
  AdapterError,
  ALGORITHMS,
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
import { entryUrl, treeRoot, workerFlags } from '../frames/isolation.ts';
import {
  type AdministrationRequest,
  type WorkerFailure,
  WorkerFrame,
  type WorkerStart,
} from '../frames/worker-frames.ts';
import type { Profile } from '../profiles/profile.ts';
import { findProfile, PROFILE_NAMES } from '../profiles/profiles.ts';
import { type PinSource, pinSource } from './pin-source.ts';
import { remoteAdministration } from './remote-administration.ts';
import { type Decode, RequestTable } from './request-table.ts';
import {
  detach,
  readEncryptResult,
  readFailure,
  readLoginOutcome,
  readTokenInfo,
} from './worker-messages.ts';

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
 * - `idle`: no worker was ever started
 * - `starting`: Start is sent; `logging-in`: an attempt is on record and Login is sent
 * - `serving`: `probation` counts down good answers after a failure; drained, it serves those alone who do not ask the pool
 * - `down`: the worker died, or is about to; a replacement comes after the back-off
 * - `blocked`: only `unblock` helps
 * - `closing`, `closed`: for good
 */
type Phase =
  | { readonly kind: 'idle' }
  | { readonly kind: 'starting' }
  | { readonly kind: 'logging-in' }
  | { readonly kind: 'serving'; readonly isDegraded: boolean; readonly isDrained: boolean }
  | { readonly kind: 'down'; readonly cause: string }
  | { readonly kind: 'blocked'; readonly by: 'login' | 'finding'; readonly advice: string }
  | { readonly kind: 'closing' }
  | { readonly kind: 'closed' };

/**
 * One token's worker process, seen from the broker.
 *
 * Owns the worker, the table of what it was asked, and the decision whether C_Login may be called:
 *   - an attempt is in the ledger, durable, before Login is sent
 *   - a rejected PIN, or an attempt whose outcome nobody knows, is never tried again without `unblock`; the one
 *     exception is a token whose flags are known to tell a wrong PIN and do not
 *   - `#enter` is the only place that changes the state
 *
 * Over 400 lines because the state machine and what moves it stay in one place: whether C_Login may be called is read
 * from top to bottom here.
 *
 * A crash of the broker between the record and the outcome leaves an attempt unfinished, and so spent.
 */
class TokenSupervisor implements TokenAdapter {
  readonly administration: TokenAdministration;
  readonly #config: TokenConfig;
  readonly #ledger: LoginLedger;
  readonly #log: (line: string) => void;
  readonly #timers: Timers;
  readonly #pipelining: number;
  readonly #pin: PinSource;
  readonly #profile: Profile;
  readonly #worker: WorkerProcess;
  readonly #requests: RequestTable;
  readonly #listeners = new Set<(token: TokenAdapter) => void>();
  #phase: Phase = { kind: 'idle' };
  #channel: FrameChannel | undefined;
  #info: TokenInfo | undefined;
  #loginGeneration = 0;
  #inFlightLimit = 0;
  #probation = 0;
  /** An operator's word: it holds for every worker to come. */
  #isDrained: boolean;
  #cancelStartLimit: (() => void) | undefined;
  #whenDrained: (() => void) | undefined;
  #closing: Promise<void> | undefined;
  /** Headers are written here and copied into the channel's buffer before the next one. */
  readonly #header: Buffer = Buffer.alloc(40);
  /** Why the last worker died: to be told while its successor starts. */
  #lastCause: string | undefined;

  constructor(options: TokenAdapterOptions) {
    const { config, ledger, user, log } = options;
    const root = options.root ?? treeRoot();
    const profile = findProfile(config.profile);
    if (profile === undefined) {
      throw new Error(
        `token \`${config.name}\`: no profile \`${config.profile}\`; there are: ${PROFILE_NAMES.join(', ')}`,
      );
    }
    this.#config = config;
    this.#ledger = ledger;
    this.#log = (line) => log(`token \`${config.name}\`: ${line}`);
    this.#timers = options.timers ?? systemTimers;
    this.#isDrained = options.isDrained ?? false;
    this.#pipelining = options.pipelining ?? DEFAULT_PIPELINING;
    this.#profile = profile;
    this.#pin = pinSource(config.pin, this.#log);
    this.#requests = new RequestTable(this.#timers, {
      cancel: (id) => this.#channel?.send(WorkerFrame.Cancel, id),
      hangs: () => this.#replaceWorker(`the module has not answered for ${config.hangLimitMs} ms`),
    });
    this.administration = remoteAdministration(
      (request, decode) => this.#administer(request, decode),
      (error) => {
        // Without a worker that serves, references are void anyway.
        if (!(error instanceof AdapterError)) this.#log(`release failed: ${String(error)}`);
      },
    );
    const spec: ChildSpec = {
      role: 'token-worker',
      name: config.name,
      entry: entryUrl('hsm-adapters/pkcs11/worker', root),
      flags: workerFlags(root, { module: config.module, pinFile: this.#pin.file }),
      env: workerEnvironment(config),
      cwd: config.directory,
      user,
      wireDescriptor5: this.#pin.wire,
    };
    const startWorker =
      options.startWorker ??
      ((worker, handlers) =>
        new SupervisedChild(worker, handlers, { timers: this.#timers, restartPolicy: RESTARTS }));
    this.#worker = startWorker(spec, {
      started: (channel) => this.#started(channel),
      frame: (type, id, payload) => this.#receive(type, id, payload),
      exited: (exit) => this.#exited(exit),
      log: this.#log,
    });
    this.#worker.start();
  }

  get name(): string {
    return this.#config.name;
  }

  get state(): TokenState {
    return publicState(this.#phase);
  }

  get info(): TokenInfo | undefined {
    return this.#info;
  }

  get advice(): string | undefined {
    const phase = this.#phase;
    if (phase.kind === 'blocked') return phase.advice;
    const failures = this.#worker.consecutiveFailures;
    if (phase.kind === 'down' || phase.kind === 'starting') {
      const cause = phase.kind === 'down' ? phase.cause : this.#lastCause;
      if (failures > 1) {
        return `the token worker died ${failures} times in a row${cause === undefined ? '' : `, the last time: ${cause}`}; look at the module, its configuration and the path to the HSM`;
      }
      return cause;
    }
    if (phase.kind === 'serving' && phase.isDrained) {
      const left = this.#requests.operations;
      return `taken out of service by an operator${left === 0 ? '' : `, ${left} operations are still running`}; \`lastmile tokens undrain ${this.name}\` brings it back`;
    }
    if (phase.kind === 'serving' && phase.isDegraded)
      return 'operations failed on this token lately; see the log';
    return undefined;
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
    const channel = this.#admit();
    if (channel instanceof AdapterError) return Promise.reject(channel);
    return this.#requests.operation<Uint8Array>(
      context,
      this.#config.hangLimitMs,
      readSignature,
      (id, left) => {
        const header = this.#header;
        header.writeUInt32BE(operation.object, 0);
        header[4] = ALGORITHMS.indexOf(operation.algorithm);
        header.writeUInt32BE(left, 5);
        channel.send(WorkerFrame.Sign, id, header.subarray(0, 9), operation.data);
      },
    );
  }

  encrypt(
    object: ObjectRef,
    plaintext: Uint8Array,
    associatedData: Uint8Array,
    context: OperationContext,
  ): Promise<EncryptResult> {
    const channel = this.#admit();
    if (channel instanceof AdapterError) return Promise.reject(channel);
    const length = plaintext.byteLength;
    const decode = (payload: Buffer) => readEncryptResult(payload, length);
    return this.#requests.operation(context, this.#config.hangLimitMs, decode, (id, left) => {
      const header = this.#header;
      header.writeUInt32BE(object, 0);
      header.writeUInt32BE(left, 4);
      header.writeUInt32BE(associatedData.byteLength, 8);
      channel.send(WorkerFrame.Encrypt, id, header.subarray(0, 12), associatedData, plaintext);
    });
  }

  decrypt(operation: DecryptOperation, context: OperationContext): Promise<Uint8Array> {
    const channel = this.#admit();
    if (channel instanceof AdapterError) return Promise.reject(channel);
    const { object, algorithm, iv, sealed, associatedData, notSession } = operation;
    if (iv.byteLength > 0xff) {
      return Promise.reject(new AdapterError('REQUEST_INVALID', 'the IV is too long', { performed: 'no' }));
    }
    return this.#requests.operation<Uint8Array>(context, this.#config.hangLimitMs, detach, (id, left) => {
      const header = this.#header;
      header.writeUInt32BE(object, 0);
      header[4] = ALGORITHMS.indexOf(algorithm);
      header.writeUInt32BE(left, 5);
      header.writeUInt16BE(notSession ?? 0xffff, 9);
      header[11] = iv.byteLength;
      header.writeUInt32BE(associatedData.byteLength, 12);
      const [before, after] = [header.subarray(0, 12), header.subarray(12, 16)];
      channel.send(WorkerFrame.Decrypt, id, before, iv, after, associatedData, sealed);
    });
  }

  random(bytes: number, context: OperationContext): Promise<Uint8Array> {
    const channel = this.#admit();
    if (channel instanceof AdapterError) return Promise.reject(channel);
    const decode = (payload: Buffer) => {
      if (payload.length !== bytes) throw new FrameError('token worker: random bytes of the wrong length');
      return detach(payload);
    };
    return this.#requests.operation<Uint8Array>(context, this.#config.hangLimitMs, decode, (id, left) => {
      const header = this.#header;
      header.writeUInt32BE(left, 0);
      header.writeUInt32BE(bytes, 4);
      channel.send(WorkerFrame.Random, id, header.subarray(0, 8));
    });
  }

  watch(listener: (token: TokenAdapter) => void): () => void {
    // Wrapped: the same function watching twice is two watchers.
    const own = (token: TokenAdapter) => listener(token);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  quarantine(finding: string): void {
    this.#log(`leaves service: ${finding}`);
    this.#leaveService(finding);
  }

  /** Whatever the phase: what was found counts for the next worker, and for the next broker. */
  #leaveService(finding: string): void {
    let durability = '';
    try {
      if (this.#info !== undefined) this.#ledger.recordFinding(this.#info.serial, finding);
    } catch (error) {
      durability = ' (not durable: a restart of the broker would forget it)';
      this.#log(`the finding could not be recorded: ${messageOf(error)}`);
    }
    this.#block('finding', this.#adviceFor(finding + durability));
  }

  #adviceFor(finding: string): string {
    return `${finding}; find out why, then \`lastmile tokens unblock ${this.name}\``;
  }

  async unblock(): Promise<void> {
    if (this.#phase.kind !== 'blocked') return;
    // Of a token that was never reached nothing is in the ledger.
    if (this.#info !== undefined) {
      this.#ledger.clear(this.#info.serial);
      // A finding behind a blocked login was not what the operator was shown.
      if (this.#phase.by === 'finding') this.#ledger.clearFinding(this.#info.serial);
    }
    await this.#worker.stop();
    // Somebody else may have unblocked or closed it meanwhile.
    if (this.#phase.kind !== 'blocked') return;
    this.#enter({ kind: 'starting' });
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
    this.#enter({ kind: 'serving', isDegraded, isDrained: this.#isDrained });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#phase.kind === 'serving' && this.#requests.operations + this.#requests.administrations > 0) {
      this.#enter({ kind: 'closing' });
      await new Promise<void>((resolve) => {
        const cancel = this.#timers.after(DRAIN_LIMIT_MS, resolve);
        this.#whenDrained = () => {
          cancel();
          resolve();
        };
      });
    }
    this.#enter({ kind: 'closed' });
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
    const { name, module, profile, serial, label, sessions, hangLimitMs } = this.#config;
    const start: WorkerStart = {
      token: name,
      module,
      profile,
      serial,
      label,
      pin: this.#pin.start,
      sessions,
    };
    channel.send(WorkerFrame.Start, 0, Buffer.from(JSON.stringify(start)));
    const limitMs = Math.max(LEAST_START_LIMIT_MS, hangLimitMs);
    this.#cancelStartLimit = this.#timers.after(limitMs, () =>
      this.#replaceWorker(`not ready ${limitMs} ms after its start`),
    );
    this.#enter({ kind: 'starting' });
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
    if (this.#phase.kind === 'blocked' || isOver(this.#phase)) return;
    if (this.#phase.kind !== 'starting') throw new FrameError('token worker: Found out of turn');
    const { serial, label } = this.#config;
    if ((serial !== undefined && info.serial !== serial) || (label !== undefined && info.label !== label)) {
      throw new FrameError(`token worker: found token ${info.serial} instead of the configured one`);
    }
    this.#info = { ...info, sessions: Math.min(info.sessions, this.#config.sessions) };
    const finding = this.#ledger.finding(info.serial);
    if (finding !== undefined) {
      this.#block('finding', this.#adviceFor(finding));
      return;
    }
    const refusal = this.#whyNotLogIn(info);
    if (refusal !== undefined) {
      this.#block('login', refusal);
      return;
    }
    try {
      // Durable before Login leaves. If it cannot be made durable, nobody logs in.
      this.#ledger.recordAttempt(info.serial, this.#pin.reference);
    } catch (error) {
      this.#replaceWorker(`the login attempt could not be recorded: ${messageOf(error)}`);
      return;
    }
    this.#channel?.send(WorkerFrame.Login, 0);
    this.#enter({ kind: 'logging-in' });
  }

  // Proven by token-supervisor.test.ts, "one wrong PIN is one Login".
  #whyNotLogIn(info: TokenInfo): string | undefined {
    const unblock = `then \`lastmile tokens unblock ${this.name}\``;
    if (info.pinLocked) return `the token says that its PIN is locked: have it reset, ${unblock}`;
    const known = this.#ledger.lookup(info.serial, this.#pin.reference);
    switch (known) {
      case 'clear':
        return undefined;
      case 'rejected':
        return `the token rejected the PIN of ${this.#pin.reference}: correct it, ${unblock}`;
      case 'unfinished': {
        const isUncounted = this.#profile.pinFlagsReliable && !info.pinCountLow && !info.pinFinalTry;
        if (isUncounted) return undefined;
        return `a login was begun and its outcome is not known: make sure that the PIN of ${this.#pin.reference} is right, ${unblock}`;
      }
      default:
        return known satisfies never;
    }
  }

  #loggedIn(payload: Buffer): void {
    const { outcome, ckr } = readLoginOutcome(payload);
    const info = this.#info;
    // Blocked or closed while the token was asked: what came of the attempt is on record all the same.
    const isExpected = this.#phase.kind === 'logging-in';
    if (info === undefined || (!isExpected && this.#phase.kind !== 'blocked' && !isOver(this.#phase))) {
      throw new FrameError('token worker: LoggedIn out of turn');
    }
    if (outcome !== 'error') this.#record(info, outcome);
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
        this.#block(
          'login',
          `the token rejected the PIN of ${this.#pin.reference} (${ckr ?? 'no code'}): correct it, then \`lastmile tokens unblock ${this.name}\``,
        );
        break;
      case 'error':
        this.#replaceWorker(`login failed (${ckr ?? 'no code'})`);
        break;
      default:
        outcome satisfies never;
    }
  }

  #record(info: TokenInfo, outcome: 'accepted' | 'rejected'): void {
    try {
      this.#ledger.recordOutcome(info.serial, this.#pin.reference, outcome);
    } catch (error) {
      // The attempt stays on record as unfinished, which counts as spent: safe, and the operator hears of it.
      this.#log(`the outcome of the login could not be recorded: ${messageOf(error)}`);
    }
  }

  #gone(failure: WorkerFailure): void {
    const text = failure.ckr === undefined ? failure.message : `${failure.message} (${failure.ckr})`;
    this.#log(`the worker gives up: ${text}`);
    const unblock = `then \`lastmile tokens unblock ${this.name}\``;
    if (failure.reason === 'TOKEN_LOGIN_BLOCKED') this.#block('login', `${text}; correct it, ${unblock}`);
    else if (failure.reason === 'INVARIANT_BROKEN') this.#leaveService(text);
    else this.#replaceWorker(text);
  }

  #exited({ code, signal, error }: ChildExit): void {
    const how = error?.message ?? (signal === null ? `exit code ${code}` : signal);
    this.#channel = undefined;
    this.#cancelStartLimit?.();
    this.#cancelStartLimit = undefined;
    if (!isOver(this.#phase) && this.#phase.kind !== 'blocked') {
      const cause = this.#phase.kind === 'down' ? this.#phase.cause : how;
      this.#log(`the worker is gone: ${cause}${isChain(error) ? `: ${messageOf(error.cause)}` : ''}`);
      this.#enter({ kind: 'down', cause });
    }
    this.#requests.failAll(`the worker of token \`${this.name}\` is gone: ${how}`);
    this.#answered();
  }

  /** Not an orderly stop: what is in the module's hands may never come back. */
  #replaceWorker(cause: string): void {
    if (this.#phase.kind !== 'blocked' && !isOver(this.#phase)) this.#enter({ kind: 'down', cause });
    this.#worker.kill(new Error(cause));
  }

  #block(by: 'login' | 'finding', advice: string): void {
    if (this.#phase.kind === 'blocked' || isOver(this.#phase)) return;
    this.#enter({ kind: 'blocked', by, advice });
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

  #enter(phase: Phase): void {
    // Nothing leaves these two but by `unblock`, which enters `starting`, and `close`.
    if (this.#phase.kind === 'closed') return;
    if (this.#phase.kind === 'closing' && phase.kind !== 'closed') return;
    if (phase.kind === 'down') this.#lastCause = phase.cause;
    else if (phase.kind === 'serving' || phase.kind === 'blocked') this.#lastCause = undefined;
    this.#phase = phase;
    for (const listener of [...this.#listeners]) {
      try {
        listener(this);
      } catch (error) {
        // A watcher's mistake must not end the worker whose frame was being read.
        this.#log(`a watcher failed: ${messageOf(error)}`);
      }
    }
  }
}

/** Starts the worker of one token. Throws when the configuration cannot work; the token itself may be away. */
export function createTokenAdapter(options: TokenAdapterOptions): TokenAdapter {
  return new TokenSupervisor(options);
}

function publicState(phase: Phase): TokenState {
  switch (phase.kind) {
    case 'idle':
    case 'starting':
    case 'logging-in':
      return 'starting';
    case 'serving':
      return phase.isDrained ? 'draining' : phase.isDegraded ? 'degraded' : 'ready';
    case 'down':
    case 'closed':
      return 'down';
    case 'blocked':
      return 'blocked';
    case 'closing':
      return 'draining';
    default:
      return phase satisfies never;
  }
}

function isOver(phase: Phase): boolean {
  return phase.kind === 'closing' || phase.kind === 'closed';
}

/** A failure that says something about the token, not about the request. */
function isTokensOwn({ reason }: WorkerFailure): boolean {
  return reason === 'TOKEN_UNREACHABLE' || reason === 'SESSION_LOST' || reason === 'SESSION_LIMIT';
}

/** Signatures and MACs; a plaintext may be empty. */
function readSignature(payload: Buffer): Uint8Array {
  if (payload.length === 0) throw new FrameError('token worker: an empty result');
  return detach(payload);
}

/**
 * The module's own variables and nothing else: none that makes Node or the dynamic linker run other code. One
 * thread for each session, and one that is free.
 */
function workerEnvironment(config: TokenConfig): Record<string, string> {
  for (const name of Object.keys(config.environment)) {
    if (/^(NODE_|LD_|UV_|OPENSSL_CONF$)/i.test(name)) {
      throw new Error(`token \`${config.name}\`: \`${name}\` may not be set for a token worker`);
    }
  }
  return { ...config.environment, UV_THREADPOOL_SIZE: String(Math.min(1024, config.sessions + 1)) };
}

function isChain(error: Error | undefined): error is Error {
  return error?.cause !== undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
