import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { promisify } from 'node:util';
import { type ConnectOptions, connect, type LastmileClient } from '../broker/client/client.ts';
import { LastmileError } from '../broker/client/errors.ts';
import { ASSOCIATED_DATA, type BenchAlgorithm, MESSAGE_BYTES, PLAINTEXT_BYTES } from './algorithms.ts';
import { serveParent } from './child.ts';
import { promised, runClosedLoop, type Sample } from './closed-loop.ts';
import { median } from './statistics.ts';

/**
 * A workload: one process, one connection, the SDK as everybody uses it. What comes back during a run is kept and
 * checked when the clock has stopped.
 */
export type LoadRequest =
  | {
      readonly kind: 'connect';
      readonly options: ConnectOptions;
      readonly signingKeys: readonly string[];
    }
  | {
      readonly kind: 'run';
      readonly key: string;
      readonly algorithm: BenchAlgorithm;
      readonly mode: 'unary' | 'stream';
      readonly inFlight: number;
      readonly seconds: number;
    }
  | { readonly kind: 'check' }
  | { readonly kind: 'refusals'; readonly keys: readonly string[]; readonly calls: number };

type Run = Extract<LoadRequest, { kind: 'run' }>;

interface Kept {
  readonly number: number;
  readonly result: Uint8Array;
}

let connected: LastmileClient | undefined;
/** For what is not measured: it may try again. */
let checker: LastmileClient | undefined;
let run: Run | undefined;
let kept: Kept[] = [];
let nextNumber = 0;
/** Where a key cannot be replicated each token has its own, and any of them may have signed. */
const publicKeys = new Map<string, readonly KeyObject[]>();

function theClient(): LastmileClient {
  if (connected === undefined) throw new Error('not connected');
  return connected;
}

async function open({ options, signingKeys }: Extract<LoadRequest, { kind: 'connect' }>): Promise<void> {
  // A failure in a run is counted, not smoothed over.
  connected = await connect({ ...options, maxAttempts: 1 });
  checker = await connect(options);
  for (const key of signingKeys) {
    const { jwk, otherJwks } = await checker.getPublicKey({ key });
    publicKeys.set(
      key,
      [jwk, ...otherJwks].map((each) => createPublicKey({ key: each, format: 'jwk' })),
    );
  }
}

/** No two operations have the same input, so that a result which belongs to another request is found out. */
function inputOf(number: number, bytes: number): Buffer {
  const input = Buffer.alloc(bytes, 'lastmile');
  input.writeUInt32BE(number, 0);
  return input;
}

async function load(request: Run): Promise<Sample> {
  if (kept.length > 0) throw new Error('results of the run before were not checked');
  run = request;
  const { key, algorithm, mode, inFlight } = request;
  const client = theClient();
  if (algorithm === 'A256GCM') {
    return runClosedLoop(
      request,
      promised(async () => {
        const number = nextNumber++;
        const { ciphertext } = await client.encrypt({
          key,
          plaintext: inputOf(number, PLAINTEXT_BYTES),
          associatedData: ASSOCIATED_DATA,
        });
        kept.push({ number, result: ciphertext });
      }),
    );
  }
  const stream = mode === 'stream' ? client.signStream({ maxInFlight: inFlight }) : undefined;
  const signer = stream ?? client;
  const sample = await runClosedLoop(
    request,
    promised(async () => {
      const number = nextNumber++;
      const { signature } = await signer.sign({ key, algorithm, message: inputOf(number, MESSAGE_BYTES) });
      kept.push({ number, result: signature });
    }),
  );
  await stream?.end();
  return sample;
}

/** Threads of the pool verify, and the broker decrypts: so many at a time. */
const CHECKS_AT_ONCE = 64;
const verifyOnPool = promisify(verify);

/** @throws Error at the first result that is not what was asked for */
async function check(): Promise<number> {
  const checked = kept;
  kept = [];
  if (run === undefined) return 0;
  const { key, algorithm } = run;
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let at = next++; at < checked.length; at = next++) {
      const one = checked[at]!;
      const isGood = algorithm === 'A256GCM' ? await opens(key, one) : await verifies(key, algorithm, one);
      if (!isGood) throw new Error(`a wrong result of ${algorithm}, ${key}: operation ${one.number}`);
    }
  };
  await Promise.all(Array.from({ length: CHECKS_AT_ONCE }, lane));
  return checked.length;
}

async function verifies(key: string, algorithm: BenchAlgorithm, { number, result }: Kept): Promise<boolean> {
  const message = inputOf(number, MESSAGE_BYTES);
  const hash = algorithm === 'Ed25519' ? null : 'sha256';
  for (const publicKey of publicKeys.get(key) ?? []) {
    if (await verifyOnPool(hash, message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, result)) return true;
  }
  return false;
}

async function opens(key: string, { number, result }: Kept): Promise<boolean> {
  const { plaintext } = await checker!.decrypt({
    key,
    ciphertext: result,
    associatedData: ASSOCIATED_DATA,
  });
  return inputOf(number, PLAINTEXT_BYTES).equals(plaintext);
}

/**
 * The median time of a refusal for each key, in milliseconds; one call at a time, and in each turn another order, so
 * that none follows the same one always. @throws Error when they can be told apart by what they say
 */
async function refusals({ keys, calls }: Extract<LoadRequest, { kind: 'refusals' }>): Promise<number[]> {
  const times = keys.map((): number[] => []);
  const answers = new Set<string>();
  const message = inputOf(0, MESSAGE_BYTES);
  for (let call = 0; call < calls; call += keys.length) {
    for (let turn = 0; turn < keys.length; turn += 1) {
      const which = (turn + call / keys.length) % keys.length;
      const begun = performance.now();
      answers.add(await refusal(keys[which]!, message));
      times[which]!.push(performance.now() - begun);
    }
  }
  if (answers.size !== 1) throw new Error(`refusals differ: ${[...answers].join(' | ')}`);
  return times.map(median);
}

async function refusal(key: string, message: Uint8Array): Promise<string> {
  try {
    await theClient().sign({ key, algorithm: 'ES256', message });
  } catch (error) {
    if (!(error instanceof LastmileError) || error.reason !== 'POLICY_DENIED') throw error;
    return `${error.code} ${error.reason} ${error.message.replaceAll(key, 'KEY')}`;
  }
  throw new Error(`${key} was not refused`);
}

serveParent<LoadRequest>(
  async (request) => {
    switch (request.kind) {
      case 'connect':
        return open(request);
      case 'run':
        return load(request);
      case 'check':
        return check();
      case 'refusals':
        return refusals(request);
      default:
        return request satisfies never;
    }
  },
  () => {
    connected?.close();
    checker?.close();
  },
);
