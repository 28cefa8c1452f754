import { Call, type Caller } from '../../broker/keyuse/call.ts';
import { EncryptionCounter } from '../../broker/keyuse/encryption-counter.ts';
import { Failure } from '../../broker/keyuse/failure.ts';
import { Freezes } from '../../broker/keyuse/freezes.ts';
import { KeyAdministration } from '../../broker/keyuse/key-administration.ts';
import { KeyCatalog, type KeyVersion } from '../../broker/keyuse/key-catalog.ts';
import { KeyUse } from '../../broker/keyuse/key-use.ts';
import { NOTHING_TO_SPEND, Spending } from '../../broker/keyuse/spending.ts';
import { TokenKeys } from '../../broker/keyuse/token-keys.ts';
import { TokenPool } from '../../broker/keyuse/token-pool.ts';
import { SignatureVerifier } from '../../broker/keyuse/verify/signature-verifier.ts';
import { StateStore } from '../../broker/state/state-store.ts';
import { compilePolicy } from '../../policy/compile.ts';
import type { PolicySet } from '../../policy/decision.ts';
import { parseSpiffeId } from '../../policy/spiffe-id.ts';
import { FakeLog } from './fake-log.ts';
import { FakeToken } from './fake-token.ts';
import { rejectionOf } from './rejection.ts';

export const API = 'spiffe://example.org/ns/payments/sa/api';
export const OTHER = 'spiffe://example.org/ns/treasury/sa/settle';

/** `API` may do everything with `app/**`, but nothing with `app/closed`; nobody else may do anything. */
export const POLICY = `
version: 1
rules:
  - id: app-keys
    workloads: ["${API}"]
    keys: ["app/**"]
    operations: [sign, verify, encrypt, decrypt, mac, verify-mac, generate-data-key]
  - id: app-random
    workloads: ["${API}"]
    operations: [random]
  - id: closed
    effect: deny
    workloads: ["spiffe://example.org/**"]
    keys: ["app/closed"]
    operations: [sign, verify, encrypt, decrypt, mac, verify-mac, generate-data-key]
`;

export function policyOf(text: string, hash = 'sha256:first'): PolicySet {
  return compilePolicy(new TextEncoder().encode(text), { file: 'policy.yaml', hash });
}

export function callerOf(id: string = API, notAfter: number = Date.now() + 3_600_000): Caller {
  return {
    identity: {
      spiffeId: parseSpiffeId(id),
      credential: {
        type: 'x509-svid',
        sha256: 'ab'.repeat(32),
        serialNumber: '01',
        notAfter,
        notBefore: 0,
      },
    },
    peer: '192.0.2.1:4711',
  };
}

/** A call that has `ms` left. */
export function callFor(ms = 10_000): Call {
  return new Call(performance.now() + ms);
}

export interface LogLine {
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields: Record<string, string | number> | undefined;
}

/**
 * Key use as the broker puts it together, over tokens and a log in memory. `close` fails when a token was misused.
 */
export class KeyUseFixture {
  readonly store = new StateStore(':memory:');
  readonly log = new FakeLog();
  readonly lines: LogLine[] = [];
  readonly warnings: string[] = [];
  policy: PolicySet = policyOf(POLICY);
  /** Whether keys with `verify: sampled` have their next signature looked at. */
  isSampled = false;
  readonly tokens: readonly FakeToken[];
  readonly catalog: KeyCatalog;
  readonly freezes: Freezes;
  readonly keys: TokenKeys;
  readonly pool: TokenPool;
  readonly encryptions: EncryptionCounter;
  readonly administration: KeyAdministration;
  readonly verifier: SignatureVerifier;
  readonly keyUse: KeyUse;

  constructor(tokenNames: readonly string[] = ['one', 'two']) {
    this.tokens = tokenNames.map((name) => new FakeToken(name));
    this.catalog = new KeyCatalog(this.store);
    this.freezes = new Freezes(this.store);
    const log = (
      level: LogLine['level'],
      message: string,
      fields?: Record<string, string | number>,
    ): void => {
      this.lines.push({ level, message, fields });
    };
    let pool: TokenPool | undefined;
    this.encryptions = new EncryptionCounter(this.store, (keyId) => this.warnings.push(keyId));
    this.keys = new TokenKeys({
      tokens: this.tokens,
      catalog: this.catalog,
      audit: this.log,
      origin: this.log.origin,
      encryptions: this.encryptions,
      log,
      onChange: () => pool?.pump(),
    });
    pool = new TokenPool(this.keys, this.freezes);
    this.pool = pool;
    this.administration = new KeyAdministration(this.catalog, this.keys, this.encryptions);
    this.verifier = new SignatureVerifier({ threads: 1 });
    this.keyUse = new KeyUse({
      policy: () => this.policy,
      catalog: this.catalog,
      keys: this.keys,
      pool,
      freezes: this.freezes,
      audit: this.log,
      verifier: this.verifier,
      encryptions: this.encryptions,
      spending: new Spending(NOTHING_TO_SPEND),
      clock: { now: () => Date.now(), doubtMs: () => 0 },
      generation: () => 7,
      isSampled: () => this.isSampled,
      log,
    });
  }

