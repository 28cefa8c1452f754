import { parentPort } from 'node:worker_threads';
import { readBatch, type Verdict, writeVerdicts } from './batch.ts';
import { CheckCache } from './check.ts';
import { VerifierError } from './verifier-error.ts';

/**
 * The entry of a verifying thread: answers each batch with its verdicts, in order. Whatever it throws outside a single
 * question ends the thread, and with it everything in flight is rejected.
 */
const keys = new Map<number, Uint8Array>();
const checks = new CheckCache();

function answer(batch: ArrayBuffer): Verdict[] {
  const verdicts: Verdict[] = [];
  readBatch(batch, {
    // Copied: a view would keep the whole batch alive for as long as the key is known.
    key: (number, spki) => keys.set(number, spki.slice()),
    question: (number, algorithm, content, data, signature) => {
      try {
        verdicts.push(checks.of(keyOf(number), algorithm)[content](data, signature));
      } catch (error) {
        verdicts.push(verdictOf(error));
      }
    },
  });
  return verdicts;
}

function keyOf(number: number): Uint8Array {
  const key = keys.get(number);
  if (key === undefined) throw new Error(`no key has number ${number}`);
  return key;
}

function verdictOf(error: unknown): Verdict {
  if (error instanceof VerifierError && (error.reason === 'key-rejected' || error.reason === 'unsupported')) {
    return { reason: error.reason, message: error.message };
  }
  return { reason: 'thread-lost', message: `verification broke: ${String(error)}` };
}

const port = parentPort;
if (port === null) throw new Error('verifier-thread.ts is the entry of a thread');
port.on('message', (batch: ArrayBuffer) => {
  const verdicts = writeVerdicts(answer(batch));
  port.postMessage(verdicts, [verdicts]);
});
