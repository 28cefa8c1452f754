import { createPublicKey, verify } from 'node:crypto';
import { rmSync } from 'node:fs';
import type { EntryDraft } from '../../../broker/audit/entry.ts';
import type { Caller } from '../../../broker/keyuse/call.ts';
import { EncryptionCounter } from '../../../broker/keyuse/encryption-counter.ts';
import { Failure } from '../../../broker/keyuse/failure.ts';
import { Freezes } from '../../../broker/keyuse/freezes.ts';
import { KeyAdministration } from '../../../broker/keyuse/key-administration.ts';
import { KeyCatalog, type KeyVersion } from '../../../broker/keyuse/key-catalog.ts';
import { KeyUse } from '../../../broker/keyuse/key-use.ts';
import { NOTHING_TO_SPEND, Spending } from '../../../broker/keyuse/spending.ts';
import { PROVE_AGAIN_MS, TokenKeys } from '../../../broker/keyuse/token-keys.ts';
import { PIPELINING, TokenPool } from '../../../broker/keyuse/token-pool.ts';
import { SignatureVerifier } from '../../../broker/keyuse/verify/signature-verifier.ts';
import { StateStore } from '../../../broker/state/state-store.ts';
import type { TokenAdapter, TokenConfig } from '../../../hsm-adapters/adapter.ts';
import { SupervisedChild } from '../../../hsm-adapters/frames/child-process.ts';
import type { ChildUser } from '../../../hsm-adapters/frames/child-side.ts';
import { createTokenAdapter } from '../../../hsm-adapters/supervisor/token-supervisor.ts';
import { FakeLog } from '../../fakes/fake-log.ts';
import { FakeLedger } from '../../fakes/fake-token-worker.ts';
import { FaultyCryptoki } from '../../fakes/faulty-cryptoki.ts';
import { callerOf, callFor, POLICY, policyOf } from '../../fakes/key-use-fixture.ts';
import { MODULE, makeDirectory, makeToken, type SoftToken } from '../../integration/pkcs11/soft-token.ts';

export interface FaultySettings {
  readonly tokens?: readonly string[];
  readonly sessions?: number;
  readonly hangLimitMs?: number;
  /** YAML; by default every use of app/** is allowed to `API`. */
  readonly policy?: string;
}

export interface FaultyToken {
  readonly adapter: TokenAdapter;
  readonly module: FaultyCryptoki;
  readonly soft: SoftToken;
}

/** What a caller came away with. */
export interface Outcome {
  readonly message: Buffer;
  readonly signature: Uint8Array | undefined;
  readonly failure: Failure | undefined;
  /** Not answered when its deadline had long passed. */
  readonly isLate: boolean;
}

/** How long after its deadline a call counts as answered too late: the machine runs more than this test. */
const LATE_MS = 1500;

/** Keys and the algorithms they are made for. */
type Keys = readonly (readonly [key: string, algorithm: string])[];

/**
 * Key use as the broker puts it together, over tokens that a test has made. Its log is in memory, so that a test sees
 * every attempt.
 */
export class KeyUseUnderLoad {
  readonly adapters: readonly TokenAdapter[];
  readonly lines: string[];
  readonly log = new FakeLog();
  readonly store: StateStore;
  readonly keys: TokenKeys;
  readonly pool: TokenPool;
  readonly keyUse: KeyUse;
  readonly administration: KeyAdministration;
  readonly #catalog: KeyCatalog;
  readonly #verifier = new SignatureVerifier({ threads: 1 });
  readonly #proving: NodeJS.Timeout;

