import { Duplex } from 'node:stream';
import type { LoginLedger, TokenConfig, TokenInfo } from '../../hsm-adapters/adapter.ts';
import type {
  ChildExit,
  ChildHandlers,
  ChildSpec,
  StopOptions,
  Timers,
} from '../../hsm-adapters/frames/child-process.ts';
import { FrameChannel } from '../../hsm-adapters/frames/frame-channel.ts';
import { WorkerFrame } from '../../hsm-adapters/frames/worker-frames.ts';
import type { WorkerProcess } from '../../hsm-adapters/supervisor/token-supervisor.ts';

/** For tests: a clock that moves when it is told to. */
export class FakeTimers implements Timers {
  #now = 1_000;
  readonly #timers = new Set<{ readonly at: number; readonly run: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get pending(): number {
    return this.#timers.size;
  }

  advance(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const [next] = [...this.#timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
    this.#now = until;
  }
}

export class FakeLedger implements LoginLedger {
  readonly events: string[] = [];
  readonly #known = new Map<string, 'unfinished' | 'accepted' | 'rejected'>();
  /** By serial. */
  readonly findings = new Map<string, string>();
  refusal: Error | undefined;

  recordAttempt(tokenSerial: string, pinReference: string): void {
    if (this.refusal !== undefined) throw this.refusal;
    this.events.push(`attempt ${tokenSerial} ${pinReference}`);
    this.#known.set(`${tokenSerial} ${pinReference}`, 'unfinished');
  }

  recordOutcome(tokenSerial: string, pinReference: string, outcome: 'accepted' | 'rejected'): void {
    this.events.push(`${outcome} ${tokenSerial} ${pinReference}`);
    this.#known.set(`${tokenSerial} ${pinReference}`, outcome);
  }

  lookup(tokenSerial: string, pinReference: string): 'clear' | 'rejected' | 'unfinished' {
    const known = this.#known.get(`${tokenSerial} ${pinReference}`);
    return known === undefined || known === 'accepted' ? 'clear' : known;
  }

  clear(tokenSerial: string): void {
    this.events.push(`clear ${tokenSerial}`);
    for (const key of this.#known.keys()) if (key.startsWith(`${tokenSerial} `)) this.#known.delete(key);
  }

  recordFinding(tokenSerial: string, finding: string): void {
    if (this.refusal !== undefined) throw this.refusal;
    if (!this.findings.has(tokenSerial)) this.findings.set(tokenSerial, finding);
  }

  finding(tokenSerial: string): string | undefined {
    return this.findings.get(tokenSerial);
  }

  clearFinding(tokenSerial: string): void {
    this.findings.delete(tokenSerial);
  }
}

interface Sent {
  readonly type: number;
  readonly id: number;
  readonly payload: Buffer;
}

/** Two ends of a pipe; what one writes the other reads in the same turn. */
function pipePair(): [Duplex, Duplex] {
  const make = (other: () => Duplex): Duplex =>
    new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        other().emit('data', Buffer.from(chunk));
        done();
      },
      final: (done) => {
        other().emit('end');
        done();
      },
    });
  const left: Duplex = make(() => right);
  const right: Duplex = make(() => left);
  return [left, right];
}

/**
 * A token worker that does what the test says, over a real FrameChannel. Fails the test on misuse: two processes at
 * once, a frame to a process that is gone, a second Login in one life.
 */
export class FakeWorker implements WorkerProcess {
  readonly spec: ChildSpec;
  readonly #handlers: ChildHandlers;
  #broker: FrameChannel | undefined;
  #own: FrameChannel | undefined;
  #starts = 0;
  #isWanted = false;
  #kill: Error | undefined;
  consecutiveFailures = 0;
  readonly sent: Sent[] = [];
  readonly kills: string[] = [];
  /** Takes its time to stop: the test says when it exits. */
  lingers = false;
  #logins = 0;

  constructor(spec: ChildSpec, handlers: ChildHandlers) {
    this.spec = spec;
    this.#handlers = handlers;
  }

  get pid(): number | undefined {
    return this.#own === undefined ? undefined : 4711;
  }

  get uid(): number {
    return this.spec.user?.uid ?? 0;
  }

  get restarts(): number {
    return Math.max(0, this.#starts - 1);
  }

  /** How often it was told to call C_Login. */
  get logins(): number {
    this.#broker?.flush();
    return this.#logins;
  }

  get isRunning(): boolean {
    return this.#own !== undefined;
  }

  start(): void {
    if (this.#isWanted) return;
    this.#isWanted = true;
    this.respawn();
  }

  /** What SupervisedChild does when its back-off is over. */
  respawn(): void {
    if (this.#own !== undefined) throw new Error('two workers at once');
    if (!this.#isWanted) throw new Error('a worker that nobody wants');
    this.#starts += 1;
    const [left, right] = pipePair();
    let loggedIn = false;
    this.#own = new FrameChannel(right, {
      frame: (type, id, payload) => {
        if (type === WorkerFrame.Login) {
          if (loggedIn) throw new Error('a second Login in one life');
          loggedIn = true;
          this.#logins += 1;
        }
        this.sent.push({ type, id, payload: Buffer.from(payload) });
      },
      closed: () => undefined,
    });
    this.#broker = new FrameChannel(left, {
      frame: (type, id, payload) => this.#handlers.frame(type, id, payload),
      closed: (error) => {
        if (error !== undefined) this.kill(error);
      },
    });
    this.#handlers.started(this.#broker);
  }

  kill(error: Error): void {
    if (this.#own === undefined) return;
    this.#kill ??= error;
    this.kills.push(error.message);
  }

  stop(options: StopOptions = {}): Promise<void> {
    this.#isWanted = false;
    if (this.#broker !== undefined) options.farewell?.(this.#broker);
    if (this.#own !== undefined && !this.lingers) this.exit({ code: 0 });
    return Promise.resolve();
  }

  /** The process ends: of itself, or because it was killed. */
  exit(exit: Partial<ChildExit> = {}): void {
    const error = this.#kill;
    this.#broker?.flush();
    this.#own = undefined;
    this.#broker?.destroy();
    this.#broker = undefined;
    this.#kill = undefined;
    if (this.#isWanted) this.consecutiveFailures += 1;
    this.#handlers.exited({ code: null, signal: error === undefined ? null : 'SIGKILL', error, ...exit });
  }

  /** Says something to the broker, which has read it when this returns. */
  say(type: number, id: number, payload: object | Uint8Array): void {
    if (this.#own === undefined) throw new Error('the worker is gone');
    this.#own.send(type, id, payload instanceof Uint8Array ? payload : Buffer.from(JSON.stringify(payload)));
    this.#own.flush();
  }

  /** Frames that reached it, of one type. */
  received(type: number): readonly Sent[] {
    this.#broker?.flush();
    return this.sent.filter((frame) => frame.type === type);
  }
}

export const FAKE_INFO: TokenInfo = {
  serial: 'cafe0001',
  label: 'demo',
  manufacturer: 'maker',
  model: 'model',
  firmware: '1.0',
  hardware: '1.0',
  software: true,
  pinCountLow: false,
  pinFinalTry: false,
  pinLocked: false,
  sessions: 2,
  algorithms: ['ES256'],
  moduleSha256: '0'.repeat(64),
};

export const FAKE_CONFIG: TokenConfig = {
  name: 'one',
  module: '/usr/lib/example/module.so',
  profile: 'generic',
  label: 'demo',
  pin: { kind: 'file', path: '/etc/example/pin' },
  sessions: 2,
  directory: '/var/lib/example',
  environment: {},
  groups: [],
  hangLimitMs: 1_000,
};
