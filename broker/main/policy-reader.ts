import { Worker } from 'node:worker_threads';
import type { LoadedPolicy, PolicyOptions } from '../../policy/load.ts';

export interface PolicyToRead {
  readonly bytes: Uint8Array;
  readonly options: PolicyOptions;
  /** The policy that it is to replace, for the differences. */
  readonly before: Uint8Array | undefined;
}

export interface PolicyReading {
  readonly loaded: LoadedPolicy;
  /** The policy before could be read: `differences` are all there are. */
  readonly isCompared: boolean;
  /** Lines for people; empty without a policy before. */
  readonly differences: readonly string[];
}

/** Started from source or from a build, with the extension that this very file has. */
const ENTRY = new URL(
  import.meta.url.endsWith('.ts') ? './policy-reader-thread.ts' : './policy-reader-thread.js',
  import.meta.url,
);
const MAX_HEAP_MIB = 1024;
const LIMIT_MS = 60_000;

/**
 * Reads a policy in a thread of its own: ten thousand rules take a second, in which the broker goes on signing. What
 * comes back is plain data; conditions are compiled from it by whoever decides.
 *
 * @throws Error when the thread ended without an answer, as for lack of memory
 */
export async function readPolicy(policy: PolicyToRead): Promise<PolicyReading> {
  const worker = new Worker(ENTRY, {
    name: 'policy-reader',
    env: {},
    execArgv: [],
    workerData: policy,
    resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB },
  });
  const answered = Promise.withResolvers<PolicyReading>();
  worker.once('message', answered.resolve);
  worker.once('messageerror', answered.reject);
  worker.once('error', answered.reject);
  worker.once('exit', (code) =>
    answered.reject(new Error(`the thread that reads the policy ended with ${code}`)),
  );
  const tooLate = setTimeout(
    () => answered.reject(new Error(`the policy was not read within ${LIMIT_MS / 1000} s`)),
    LIMIT_MS,
  );
  try {
    return await answered.promise;
  } finally {
    clearTimeout(tooLate);
    await worker.terminate();
  }
}
