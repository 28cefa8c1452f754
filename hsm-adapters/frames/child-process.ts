import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex, Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { ChildUser } from './child-side.ts';
import { FrameChannel, type FrameError } from './frame-channel.ts';
import { forwardLines } from './log-lines.ts';

export type { ChildUser };

/** How one child process is started, each time. */
export interface ChildSpec {
  /** For the child: which of its entry's roles it plays. */
  readonly role: string;
  readonly name: string;
  readonly entry: URL;
  /** Options of Node, before the entry (`isolation.ts`). */
  readonly flags: readonly string[];
  /** The whole environment; nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** What the child becomes after it has loaded; absent when user ids are shared. */
  readonly user?: ChildUser | undefined;
  /**
   * Gives the child one more pipe, descriptor 5. Called at each start, in the same turn of the event loop, with the
   * parent's end: to hand it on to another process. After the call that end is closed here.
   */
  readonly wireDescriptor5?: ((parentEnd: Duplex) => void) | undefined;
}

export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Why the parent ended it, or could not start it. */
  readonly error: Error | undefined;
}

export interface ChildHandlers {
  /** A fresh process; nothing was received from it yet. */
  started(channel: FrameChannel): void;
  frame(type: number, id: number, payload: Buffer): void;
  /** Once for each `started`, after the last frame; and for each start that failed. */
  exited(exit: ChildExit): void;
  /** A line that the child printed; bounded, control characters escaped. */
  log(line: string): void;
}

/** Time as the supervisor sees it, in milliseconds of a monotonic clock. */
export interface Timers {
  now(): number;
  /** Returns how to cancel. */
  after(ms: number, run: () => void): () => void;
}

export const systemTimers: Timers = {
  now: () => performance.now(),
  after: (ms, run) => {
    // Node takes a longer delay for one of 1 ms.
    const timer = setTimeout(run, Math.min(ms, 0x7fffffff));
    return () => clearTimeout(timer);
  },
};

export interface RestartPolicy {
  readonly firstDelayMs: number;
  readonly maxDelayMs: number;
  /** A child that lived this long starts over at `firstDelayMs`. */
  readonly healthyAfterMs: number;
}

export const defaultRestartPolicy: RestartPolicy = {
  firstDelayMs: 50,
  maxDelayMs: 10_000,
  healthyAfterMs: 30_000,
};

/**
 * - `stopped`: no process, and none will be started
 * - `running`: a process is there
 * - `waiting`: the process died; another starts when the back-off is over
 * - `stopping`: the process was asked to go
 */
export type ChildState = 'stopped' | 'running' | 'waiting' | 'stopping';

export interface StopOptions {
  /** Tells the child to finish by itself; without it the pipe is ended, and the child exits at once. */
  readonly farewell?: ((channel: FrameChannel) => void) | undefined;
  /** Then SIGKILL. */
  readonly graceMs?: number | undefined;
}

const DEFAULT_GRACE_MS = 2_000;

/** A child that ended its pipe is about to exit; one that does not is killed. */
const EXIT_AFTER_END_MS = 1_000;

// A core file would hold keys of software tokens and request data. The shell replaces itself by Node: same process.
const WITHOUT_CORE_FILES = 'ulimit -c 0; exec "$0" "$@"';

interface Running {
  readonly process: ChildProcess;
  readonly channel: FrameChannel;
  readonly startedAt: number;
  exit: { readonly code: number | null; readonly signal: NodeJS.Signals | null } | undefined;
  channelClosed: boolean;
  error: Error | undefined;
  cancelKill: (() => void) | undefined;
}

/**
 * One child process, replaced whenever it dies, until it is stopped.
 *
 * The parent owns both pipes. A frame that is malformed, or that its reader cannot take (a handler that throws),
 * ends the child with SIGKILL and never the parent. When the parent dies, in whatever way, the kernel closes the
 * pipes and the child goes too.
 */
export class SupervisedChild {
  readonly #spec: ChildSpec;
  readonly #handlers: ChildHandlers;
  readonly #timers: Timers;
  readonly #policy: RestartPolicy;
  #state: ChildState = 'stopped';
  #running: Running | undefined;
  #starts = 0;
  #consecutiveFailures = 0;
  #cancelRestart: (() => void) | undefined;
  #whenStopped: (() => void)[] = [];

  constructor(
    spec: ChildSpec,
    handlers: ChildHandlers,
    options: {
      readonly timers?: Timers | undefined;
      readonly restartPolicy?: RestartPolicy | undefined;
    } = {},
  ) {
    this.#spec = spec;
    this.#handlers = handlers;
    this.#timers = options.timers ?? systemTimers;
    this.#policy = options.restartPolicy ?? defaultRestartPolicy;
  }

  get state(): ChildState {
    return this.#state;
  }

  get pid(): number | undefined {
    return this.#running?.process.pid;
  }

  /** Of the current process. */
  get channel(): FrameChannel | undefined {
    return this.#running?.channel;
  }