  constructor(
    adapters: readonly TokenAdapter[],
    lines: string[],
    {
      policy: policyText = POLICY,
      store = new StateStore(':memory:'),
    }: { policy?: string | undefined; store?: StateStore } = {},
  ) {
    this.store = store;
    this.adapters = adapters;
    this.lines = lines;
    const log = (level: string, message: string, fields?: object): void => {
      this.lines.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`);
    };
    this.#catalog = new KeyCatalog(this.store);
    const freezes = new Freezes(this.store);
    let whenChanged: (() => void) | undefined;
    const encryptions = new EncryptionCounter(this.store, () => undefined);
    this.keys = new TokenKeys({
      tokens: adapters,
      catalog: this.#catalog,
      audit: this.log,
      origin: this.log.origin,
      encryptions,
      log,
      onChange: () => whenChanged?.(),
    });
    this.pool = new TokenPool(this.keys, freezes);
    this.#proving = setInterval(() => this.keys.proveAgain(), PROVE_AGAIN_MS);
    whenChanged = () => this.pool.pump();
    this.administration = new KeyAdministration(this.#catalog, this.keys, encryptions);
    const policy = policyOf(policyText);
    this.keyUse = new KeyUse({
      policy: () => policy,
      catalog: this.#catalog,
      keys: this.keys,
      pool: this.pool,
      freezes,
      audit: this.log,
      verifier: this.#verifier,
      encryptions,
      spending: new Spending(NOTHING_TO_SPEND),
      clock: { now: () => Date.now(), doubtMs: () => 0 },
      generation: () => 0,
      log,
    });
  }

  /** Waits for the tokens, and makes keys on all of them. */
  async begin(keys: Keys): Promise<void> {
    for (const adapter of this.adapters) await becomes(adapter, (token) => token.state === 'ready');
    for (const [key, algorithm] of keys) {
      const request = { key, purpose: '', algorithms: [algorithm], tokens: [], modulusBits: 0, verify: '' };
      await this.administration.create(request);
    }
    await this.keys.settled();
    this.log.entries.length = 0;
  }

  version(key: string): KeyVersion {
    const version = this.#catalog.find(key, 0);
    if (version === undefined) throw new Error(`no key ${key}`);
    return version;
  }

  async sign(deadlineMs = 10_000, caller: Caller = callerOf()): Promise<Outcome> {
    const message = Buffer.from(`message ${this.#count++}`);
    const call = callFor(deadlineMs);
    let isLate = false;
    const tooLate = setTimeout(() => {
      isLate = true;
    }, deadlineMs + LATE_MS);
    try {
      const { signature } = await this.keyUse.sign(caller, call, {
        key: 'app/sign',
        version: 0,
        algorithm: 'ES256',
        content: { kind: 'message', bytes: message },
        der: false,
      });
      return { message, signature, failure: undefined, isLate };
    } catch (failure) {
      if (!(failure instanceof Failure)) throw failure;
      return { message, signature: undefined, failure, isLate };
    } finally {
      clearTimeout(tooLate);
    }
  }
  #count = 0;

  /** Signs on so many lanes until `done` says so; it is asked after every answer. */
  async load(lanes: number, isDone: () => boolean, deadlineMs?: number): Promise<Outcome[]> {
    const outcomes: Outcome[] = [];
    await Promise.all(
      Array.from({ length: lanes }, async () => {
        while (!isDone()) {
          const outcome = await this.sign(deadlineMs);
          outcomes.push(outcome);
          // Nobody asks again at once for what was refused at once.
          if (outcome.failure !== undefined) await new Promise((resolve) => setTimeout(resolve, 5));
        }
      }),
    );
    return outcomes;
  }

  /** Uses on record, oldest first. */
  get uses(): readonly EntryDraft[] {
    return [...this.log.uses, ...this.log.refusals];
  }

  /** Everything that must hold whatever went wrong: empty when it does. */
  findings(outcomes: readonly Outcome[]): string[] {
    const found: string[] = [];
    const publicKeys = this.version('app/sign').objects.map(({ publicKey }) =>
      createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' }),
    );
    let signed = 0;
    for (const { message, signature, isLate } of outcomes) {
      if (isLate) found.push(`${message.toString()} was answered after its deadline`);
      if (signature === undefined) continue;
      signed++;
      if (!publicKeys.some((key) => verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signature)))
        found.push(`the signature of ${message.toString()} does not verify`);
    }
    const signs = this.uses.filter(({ operation }) => operation === 'sign');
    if (signs.length !== outcomes.length) found.push(`${outcomes.length} calls, ${signs.length} entries`);
    const good = signs.filter(({ performed, reason }) => performed === 'yes' && reason === undefined);
    if (good.length !== signed) found.push(`${signed} signatures, ${good.length} entries of signatures`);
    for (const { attempts = [] } of good) {
      if (attempts.at(-1)?.outcome !== 'ok')
        found.push(`an entry of a signature ends in ${attempts.at(-1)?.outcome}`);
    }
    return found;
  }

  /** Resolves when every token serves and has proven its keys. */
  async recovered(): Promise<void> {
    for (const adapter of this.adapters)
      await becomes(adapter, (token) => token.state === 'ready' || token.state === 'degraded');
    await this.keys.settled();
  }

  async close({ keepsStore = false }: { readonly keepsStore?: boolean } = {}): Promise<void> {
    clearInterval(this.#proving);
    await Promise.all(this.adapters.map((adapter) => adapter.close()));
    await this.keys.settled();
    await this.#verifier.close();
    if (!keepsStore) this.store.close();
  }
}

/** Workers die by the dozen here, and what comes after is what is to be seen: nobody waits long for the next. */
export function openWorker(config: TokenConfig, log: (line: string) => void, user?: ChildUser): TokenAdapter {
  return createTokenAdapter({
    config,
    ledger: new FakeLedger(),
    pipelining: PIPELINING + 2,
    user,
    log,
    startWorker: (spec, handlers) =>
      new SupervisedChild(spec, handlers, {
        restartPolicy: { firstDelayMs: 20, maxDelayMs: 100, healthyAfterMs: 1000 },
      }),
  });
}

/** Real workers on SoftHSM2, with a module in between that fails on order. */
export class FaultyTokens extends KeyUseUnderLoad {
  readonly tokens: readonly FaultyToken[];

  private constructor(tokens: readonly FaultyToken[], lines: string[], policy: string | undefined) {
    super(
      tokens.map(({ adapter }) => adapter),
      lines,
      { policy },
    );
    this.tokens = tokens;
  }

  /** With the keys app/sign (ES256), app/box (A256GCM) and app/mac (HS256), each on all tokens. */
  static async start(settings: FaultySettings = {}): Promise<FaultyTokens> {
    const { tokens: labels = ['one', 'two'], sessions = 4, hangLimitMs = 10_000 } = settings;
    const lines: string[] = [];
    const tokens = labels.map((label) => {
      const soft = makeToken(makeDirectory(), label);
      const module = new FaultyCryptoki(MODULE);
      const config = {
        name: label,
        module: module.module,
        profile: 'softhsm2',
        label,
        pin: { kind: 'file', path: soft.pinFile },
        sessions,
        directory: soft.directory,
        environment: { SOFTHSM2_CONF: 'softhsm2.conf', ...module.environment },
        groups: [],
        hangLimitMs,
      } as const;
      return { adapter: openWorker(config, (line) => lines.push(line)), module, soft };
    });
    const started = new FaultyTokens(tokens, lines, settings.policy);
    try {
      await started.begin([
        ['app/sign', 'ES256'],
        ['app/box', 'A256GCM'],
        ['app/mac', 'HS256'],
      ]);
      return started;
    } catch (error) {
      await started.close();
      throw error;
    }
  }

  override findings(outcomes: readonly Outcome[]): string[] {
    const crossed = this.tokens.filter(({ module }) => module.finalizedInFlight > 0);
    return [
      ...super.findings(outcomes),
      ...crossed.map(({ adapter }) => `${adapter.name}: C_Finalize with a call in flight`),
    ];
  }

  override async close(): Promise<void> {
    await super.close();
    for (const { module, soft } of this.tokens) {
      module.remove();
      rmSync(soft.directory, { recursive: true, force: true });
    }
  }
}

export async function becomes(
  token: TokenAdapter,
  isIt: (token: TokenAdapter) => boolean,
  withinMs = 20_000,
): Promise<void> {
  if (isIt(token)) return;
  await new Promise<void>((resolve, reject) => {
    const tooLate = setTimeout(
      () => done(() => reject(new Error(`${token.name} is ${token.state}: ${token.advice ?? ''}`))),
      withinMs,
    );
    const leave = token.watch(() => {
      if (isIt(token)) done(resolve);
    });
    const done = (end: () => void): void => {
      clearTimeout(tooLate);
      leave();
      end();
    };
  });
}
