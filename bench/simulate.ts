import { TILE_WIDTH } from '../broker/audit/tlog/tile.ts';
import { entriesSince, type ReadableEntries } from '../broker/cli/log-entries.ts';
import { compilePolicy } from '../policy/compile.ts';
import { Simulation } from '../policy/replay.ts';
import { encodeInputs } from '../policy/replay-inputs.ts';
import { policyOf, questionsOf } from './decisions.ts';
import type { Row } from './targets.ts';

/**
 * A million recorded decisions put to a policy of 1,000 rules, each with three limits, a window and a condition: from
 * the bytes of entry bundles, as `policy simulate` reads them. Reading files or asking a broker is not in it.
 */
const ENTRIES = 1_000_000;
const RULES = 1000;
/** Made beforehand and read again and again: making a million entries costs more than replaying them. */
const BUNDLES = 64;

function bundles(): readonly Buffer[] {
  const questions = questionsOf(RULES);
  return Array.from({ length: BUNDLES }, (_, bundle) =>
    Buffer.concat(
      Array.from({ length: TILE_WIDTH }, (_, i) => {
        const leaf = bundle * TILE_WIDTH + i;
        const { circumstances, ...question } = questions[leaf % questions.length]!;
        // One request of a hundred was refused, for another key: it stays refused.
        const isRefused = leaf % 100 === 0;
        const now = circumstances!.now + leaf * 50;
        const entry = Buffer.from(
          JSON.stringify({
            algorithm: question.algorithm,
            attempts: [{ micros: 84, outcome: 'ok', performed: 'yes', token: '3f1c2a7be0d94c11' }],
            credential: '9f2c'.repeat(16),
            decision: isRefused ? 'deny' : 'allow',
            generation: 2,
            input: { bytes: 32, kind: 'digest', sha256: 'n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg' },
            inputs: encodeInputs({ ...circumstances!, now }),
            key: isRefused ? 'others/key' : question.key,
            kind: 'key-use',
            latencyMicros: 412,
            leaf,
            operation: question.operation,
            output: { bytes: 64, kind: 'signature', sha256: 'n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg' },
            peer: '10.0.0.7:55120',
            ...(isRefused ? { reason: 'POLICY_DENIED' } : { rule: 'before' }),
            performed: isRefused ? 'no' : 'yes',
            policy: `sha256:${'0'.repeat(64)}`,
            prev: 'q2o4'.repeat(11).slice(1),
            salt: 'kq8cQ1v2m0i3XyJb7QeZ4A',
            seq: leaf,
            subject: question.spiffeId,
            time: new Date(now).toISOString(),
            v: 1,
            version: 1,
          }),
        );
        const length = Buffer.alloc(2);
        length.writeUInt16BE(entry.length);
        return Buffer.concat([length, entry]);
      }),
    ),
  );
}

/** @throws Error when not every entry was replayed */
export async function simulationRows(entries: number = ENTRIES): Promise<readonly Row[]> {
  const made = bundles();
  let reads = 0;
  const log: ReadableEntries = {
    read: async () => made[reads++ % made.length],
    treeSize: async () => Math.ceil(entries / TILE_WIDTH) * TILE_WIDTH,
  };
  const policy = compilePolicy(policyOf(RULES, 'full'), { hash: 'sha256:bench' });
  const before = process.memoryUsage().rss;
  const begun = performance.now();
  const simulation = new Simulation(policy);
  for await (const entry of entriesSince(log, '')) simulation.add(entry);
  const seconds = (performance.now() - begun) / 1000;
  const grown = (process.memoryUsage().rss - before) / 1024 / 1024;
  const { requests, cannotReplay } = simulation.report();
  if (requests < entries || cannotReplay > 0)
    throw new Error(`${requests} of ${entries} entries were replayed`);
  return [
    { measure: 'simulate_1m_s', value: (seconds * ENTRIES) / requests, unit: 's' },
    { measure: 'simulate_1m_grown_mib', value: grown, unit: 'MiB' },
  ];
}

if (import.meta.main) {
  for (const { measure, value, unit } of await simulationRows()) {
    process.stdout.write(`${measure.padEnd(40)} ${value.toPrecision(4)} ${unit}\n`);
  }
}
