import crypto from 'node:crypto';
import { ALGORITHMS, type Algorithm, type KeySpec, specFor } from '../adapter.ts';
import type { DoctorFinding, DoctorOrder, LoadFinding } from '../frames/doctor-frames.ts';
import type { WorkerFailure } from '../frames/worker-frames.ts';
import type { Profile } from '../profiles/profile.ts';
import { ckrName } from './ckr.ts';
import { CKF } from './constants.ts';
import {
  CkrError,
  type Cryptoki,
  type ObjectHandle,
  type SessionHandle,
  type SlotHandle,
} from './cryptoki.ts';
import { login, type Pin } from './login.ts';
import { purposeOf, signingMechanism } from './mechanisms.ts';
import { readPublicKey } from './objects.ts';
import { Operations, WorkerSession } from './operations.ts';
import { SessionPool } from './session-pool.ts';
import {
  generationMechanism,
  isSecret,
  privateTemplate,
  publicTemplate,
  secretTemplate,
  usagesOf,
} from './templates.ts';
import type { FoundToken } from './token.ts';
import { TokenRandom } from './token-random.ts';

/**
 * What a token can do, found out by doing it: with keys that are session objects and gone at the end, through the
 * operations of the worker itself. Logs in once.
 */
export interface Examination {
  readonly cryptoki: Cryptoki;
  readonly token: FoundToken;
  readonly profile: Profile;
  readonly order: Extract<DoctorOrder, { readonly part: 'examination' }>;
  readonly pin: Pin;
  readonly tell: (finding: DoctorFinding) => void;
}

export async function examine(examination: Examination): Promise<void> {
  const { cryptoki, token, order, pin, tell } = examination;
  // Whoever looks at a token that is nearly locked must not be the one who locks it.
  const { flags } = token.raw;
  if ((flags & (CKF.USER_PIN_FINAL_TRY | CKF.USER_PIN_LOCKED)) !== 0) {
    pin.forget();
    const why =
      (flags & CKF.USER_PIN_LOCKED) !== 0 ? 'the PIN is locked' : 'one more wrong PIN would lock the token';
    tell({ kind: 'login', outcome: 'not-tried', why });
    return;
  }
  const access = examination.profile.sessions.readOnly ? 'read-only' : 'read-write';
  tell({ kind: 'step', step: 'logging in' });
  // Session objects of a private kind need a login, and no session that can write.
  const keeper = cryptoki.openSession(token.slot, access);
  const { outcome, ckr } = login(cryptoki, keeper, pin);
  tell({ kind: 'login', outcome, ...(ckr === undefined ? {} : { why: ckr }) });
  if (outcome !== 'accepted') return;
  tell({ kind: 'step', step: `opening ${order.sessions} sessions` });
  const opened = openAsMany(cryptoki, token.slot, access, order.sessions);
  for (const session of opened.sessions) cryptoki.closeSession(session);
  tell({ kind: 'sessions', opened: opened.sessions.length, refusedWith: opened.refusedWith });
  const trial = new Trial(examination, keeper, Math.max(1, opened.sessions.length));
  const working = await trial.algorithms();
  for (const algorithm of LOADED.filter((name) => working.has(name))) await trial.load(algorithm);
}

/** The two that most signing is done with; what is fast on one device is slow on another. */
const LOADED = ['ES256', 'RS256'] as const;

function openAsMany(
  cryptoki: Cryptoki,
  slot: SlotHandle,
  access: 'read-only' | 'read-write',
  most: number,
): { readonly sessions: readonly SessionHandle[]; readonly refusedWith: string | undefined } {
  const sessions: SessionHandle[] = [];
  for (;;) {
    if (sessions.length === most) return { sessions, refusedWith: undefined };
    try {
      sessions.push(cryptoki.openSession(slot, access));
    } catch (error) {
      if (!(error instanceof CkrError)) throw error;
      return { sessions, refusedWith: ckrName(error.ckr) };
    }
  }
}

interface TrialKey {
  readonly handle: ObjectHandle;
  readonly publicKey: Uint8Array;
}

const MESSAGE = Buffer.from('lastmile doctor');
const AAD = Buffer.from('lastmile doctor, associated data');
const FAR = Number.MAX_SAFE_INTEGER;

class Trial {
  readonly #cryptoki: Cryptoki;
  readonly #profile: Profile;
  readonly #keeper: SessionHandle;
  readonly #order: Examination['order'];
  readonly #tell: Examination['tell'];
  readonly #slot: SlotHandle;
  readonly #sessions: number;
  readonly #keys = new Map<string, TrialKey | string>();
  readonly #answers = new Map<number, (outcome: Buffer | WorkerFailure) => void>();
  #nextId = 1;

  constructor(
    { cryptoki, token, profile, order, tell }: Examination,
    keeper: SessionHandle,
    sessions: number,
  ) {
    this.#cryptoki = cryptoki;
    this.#profile = profile;
    this.#keeper = keeper;
    this.#order = order;
    this.#tell = tell;
    this.#slot = token.slot;
    this.#sessions = sessions;
  }

