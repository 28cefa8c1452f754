import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as after } from 'node:timers/promises';
import type { ChildUser } from '../../../hsm-adapters/frames/child-side.ts';

const READY_LIMIT_MS = 15_000;
const POLL_MS = 20;
const GRACE_MS = 3_000;

/** A program that a module needs running beside it, for as long as a test runs. */
export class Daemon {
  readonly process: ChildProcess;
  #output = '';

  private constructor(process: ChildProcess) {
    this.process = process;
    for (const stream of [process.stdout, process.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-4_000);
      });
  }

  /** `isReady` is asked again and again: none of these programs says when it is. */
  static async start(
    command: string,
    args: readonly string[],
    options: {
      readonly env?: Readonly<Record<string, string>>;
      readonly cwd?: string;
      readonly user?: ChildUser | undefined;
      /** Its standard input stays open until somebody ends it. */
      readonly isInputHeld?: boolean;
      readonly isReady: () => boolean | Promise<boolean>;
    },
  ): Promise<Daemon> {
    const { env = {}, cwd, user, isInputHeld = false, isReady } = options;
    const child = spawn(command, args, {
      cwd,
      env: { PATH: process.env.PATH ?? '/usr/bin', ...env },
      stdio: [isInputHeld ? 'pipe' : 'ignore', 'pipe', 'pipe'],
      ...(user === undefined ? {} : { uid: user.uid, gid: user.gid }),
    });
    const daemon = new Daemon(child);
    const failed = once(child, 'error').then(([error]) => error as Error);
    const until = performance.now() + READY_LIMIT_MS;
    while (!(await isReady())) {
      const error = await Promise.race([failed, after(POLL_MS)]);
      if (error instanceof Error) throw error;
      if (daemon.#isOver || performance.now() > until) {
        await daemon.stop();
        throw new Error(`${command} ${args.join(' ')} is not ready:\n${daemon.#output}`);
      }
    }
    return daemon;
  }

  get #isOver(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null;
  }

  /** Resolves when it has ended by itself, or after a while by SIGKILL. */
  async ended(): Promise<void> {
    if (this.#isOver) return;
    const over = once(this.process, 'exit');
    const timer = setTimeout(() => this.process.kill('SIGKILL'), GRACE_MS);
    await over;
    clearTimeout(timer);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#isOver || this.process.pid === undefined) return;
    this.process.kill(signal);
    await this.ended();
  }
}
