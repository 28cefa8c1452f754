import type { LoginLedger, TokenInfo } from '../adapter.ts';
import type { PinSource } from './pin-source.ts';

/**
 * Whether C_Login may be called on one token, and what is on record of it. Owned by the token's supervisor, which
 * asks before each login; what it owns itself is the token's part of the ledger.
 *
 *   - an attempt is in the ledger, durable, before Login is sent
 *   - a rejected PIN, or an attempt whose outcome nobody knows, is never tried again without `unblock`; the one
 *     exception is a token whose flags are known to tell a wrong PIN and do not
 *   - a token with a finding is not logged into
 *
 * A crash of the broker between the record and the outcome leaves an attempt unfinished, and so spent.
 */
export class LoginGate {
  readonly #name: string;
  readonly #ledger: LoginLedger;
  readonly #pin: PinSource;
  readonly #arePinFlagsReliable: boolean;
  readonly #log: (line: string) => void;

  constructor(
    name: string,
    ledger: LoginLedger,
    pin: PinSource,
    arePinFlagsReliable: boolean,
    log: (line: string) => void,
  ) {
    this.#name = name;
    this.#ledger = ledger;
    this.#pin = pin;
    this.#arePinFlagsReliable = arePinFlagsReliable;
    this.#log = log;
  }

  /** What an operator does about a token that is not logged into, after what the sentence before it says. */
  get #thenUnblock(): string {
    return `then \`lastmile tokens unblock ${this.#name}\``;
  }

  /** What is on record against the token itself, as advice. */
  finding(serial: string): string | undefined {
    const finding = this.#ledger.finding(serial);
    return finding === undefined ? undefined : this.#adviceFor(finding);
  }

  /** Why Login must not be sent, as advice. Proven by token-supervisor.test.ts, "one wrong PIN is one Login". */
  refusal(info: TokenInfo): string | undefined {
    if (info.pinLocked) return `the token says that its PIN is locked: have it reset, ${this.#thenUnblock}`;
    const known = this.#ledger.lookup(info.serial, this.#pin.reference);
    switch (known) {
      case 'clear':
        return undefined;
      case 'rejected':
        return `the token rejected the PIN of ${this.#pin.reference}: correct it, ${this.#thenUnblock}`;
      case 'unfinished': {
        const isUncounted = this.#arePinFlagsReliable && !info.pinCountLow && !info.pinFinalTry;
        if (isUncounted) return undefined;
        return `a login was begun and its outcome is not known: make sure that the PIN of ${this.#pin.reference} is right, ${this.#thenUnblock}`;
      }
      default:
        return known satisfies never;
    }
  }

  /** Durable when it returns. Throws if it cannot be made durable: then nobody logs in. */
  recordAttempt(serial: string): void {
    this.#ledger.recordAttempt(serial, this.#pin.reference);
  }

  recordOutcome(serial: string, outcome: 'accepted' | 'rejected'): void {
    try {
      this.#ledger.recordOutcome(serial, this.#pin.reference, outcome);
    } catch (error) {
      // The attempt stays on record as unfinished, which counts as spent: safe, and the operator hears of it.
      this.#log(`the outcome of the login could not be recorded: ${messageOf(error)}`);
    }
  }

  /** What operators are told of an attempt that the token has just rejected. */
  adviceForRejected(ckr: string | undefined): string {
    return `the token rejected the PIN of ${this.#pin.reference} (${ckr ?? 'no code'}): correct it, ${this.#thenUnblock}`;
  }

  /** What operators are told of a worker that ends for what is wrong with its PIN. */
  adviceForUnusable(why: string): string {
    return `${why}; correct it, ${this.#thenUnblock}`;
  }

  /**
   * What was found counts for the next worker, and for the next broker; undefined: the token was never reached, so there
   * is nothing to record it under. Returns the advice.
   */
  recordFinding(serial: string | undefined, finding: string): string {
    let durability = '';
    try {
      if (serial !== undefined) this.#ledger.recordFinding(serial, finding);
    } catch (error) {
      durability = ' (not durable: a restart of the broker would forget it)';
      this.#log(`the finding could not be recorded: ${messageOf(error)}`);
    }
    return this.#adviceFor(finding + durability);
  }

  /** An operator's `unblock` of what kept the token out. */
  clear(serial: string, blockedBy: 'login' | 'finding'): void {
    this.#ledger.clear(serial);
    // A finding behind a blocked login was not what the operator was shown.
    if (blockedBy === 'finding') this.#ledger.clearFinding(serial);
  }

  #adviceFor(finding: string): string {
    return `${finding}; find out why, ${this.#thenUnblock}`;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
