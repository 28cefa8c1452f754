import type { TokenConfig } from '../adapter.ts';
import type { ChildSpec } from '../frames/child-process.ts';
import type { ChildUser } from '../frames/child-side.ts';
import { entryUrl, treeRoot, workerFlags } from '../frames/isolation.ts';
import type { WorkerStart } from '../frames/worker-frames.ts';
import type { PinSource } from './pin-source.ts';

/**
 * What a token's worker process is started with, and the first thing it is told. Decided by the configuration alone,
 * so it is the same for every worker of that token. Owns nothing.
 */
export function workerSpec(
  config: TokenConfig,
  pin: PinSource,
  user: ChildUser | undefined,
  root: string = treeRoot(),
): ChildSpec {
  return {
    role: 'token-worker',
    name: config.name,
    entry: entryUrl('hsm-adapters/pkcs11/worker', root),
    flags: [...workerFlags(root, { module: config.module, pinFile: pin.file }), '--max-semi-space-size=2'],
    env: workerEnvironment(config),
    cwd: config.directory,
    user,
    wireDescriptor5: pin.wire,
  };
}

/** The payload of Start. */
export function startMessage(config: TokenConfig, pin: PinSource): Buffer {
  const { name, module, profile, serial, label, sessions } = config;
  const start: WorkerStart = { token: name, module, profile, serial, label, pin: pin.start, sessions };
  return Buffer.from(JSON.stringify(start));
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
  // An arena for each thread that calls the module would keep what the busiest moment of each has freed.
  return {
    MALLOC_ARENA_MAX: '2',
    ...config.environment,
    UV_THREADPOOL_SIZE: String(Math.min(1024, config.sessions + 1)),
  };
}
