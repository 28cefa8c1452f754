import type { StateStore } from './state-store.ts';

/** One request for approvals. What it says has no authority: signatures and the log have. */
export interface ApprovalRow {
  readonly id: string;
  /** What the same request asked again has in common with this one. */
  readonly requestKey: string;
  /** The canonical document. */
  readonly act: string;
  readonly catalogEntry: string;
  /** `Quorum` as JSON. */
  readonly quorum: string;
  readonly state: string;
  /** Why it was closed. */
  readonly reason: string;
  readonly closedBy: string;
  /** Milliseconds of the Unix epoch; `closedAt` 0: it is not. */
  readonly openedAt: number;
  readonly notAfter: number;
  readonly closedAt: number;
  /** Uses that count; `taken` never goes down, so that every use has a number of its own. */
  readonly used: number;
  readonly taken: number;
  /** Rises with every change to any approval. */
  readonly change: number;
  /** Leaf index of the entry that opened it; null while that is not durable, and then it is not open. */
  readonly openedLeaf: number | null;
}

export interface ApprovalVoteRow {
  readonly approval: string;
  /** From 1, by approval. */
  readonly number: number;
  readonly approver: string;
  /** `ApproverKey` and `VoteSignature` as JSON. */
  readonly key: string;
  readonly signature: string;
  /** Of its entry; null while that is not durable, and then it does not count. */
  readonly leaf: number | null;
}

/** Something that approvers or others have not been told yet. */
export interface ApprovalNoticeRow {
  readonly approval: string;
  readonly kind: string;
  /** Milliseconds of the Unix epoch. */
  readonly at: number;
}

/** What PostgreSQL will do as well, where brokers share approvals. Whatever a method returns from is durable. */
export interface ApprovalStore {
  transaction<T>(body: () => T): T;
  /** All with these states, by `change`. */
  inStates(states: readonly string[]): readonly ApprovalRow[];
  find(id: string): ApprovalRow | undefined;
  changedSince(change: number, limit: number): readonly ApprovalRow[];
  /** Those that changed before, the newest first. */
  changedBefore(change: number, limit: number): readonly ApprovalRow[];
  lastChange(): number;
  insert(
    row: Omit<ApprovalRow, 'change' | 'used' | 'taken' | 'closedAt' | 'closedBy' | 'reason'>,
    attachment: Uint8Array | undefined,
  ): void;
  remove(id: string): void;
  opened(id: string, leaf: number): void;
  /** Whether it was in one of the states that it may leave. */
  close(id: string, from: readonly string[], to: string, reason: string, by: string, at: number): boolean;
  /** Marks a change that is none of the row itself. */
  touch(id: string): void;
  setState(id: string, from: string, to: string): void;
  /** With this state, closed then or later. */
  closedSince(state: string, at: number): readonly ApprovalRow[];
  /** Asked for then or later, whatever became of them, the oldest first. */
  openedSince(at: number): readonly ApprovalRow[];
  /** Takes up to `count` uses: their numbers, and how many count now. Undefined: there is none left. */
  takeUses(
    id: string,
    uses: number,
    count: number,
  ): { readonly numbers: readonly number[]; readonly used: number } | undefined;
  giveUses(id: string, count: number): void;
  /** What was used up has a use again. */
  reopen(id: string): void;
  attachment(id: string): Uint8Array | undefined;
  votes(id: string): readonly ApprovalVoteRow[];
  insertVote(vote: ApprovalVoteRow): void;
  removeVote(id: string, number: number): void;
  voteLogged(id: string, number: number, leaf: number): void;
  notice(row: ApprovalNoticeRow): void;
  /** The oldest first, and uses of emergency access before everything else. */
  notices(limit: number): readonly ApprovalNoticeRow[];
  noticed(row: ApprovalNoticeRow): void;
  /** Forgets what was closed before; how many. */
  prune(closedBefore: number): number;
  readonly progress: number;
  putProgress(entries: number): void;
}

const COLUMNS = `id, request_key AS requestKey, act, catalog_entry AS catalogEntry, quorum, state, reason,
  closed_by AS closedBy, opened_at AS openedAt, not_after AS notAfter, closed_at AS closedAt, used, taken, change,
  opened_leaf AS openedLeaf`;
