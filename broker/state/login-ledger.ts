import type { StateStore } from './state-store.ts';

/**
 * Login attempts, on disk before C_Login is called. A token counts wrong PINs and then locks; every worker and
 * every restart holds the same PIN, so one wrong PIN must cost one try in all (`tokens unblock` clears it). Findings
 * too: a token that returned wrong bytes is no better for a restart of the broker.
 */
export class SqliteLoginLedger {
  readonly #store: StateStore;

  constructor(store: StateStore) {
    this.#store = store;
  }

  recordAttempt(tokenSerial: string, pinReference: string): void {
    this.#store.putLoginAttempt(tokenSerial, pinReference, 'unfinished');
  }

  recordOutcome(tokenSerial: string, pinReference: string, outcome: 'accepted' | 'rejected'): void {
    this.#store.putLoginAttempt(tokenSerial, pinReference, outcome);
  }

  lookup(tokenSerial: string, pinReference: string): 'clear' | 'rejected' | 'unfinished' {
    const outcome = this.#store.loginAttempt(tokenSerial, pinReference);
    if (outcome === undefined || outcome === 'accepted') return 'clear';
    return outcome === 'rejected' ? 'rejected' : 'unfinished';
  }

  clear(tokenSerial: string): void {
    this.#store.clearLoginAttempts(tokenSerial);
  }

  recordFinding(tokenSerial: string, finding: string): void {
    this.#store.putTokenFinding(tokenSerial, finding);
  }

  finding(tokenSerial: string): string | undefined {
    return this.#store.tokenFinding(tokenSerial);
  }

  clearFinding(tokenSerial: string): void {
    this.#store.clearTokenFinding(tokenSerial);
  }
}
