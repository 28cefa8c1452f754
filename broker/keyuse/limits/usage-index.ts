import { rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { LoggedCharge } from './charges.ts';
import type { UsageHistory } from './memory-limits.ts';
import type { UsageSpan } from './smooth-window.ts';

/** An entry of the log, as far as limits are concerned. */
export interface LoggedUsage {
  readonly leafIndex: number;
  /** Milliseconds of the Unix epoch. */
  readonly timeMs: number;
  /** Nothing where the operation did not run (`performed: no`): it gave back what it took. */
  readonly charges: readonly LoggedCharge[];
}

/** The log, as far as the index is concerned. */
export interface UsageLog {
  /** First line of its checkpoints: another log is another history. */
  readonly origin: string;
  /** Durable entries. */
  readonly size: number;
  /** Entries in their order; those without charges may be left out. */
  read(fromLeaf: number): AsyncIterable<LoggedUsage>;
  /** A leaf index before which all entries are older than this; 0 will do. */
  firstLeafSince(timeMs: number): number;
}

export interface CatchUpOptions {
  /**
   * How far back to read when it has to be built again: the longest `per` of the policy. Left out: the whole log,
   * which budgets for life need when their own state is lost too.
   */
  readonly reachBackMs?: number | undefined;
}

export interface CaughtUp {
  /** Why it was built again, or undefined. */
  readonly rebuilt: string | undefined;
  readonly fromLeaf: number;
  /** Entries that had charges. */
  readonly counted: number;
}

export interface BudgetTotal {
  readonly counter: string;
  readonly subject: string;
  readonly amount: number;
}

const FORMAT = 1;
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 1), origin TEXT NOT NULL, size INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS usage (
    counter TEXT NOT NULL, subject TEXT NOT NULL, per_ms INTEGER NOT NULL, slice INTEGER NOT NULL,
    start_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, amount INTEGER NOT NULL,
    PRIMARY KEY (counter, subject, per_ms, slice)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS usage_end ON usage (last_ms + per_ms) WHERE per_ms > 0;
  INSERT OR IGNORE INTO state VALUES (1, '', 0);
  PRAGMA user_version = ${FORMAT};`;
// A window is kept in so many slices: a slice counts whole until its last use is old enough.
const SLICES = 64;
const LONGEST_BATCH = 5000;
const MOST_PENDING = 200_000;

/**
 * What was consumed, so that quotas survive a restart without reading the whole log.
 *
 * Not a record: the log is, and this file may be deleted at any time. It is complete up to `size` and never ahead of
 * the log. While the broker runs, `record` takes what entries consumed and `flush` writes it; what a crash keeps from
 * being written is read from the log at the next start. WAL without a sync at each commit: after a loss of power it
 * may be older, never torn, and older is read from the log as well.
 */
export class UsageIndex implements UsageHistory {
  #db: DatabaseSync;
  #size = 0;
  #damage: string | undefined;
  /** Recorded and not written; in the order of `record`, which is not that of the log. */
  #pending: LoggedUsage[] = [];
  #isBehind = false;
  /** Size of the log when `flush` was called last. */
  #settled = 0;

  /** @param path `:memory:` for one that is built at each start */
  constructor(path: string) {
    let db: DatabaseSync;
    try {
      db = open(path);
    } catch (error) {
      if (path === ':memory:' || !isDamage(error)) throw error;
      this.#damage = 'it was damaged';
      removeFiles(path);
      db = open(path);
    }
    this.#db = db;
  }

  /** Entries that it covers: those before this leaf index. */
  get size(): number {
    return this.#size;
  }

  /**
   * Reads what it does not cover from the log. To be called once, before anything else. `nowMs` is the time limits
   * will count from: what the log puts after it counts as of then.
   *
   * @throws what reading the log throws; the index is then behind, and the broker must not serve limits from it
   */
  async catchUp(log: UsageLog, nowMs: number, options: CatchUpOptions = {}): Promise<CaughtUp> {
    const target = log.size;
    const rebuilt = this.#damage ?? this.#mismatch(log.origin, target);
    if (rebuilt !== undefined) {
      this.#db.exec('DELETE FROM usage');
      this.#db.prepare('UPDATE state SET origin = ?, size = 0').run(log.origin);
      this.#size =
        options.reachBackMs === undefined
          ? 0
          : Math.min(target, log.firstLeafSince(nowMs - options.reachBackMs));
      this.#damage = undefined;
    }
    const fromLeaf = this.#size;
    let counted = 0;
    let batch: LoggedUsage[] = [];
    for await (const usage of log.read(fromLeaf)) {
      if (usage.leafIndex < this.#size || usage.leafIndex >= target || usage.charges.length === 0) continue;
      counted++;
      batch.push(usage);
      if (batch.length >= LONGEST_BATCH) {
        this.#write(batch, usage.leafIndex + 1, nowMs);
        batch = [];
      }
    }
    this.#write(batch, target, nowMs);
    this.#settled = target;
    const now = Math.ceil(nowMs);
    this.#db
      .prepare(
        'UPDATE usage SET start_ms = min(start_ms, $now), last_ms = $now WHERE per_ms > 0 AND last_ms > $now',
      )
      .run({ $now: now });
    this.prune(nowMs);
    return { rebuilt, fromLeaf, counted };
  }

  /** What an entry consumed, once it is durable. */
  record(usage: LoggedUsage): void {
    if (usage.charges.length === 0 || usage.leafIndex < this.#size) return;
    if (this.#pending.length >= MOST_PENDING) this.#isBehind = true;
    if (!this.#isBehind) this.#pending.push(usage);
    else if (this.#pending.length > 0) this.#pending = [];
  }

  /** It could not be written for so long that it waits for the next start, which reads what is missing from the log. */
  get isBehind(): boolean {
    return this.#isBehind;
  }

  /**
   * Writes what entries consumed that were durable when it was called the last time: those that became durable since
   * may still be on their way to `record`. To be called every second or so, from a timer.
   *
   * @throws when it cannot be written; nothing is lost, the next call tries again
   */
  flush(logSize: number, nowMs: number): void {
    const upTo = this.#settled;
    if (upTo > this.#size && !this.#isBehind) {
      const due = this.#pending.filter(({ leafIndex }) => leafIndex < upTo);
      this.#write(due, upTo, nowMs);
      this.#pending = this.#pending.filter(({ leafIndex }) => leafIndex >= upTo);
    }
    this.#settled = Math.max(this.#settled, logSize);
  }

  usage(counter: string, subject: string, perMs: number, nowMs: number): UsageSpan[] {
    const rows = this.#db
      .prepare(
        `SELECT start_ms, last_ms, amount FROM usage
         WHERE counter = ? AND subject = ? AND per_ms = ? AND last_ms > ? ORDER BY slice`,
      )
      .all(counter, subject, perMs, Math.floor(nowMs) - perMs);
    return rows.map((row) => ({
      startMs: Number(row.start_ms),
      lastMs: Number(row.last_ms),
      amount: Number(row.amount),
    }));
  }

  /** What the log says that was used of budgets for life. */
  *budgetTotals(): Generator<BudgetTotal> {
    for (const row of this.#db
      .prepare('SELECT counter, subject, amount FROM usage WHERE per_ms = 0')
      .iterate())
      yield { counter: String(row.counter), subject: String(row.subject), amount: Number(row.amount) };
  }

  /** Removes what no window reaches back to. */
  prune(nowMs: number): void {
    this.#db.prepare('DELETE FROM usage WHERE per_ms > 0 AND last_ms + per_ms <= ?').run(Math.floor(nowMs));
  }

  /** After the last entry: writes everything. */
  close(logSize: number, nowMs: number): void {
    try {
      this.flush(logSize, nowMs);
      this.flush(logSize, nowMs);
    } finally {
      this.#db.close();
    }
  }

  #mismatch(origin: string, logSize: number): string | undefined {
    const row = this.#db.prepare('SELECT origin, size FROM state').get();
    this.#size = Number(row?.size);
    if (this.#size === 0) return row?.origin === origin ? undefined : 'it was new';
    if (row?.origin !== origin) return 'it belongs to another log';
    if (this.#size > logSize) return 'it was ahead of the log';
    return undefined;
  }

  #write(usages: readonly LoggedUsage[], size: number, nowMs: number): void {
    const rows = sliced(usages, nowMs);
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const put = this.#db.prepare(
        `INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET start_ms = min(start_ms, excluded.start_ms),
           last_ms = max(last_ms, excluded.last_ms), amount = amount + excluded.amount`,
      );
      for (const { counter, subject, perMs, slice, startMs, lastMs, amount } of rows)
        put.run(counter, subject, perMs, slice, startMs, lastMs, amount);
      this.#db.prepare('UPDATE state SET size = ?').run(size);
      this.#db.exec('COMMIT');
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
    this.#size = size;
  }
}

interface Row {
  readonly counter: string;
  readonly subject: string;
  readonly perMs: number;
  readonly slice: number;
  startMs: number;
  lastMs: number;
  amount: number;
}

/** A row for each slice of each window, without what no window reaches any more: most of what short ones count. */
function sliced(usages: readonly LoggedUsage[], nowMs: number): Iterable<Row> {
  const rows = new Map<string, Row>();
  for (const { timeMs, charges } of usages) {
    const time = Math.ceil(timeMs);
    for (const { counter, subject, amount, perMs = 0 } of charges) {
      if (perMs > 0 && time + perMs <= nowMs) continue;
      const slice = perMs === 0 ? 0 : Math.floor(time / Math.max(1, Math.floor(perMs / SLICES)));
      const name = `${perMs} ${slice} ${counter}\n${subject}`;
      const row = rows.get(name);
      if (row === undefined) {
        rows.set(name, { counter, subject, perMs, slice, startMs: time, lastMs: time, amount });
      } else {
        row.startMs = Math.min(row.startMs, time);
        row.lastMs = Math.max(row.lastMs, time);
        row.amount += amount;
      }
    }
  }
  return rows.values();
}

function removeFiles(path: string): void {
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
}

function open(path: string): DatabaseSync {
  const db = new DatabaseSync(path);
  try {
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;');
    const { user_version: found } = db.prepare('PRAGMA user_version').get() ?? {};
    if (found !== 0 && found !== FORMAT) db.exec('DROP TABLE IF EXISTS state; DROP TABLE IF EXISTS usage');
    db.exec(`BEGIN IMMEDIATE; ${SCHEMA} COMMIT`);
    const { quick_check: verdict } = db.prepare('PRAGMA quick_check(1)').get() ?? {};
    if (verdict !== 'ok') throw new DamageError(String(verdict));
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

class DamageError extends Error {
  override readonly name = 'DamageError';
}

// SQLITE_CORRUPT and SQLITE_NOTADB.
function isDamage(error: unknown): boolean {
  if (error instanceof DamageError) return true;
  return error instanceof Error && 'errcode' in error && (error.errcode === 11 || error.errcode === 26);
}