const NEXT_CHANGE = '(SELECT coalesce(max(change), 0) + 1 FROM approval)';

export class ApprovalRows implements ApprovalStore {
  readonly #store: StateStore;

  constructor(store: StateStore) {
    this.#store = store;
  }

  transaction<T>(body: () => T): T {
    return this.#store.transaction(body);
  }

  inStates(states: readonly string[]): readonly ApprovalRow[] {
    return this.#store
      .sql(`SELECT ${COLUMNS} FROM approval WHERE state IN (SELECT value FROM json_each(?)) ORDER BY change`)
      .all(JSON.stringify(states)) as unknown as ApprovalRow[];
  }

  find(id: string): ApprovalRow | undefined {
    return this.#store.sql(`SELECT ${COLUMNS} FROM approval WHERE id = ?`).get(id) as ApprovalRow | undefined;
  }

  changedSince(change: number, limit: number): readonly ApprovalRow[] {
    return this.#store
      .sql(`SELECT ${COLUMNS} FROM approval WHERE change > ? ORDER BY change LIMIT ?`)
      .all(change, limit) as unknown as ApprovalRow[];
  }

  changedBefore(change: number, limit: number): readonly ApprovalRow[] {
    return this.#store
      .sql(`SELECT ${COLUMNS} FROM approval WHERE change < ? ORDER BY change DESC LIMIT ?`)
      .all(change, limit) as unknown as ApprovalRow[];
  }

