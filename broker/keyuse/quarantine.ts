import type { TokenAdapter } from '../../hsm-adapters/adapter.ts';
import type { AuditLog } from '../audit/entry.ts';

type Log = (
  level: 'info' | 'warn' | 'error',
  message: string,
  fields?: Record<string, string | number>,
) => void;

/** Takes tokens that returned wrong bytes out of service, with one entry and one line in the log each time. */
export class Quarantine {
  readonly #audit: AuditLog;
  readonly #log: Log;
  /** The login under which a finding took a token out of service. */
  readonly #since = new WeakMap<TokenAdapter, number>();

  constructor(audit: AuditLog, log: Log) {
    this.#audit = audit;
    this.#log = log;
  }

  impose(token: TokenAdapter, finding: string): void {
    // Every signature in flight may tell of the same token: it leaves service once, and one entry says so.
    if (token.state === 'blocked' && this.#since.get(token) === token.loginGeneration) return;
    this.#since.set(token, token.loginGeneration);
    this.#log('error', 'a token returned wrong bytes and leaves service', { token: token.name, finding });
    token.quarantine(finding);
    this.#audit
      .append({
        kind: 'token',
        subject: 'lastmile',
        operation: 'quarantine',
        decision: 'deny',
        performed: 'yes',
        detail: { token: token.info?.serial ?? '', finding },
      })
      .catch((error) => this.#log('error', 'a finding is not on record', { finding, error: String(error) }));
  }
}
