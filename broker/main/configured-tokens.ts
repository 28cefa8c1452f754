/** The tokens of lastmile.yaml: each behind a worker process of its own, what becomes of it on record. */
import type { TokenAdapter } from '../../hsm-adapters/adapter.ts';
import { createTokenAdapter } from '../../hsm-adapters/supervisor/token-supervisor.ts';
import { systemClock } from '../audit/clock.ts';
import type { Sequencer } from '../audit/sequencer.ts';
import type { LastmileConfig } from '../config.ts';
import { Failure } from '../keyuse/failure.ts';
import { PIPELINING } from '../keyuse/token-pool.ts';
import { SqliteLoginLedger } from '../state/login-ledger.ts';
import type { StateStore } from '../state/state-store.ts';
import type { Log } from '../telemetry/log.ts';
import type { ProcessUsers } from './process-users.ts';
import { TokenJournal } from './token-journal.ts';

const SETTLE_MS = 10_000;
/** Times a token may end before it serves: one may be bad luck, and the others are wanted. */
const CHANCES = 2;

/**
 * Owns the workers and the journal of what becomes of them. `closeJournal` comes before the log is closed, `close` after:
 * a token signs the log's last checkpoint.
 */
export class ConfiguredTokens {
  readonly all: readonly TokenAdapter[];
  readonly #store: StateStore;
  readonly #journal: TokenJournal;
  readonly #log: Log;
  readonly #isClosing: () => boolean;

  /** Starts their workers. One that an operator took out of service stays so. */
  constructor(options: {
    readonly config: Pick<LastmileConfig, 'tokens'>;
    readonly users: ProcessUsers;
    readonly store: StateStore;
    readonly audit: Sequencer;
    readonly log: Log;
    /** Then nobody is to be alarmed by what the tokens do. */
    readonly isClosing: () => boolean;
  }) {
    const { config, users, store, audit, log } = options;
    this.#store = store;
    this.#log = log;
    this.#isClosing = options.isClosing;
    const ledger = new SqliteLoginLedger(store);
    this.#journal = new TokenJournal({
      audit,
      clock: systemClock,
      onFailure: (error) => log('error', 'what became of a token is not on record', { error: String(error) }),
    });
    const drained = store.tokenDrains();
    this.all = config.tokens.map((token, i) =>
      createTokenAdapter({
        config: token,
        ledger: this.#journal.ledger(ledger, token.name),
        user: users.workers[i],
        pipelining: PIPELINING + 2,
        isDrained: drained.has(token.name),
        log: (line) => log('warn', line, { token: token.name }),
      }),
    );
  }

  /** From now on what becomes of them is on record. `onState` hears of every change. */
  watch(onState: (token: TokenAdapter) => void): void {
    for (const token of this.all) {
      this.#journal.watch(token);
      token.watch(() => {
        const isExpected = token.state === 'ready' || token.state === 'starting' || this.#isClosing();
        this.#log(isExpected ? 'info' : 'warn', `token ${token.state}`, {
          token: token.name,
          ...(token.advice === undefined ? {} : { advice: token.advice }),
        });
        onState(token);
      });
    }
  }

  /** Until every token serves, is blocked, or has had its chances. */
  settled(): Promise<void> {
    const tokens = this.all;
    const ends = new Map<TokenAdapter, number>();
    const isSettled = (): boolean =>
      tokens.every(
        (token) =>
          (token.state !== 'starting' && token.state !== 'down') || (ends.get(token) ?? 0) >= CHANCES,
      );
    if (isSettled()) return Promise.resolve();
    return new Promise((resolve) => {
      const stops: (() => void)[] = [];
      const done = (): void => {
        clearTimeout(timer);
        for (const stop of stops) stop();
        resolve();
      };
      const timer = setTimeout(done, SETTLE_MS);
      for (const token of tokens) {
        let before = token.state;
        stops.push(
          token.watch(() => {
            if (token.state === 'down' && before !== 'down') ends.set(token, (ends.get(token) ?? 0) + 1);
            before = token.state;
            if (isSettled()) done();
          }),
        );
      }
    });
  }

  /** Whether anything can be done at all. */
  get isAnyServing(): boolean {
    return this.all.some(({ state }) => state === 'ready' || state === 'degraded');
  }

  /** Lets a login be tried again. @throws Failure */
  async unblock(name: string): Promise<void> {
    await this.#named(name).unblock();
  }

  /** Takes a token out of service, also after a restart. @returns how many operations it still has. @throws Failure */
  drain(name: string): number {
    const token = this.#named(name);
    // On disk first: an operator who was told that it is out takes it apart.
    this.#store.putTokenDrain(name);
    token.drain();
    return token.inFlight;
  }

  /** @throws Failure */
  undrain(name: string): void {
    const token = this.#named(name);
    this.#store.deleteTokenDrain(name);
    token.undrain();
  }

  /** Writes what it still has, while the log is open. What the tokens do from now on is not told. */
  closeJournal(): void {
    this.#journal.close();
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((token) => token.close()));
  }

  #named(name: string): TokenAdapter {
    const token = this.all.find((candidate) => candidate.name === name);
    if (token === undefined) throw new Failure('REQUEST_INVALID', 'there is no token of that name');
    return token;
  }
}
