import type { EntryDraft } from '../../broker/audit/entry.ts';
import type { AuditLogOptions } from '../../broker/audit/options.ts';
import { openAuditLog, type Sequencer } from '../../broker/audit/sequencer.ts';
import { readIfPresent } from '../../broker/audit/storage.ts';
import { verifyLog } from '../../broker/audit/tlog/verify-log.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeStorage } from './fake-storage.ts';
import { makeLogSigner } from './log-signer.ts';

export const ORIGIN = 'log.example.org/broker-1';

export const draftOf = (workload: string, more: Partial<EntryDraft> = {}): EntryDraft => ({
  kind: 'key-use',
  subject: `spiffe://example.org/${workload}`,
  operation: 'sign',
  key: 'payments/jwt',
  decision: 'allow',
  ...more,
});

/**
 * Where an audit log is kept, and the key that signs it; each `open` is a start of the broker. `close` closes what
 * was opened, and fails when storage was misused.
 */
export class AuditLogFixture {
  storage = new FakeStorage();
  readonly clock = new FakeClock();
  readonly signer = makeLogSigner(ORIGIN);
  readonly #opened: Sequencer[] = [];

  async open(more: Partial<AuditLogOptions> = {}): Promise<Sequencer> {
    const log = await openAuditLog({
      storage: this.storage,
      origin: ORIGIN,
      indexPath: ':memory:',
      signer: this.signer,
      clock: this.clock,
      ...more,
    });
    this.#opened.push(log);
    return log;
  }

  /** What a verifier finds that has only the files. */
  verify() {
    return verifyLog({
      read: (path) => readIfPresent(this.storage, path),
      verifierKey: this.signer.verifierKey,
    });
  }

  async close(): Promise<void> {
    for (const log of this.#opened) await log.close();
    const { misuse } = this.storage;
    if (misuse.length > 0) throw new Error(`storage was misused: ${misuse.join('; ')}`);
  }
}
