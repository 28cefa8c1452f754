import type { AuditError, EntryDraft } from '../../broker/audit/entry.ts';
import type { PolicyLog } from '../../broker/main/policy-activations.ts';

const TIME = '2026-11-21T07:00:00.000Z';

/** The log as the policy holder sees it, in memory. */
export class FakePolicyLog implements PolicyLog {
  readonly entries: EntryDraft[] = [];
  failure: AuditError | undefined;
  /** Called before an entry is on record. */
  onAppend: ((draft: EntryDraft) => void) | undefined;
  /** What an index that somebody edited does not find any more. */
  isHidden: (draft: EntryDraft) => boolean = () => false;

  async append(draft: EntryDraft) {
    this.onAppend?.(draft);
    if (this.failure !== undefined) throw this.failure;
    return { leafIndex: this.entries.push(draft) - 1 };
  }

  async *read(fromLeaf: number) {
    for (const [leafIndex, entry] of this.entries.entries())
      if (leafIndex >= fromLeaf) yield { leafIndex, entry: { ...entry, time: TIME } };
  }

  async query({ kind, operation, decision, limit }: Parameters<PolicyLog['query']>[0]) {
    return this.entries
      .map((entry, leafIndex) => ({ leafIndex, entry: { ...entry, time: TIME } }))
      .filter(
        ({ entry }) => entry.kind === kind && entry.operation === operation && entry.decision === decision,
      )
      .filter(({ leafIndex }) => !this.isHidden(this.entries[leafIndex]!))
      .toReversed()
      .slice(0, limit);
  }
}
