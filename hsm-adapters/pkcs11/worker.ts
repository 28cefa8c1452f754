import crypto from 'node:crypto';
import fs from 'node:fs';
import { AdapterError, type TokenInfo } from '../adapter.ts';
import {
  connectToParent,
  dropPermissions,
  dropPrivileges,
  readChildArguments,
  startLifeline,
} from '../frames/child-side.ts';
import { FrameError } from '../frames/frame-channel.ts';
import { type WorkerFailure, WorkerFrame, type WorkerStart } from '../frames/worker-frames.ts';
import type { Profile } from '../profiles/profile.ts';
import { findProfile, PROFILE_NAMES } from '../profiles/profiles.ts';
import { Administration } from './administration.ts';
import { ckr, ckrName, ckrReason } from './ckr.ts';
import { CkrError, Cryptoki, type SessionHandle } from './cryptoki.ts';
import { login, Pin } from './login.ts';
import { Operations, WorkerSession } from './operations.ts';
import {
  administer,
  decodeDecrypt,
  decodeEncrypt,
  decodeRandom,
  decodeSign,
  decodeStart,
  encodeJson,
} from './requests.ts';
import { SessionPool } from './session-pool.ts';
import { describeToken, type FoundToken, findToken } from './token.ts';
import { TokenRandom } from './token-random.ts';

/**
 * The token worker: the only process that loads a PKCS#11 library and reads a PIN. One token, one module, one
 * C_Login in its life. It knows no policy and opens no listener; a vendor's code may crash or hang it, and
 * then the broker replaces it.
 *
 * Nothing of the vendor's runs before user id and permissions are dropped.
 */

const MAX_QUEUED = 4096;
const EXPIRY_CHECK_MS = 25;
const LOAD_REPORT_MS = 500;
const DRAIN_CHECK_MS = 5;
const RESULTS_AT_ONCE = 8;
const RESULT_MS = 1;
/** Failures in a row that look like the token's end. One may be bad luck; this many are an answer. */
const MAX_TROUBLES = 3;

interface Loaded {
  readonly kind: 'found';
  readonly cryptoki: Cryptoki;
  readonly profile: Profile;
  readonly token: FoundToken;
  readonly info: TokenInfo;
  readonly pin: Pin;
}

interface Serving {
  readonly kind: 'serving' | 'stopping';
  readonly cryptoki: Cryptoki;
  readonly operations: Operations;
  readonly administration: Administration;
  readonly pool: SessionPool<WorkerSession>;
  /** Open for good: closing a token's last session logs out. */
  readonly anchor: SessionHandle;
  readonly inspect: () => TokenInfo;
}

type State = { readonly kind: 'new' } | Loaded | Serving | { readonly kind: 'over' };

const child = readChildArguments();
await startLifeline();
let state: State = { kind: 'new' };
let troubles = 0;
let expiryCheck: NodeJS.Timeout | undefined;

const channel = connectToParent({
  frame: receive,
  closed: () => {
    if (state.kind === 'found') state.pin.forget();
    // exit() would wait for, or run into, a call that still uses the module.
    if ('cryptoki' in state && state.cryptoki.callsInFlight > 0) process.kill(process.pid, 'SIGKILL');
  },
});

function receive(type: number, id: number, payload: Buffer): void {
  if (state.kind === 'serving' || state.kind === 'stopping') serve(state, type, id, payload);
  else if (state.kind === 'over') return;
  else if (type === WorkerFrame.Start && state.kind === 'new') begin(decodeStart(payload));
  else if (type === WorkerFrame.Login && state.kind === 'found') logIn(state);
  else if (type === WorkerFrame.Stop) leave();
  else throw new FrameError(`frame of type ${type} in state ${state.kind}`);
}

function serve(serving: Serving, type: number, id: number, payload: Buffer): void {
  const { operations, pool } = serving;
  switch (type) {
    case WorkerFrame.Sign:
      decodeSign(operations, id, payload, performance.now());
      break;
    case WorkerFrame.Encrypt:
      decodeEncrypt(operations, id, payload, performance.now());
      break;
    case WorkerFrame.Decrypt:
      decodeDecrypt(operations, id, payload, performance.now());
      break;
    case WorkerFrame.Random:
      decodeRandom(operations, id, payload, performance.now());
      break;
    case WorkerFrame.Cancel:
      operations.cancel(id);
      break;
    case WorkerFrame.Administer:
      answerAdministration(serving, id, payload);
      break;
    case WorkerFrame.Stop:
      stop(serving);
      break;
    default:
      throw new FrameError(`frame of type ${type}`);
  }
  if (expiryCheck === undefined && pool.queued > 0)
    expiryCheck = setTimeout(checkExpiry, EXPIRY_CHECK_MS, pool);
}

