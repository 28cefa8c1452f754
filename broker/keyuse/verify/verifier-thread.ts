import { parentPort } from 'node:worker_threads';
import { readBatch, type Verdict, writeVerdicts } from './batch.ts';
import { type Checks, prepare } from './check.ts';
import type { SignatureAlgorithm } from './signature-verifier.ts';
import { VerifierError } from './verifier-error.ts';

/**
 * The entry of a verifying thread: answers each batch with its verdicts, in order. Whatever it throws outside a single
 * question ends the thread, and with it everything in flight is rejected.
 */
interface NumberedKey {
  readonly spki: Uint8Array;
  readonly ready: Map<SignatureAlgorithm, Checks>;
}

const keys = new Map<number, NumberedKey>();

function answer(batch: ArrayBuffer): Verdict[] {
  const verdicts: Verdict[] = [];
  readBatch(batch, {
    // Copied: a view would keep the whole batch alive for as long as the key is known.
    key: (number, spki) => keys.set(number, { spki: spki.slice(), ready: new Map() }),
    question: (number, algorithm, content, data, signature) => {
      try {
        verdicts.push(checksOf(number, algorithm)[content](data, signature));
      } catch (error) {
        verdicts.push(verdictOf(error));
      }
    },
  });
  return verdicts;
}

function checksOf(number: number, algorithm: SignatureAlgorithm): Checks {
  const key = keys.get(number);
  if (key === undefined) throw new Error(`no key has number ${number}`);
  const known = key.ready.get(algorithm);
  if (known !== undefined) return known;
  const checks = prepare(key.spki, algorithm);
  key.ready.set(algorithm, checks);
  return checks;
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
