import { parentPort, workerData } from 'node:worker_threads';
import { diffPolicyTexts } from '../../policy/diff.ts';
import { diffLines } from '../../policy/diff-words.ts';
import { type PolicyText, readPolicyText } from '../../policy/policy-text.ts';
import type { PolicyReading, PolicyToRead } from './policy-reader.ts';
import { profileIssues } from './profile-check.ts';

/** The entry of a thread that reads one policy, answers and ends. */
const port = parentPort;
if (port === null) throw new Error('policy-reader-thread.ts is the entry of a thread');
const { bytes, options, before } = workerData as PolicyToRead;
// An entry has room for some lines only: not all combinations of a large policy are worth waiting for.
const MAX_PAIRS = 1000;
const text = readPolicyText(bytes, options);
const unusable = text.loaded.issues.length > 0 ? [] : await profileIssues(bytes, options.file, text.loaded);
const issues = [...text.loaded.issues, ...unusable];
const reading: PolicyReading = {
  loaded: { ...text.loaded, issues },
  ...(issues.length > 0 || before === undefined
    ? { isCompared: false, differences: [] }
    : compared(before, text)),
};
port.postMessage(reading);

function compared(old: Uint8Array, next: PolicyText): Omit<PolicyReading, 'loaded'> {
  const result = diffPolicyTexts(readPolicyText(old), next, MAX_PAIRS);
  return result.ok
    ? { isCompared: true, differences: diffLines(result.diff) }
    : { isCompared: false, differences: ['the policy before is not one that this version reads'] };
}
