import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/**
 * A whole Lastmile, as its users have it: `lastmile init` and `lastmile serve` as processes of their own, on ports
 * that the operating system chooses, with SoftHSM2 tokens, in a directory that goes away with it.
 */
export interface RunningInstance {
  readonly directory: string;
  readonly workloadsPort: number;
  readonly controlPort: number;
  /** Of the approvers' pages; undefined: `lastmile.yaml` has none. */
  readonly pagesPort: number | undefined;
  /** The broker's process id. */
  readonly pid: number;
  /** Everything the broker has said so far, both streams. */
  readonly output: () => string;
  /** Resolves to the broker's exit code once it is gone and its output is whole. */
  readonly ended: Promise<number | null>;
  /** Ends the broker, waits for it, and leaves the directory for `serveAgain`. Resolves to its exit code. */
  readonly end: (signal?: NodeJS.Signals) => Promise<number | null>;
  /** Another broker on the same directory, after `end`. Only the newest one is to be stopped. */
  readonly serveAgain: () => Promise<RunningInstance>;
  /** Ends the broker with SIGTERM, waits for it, and removes the directory. Resolves to its exit code. */
  readonly stop: () => Promise<number | null>;
}

export interface InstanceSettings {
  /** The `lastmile` to run; by default the one of this tree. */
  readonly program?: string | undefined;
  /** More arguments for `lastmile init`. */
  readonly init?: readonly string[];
  /** More arguments for `lastmile serve`. */
  readonly serve?: readonly string[];
  /** Called between the two, to edit the instance's files. */
  readonly prepare?: (directory: string) => Promise<void>;
}

export const MAIN = fileURLToPath(new URL('../../broker/main.ts', import.meta.url));

/** A broker that does not serve by then is ended, and what it said is the error. */
const START_LIMIT_MS = 60_000;

/** @throws Error with what the broker said, when it ends before it serves */
export async function startInstance(settings: InstanceSettings = {}): Promise<RunningInstance> {
  const parent = await mkdtemp(join(tmpdir(), 'lastmile-instance-'));
  const directory = join(parent, 'instance');
  const program = settings.program ?? MAIN;
  try {
    await runLastmile(
      [
        'init',
        '--directory',
        directory,
        '--workloads-port',
        '0',
        '--control-port',
        '0',
        ...(settings.init ?? []),
      ],
      program,
    );
    await settings.prepare?.(directory);
    return await serve(parent, directory, settings.serve ?? [], program);
  } catch (error) {
    await rm(parent, { recursive: true, force: true });
    throw error;
  }
}

/** Runs one `lastmile` command to its end. @throws Error with its output when the exit code is not 0 */
export async function runLastmile(args: readonly string[], program: string = MAIN): Promise<string> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const output = collect(child);
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`lastmile ${args.join(' ')} ended with ${code}:\n${output()}`);
  return output();
}

async function serve(
  parent: string,
  directory: string,
  args: readonly string[],
  program: string,
): Promise<RunningInstance> {
  const child = spawn(process.execPath, [program, 'serve', '--instance', directory, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = collect(child);
  const closed = once(child, 'close') as Promise<[number | null]>;
  const tooLate = setTimeout(() => child.kill('SIGKILL'), START_LIMIT_MS);
  const ports = await Promise.race([
    servingPorts(child),
    closed.then(([code]) => {
      throw new Error(`lastmile serve ended with ${code} before it served:\n${output()}`);
    }),
  ]).finally(() => clearTimeout(tooLate));
  const ended = closed.then(([code]) => code);
  const end = (signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> => {
    child.kill(signal);
    return ended;
  };
  return {
    directory,
    ...ports,
    pid: child.pid ?? 0,
    output,
    ended,
    end,
    serveAgain: () => serve(parent, directory, args, program),
    stop: async () => {
      const code = await end();
      await rm(parent, { recursive: true, force: true });
      return code;
    },
  };
}

type Ports = Pick<RunningInstance, 'workloadsPort' | 'controlPort' | 'pagesPort'>;

/** The one line of JSON with which `lastmile serve` says that it takes requests, and where. */
function servingPorts(child: ChildProcess): Promise<Ports> {
  return new Promise((resolve) => {
    if (child.stdout === null) throw new Error('standard output is not a pipe');
    // Never closed: closing it would stop the stream, and a broker that cannot write its log waits.
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (!line.startsWith('{"serving":')) return;
      const { serving } = JSON.parse(line) as {
        serving: { workloads: string; control: string; pages?: string };
      };
      resolve({
        workloadsPort: portOf(serving.workloads),
        controlPort: portOf(serving.control),
        pagesPort: serving.pages === undefined ? undefined : portOf(serving.pages),
      });
    });
  });
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

function collect(child: ChildProcess): () => string {
  const chunks: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString('utf8');
}
