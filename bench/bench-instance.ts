import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ConnectOptions } from '../broker/client/client.ts';
import { connectOperator } from '../broker/client/operator-client.ts';
import { loadPolicy } from '../policy/load.ts';
import { type RunningInstance, startInstance } from '../test/fakes/instance.ts';
import type { BenchAlgorithm } from './algorithms.ts';

/** A Lastmile as `lastmile init` makes it, with the keys that are measured and the policy of a large house. */

const BROKER_ID = 'spiffe://example.org/lastmile/broker';
const WORKLOAD = 'spiffe://example.org/ns/payments/sa/api';
export const OTHER_RULES = 1000;

export interface FullPathKey {
  readonly key: string;
  readonly algorithm: BenchAlgorithm;
  readonly verify: 'always' | 'never';
}

/** `never` is refused for RSA and Ed25519: one faulty signature can leak such a key. */
export const FULL_PATH_KEYS = [
  { key: 'payments/bench/es256', algorithm: 'ES256', verify: 'always' },
  { key: 'payments/bench/es256-unverified', algorithm: 'ES256', verify: 'never' },
  { key: 'payments/bench/ed25519', algorithm: 'Ed25519', verify: 'always' },
  { key: 'payments/bench/rs256', algorithm: 'RS256', verify: 'always' },
  { key: 'payments/bench/a256gcm', algorithm: 'A256GCM', verify: 'always' },
] as const satisfies readonly FullPathKey[];

/** Exists, and is not for the workload that measures. */
export const FORBIDDEN_KEY = 'billing/invoices';
/** Exists nowhere, and is as long. */
export const UNKNOWN_KEY = 'billing/invented';
/** Exists nowhere, though the workload might use it if it did. */
export const UNKNOWN_KEY_WITHIN_RULES = 'payments/bench/x';

const CREATE_KEY_LIMIT_MS = 30_000;

/** @param program the `lastmile` to run, such as a build's; by default the one of this tree */
export async function startBenchInstance(program?: string): Promise<RunningInstance> {
  const instance = await startInstance({ prepare: addRules, program });
  try {
    await using operator = await connectOperator(connection(instance, 'operator'));
    for (const { key, algorithm, verify } of FULL_PATH_KEYS) {
      const purpose = algorithm === 'A256GCM' ? 'encrypt' : 'sign';
      const request = { key, purpose, algorithms: [algorithm], verify };
      await operator.admin('CreateKey', request, { deadlineMs: CREATE_KEY_LIMIT_MS });
    }
    return instance;
  } catch (error) {
    await instance.stop();
    throw new Error(`the instance is not ready to be measured:\n${instance.output()}`, { cause: error });
  }
}

/** @param name one of the instance's client profiles */
export function connection(instance: RunningInstance, name: 'payments' | 'operator'): ConnectOptions {
  const { directory, workloadsPort, controlPort } = instance;
  return {
    target: `127.0.0.1:${name === 'operator' ? controlPort : workloadsPort}`,
    brokerId: BROKER_ID,
    svid: {
      certificateFile: join(directory, 'pki', `${name}.crt`),
      keyFile: join(directory, 'pki', `${name}.key`),
      trustBundleFile: join(directory, 'pki', 'ca.crt'),
    },
  };
}

async function addRules(directory: string): Promise<void> {
  const file = join(directory, 'policy.yaml');
  const before = loadPolicy(await readFile(file)).rules.length;
  await appendFile(file, benchRules());
  const added = loadPolicy(await readFile(file)).rules.length - before;
  if (added !== OTHER_RULES + 1) throw new Error(`${added} rules were added, not ${OTHER_RULES + 1}`);
}

/** To stand at the end of `rules:`. */
export function benchRules(): string {
  const own = rule('bench', WORKLOAD, ['payments/bench/*'], 'sign, verify, encrypt, decrypt');
  return [own, ...Array.from({ length: OTHER_RULES }, (_, number) => otherRule(number))].join('');
}

/** Four kinds in turn: another workload, a namespace, a pattern that begins with `*`, and the measured workload itself. */
function otherRule(number: number): string {
  const id = `house-${number}`;
  const operations = 'sign, verify';
  switch (number % 4) {
    case 0:
      return rule(id, `spiffe://example.org/ns/team-${number}/sa/api`, [`team-${number}/*`], operations);
    case 1:
      return rule(
        id,
        `spiffe://example.org/ns/team-${number}/sa/*`,
        [`team-${number}/jwt`, `team-${number}/shared/**`],
        operations,
      );
    case 2:
      return rule(id, `spiffe://example.org/ns/*/sa/worker-${number}`, ['shared/**'], operations);
    default:
      return rule(id, WORKLOAD, [`payments/ledger-${number}`], operations);
  }
}

function rule(id: string, workload: string, keys: readonly string[], operations: string): string {
  const quoted = keys.map((key) => JSON.stringify(key)).join(', ');
  return `
  - id: ${id}
    workloads: [${JSON.stringify(workload)}]
    keys: [${quoted}]
    operations: [${operations}]
`;
}
