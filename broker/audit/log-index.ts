import { rmSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { EntryRow, SubjectHead } from './batch.ts';
import { TILE_WIDTH } from './tlog/tile.ts';

/** What to look for; all of it must hold. */
export interface IndexFilter {
  readonly workload?: string | undefined;
  readonly key?: string | undefined;
  readonly decision?: string | undefined;
  readonly operation?: string | undefined;
  readonly kind?: string | undefined;
  /** RFC 3339, UTC, milliseconds; inclusive. */
  readonly since?: string | undefined;
  /** Exclusive. */
  readonly until?: string | undefined;
}

const FORMAT = 1;
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 1), size INTEGER NOT NULL, last_hash TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS heads (subject TEXT PRIMARY KEY, seq INTEGER NOT NULL, prev TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS bundles (bundle INTEGER PRIMARY KEY, first_time TEXT NOT NULL, last_time TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS terms (term TEXT NOT NULL, bundle INTEGER NOT NULL, PRIMARY KEY (term, bundle)) WITHOUT ROWID;
  INSERT OR IGNORE INTO state VALUES (1, 0, '');
  PRAGMA user_version = ${FORMAT};`;

/**
 * Finds entries without reading all of them, and remembers where each subject's chain ends.
 *
 * Not a record: it may be deleted, and is built again from the log. It notes which values occur in which entry bundle,
 * not in which entry: some twenty rows for 256 entries instead of a thousand, and a bundle is read in a millisecond.
 * Being open, it is locked: two brokers cannot write the same log.
 */
export class LogIndex {
  readonly #db: DatabaseSync;
  #size: number;
  #lastHash: string;
  readonly #putHead: StatementSync;
  readonly #putBundle: StatementSync;
  readonly #putTerm: StatementSync;
  readonly #putState: StatementSync;

  /**
   * @param path `:memory:` for one that is built at each start
   * @throws Error when another process has it open
   */
  constructor(path: string) {
    this.#db = openDatabase(path);
    const state = this.#db.prepare('SELECT size, last_hash FROM state').get();
    this.#size = Number(state?.size);
    this.#lastHash = String(state?.last_hash);
    this.#putHead = this.#db.prepare('INSERT OR REPLACE INTO heads VALUES (?, ?, ?)');
    this.#putBundle = this.#db.prepare(
      `INSERT INTO bundles VALUES (?, ?, ?) ON CONFLICT (bundle) DO UPDATE
       SET first_time = min(first_time, excluded.first_time), last_time = max(last_time, excluded.last_time)`,
    );
    this.#putTerm = this.#db.prepare('INSERT OR IGNORE INTO terms VALUES (?, ?)');
    this.#putState = this.#db.prepare('UPDATE state SET size = ?, last_hash = ?');
  }

  /** Entries that it covers: those before this leaf index. */
  get size(): number {
    return this.#size;
  }

  /** Leaf hash of the last of them, base64url; empty when there is none. */
  get lastHash(): string {
    return this.#lastHash;
  }

  heads(): Map<string, SubjectHead> {
    const heads = new Map<string, SubjectHead>();
    for (const row of this.#db.prepare('SELECT subject, seq, prev FROM heads').iterate()) {
      heads.set(String(row.subject), { seq: Number(row.seq), prev: String(row.prev) });
    }
    return heads;
  }

  /** Adds the entries from leaf index `size` on, in one transaction. */
  add(rows: readonly EntryRow[]): void {
    const last = rows.at(-1);
    if (last === undefined) return;
    const heads = new Map<string, EntryRow>();
    const bundles = new Map<number, { firstTime: string; lastTime: string; terms: Set<string> }>();
    for (const row of rows) {
      heads.set(row.subject, row);
      const index = Math.floor(row.leaf / TILE_WIDTH);
      let bundle = bundles.get(index);
      if (bundle === undefined) {
        bundle = { firstTime: row.time, lastTime: row.time, terms: new Set() };
        bundles.set(index, bundle);
      }
      // The clock may have been set back: the range is that of the times, not of the order.
      if (row.time < bundle.firstTime) bundle.firstTime = row.time;
      if (row.time > bundle.lastTime) bundle.lastTime = row.time;
      for (const term of termsOf({ workload: row.subject, ...row })) bundle.terms.add(term);
    }
    this.#db.exec('BEGIN');
    try {
      for (const { subject, seq, hash } of heads.values()) this.#putHead.run(subject, seq, hash);
      for (const [index, { firstTime, lastTime, terms }] of bundles) {
        this.#putBundle.run(index, firstTime, lastTime);
        for (const term of terms) this.#putTerm.run(term, index);
      }
      this.#putState.run(last.leaf + 1, last.hash);
      this.#db.exec('COMMIT');
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
    this.#size = last.leaf + 1;
    this.#lastHash = last.hash;
  }

  /** Empties it, to be built again. */
  clear(): void {
    this.#db.exec(
      "DELETE FROM heads; DELETE FROM bundles; DELETE FROM terms; UPDATE state SET size = 0, last_hash = ''",
    );
    this.#size = 0;
    this.#lastHash = '';
  }

  /** Bundles up to `lastBundle` that may have such entries, newest first; at most `limit`. */
  bundles(filter: IndexFilter, lastBundle: number, limit: number): number[] {
    const conditions = ['bundle <= ?'];
    const values: (string | number)[] = [lastBundle];
    if (filter.since !== undefined) {
      conditions.push('last_time >= ?');
      values.push(filter.since);
    }
    if (filter.until !== undefined) {
      conditions.push('first_time < ?');
      values.push(filter.until);
    }
    for (const term of termsOf(filter)) {
      conditions.push('EXISTS (SELECT 1 FROM terms WHERE terms.bundle = bundles.bundle AND term = ?)');
      values.push(term);
    }
    const rows = this.#db
      .prepare(`SELECT bundle FROM bundles WHERE ${conditions.join(' AND ')} ORDER BY bundle DESC LIMIT ?`)
      .all(...values, limit);
    return rows.map((row) => Number(row.bundle));
  }

  close(): void {
    this.#db.close();
  }
}

function termsOf(filter: IndexFilter): string[] {
  const terms: string[] = [];
  if (filter.workload !== undefined) terms.push(`w:${filter.workload}`);
  if (filter.key !== undefined) terms.push(`k:${filter.key}`);
  if (filter.decision !== undefined) terms.push(`d:${filter.decision}`);
  if (filter.operation !== undefined) terms.push(`o:${filter.operation}`);
  if (filter.kind !== undefined) terms.push(`n:${filter.kind}`);
  return terms;
}

function openDatabase(path: string): DatabaseSync {
  try {
    return prepareDatabase(path);
  } catch (error) {
    if (path === ':memory:' || !isDamage(error)) throw error;
    // It is no record: what cannot be read is built again.
    for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
    return prepareDatabase(path);
  }
}

function prepareDatabase(path: string): DatabaseSync {
  const db = new DatabaseSync(path);
  try {
    // NORMAL: after a loss of power it may be older, never broken; what is missing is read from the log.
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;');
    const { user_version: found } = db.prepare('PRAGMA user_version').get() ?? {};
    if (found !== 0 && found !== FORMAT)
      db.exec('DROP TABLE state; DROP TABLE heads; DROP TABLE bundles; DROP TABLE terms');
    db.exec(`BEGIN IMMEDIATE; ${SCHEMA} COMMIT`);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

// SQLITE_CORRUPT and SQLITE_NOTADB.
function isDamage(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && (error.errcode === 11 || error.errcode === 26);
}
