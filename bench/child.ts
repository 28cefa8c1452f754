import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/**
 * The processes of the bench, load generators and echo servers. Each answers requests one after the other; a request
 * and its answer are structured clones. A child whose parent has gone ends itself.
 */

type Reply<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'failed'; readonly message: string };

export interface BenchChildOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export class BenchChild<Request extends object> {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #exited: Promise<unknown>;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(program: URL, options: BenchChildOptions = {}) {
    this.#name = program.pathname.slice(program.pathname.lastIndexOf('/') + 1);
    this.#child = fork(fileURLToPath(program), [], {
      serialization: 'advanced',
      env: { PATH: process.env.PATH, TMPDIR: process.env.TMPDIR, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    this.#exited = once(this.#child, 'exit');
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The caller knows what its program answers to this request. @throws Error with what the child said */
  request<T>(request: Request): Promise<T> {
    const answer = this.#turn.then(() => this.#exchange<T>(request));
    this.#turn = answer.catch(() => undefined);
    return answer;
  }

  async #exchange<T>(request: Request): Promise<T> {
    const gone = this.#exited.then(() => {
      throw new Error(`${this.#name} is gone`);
    });
    const answered = once(this.#child, 'message') as Promise<[Reply<T>]>;
    this.#child.send(request);
    const [reply] = await Promise.race([answered, gone]);
    if (reply.kind === 'failed') throw new Error(`${this.#name}: ${reply.message}`);
    return reply.value;
  }

  /** The child ends when what it was asked last is done. */
  async stop(): Promise<void> {
    await this.#turn;
    if (this.#child.connected) this.#child.disconnect();
    await this.#exited;
  }
}

/** The child's side: never returns a second answer before the first has gone. */
export function serveParent<Request extends object>(
  answer: (request: Request) => Promise<unknown>,
  close: () => void | Promise<void>,
): void {
  const send = (reply: Reply<unknown>): void => {
    if (process.connected) process.send?.(reply);
  };
  process.on('message', (request: Request) => {
    answer(request).then(
      (value) => send({ kind: 'done', value }),
      (error: unknown) =>
        send({
          kind: 'failed',
          message: error instanceof Error ? (error.stack ?? error.message) : String(error),
        }),
    );
  });
  process.once('disconnect', () => {
    Promise.resolve(close()).then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
        process.exit(1);
      },
    );
  });
}
