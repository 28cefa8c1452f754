import { expect } from 'vitest';
import { AuditError, type EntryDraft } from '../../../broker/audit/entry.ts';
import { type Entry, parseEntry } from '../../../broker/audit/entry-format.ts';
import type { AuditLimits } from '../../../broker/audit/options.ts';
import { openAuditLog, type Sequencer } from '../../../broker/audit/sequencer.ts';
import { readIfPresent } from '../../../broker/audit/storage.ts';
import { encodeBase64, leafHash } from '../../../broker/audit/tlog/hash.ts';
import { TreeEdge } from '../../../broker/audit/tlog/tree-edge.ts';
import { verifyLog } from '../../../broker/audit/tlog/verify-log.ts';
import { FakeClock } from '../../fakes/fake-clock.ts';
import type { FakeStorage } from '../../fakes/fake-storage.ts';
import { makeLogSigner } from '../../fakes/log-signer.ts';

export const ORIGIN = 'log.example.org/fault';

/** One log over its crashes and restarts: what it acknowledged, what it signed, and what must hold afterwards. */
export class Trial {
  readonly clock = new FakeClock();
  readonly signer = makeLogSigner(ORIGIN);
  /** Leaf index of every acknowledged entry, with its mark. */
  readonly acknowledged = new Map<number, string>();
  readonly rejected: unknown[] = [];
  readonly warnings: string[] = [];
  #marks = 0;

  async open(storage: FakeStorage, limits: Partial<AuditLimits> = {}): Promise<Sequencer> {
    return await openAuditLog({
      storage,
      origin: ORIGIN,
      indexPath: ':memory:',
      signer: this.signer,
      clock: this.clock,
      onWarning: (message) => this.warnings.push(message),
      limits: { reservedBytes: 0, ...limits },
    });
  }

  draft(more: Partial<EntryDraft> = {}): EntryDraft {
    const mark = `mark-${this.#marks++}`;
    return {
      kind: 'key-use',
      subject: `spiffe://example.org/w${this.#marks % 3}`,
      operation: 'sign',
      decision: 'allow',
      traceId: mark,
      ...more,
    };
  }

  /** Appends, and remembers what was promised. */
  async append(log: Sequencer, draft = this.draft()): Promise<void> {
    try {
      const { leafIndex } = await log.append(draft);
      expect(this.acknowledged.has(leafIndex)).toBe(false);
      this.acknowledged.set(leafIndex, draft.traceId!);
    } catch (error) {
      if (!(error instanceof AuditError)) throw error;
      this.rejected.push(error.reason);
    }
  }

  async appendMany(log: Sequencer, count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.append(log)));
  }

  /** Waits for `work` and lets time pass meanwhile, so that retries and intervals come. */
  async elapse<T>(work: Promise<T>): Promise<T> {
    let isSettled = false;
    const settled = work.finally(() => {
      isSettled = true;
    });
    // The last `await` reports the failure; this keeps it from counting as unhandled until then.
    settled.catch(() => undefined);
    while (!isSettled) {
      await new Promise((resolve) => setImmediate(resolve));
      this.clock.advance(1);
    }
    return await settled;
  }

  /** Nothing that was promised is missing, nothing that was signed is denied, and the files alone show it. */
  async expectWhole(storage: FakeStorage): Promise<Entry[]> {
    const entries: Entry[] = [];
    const signed = this.signer.signed.map((text) => text.split('\n'));
    const roots = new Map(signed.map(([, size]) => [Number(size), '']));
    const edge = new TreeEdge();
    const report = await verifyLog({
      read: (path) => readIfPresent(storage, path),
      verifierKey: this.signer.verifierKey,
      onEntry: (_, bytes) => {
        entries.push(parseEntry(bytes));
        edge.append(leafHash(bytes), () => undefined);
        if (roots.has(edge.size)) roots.set(edge.size, encodeBase64(edge.root()));
      },
    });
    expect(report.findings.filter(({ severity }) => severity === 'problem')).toEqual([]);
    for (const [leafIndex, mark] of this.acknowledged)
      expect([leafIndex, entries[leafIndex]?.traceId]).toEqual([leafIndex, mark]);
    for (const [, size, root] of signed) expect([size, roots.get(Number(size))]).toEqual([size, root]);
    expect(storage.misuse).toEqual([]);
    return entries;
  }
}