  get token(): FakeToken {
    return this.tokens[0]!;
  }

  tokenOf(serial: string): FakeToken {
    return this.tokens.find((token) => token.info.serial === serial)!;
  }

  /** Makes a key as an operator does, on these tokens or on all. */
  async create(
    key: string,
    algorithm: string | readonly string[],
    options: { readonly tokens?: readonly string[]; readonly verify?: string } = {},
  ): Promise<KeyVersion> {
    const version = await this.administration.create({
      key,
      purpose: '',
      algorithms: typeof algorithm === 'string' ? [algorithm] : algorithm,
      tokens: options.tokens ?? [],
      modulusBits: 0,
      verify: options.verify ?? '',
    });
    this.forgetWhatWas();
    return version;
  }

  /** So that a test counts its own calls and entries alone. */
  forgetWhatWas(): void {
    this.log.entries.length = 0;
    this.log.refusals.length = 0;
    for (const token of this.tokens) {
      token.calls.length = 0;
      token.mostInFlight = 0;
    }
  }

  async close(): Promise<void> {
    await this.keys.settled();
    await this.verifier.close();
    this.store.close();
    const misuse = this.tokens.flatMap((token) => token.misuse.map((what) => `${token.name}: ${what}`));
    if (misuse.length > 0) throw new Error(`tokens were misused: ${misuse.join('; ')}`);
    if (this.pool.waiting > 0) throw new Error(`${this.pool.waiting} operations are left waiting`);
  }
}

/** What a promise fails with, which must be a Failure. */
export const failureOf = (promise: Promise<unknown>): Promise<Failure> => rejectionOf(promise, Failure);

/** Whether a promise has been answered by now, every turn of the event loop that it could take being over. */
export async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = (): void => {
    settled = true;
  };
  promise.then(note, note);
  for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

type Uses = Readonly<Record<UseName, (caller?: Caller, call?: Call, key?: string) => Promise<object>>>;
export type UseName = (typeof USES)[number];
export const USES = ['sign', 'encrypt', 'data-key', 'decrypt', 'mac', 'verify-mac', 'random'] as const;
export const KEYS = { sign: 'app/sign', encrypt: 'app/box', mac: 'app/mac' } as const;

/** One of each thing that a workload can do with a token, on keys that are made for it. */
export async function everyUse(fixture: KeyUseFixture): Promise<Uses> {
  await fixture.create(KEYS.sign, 'ES256');
  await fixture.create(KEYS.encrypt, 'A256GCM');
  await fixture.create(KEYS.mac, 'HS256');
  const { keyUse } = fixture;
  const message = Buffer.from('a message to authenticate');
  const none = new Uint8Array();
  const box = { key: KEYS.encrypt, version: 0, algorithm: 'A256GCM' };
  const { ciphertext } = await keyUse.encrypt(callerOf(), callFor(), {
    ...box,
    plaintext: SECRET,
    associatedData: none,
  });
  const authentic = { key: KEYS.mac, version: 0, algorithm: 'HS256', message };
  const { mac } = await keyUse.mac(callerOf(), callFor(), authentic);
  fixture.forgetWhatWas();
  return {
    sign: (caller = callerOf(), call = callFor(), key = KEYS.sign) =>
      keyUse.sign(caller, call, {
        key,
        version: 0,
        algorithm: 'ES256',
        content: { kind: 'message', bytes: message },
        der: false,
      }),
    encrypt: (caller = callerOf(), call = callFor(), key = KEYS.encrypt) =>
      keyUse.encrypt(caller, call, { ...box, key, plaintext: SECRET, associatedData: none }),
    'data-key': (caller = callerOf(), call = callFor(), key = KEYS.encrypt) =>
      keyUse.generateDataKey(caller, call, { key, version: 0, length: 32, associatedData: none }),
    decrypt: (caller = callerOf(), call = callFor(), key = KEYS.encrypt) =>
      keyUse.decrypt(caller, call, { key, ciphertext, associatedData: none }),
    mac: (caller = callerOf(), call = callFor(), key = KEYS.mac) =>
      keyUse.mac(caller, call, { ...authentic, key }),
    'verify-mac': (caller = callerOf(), call = callFor(), key = KEYS.mac) =>
      keyUse.verifyMac(caller, call, { ...authentic, key, mac }),
    random: (caller = callerOf(), call = callFor()) => keyUse.random(caller, call, 32),
  };
}

/** What no entry may ever show. */
export const SECRET: Buffer = Buffer.from('4929 1234 5678 9012 is a card number');
