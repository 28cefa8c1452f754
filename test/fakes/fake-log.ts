import type { Appended, AuditError, AuditLog, EntryDraft } from '../../broker/audit/entry.ts';
import { formatEntry } from '../../broker/audit/entry-format.ts';

/** A log in memory. `hold` makes appends wait as for a disk; `rejection` makes them fail. */
export class FakeLog implements AuditLog {
  readonly origin = 'log.example.org/test';
  failure: AuditError | undefined;
  /** Every entry that was written, key-proof entries among them. */
  readonly entries: EntryDraft[] = [];
  /** What `appendRefusal` was given. */
  readonly refusals: EntryDraft[] = [];
  /** What an append of this draft fails with. */
  rejection: (draft: EntryDraft) => AuditError | undefined = () => undefined;
  readonly overQuota = new Set<string>();
  #gate: { wait: Promise<void>; arrived: () => void } | undefined;

  get size(): number {
    return this.entries.length;
  }

  /** Uses of keys alone, without what the broker writes about itself. */
  get uses(): readonly EntryDraft[] {
    return this.entries.filter(({ kind }) => kind === 'key-use');
  }

  of(kind: EntryDraft['kind']): readonly EntryDraft[] {
    return this.entries.filter((entry) => entry.kind === kind);
  }

  /** Nothing becomes durable before `release`; `reached` resolves once something waits. */
  hold(): { readonly reached: Promise<void>; readonly release: () => void } {
    let release = (): void => undefined;
    let arrived = (): void => undefined;
    const wait = new Promise<void>((resolve) => {
      release = () => {
        this.#gate = undefined;
        resolve();
      };
    });
    const reached = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    this.#gate = { wait, arrived };
    return { reached, release };
  }

  async append(draft: EntryDraft): Promise<Appended> {
    await this.#write(draft);
    this.entries.push(draft);
    return { leafIndex: this.entries.length - 1 };
  }

  async appendRefusal(draft: EntryDraft): Promise<Appended | undefined> {
    await this.#write(draft);
    this.refusals.push(draft);
    return undefined;
  }

  isOverQuota(subject: string): boolean {
    return this.overQuota.has(subject);
  }

  /** The real format is asked too: a draft that it refuses is a defect of whoever made it. */
  async #write(draft: EntryDraft): Promise<void> {
    formatEntry(draft, { leaf: 0, time: '', salt: '', seq: 0, prev: '' });
    if (this.#gate !== undefined) {
      this.#gate.arrived();
      await this.#gate.wait;
    }
    const rejection = this.rejection(draft);
    if (rejection !== undefined) throw rejection;
  }
}
