import type { LoginLedger, TokenAdapter, TokenState } from '../../hsm-adapters/adapter.ts';
import type { Clock } from '../audit/clock.ts';
import type { AuditLog, EntryDraft, EntryValue } from '../audit/entry.ts';

export interface TokenJournalOptions {
  readonly audit: Pick<AuditLog, 'append'>;
  readonly clock: Clock;
  /** An entry that could not be written. */
  readonly onFailure: (error: unknown) => void;
}

type Detail = { readonly [name: string]: EntryValue | undefined };

/** A token that comes and goes a hundred times a second is one entry a second, with the count. */
const QUIET_MS = 1000;
const MAX_TEXT = 256;

/**
 * What becomes of the tokens, in the log: a change between ready, degraded, blocked and down, and attempts to log in.
 *
 * It tells, it does not decide: nothing waits for these entries. A crash loses at most the last second's counts.
 */
export class TokenJournal {
  readonly #options: TokenJournalOptions;
  readonly #states = new Map<TokenAdapter, TokenState>();
  /** By operation and token: what is to be written when its second is over. */
  readonly #quiet = new Map<
    string,
    { pending: (() => void) | undefined; count: number; cancel: () => void }
  >();
  #isClosed = false;

  constructor(options: TokenJournalOptions) {
    this.#options = options;
  }

  watch(token: TokenAdapter): void {
    const look = (): void => {
      const { state } = token;
      if (state === 'starting' || state === 'draining' || state === this.#states.get(token)) return;
      this.#states.set(token, state);
      const serves = state === 'ready' || state === 'degraded';
      this.#note('state', token.name, serves ? 'allow' : 'deny', {
        state,
        ...(token.info === undefined ? {} : { token: token.info.serial }),
        login: token.loginGeneration,
        ...(token.advice === undefined ? {} : { advice: cut(token.advice) }),
      });
    };
    token.watch(look);
    look();
  }

  /** The ledger, with an entry for each attempt. Its record comes first: that is what keeps a PIN from being tried twice. */
  ledger(inner: LoginLedger, name: string): LoginLedger {
    return {
      recordAttempt: (tokenSerial, pinReference) => {
        inner.recordAttempt(tokenSerial, pinReference);
        this.#note('login', name, 'allow', {
          token: tokenSerial,
          pin: cut(pinReference),
          outcome: 'unknown',
        });
      },
      recordOutcome: (tokenSerial, pinReference, outcome) => {
        inner.recordOutcome(tokenSerial, pinReference, outcome);
        this.#note(`login-${outcome}`, name, outcome === 'accepted' ? 'allow' : 'deny', {
          token: tokenSerial,
          pin: cut(pinReference),
          outcome,
        });
      },
      lookup: (tokenSerial, pinReference) => inner.lookup(tokenSerial, pinReference),
      clear: (tokenSerial) => inner.clear(tokenSerial),
      recordFinding: (tokenSerial, finding) => inner.recordFinding(tokenSerial, finding),
      finding: (tokenSerial) => inner.finding(tokenSerial),
      clearFinding: (tokenSerial) => inner.clearFinding(tokenSerial),
    };
  }

  /** Writes what waits. What the tokens do from now on, while the broker ends, is not told. */
  close(): void {
    this.#isClosed = true;
    for (const { pending, cancel } of this.#quiet.values()) {
      cancel();
      pending?.();
    }
    this.#quiet.clear();
  }

  #note(operation: string, name: string, decision: EntryDraft['decision'], detail: Detail): void {
    if (this.#isClosed) return;
    const subject = `${operation} ${name}`;
    const write = (changes: number): void =>
      this.#append(operation, decision, { name: cut(name), ...detail, ...(changes > 1 ? { changes } : {}) });
    const quiet = this.#quiet.get(subject);
    if (quiet === undefined) {
      this.#keepQuiet(subject);
      write(1);
      return;
    }
    quiet.count += 1;
    quiet.pending = () => write(quiet.count);
  }

  #keepQuiet(subject: string): void {
    const cancel = this.#options.clock.after(QUIET_MS, () => {
      const pending = this.#quiet.get(subject)?.pending;
      this.#quiet.delete(subject);
      if (pending === undefined) return;
      this.#keepQuiet(subject);
      pending();
    });
    this.#quiet.set(subject, { pending: undefined, count: 0, cancel });
  }

  #append(operation: string, decision: EntryDraft['decision'], detail: Detail): void {
    this.#options.audit
      .append({ kind: 'token', subject: 'lastmile', operation, decision, performed: 'yes', detail })
      .catch(this.#options.onFailure);
  }
}

function cut(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT - 1)}…`;
}