function checkExpiry(pool: SessionPool<WorkerSession>): void {
  pool.refuseExpired();
  expiryCheck = pool.queued > 0 ? setTimeout(checkExpiry, EXPIRY_CHECK_MS, pool) : undefined;
}

function begin(start: WorkerStart): void {
  try {
    const profile = findProfile(start.profile);
    if (profile === undefined) {
      const message = `no profile \`${start.profile}\`; there are: ${PROFILE_NAMES.join(', ')}`;
      throw new AdapterError('INVARIANT_BROKEN', message, { performed: 'no' });
    }
    // As the user this was started as: the PIN file need not be readable for the worker's own.
    const pin = Pin.read(start.pin);
    const moduleSha256 = crypto.createHash('sha256').update(fs.readFileSync(start.module)).digest('hex');
    dropPrivileges(child.user);
    dropPermissions(['fs', 'child', 'worker', 'net', 'addon', 'wasi']);
    const cryptoki = Cryptoki.load(start.module);
    cryptoki.initialize(libraryParameters(profile));
    const token = findToken(cryptoki, start);
    const info = describeToken(cryptoki, token, profile, { sessions: start.sessions, moduleSha256 });
    state = { kind: 'found', cryptoki, profile, token, info, pin };
    channel.send(WorkerFrame.Found, 0, encodeJson(info));
  } catch (error) {
    gone(failureOf(error));
  }
}

/** Where a module wants to be told at C_Initialize: as the operator wrote it into the worker's environment. */
function libraryParameters({ name, libraryParameters: variable }: Profile): string | undefined {
  if (variable === undefined) return undefined;
  const value = process.env[variable];
  if (value !== undefined && value !== '') return value;
  throw new AdapterError(
    'TOKEN_UNREACHABLE',
    `profile \`${name}\` needs \`${variable}\` in the environment`,
    {
      performed: 'no',
    },
  );
}

function logIn({ cryptoki, profile, token, info, pin }: Loaded): void {
  try {
    const anchor = cryptoki.openSession(token.slot, accessOf(profile));
    const result = login(cryptoki, anchor, pin);
    channel.send(WorkerFrame.LoggedIn, 0, encodeJson(result));
    if (result.outcome !== 'accepted') {
      leave();
      return;
    }
    const pool = openPool(cryptoki, token, accessOf(profile), info.sessions);
    const operations = new Operations({
      cryptoki,
      pool,
      profile,
      replies: {
        done: (id, ...parts) => {
          // While every session has work and as much again waits, nobody is faster served by a result of its own: each
          // costs a write, and wakes the broker, which then has one thing to do.
          if (pool.queued >= pool.lent) channel.sendWithin(RESULT_MS, WorkerFrame.Done, id, ...parts);
          else channel.send(WorkerFrame.Done, id, ...parts);
          // Results of calls on this thread would all wait for the last request that has been read.
          if (channel.unsentFrames >= RESULTS_AT_ONCE) channel.flush();
        },
        failed: (id, failure) => channel.send(WorkerFrame.Failed, id, encodeJson(failure)),
      },
      trouble: {
        gone,
        suspect: (failure) => suspect(cryptoki, token, failure),
        fine: () => {
          troubles = 0;
        },
      },
      random: new TokenRandom(cryptoki),
    });
    const administration = new Administration(cryptoki, token.slot, profile);
    const inspect = () =>
      describeToken(cryptoki, { slot: token.slot, raw: cryptoki.tokenInfo(token.slot) }, profile, info);
    state = { kind: 'serving', cryptoki, operations, administration, pool, anchor, inspect };
    reportLoad(pool);
  } catch (error) {
    pin.forget();
    gone(failureOf(error));
  }
}

const SESSION_COUNT = ckr('CKR_SESSION_COUNT');

function accessOf({ sessions }: Profile): 'read-only' | 'read-write' {
  return sessions.readOnly ? 'read-only' : 'read-write';
}

