import { createHash, randomFillSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import pkcs11js from 'pkcs11js';
import type { SoftToken } from '../test/integration/pkcs11/soft-token.ts';
import {
  ASSOCIATED_DATA,
  type BenchAlgorithm,
  isGoodSignature,
  MESSAGE_BYTES,
  PLAINTEXT_BYTES,
} from './algorithms.ts';
import type { BenchKey } from './bench-tokens.ts';
import { serveParent } from './child.ts';
import { runClosedLoop, type Sample } from './closed-loop.ts';

/**
 * pkcs11js as its own documentation has it: *Init, then the single-part call on the thread pool. No queue, no
 * frames, none of the product's code: what is measured here is what nobody on top of pkcs11js can exceed.
 */
export type RawRequest =
  | {
      readonly kind: 'open';
      readonly module: string;
      readonly token: SoftToken;
      readonly keys: readonly BenchKey[];
      readonly sessions: number;
    }
  | {
      readonly kind: 'run';
      readonly algorithm: BenchAlgorithm;
      /** At most as many as there are sessions. */
      readonly inFlight: number;
      readonly seconds: number;
    };

const CKM_EDDSA = 0x1057;
const SHA256_DIGEST_INFO = Buffer.from('3031300d060960864801650304020105000420', 'hex');

interface BoundKey extends BenchKey {
  readonly handle: Buffer;
}

/** One of the module's sessions with buffers of its own: a pool thread reads and writes them. */
interface Lane {
  readonly session: Buffer;
  readonly input: Buffer;
  readonly output: Buffer;
  readonly iv: Buffer;
  lastResult: Buffer;
}

let cryptoki: pkcs11js.PKCS11 | undefined;
let lanes: readonly Lane[] = [];
let keys: readonly BoundKey[] = [];

function open(request: Extract<RawRequest, { kind: 'open' }>): void {
  const native = new pkcs11js.PKCS11();
  native.load(request.module);
  native.C_Initialize({ flags: pkcs11js.CKF_OS_LOCKING_OK });
  cryptoki = native;
  const { label, pinFile } = request.token;
  const slot = native.C_GetSlotList(true).find((each) => native.C_GetTokenInfo(each).label.trim() === label);
  if (slot === undefined) throw new Error(`no token ${label}`);
  const sessions = Array.from({ length: request.sessions }, () =>
    native.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION),
  );
  native.C_Login(sessions[0]!, pkcs11js.CKU_USER, readFileSync(pinFile, 'utf8').trim());
  lanes = sessions.map((session) => ({
    session,
    input: Buffer.allocUnsafeSlow(PLAINTEXT_BYTES),
    output: Buffer.allocUnsafeSlow(2048),
    iv: randomFillSync(Buffer.allocUnsafeSlow(12)),
    lastResult: Buffer.alloc(0),
  }));
  keys = request.keys.map((key) => ({ ...key, handle: findKey(native, sessions[0]!, key) }));
}

function findKey(native: pkcs11js.PKCS11, session: Buffer, { algorithm, ckaId }: BenchKey): Buffer {
  const kind = algorithm === 'A256GCM' ? pkcs11js.CKO_SECRET_KEY : pkcs11js.CKO_PRIVATE_KEY;
  native.C_FindObjectsInit(session, [
    { type: pkcs11js.CKA_CLASS, value: kind },
    { type: pkcs11js.CKA_TOKEN, value: true },
    { type: pkcs11js.CKA_ID, value: Buffer.from(ckaId, 'hex') },
  ]);
  const [handle] = native.C_FindObjects(session, 1);
  native.C_FindObjectsFinal(session);
  if (handle === undefined) throw new Error(`no key for ${algorithm}`);
  return handle;
}

async function run(request: Extract<RawRequest, { kind: 'run' }>): Promise<Sample> {
  const native = cryptoki;
  const key = keys.find(({ algorithm }) => algorithm === request.algorithm);
  if (native === undefined || key === undefined) throw new Error('not open');
  if (request.inFlight > lanes.length) throw new Error(`only ${lanes.length} sessions`);
  const sample = await runClosedLoop(request, (index, done) => {
    const lane = lanes[index]!;
    start(native, lane, key, (error, result) => {
      if (error) done(error);
      else {
        lane.lastResult = result;
        done();
      }
    });
  });
  for (const lane of lanes.slice(0, request.inFlight)) check(native, lane, key);
  if (Object.keys(sample.failures).length > 0) throw new Error(JSON.stringify(sample.failures));
  return sample;
}

type Settled = (error: Error | null, result: Buffer) => void;

function start(native: pkcs11js.PKCS11, lane: Lane, key: BoundKey, settled: Settled): void {
  const { session, input, output } = lane;
  if (key.algorithm === 'A256GCM') {
    // A counter: random bytes cost something, and are no part of this ceiling.
    lane.iv.writeUInt32LE((lane.iv.readUInt32LE(0) + 1) >>> 0, 0);
    native.C_EncryptInit(session, gcm(lane.iv), key.handle);
    native.C_Encrypt(session, input, output, settled);
    return;
  }
  native.C_SignInit(session, { mechanism: SIGNING[key.algorithm], parameter: null } as never, key.handle);
  native.C_Sign(session, signed(key.algorithm, input), output, settled);
}

const SIGNING = {
  ES256: pkcs11js.CKM_ECDSA,
  Ed25519: CKM_EDDSA,
  RS256: pkcs11js.CKM_RSA_PKCS,
} as const;

/** The broker hashes before it asks a worker; so the bytes that the mechanism takes are simply there here. */
function signed(algorithm: Exclude<BenchAlgorithm, 'A256GCM'>, input: Buffer): Buffer {
  const bytes = { ES256: 32, Ed25519: MESSAGE_BYTES, RS256: SHA256_DIGEST_INFO.length + 32 }[algorithm];
  return input.subarray(0, bytes);
}

function gcm(iv: Buffer): never {
  const parameter = { type: pkcs11js.CK_PARAMS_GCM, iv, ivBits: 96, aad: ASSOCIATED_DATA, tagBits: 128 };
  return { mechanism: pkcs11js.CKM_AES_GCM, parameter } as never;
}

/** The last result of each session is looked at: a ceiling of failures would be high. */
function check(native: pkcs11js.PKCS11, lane: Lane, { algorithm, handle, publicKey }: BoundKey): void {
  const { session, input, lastResult } = lane;
  if (algorithm === 'A256GCM') {
    native.C_DecryptInit(session, gcm(lane.iv), handle);
    const plaintext = native.C_Decrypt(session, lastResult, Buffer.alloc(PLAINTEXT_BYTES + 16));
    if (!plaintext.equals(input)) throw new Error('a ciphertext does not open');
  } else if (!isGoodSignature(algorithm, publicKey, MESSAGE, lastResult)) {
    throw new Error(`a wrong ${algorithm} signature`);
  }
}

const MESSAGE = Buffer.alloc(MESSAGE_BYTES, 'lastmile');

function fill(algorithm: BenchAlgorithm): void {
  const digest = createHash('sha256').update(MESSAGE).digest();
  const bytes = {
    ES256: digest,
    Ed25519: MESSAGE,
    RS256: Buffer.concat([SHA256_DIGEST_INFO, digest]),
    A256GCM: Buffer.alloc(PLAINTEXT_BYTES, 'lastmile'),
  }[algorithm];
  for (const { input } of lanes) bytes.copy(input);
}

serveParent<RawRequest>(
  async (request) => {
    if (request.kind === 'open') return open(request);
    fill(request.algorithm);
    return run(request);
  },
  () => cryptoki?.C_Finalize(),
);