  lastChange(): number {
    return (this.#store.sql(`SELECT ${NEXT_CHANGE} - 1 AS change`).get() as { change: number }).change;
  }

  insert(
    row: Omit<ApprovalRow, 'change' | 'used' | 'taken' | 'closedAt' | 'closedBy' | 'reason'>,
    attachment: Uint8Array | undefined,
  ): void {
    this.#store
      .sql(
        `INSERT INTO approval (id, request_key, act, catalog_entry, quorum, state, reason, closed_by, opened_at,
           not_after, closed_at, used, taken, change, opened_leaf)
         VALUES (?, ?, ?, ?, ?, ?, '', '', ?, ?, 0, 0, 0, ${NEXT_CHANGE}, ?)`,
      )
      .run(
        row.id,
        row.requestKey,
        row.act,
        row.catalogEntry,
        row.quorum,
        row.state,
        row.openedAt,
        row.notAfter,
        row.openedLeaf,
      );
    if (attachment !== undefined)
      this.#store
        .sql('INSERT INTO approval_attachment (approval, content) VALUES (?, ?)')
        .run(row.id, attachment);
  }

  remove(id: string): void {
    for (const text of [
      'DELETE FROM approval WHERE id = ?',
      'DELETE FROM approval_attachment WHERE approval = ?',
      'DELETE FROM approval_vote WHERE approval = ?',
      'DELETE FROM approval_notice WHERE approval = ?',
    ])
      this.#store.sql(text).run(id);
  }

  opened(id: string, leaf: number): void {
    this.#store
      .sql(`UPDATE approval SET opened_leaf = ?, change = ${NEXT_CHANGE} WHERE id = ?`)
      .run(leaf, id);
  }

  close(id: string, from: readonly string[], to: string, reason: string, by: string, at: number): boolean {
    const { changes } = this.#store
      .sql(
        `UPDATE approval SET state = ?, reason = ?, closed_by = ?, closed_at = ?, change = ${NEXT_CHANGE}
         WHERE id = ? AND state IN (SELECT value FROM json_each(?))`,
      )
      .run(to, reason, by, at, id, JSON.stringify(from));
    if (changes > 0) this.#store.sql('DELETE FROM approval_attachment WHERE approval = ?').run(id);
    return changes > 0;
  }

  touch(id: string): void {
    this.#store.sql(`UPDATE approval SET change = ${NEXT_CHANGE} WHERE id = ?`).run(id);
  }

  setState(id: string, from: string, to: string): void {
    this.#store
      .sql(`UPDATE approval SET state = ?, change = ${NEXT_CHANGE} WHERE id = ? AND state = ?`)
      .run(to, id, from);
  }

  closedSince(state: string, at: number): readonly ApprovalRow[] {
    return this.#store
      .sql(`SELECT ${COLUMNS} FROM approval WHERE state = ? AND closed_at >= ? ORDER BY closed_at`)
      .all(state, at) as unknown as ApprovalRow[];
  }

  openedSince(at: number): readonly ApprovalRow[] {
    return this.#store
      .sql(`SELECT ${COLUMNS} FROM approval WHERE opened_at >= ? ORDER BY opened_at`)
      .all(at) as unknown as ApprovalRow[];
  }

  takeUses(
    id: string,
    uses: number,
    count: number,
  ): { readonly numbers: readonly number[]; readonly used: number } | undefined {
    const row = this.#store
      .sql(`SELECT used, taken FROM approval WHERE id = ? AND state IN ('open', 'approved')`)
      .get(id) as { used: number; taken: number } | undefined;
    const taking = Math.min(count, uses - (row?.used ?? uses));
    if (row === undefined || taking < 1) return undefined;
    this.#store
      .sql('UPDATE approval SET used = used + ?, taken = taken + ? WHERE id = ?')
      .run(taking, taking, id);
    return {
      numbers: Array.from({ length: taking }, (_, i) => row.taken + 1 + i),
      used: row.used + taking,
    };
  }

  reopen(id: string): void {
    this.#store
      .sql(
        `UPDATE approval SET state = 'approved', closed_at = 0, change = ${NEXT_CHANGE} WHERE id = ? AND state = 'used'`,
      )
      .run(id);
  }

  giveUses(id: string, count: number): void {
    this.#store.sql('UPDATE approval SET used = max(0, used - ?) WHERE id = ?').run(count, id);
  }

  attachment(id: string): Uint8Array | undefined {
    const row = this.#store.sql('SELECT content FROM approval_attachment WHERE approval = ?').get(id);
    return row === undefined ? undefined : (row as { content: Uint8Array }).content;
  }

  votes(id: string): readonly ApprovalVoteRow[] {
    return this.#store
      .sql(
        'SELECT approval, number, approver, key, signature, leaf FROM approval_vote WHERE approval = ? ORDER BY number',
      )
      .all(id) as unknown as ApprovalVoteRow[];
  }

  insertVote(vote: ApprovalVoteRow): void {
    this.#store
      .sql(
        'INSERT INTO approval_vote (approval, number, approver, key, signature, leaf) VALUES (?, ?, ?, ?, ?, ?)',
      )
      .run(vote.approval, vote.number, vote.approver, vote.key, vote.signature, vote.leaf);
  }

  removeVote(id: string, number: number): void {
    this.#store.sql('DELETE FROM approval_vote WHERE approval = ? AND number = ?').run(id, number);
  }

  voteLogged(id: string, number: number, leaf: number): void {
    this.#store
      .sql('UPDATE approval_vote SET leaf = ? WHERE approval = ? AND number = ?')
      .run(leaf, id, number);
  }

  notice(row: ApprovalNoticeRow): void {
    this.#store
      .sql('INSERT INTO approval_notice (approval, kind, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING')
      .run(row.approval, row.kind, row.at);
  }

  notices(limit: number): readonly ApprovalNoticeRow[] {
    return this.#store
      .sql(`SELECT approval, kind, at FROM approval_notice ORDER BY kind = 'emergency-used' DESC, at LIMIT ?`)
      .all(limit) as unknown as ApprovalNoticeRow[];
  }

  noticed(row: ApprovalNoticeRow): void {
    this.#store
      .sql('DELETE FROM approval_notice WHERE approval = ? AND kind = ? AND at = ?')
      .run(row.approval, row.kind, row.at);
  }

  prune(closedBefore: number): number {
    const ids = this.#store
      .sql('SELECT id FROM approval WHERE closed_at > 0 AND closed_at < ? LIMIT 1000')
      .all(closedBefore) as unknown as readonly { id: string }[];
    for (const { id } of ids) this.remove(id);
    return ids.length;
  }

  get progress(): number {
    return this.#store.logProgress('approvals');
  }

  putProgress(entries: number): void {
    this.#store.putLogProgress('approvals', entries);
  }
}
