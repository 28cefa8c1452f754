import { Call, type Caller } from '../../broker/keyuse/call.ts';
import { EncryptionCounter } from '../../broker/keyuse/encryption-counter.ts';
import { Freezes } from '../../broker/keyuse/freezes.ts';
import { KeyAdministration } from '../../broker/keyuse/key-administration.ts';
import { KeyCatalog, type KeyVersion } from '../../broker/keyuse/key-catalog.ts';
import { KeyUse } from '../../broker/keyuse/key-use.ts';
import { TokenKeys } from '../../broker/keyuse/token-keys.ts';
import { TokenPool } from '../../broker/keyuse/token-pool.ts';
import { SignatureVerifier } from '../../broker/keyuse/verify/signature-verifier.ts';
import { StateStore } from '../../broker/state/state-store.ts';
import { compilePolicy } from '../../policy/compile.ts';
import type { PolicySet } from '../../policy/decision.ts';
import { parseSpiffeId } from '../../policy/spiffe-id.ts';
import { FakeLog } from './fake-log.ts';
import { FakeToken } from './fake-token.ts';

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
    this.keys = new TokenKeys({
      tokens: this.tokens,
      catalog: this.catalog,
      audit: this.log,
      origin: this.log.origin,
      log,
      onChange: () => pool?.pump(),
    });
    pool = new TokenPool(this.keys, this.freezes);
    this.pool = pool;
    this.encryptions = new EncryptionCounter(this.store, (keyId) => this.warnings.push(keyId));
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
      generation: () => 7,
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
