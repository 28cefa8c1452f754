import { parentPort, workerData } from 'node:worker_threads';
import { diffLines, diffPolicies } from '../../policy/diff.ts';
import { loadPolicy } from '../../policy/load.ts';
import type { PolicyReading, PolicyToRead } from './policy-reader.ts';

/** The entry of a thread that reads one policy, answers and ends. */
const port = parentPort;
if (port === null) throw new Error('policy-reader-thread.ts is the entry of a thread');
const { bytes, options, before } = workerData as PolicyToRead;
const loaded = loadPolicy(bytes, options);
const reading: PolicyReading = {
  loaded,
  differences: loaded.issues.length > 0 || before === undefined ? [] : differences(before, bytes),
};
port.postMessage(reading);

function differences(old: Uint8Array, next: Uint8Array): readonly string[] {
  const result = diffPolicies(old, next);
  return result.ok ? diffLines(result.diff) : ['the policy before is not one that this version reads'];
}
