import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { TokenAdapter, TokenConfig, TokenState } from '../../../hsm-adapters/adapter.ts';
import {
  type ChildHandlers,
  type ChildSpec,
  type ChildUser,
  SupervisedChild,
} from '../../../hsm-adapters/frames/child-process.ts';
import { type WorkerFailure, WorkerFrame } from '../../../hsm-adapters/frames/worker-frames.ts';
import { createTokenAdapter } from '../../../hsm-adapters/supervisor/token-supervisor.ts';
import { FakeLedger } from '../../fakes/fake-token-worker.ts';
import type { CeremonyOrder } from './ceremony-program.ts';

/** A real module with its daemons running and its tokens made, as a test has started it. */
export interface ModuleUnderTest {
  /** Two where the module can have two. */
  readonly tokens: readonly TokenConfig[];
  /** What workers become; undefined when the tests do not run as root. */
  readonly user: ChildUser | undefined;
  /** What the token itself counts towards its lock-out, where it can be asked. */
  readonly wrongPins?: () => number;
  /** Ends what was started and removes what was made. */
  stop(): Promise<void>;
}

/** A token behind the product's own supervisor and worker, with what they said to each other. */
export interface OpenToken {
  readonly adapter: TokenAdapter;
  readonly ledger: FakeLedger;
  readonly log: string[];
  /** The most sessions that a worker said it had open at once. */
  readonly mostSessions: () => number;
  reaches(state: TokenState): Promise<void>;
  /** The next state that is not `starting`: what came of it. */
  settles(): Promise<TokenState>;
}

export function openToken(
  module: ModuleUnderTest,
  config: TokenConfig,
  ledger: FakeLedger = new FakeLedger(),
): OpenToken {
  const log: string[] = [];
  let mostSessions = 0;
  const adapter = createTokenAdapter({
    config,
    ledger,
    user: module.user,
    log: (line) => log.push(line),
    startWorker: (spec: ChildSpec, handlers: ChildHandlers) =>
      new SupervisedChild(spec, {
        started: (channel) => handlers.started(channel),
        frame: (type, id, payload) => {
          if (type === WorkerFrame.Load) mostSessions = Math.max(mostSessions, payload.readUInt32BE(0));
          handlers.frame(type, id, payload);
        },
        exited: (exit) => handlers.exited(exit),
        log: (line) => handlers.log(line),
      }),
  });
  const until = (holds: () => boolean) =>
    new Promise<void>((resolve) => {
      if (holds()) {
        resolve();
        return;
      }
      const leave = adapter.watch(() => {
        if (!holds()) return;
        leave();
        resolve();
      });
    });
  return {
    adapter,
    ledger,
    log,
    mostSessions: () => mostSessions,
    reaches: (state) => until(() => adapter.state === state),
    settles: async () => {
      await until(() => adapter.state !== 'starting');
      return adapter.state;
    },
  };
}

export const soon = () => ({ deadline: performance.now() + 30_000 });

/** What an operation failed with; undefined when it did not. */
export async function failureOf(promise: Promise<unknown>): Promise<WorkerFailure | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return error as WorkerFailure;
  }
}

const CEREMONY = fileURLToPath(new URL('./ceremony-program.ts', import.meta.url));

/** Does with the module what a ceremony does with the vendor's tools; never the product. */
export function holdCeremony(module: ModuleUnderTest, config: TokenConfig, order: CeremonyOrder): string {
  const { user } = module;
  const { status, stdout, stderr } = spawnSync(process.execPath, [CEREMONY], {
    cwd: config.directory,
    env: { ...config.environment },
    input: JSON.stringify({ config, user, order }),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`ceremony on ${config.name}: ${stderr}`);
  return stdout.trim();
}