  async algorithms(): Promise<ReadonlySet<Algorithm>> {
    const working = new Set<Algorithm>();
    const { operations, pool } = this.#worker(1);
    for (const algorithm of ALGORITHMS) {
      this.#tell({ kind: 'step', step: `trying ${algorithm}` });
      const why = await this.#try(operations, algorithm);
      if (why === undefined) working.add(algorithm);
      this.#tell({ kind: 'algorithm', algorithm, works: why === undefined, why });
    }
    pool.close();
    return working;
  }

  /** The same key on one session, and then on more and more at once. Each signature is verified afterwards. */
  async load(algorithm: 'ES256' | 'RS256'): Promise<void> {
    const key = this.#key(trialSpec(algorithm), 'sign');
    if (typeof key === 'string') return;
    for (const sessions of powersUpTo(this.#sessions)) {
      this.#tell({ kind: 'step', step: `${algorithm} on ${sessions} sessions at once` });
      this.#tell({ kind: 'load', load: await this.#measure(algorithm, key, sessions) });
    }
  }

  async #measure(algorithm: 'ES256' | 'RS256', key: TrialKey, sessions: number): Promise<LoadFinding> {
    const { operations, pool } = this.#worker(sessions);
    this.#bind(operations, 1, key, trialSpec(algorithm));
    const times: number[] = [];
    const outcomes: { readonly message: Buffer; readonly signature: Buffer }[] = [];
    let failed = 0;
    const start = performance.now();
    const lane = async (): Promise<void> => {
      while (performance.now() - start < this.#order.measureMs) {
        const message = crypto.randomBytes(32);
        const digest = crypto.createHash('sha256').update(message).digest();
        const from = performance.now();
        const outcome = await this.#ask((id) =>
          operations.sign(id, 1, ALGORITHMS.indexOf(algorithm), FAR, digest),
        );
        times.push(performance.now() - from);
        if (Buffer.isBuffer(outcome)) outcomes.push({ message, signature: outcome });
        else failed += 1;
      }
    };
    await Promise.all(Array.from({ length: sessions }, lane));
    const elapsed = performance.now() - start;
    pool.close();
    const publicKey = crypto.createPublicKey({
      key: Buffer.from(key.publicKey),
      format: 'der',
      type: 'spki',
    });
    const wrong = outcomes.filter(
      ({ message, signature }) => !verifies(algorithm, publicKey, message, signature),
    ).length;
    times.sort((a, b) => a - b);
    const at = (share: number) =>
      round(times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0);
    return {
      algorithm,
      sessions,
      perSecond: Math.round((outcomes.length * 1000) / elapsed),
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      wrong,
      failed,
    };
  }

  /** Why it does not work; undefined when it does. */
  async #try(operations: Operations, algorithm: Algorithm): Promise<string | undefined> {
    const spec = trialSpec(algorithm);
    const purpose = purposeOf(algorithm);
    const key = this.#key(spec, purpose);
    if (typeof key === 'string') return key;
    const ref = this.#nextId;
    this.#bind(operations, ref, key, spec);
    try {
      if (algorithm === 'A256GCM') return await this.#tryGcm(operations, ref);
      if (algorithm === 'RSA-OAEP-256') return await this.#tryOaep(operations, ref, key);
      return await this.#trySigning(operations, ref, algorithm, key);
    } catch (error) {
      return reasonOf(error);
    }
  }

  async #trySigning(
    operations: Operations,
    ref: number,
    algorithm: Algorithm,
    key: TrialKey,
  ): Promise<string | undefined> {
    const isMessage = signingMechanism(algorithm)?.data.kind === 'message';
    const data = isMessage ? MESSAGE : crypto.createHash(hashOf(algorithm)).update(MESSAGE).digest();
    const sign = () => this.#ask((id) => operations.sign(id, ref, ALGORITHMS.indexOf(algorithm), FAR, data));
    const first = await sign();
    if (!Buffer.isBuffer(first)) return first.message;
    if (purposeOf(algorithm) === 'mac') {
      const second = await sign();
      if (!Buffer.isBuffer(second)) return second.message;
      return second.equals(first) ? undefined : 'two MACs of one message differ';
    }
    const publicKey = crypto.createPublicKey({
      key: Buffer.from(key.publicKey),
      format: 'der',
      type: 'spki',
    });
    return verifies(algorithm, publicKey, MESSAGE, first) ? undefined : 'the signature does not verify';
  }

  async #tryGcm(operations: Operations, ref: number): Promise<string | undefined> {
    const sealed = await this.#ask((id) => operations.encrypt(id, ref, FAR, AAD, MESSAGE));
    if (!Buffer.isBuffer(sealed)) return sealed.message;
    // u16 session · 12-byte IV · ciphertext and tag.
    const message = { iv: sealed.subarray(2, 14), associatedData: AAD, sealed: sealed.subarray(14) };
    const opened = await this.#ask((id) =>
      operations.decrypt(id, ref, ALGORITHMS.indexOf('A256GCM'), FAR, -1, message),
    );
    if (!Buffer.isBuffer(opened)) return opened.message;
    return opened.equals(MESSAGE) ? undefined : 'what was encrypted opens to something else';
  }

  async #tryOaep(operations: Operations, ref: number, key: TrialKey): Promise<string | undefined> {
    const publicKey = crypto.createPublicKey({
      key: Buffer.from(key.publicKey),
      format: 'der',
      type: 'spki',
    });
    const sealed = crypto.publicEncrypt({ key: publicKey, oaepHash: 'sha256' }, MESSAGE);
    const none = new Uint8Array(0);
    const opened = await this.#ask((id) =>
      operations.decrypt(id, ref, ALGORITHMS.indexOf('RSA-OAEP-256'), FAR, -1, {
        iv: none,
        associatedData: none,
        sealed,
      }),
    );
    if (!Buffer.isBuffer(opened)) return opened.message;
    return opened.equals(MESSAGE) ? undefined : 'what was encrypted opens to something else';
  }

  /** One temporary key for each shape and purpose, or why there is none. */
  #key(spec: KeySpec, purpose: ReturnType<typeof purposeOf>): TrialKey | string {
    const name = `${JSON.stringify(spec)} ${purpose}`;
    const known = this.#keys.get(name);
    if (known !== undefined) return known;
    const ckaId = crypto.randomBytes(16).toString('hex');
    const object = { ckaId, label: 'lastmile doctor', spec, purpose };
    const how = generationMechanism(spec);
    let made: TrialKey | string;
    try {
      if (isSecret(spec)) {
        const template = secretTemplate(object, 'temporary', this.#profile, 'generated');
        const handle = this.#cryptoki.generateKey(this.#keeper, how, template);
        made = { handle, publicKey: new Uint8Array(0) };
      } else {
        const pair = this.#cryptoki.generateKeyPair(
          this.#keeper,
          how,
          publicTemplate(object, 'temporary', this.#profile),
          privateTemplate(object, 'temporary', this.#profile),
        );
        const publicKey = readPublicKey(this.#cryptoki, this.#keeper, spec.type, pair.publicKey);
        made = { handle: pair.privateKey, publicKey };
      }
    } catch (error) {
      made = reasonOf(error);
    }
    this.#keys.set(name, made);
    return made;
  }

  #bind(operations: Operations, ref: number, key: TrialKey, spec: KeySpec): void {
    operations.bind(ref, {
      handle: key.handle,
      spec,
      usages: spec.type === 'aes' ? usagesOf('encrypt') : ['sign', 'verify', 'decrypt'],
    });
  }

  #ask(start: (id: number) => void): Promise<Buffer | WorkerFailure> {
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve) => {
      this.#answers.set(id, resolve);
      start(id);
    });
  }

  #worker(sessions: number): { operations: Operations; pool: SessionPool<WorkerSession> } {
    const access = this.#profile.sessions.readOnly ? 'read-only' : 'read-write';
    const pool = new SessionPool<WorkerSession>(
      {
        open: () => new WorkerSession(this.#cryptoki.openSession(this.#slot, access)),
        close: ({ handle }) => this.#cryptoki.closeSession(handle),
        isLimit: () => false,
      },
      { sessions, maxQueued: sessions, now: () => 0, closeFailed: () => undefined },
    );
    const settle = (id: number, outcome: Buffer | WorkerFailure) => {
      this.#answers.get(id)?.(outcome);
      this.#answers.delete(id);
    };
    const operations = new Operations({
      cryptoki: this.#cryptoki,
      pool,
      // What it lacks is what is to be found out.
      profile: { ...this.#profile, lacks: [] },
      replies: {
        done: (id, ...parts) => settle(id, Buffer.concat(parts)),
        failed: (id, failure) => settle(id, failure),
      },
      // Every failure is told where it happens; whether the token is worth going on with is for who reads it.
      trouble: { gone: () => undefined, suspect: () => undefined, fine: () => undefined },
      random: new TokenRandom(this.#cryptoki),
    });
    return { operations, pool };
  }
}

/** One key tries all three MACs: as long as the longest hash. */
function trialSpec(algorithm: Algorithm): KeySpec {
  const spec = specFor(algorithm, 2048);
  return spec.type === 'hmac' ? { type: 'hmac', bytes: 64 } : spec;
}

function hashOf(algorithm: Algorithm): string {
  return `sha${algorithm.slice(-3)}`;
}

function verifies(algorithm: Algorithm, key: crypto.KeyObject, message: Buffer, signature: Buffer): boolean {
  if (algorithm === 'Ed25519') return crypto.verify(null, message, key, signature);
  const how = algorithm.startsWith('PS')
    ? {
        padding: crypto.constants.RSA_PKCS1_PSS_PADDING,
        saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST,
      }
    : { dsaEncoding: 'ieee-p1363' as const };
  return crypto.verify(hashOf(algorithm), message, { key, ...how }, signature);
}

function powersUpTo(most: number): readonly number[] {
  const numbers: number[] = [];
  for (let sessions = 1; sessions < most; sessions *= 2) numbers.push(sessions);
  return [...numbers, most];
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : 'not an error';
}

function round(milliseconds: number): number {
  return Math.round(milliseconds * 100) / 100;
}