  /** How often a process was started in place of another. */
  get restarts(): number {
    return Math.max(0, this.#starts - 1);
  }

  /** Deaths in a row, none of which came after a healthy while. */
  get consecutiveFailures(): number {
    return this.#consecutiveFailures;
  }

  /** The user id that the process ends up with. */
  get uid(): number {
    return this.#spec.user?.uid ?? process.getuid?.() ?? 0;
  }

  /** Does nothing unless stopped. */
  start(): void {
    if (this.#state !== 'stopped') return;
    this.#consecutiveFailures = 0;
    this.#spawn();
  }

  /** Ends the current process with SIGKILL; another takes its place. */
  kill(error: Error): void {
    const running = this.#running;
    if (running === undefined) return;
    running.error ??= error;
    running.process.kill('SIGKILL');
  }

  /** Resolves when no process is left. Safe to call again. */
  stop(options: StopOptions = {}): Promise<void> {
    this.#cancelRestart?.();
    this.#cancelRestart = undefined;
    const running = this.#running;
    if (running === undefined) {
      this.#state = 'stopped';
      return Promise.resolve();
    }
    const stopped = new Promise<void>((resolve) => this.#whenStopped.push(resolve));
    if (this.#state !== 'stopping') {
      this.#state = 'stopping';
      if (options.farewell === undefined) running.channel.end();
      else options.farewell(running.channel);
      running.cancelKill?.();
      running.cancelKill = this.#timers.after(options.graceMs ?? DEFAULT_GRACE_MS, () =>
        this.kill(new Error('did not stop in time')),
      );
    }
    return stopped;
  }

  #spawn(): void {
    this.#starts += 1;
    const { role, name, user, flags, entry, env, cwd } = this.#spec;
    const wire = this.#spec.wireDescriptor5;
    const argument = JSON.stringify(user === undefined ? { role, name } : { role, name, user });
    const command = [process.execPath, ...flags, fileURLToPath(entry), argument];
    let child: ChildProcess;
    try {
      child = spawn('/bin/sh', ['-c', WITHOUT_CORE_FILES, ...command], {
        cwd,
        env,
        stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe', ...(wire === undefined ? [] : ['pipe' as const])],
        // A group of its own: Ctrl-C in a terminal reaches the broker alone, which then ends its children in order.
        detached: true,
      });
    } catch (cause) {
      this.#restartLater(this.#timers.now());
      this.#handlers.exited({ code: null, signal: null, error: asError(cause) });
      return;
    }
    if (child.pid === undefined) {
      // The reason comes as an event; there is no process, and the pipes lead nowhere.
      child.once('error', (error) => {
        if (this.#state === 'running') this.#restartLater(this.#timers.now());
        this.#handlers.exited({ code: null, signal: null, error });
      });
      this.#state = 'running';
      return;
    }
    const [, stdout, stderr, pipe, lifeline, extra] = child.stdio as unknown as readonly [
      null,
      Readable,
      Readable,
      Duplex,
      Duplex,
      Duplex | undefined,
    ];
    if (extra !== undefined) this.#wire(extra);
    const now = () => this.#timers.now();
    forwardLines(stdout, this.#handlers.log, now);
    forwardLines(stderr, this.#handlers.log, now);
    // Nothing is ever said on it; reading shows its end.
    lifeline.on('error', () => lifeline.destroy());
    lifeline.resume();

    const channel = new FrameChannel(pipe, {
      frame: (type, id, payload) => this.#handlers.frame(type, id, payload),
      closed: (error) => this.#channelClosed(running, error),
    });
    const running: Running = {
      process: child,
      channel,
      startedAt: now(),
      exit: undefined,
      channelClosed: false,
      error: undefined,
      cancelKill: undefined,
    };
    this.#running = running;
    this.#state = 'running';
    // Signalling failed: the process is gone already, and its exit tells the rest.
    child.on('error', (error) => {
      running.error ??= error;
    });
    child.once('exit', (code, signal) => {
      running.exit = { code, signal };
      this.#settle(running);
    });
    this.#handlers.started(channel);
  }

  #wire(parentEnd: Duplex): void {
    // A child that is gone before it has read tells so by its exit.
    parentEnd.on('error', () => parentEnd.destroy());
    try {
      this.#spec.wireDescriptor5?.(parentEnd);
    } catch (cause) {
      this.#handlers.log(`descriptor 5 leads nowhere: ${asError(cause).message}`);
    } finally {
      parentEnd.destroy();
    }
  }

  #channelClosed(running: Running, error: FrameError | undefined): void {
    running.channelClosed = true;
    if (running.exit === undefined) {
      if (error === undefined || isReset(error)) {
        running.cancelKill ??= this.#timers.after(EXIT_AFTER_END_MS, () => {
          running.error ??= new Error('ended its pipe and did not exit');
          running.process.kill('SIGKILL');
        });
      } else {
        running.error ??= error;
        running.process.kill('SIGKILL');
      }
    }
    this.#settle(running);
  }

  /** The end of a process: after its exit and its last frame, whichever comes later. */
  #settle(running: Running): void {
    if (running.exit === undefined || !running.channelClosed) return;
    running.cancelKill?.();
    this.#running = undefined;
    const { code, signal } = running.exit;
    if (this.#state === 'stopping') this.#state = 'stopped';
    else this.#restartLater(running.startedAt);
    const waiting = this.#whenStopped.splice(0);
    this.#handlers.exited({ code, signal, error: running.error });
    for (const resolve of waiting) resolve();
  }

  #restartLater(startedAt: number): void {
    const { firstDelayMs, maxDelayMs, healthyAfterMs } = this.#policy;
    if (this.#timers.now() - startedAt >= healthyAfterMs) this.#consecutiveFailures = 0;
    const delay = Math.min(maxDelayMs, firstDelayMs * 2 ** Math.min(this.#consecutiveFailures, 30));
    this.#consecutiveFailures += 1;
    this.#state = 'waiting';
    this.#cancelRestart = this.#timers.after(delay, () => {
      this.#cancelRestart = undefined;
      this.#spawn();
    });
  }
}

/** What a dead process leaves of its pipe when it had not read all. Its exit says more. */
function isReset({ cause }: FrameError): boolean {
  return cause instanceof Error && 'code' in cause && (cause.code === 'ECONNRESET' || cause.code === 'EPIPE');
}

function asError(cause: unknown): Error {
  return cause instanceof Error ? cause : new Error(String(cause));
}