function openPool(
  cryptoki: Cryptoki,
  token: FoundToken,
  access: 'read-only' | 'read-write',
  sessions: number,
): SessionPool<WorkerSession> {
  return new SessionPool<WorkerSession>(
    {
      open: () => new WorkerSession(cryptoki.openSession(token.slot, access)),
      close: ({ handle }) => cryptoki.closeSession(handle),
      isLimit: (error) => error instanceof CkrError && error.ckr === SESSION_COUNT,
    },
    {
      sessions,
      maxQueued: MAX_QUEUED,
      now: () => performance.now(),
      closeFailed: (error) => process.stderr.write(`a session was not closed: ${messageOf(error)}\n`),
    },
  );
}

function answerAdministration(serving: Serving, id: number, payload: Buffer): void {
  try {
    const result = administer(payload, serving);
    channel.send(WorkerFrame.DoneJson, id, encodeJson(result));
  } catch (error) {
    if (error instanceof FrameError) throw error;
    channel.send(WorkerFrame.Failed, id, encodeJson(failureOf(error)));
  }
}

/** A failure that may be the token's end: a token that no longer answers, or fails again and again, is gone. */
function suspect(cryptoki: Cryptoki, token: FoundToken, failure: WorkerFailure): void {
  if (failure.reason === 'TOKEN_UNREACHABLE') troubles += 1;
  try {
    cryptoki.tokenInfo(token.slot);
  } catch (error) {
    // Whatever the code, vendor's own ones included: a new worker is what may help.
    gone({ ...failureOf(error), reason: 'TOKEN_UNREACHABLE' });
    return;
  }
  if (troubles >= MAX_TROUBLES)
    gone({ ...failure, message: `${troubles} failures in a row, the last: ${failure.message}` });
}

function gone(failure: WorkerFailure): void {
  if (state.kind === 'over') return;
  channel.send(WorkerFrame.Gone, 0, encodeJson(failure));
  leave();
}

/** Requests that wait are refused, those that run are answered; then C_Finalize, and the end. */
function stop(serving: Serving): void {
  if (serving.kind === 'stopping') return;
  state = { ...serving, kind: 'stopping' };
  serving.pool.close();
  const drained = setInterval(() => {
    if (serving.cryptoki.callsInFlight > 0) return;
    clearInterval(drained);
    leave();
  }, DRAIN_CHECK_MS);
}

/** Sends what is queued, ends the pipe, exits. The parent kills whoever cannot. */
function leave(): void {
  const cryptoki = 'cryptoki' in state ? state.cryptoki : undefined;
  if (state.kind === 'found') state.pin.forget();
  state = { kind: 'over' };
  channel.flush();
  const exit = () => {
    if (channel.pendingBytes > 0 && !channel.isClosed) {
      setTimeout(exit, 1);
      return;
    }
    if (cryptoki !== undefined) {
      // Left to the exit handlers, some modules crash; with a call in flight, C_Finalize does.
      if (cryptoki.callsInFlight > 0) {
        process.kill(process.pid, 'SIGKILL');
        return;
      }
      try {
        cryptoki.finalize();
      } catch (error) {
        process.stderr.write(`the module was not finalised: ${messageOf(error)}\n`);
      }
    }
    process.exit(0);
  };
  exit();
}

function reportLoad(pool: SessionPool<WorkerSession>): void {
  const numbers = Buffer.alloc(12);
  let last = '';
  setInterval(() => {
    const now = `${pool.open} ${pool.lent} ${pool.queued}`;
    if (now === last || state.kind !== 'serving') return;
    last = now;
    numbers.writeUInt32BE(pool.open, 0);
    numbers.writeUInt32BE(pool.lent, 4);
    numbers.writeUInt32BE(pool.queued, 8);
    channel.send(WorkerFrame.Load, 0, numbers);
  }, LOAD_REPORT_MS).unref();
}

function failureOf(error: unknown): WorkerFailure {
  if (error instanceof AdapterError) {
    return { reason: error.reason, performed: error.performed, message: error.message, ckr: error.ckr };
  }
  if (error instanceof CkrError) {
    return {
      reason: ckrReason(error.ckr),
      performed: 'unknown',
      message: error.message,
      ckr: ckrName(error.ckr),
    };
  }
  // Before the token is reached: a file that is missing, a module that does not load. A new worker may do better.
  return { reason: 'TOKEN_UNREACHABLE', performed: 'no', message: messageOf(error) };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'not an error';
}
