import { DatabaseSync, type StatementSync } from 'node:sqlite';

/**
 * The broker's small durable state: key catalog, freezes, login attempts, AES-GCM reservations.
 *
 * One SQLite file, WAL, synchronous=FULL: what a method has returned from is on disk. Owned by the one broker
 * process that opened it (an exclusive lock is held for as long as it runs). Nothing here grants anything by
 * itself: policy decides, the log tells.
 */
export class StateError extends Error {
  override readonly name = 'StateError';
}

export interface TokenObjectRow {
  readonly tokenSerial: string;
  readonly ckaId: string;
  /** SubjectPublicKeyInfo, DER; empty for secret keys. */
  readonly publicKey: Uint8Array;
  /** What proves a secret key by use: a canary ciphertext (encrypt) or a MAC (mac); empty for key pairs. */
  readonly proof: Uint8Array;
}

export interface KeyVersionRow {
  readonly name: string;
  readonly version: number;
  readonly purpose: string;
  readonly algorithms: readonly string[];
  /** `KeySpec` as JSON. */
  readonly spec: string;
  readonly state: string;
  readonly createdAt: string;
  readonly provenance: string;
  readonly verify: string;
  readonly decryptOnly: boolean;
  readonly rawSigning: boolean;
  readonly objects: readonly TokenObjectRow[];
}

export interface FreezeRow {
  readonly kind: string;
  readonly subject: string;
  readonly reason: string;
  readonly by: string;
  readonly since: string;
}

/** One array element a version of the schema; never edited once released. */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE key_version (
    name TEXT NOT NULL, version INTEGER NOT NULL, purpose TEXT NOT NULL, algorithms TEXT NOT NULL,
    spec TEXT NOT NULL, state TEXT NOT NULL, created_at TEXT NOT NULL, provenance TEXT NOT NULL,
    verify TEXT NOT NULL, decrypt_only INTEGER NOT NULL, PRIMARY KEY (name, version)
  ) STRICT;
  CREATE TABLE token_object (
    name TEXT NOT NULL, version INTEGER NOT NULL, token_serial TEXT NOT NULL, cka_id TEXT NOT NULL,
    public_key BLOB NOT NULL, proof BLOB NOT NULL, PRIMARY KEY (name, version, token_serial)
  ) STRICT;
  CREATE TABLE encryption_count (
    name TEXT NOT NULL, version INTEGER NOT NULL, reserved INTEGER NOT NULL, PRIMARY KEY (name, version)
  ) STRICT;
  CREATE TABLE freeze (
    kind TEXT NOT NULL, subject TEXT NOT NULL, reason TEXT NOT NULL, by TEXT NOT NULL, since TEXT NOT NULL,
    PRIMARY KEY (kind, subject)
  ) STRICT;
  CREATE TABLE login_attempt (
    token_serial TEXT NOT NULL, pin_reference TEXT NOT NULL, outcome TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (token_serial, pin_reference)
  ) STRICT;
  `,
  `
  CREATE TABLE limit_budget (
    counter TEXT NOT NULL, subject TEXT NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (counter, subject)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE guard_history (
    id INTEGER PRIMARY KEY, guard TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL,
    count INTEGER NOT NULL, UNIQUE (guard, key)
  ) STRICT;
  CREATE TABLE guard_number (
    history INTEGER NOT NULL, value INTEGER NOT NULL, content BLOB NOT NULL, PRIMARY KEY (history, value)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE guard_value (
    history INTEGER NOT NULL, hash BLOB NOT NULL, content BLOB NOT NULL, PRIMARY KEY (history, hash)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE log_progress (
    what TEXT PRIMARY KEY, entries INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  // One object is one key. What was found on a token outlives the broker that found it.
  `
  CREATE UNIQUE INDEX one_owner ON token_object (token_serial, cka_id);
  CREATE TABLE token_finding (
    token_serial TEXT PRIMARY KEY, finding TEXT NOT NULL, at TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE signed_tree (
    origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, root_hash TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  // What an operator took out of service stays out when the broker restarts.
  `
  CREATE TABLE token_drain (name TEXT PRIMARY KEY, at TEXT NOT NULL) STRICT, WITHOUT ROWID;
  `,
  // Keys that are there were made before anybody could say so.
  `
  ALTER TABLE key_version ADD COLUMN raw_signing INTEGER NOT NULL DEFAULT 0;
  `,
  `
  CREATE TABLE approval (
    id TEXT PRIMARY KEY, request_key TEXT NOT NULL, act TEXT NOT NULL, catalog_entry TEXT NOT NULL,
    quorum TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, closed_by TEXT NOT NULL,
    opened_at INTEGER NOT NULL, not_after INTEGER NOT NULL, closed_at INTEGER NOT NULL,
    used INTEGER NOT NULL, taken INTEGER NOT NULL, change INTEGER NOT NULL, opened_leaf INTEGER
  ) STRICT;
  CREATE UNIQUE INDEX approval_change ON approval (change);
  CREATE INDEX approval_state ON approval (state, closed_at);
  CREATE TABLE approval_attachment (
    approval TEXT PRIMARY KEY, content BLOB NOT NULL
  ) STRICT;
  CREATE TABLE approval_vote (
    approval TEXT NOT NULL, number INTEGER NOT NULL, approver TEXT NOT NULL, key TEXT NOT NULL,
    signature TEXT NOT NULL, leaf INTEGER, PRIMARY KEY (approval, number)
  ) STRICT;
  CREATE TABLE approval_notice (
    approval TEXT NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (approval, kind, at)
  ) STRICT, WITHOUT ROWID;
  `,
  // Where there is none yet, the log tells, read as a whole.
  `
  CREATE TABLE policy_known (
    role TEXT PRIMARY KEY CHECK (role IN ('in-force', 'next')), hash TEXT NOT NULL, governed INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
];

export class StateStore {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** @throws StateError when another broker has it open, or it was written by a newer version */
  constructor(file: string) {
    this.#db = new DatabaseSync(file);
    try {
      this.#db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
      this.#migrate();
    } catch (cause) {
      this.#db.close();
      if (cause instanceof StateError) throw cause;
      throw new StateError(`state at \`${file}\` cannot be opened: is another broker running on it?`, {
        cause,
      });
    }
  }

  #migrate(): void {
    const { user_version: found } = this.#db.prepare('PRAGMA user_version').get() as { user_version: number };
    if (found > MIGRATIONS.length) {
      throw new StateError(`state has schema version ${found}; this broker knows ${MIGRATIONS.length}`);
    }
    for (let version = found; version < MIGRATIONS.length; version++) {
      this.transaction(() => {
        this.#db.exec(MIGRATIONS[version]!);
        this.#db.exec(`PRAGMA user_version = ${version + 1}`);
      });
    }
    // Takes the exclusive lock now rather than at the first write.
    this.transaction(() => this.#db.exec('DELETE FROM freeze WHERE 0'));
  }

  transaction<T>(body: () => T): T {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const result = body();
      this.#db.exec('COMMIT');
      return result;
    } catch (cause) {
      this.#db.exec('ROLLBACK');
      throw cause;
    }
  }

  /** For the files of this folder that own a table each; what they return from is on disk, as everything here. */
  sql(text: string): StatementSync {
    return this.#sql(text);
  }

  #sql(text: string): StatementSync {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = this.#db.prepare(text);
      this.#statements.set(text, statement);
    }
    return statement;
  }

  keyVersions(): KeyVersionRow[] {
    const objects = this.#sql(
      'SELECT * FROM token_object ORDER BY name, version, token_serial',
    ).all() as unknown as readonly {
      name: string;
      version: number;
      token_serial: string;
      cka_id: string;
      public_key: Uint8Array;
      proof: Uint8Array;
    }[];
    const rows = this.#sql('SELECT * FROM key_version ORDER BY name, version').all() as unknown as readonly {
      name: string;
      version: number;
      purpose: string;
      algorithms: string;
      spec: string;
      state: string;
      created_at: string;
      provenance: string;
      verify: string;
      decrypt_only: number;
      raw_signing: number;
    }[];
    return rows.map((row) => ({
      name: row.name,
      version: row.version,
      purpose: row.purpose,
      algorithms: row.algorithms.split(' '),
      spec: row.spec,
      state: row.state,
      createdAt: row.created_at,
      provenance: row.provenance,
      verify: row.verify,
      decryptOnly: row.decrypt_only === 1,
      rawSigning: row.raw_signing === 1,
      objects: objects
        .filter((object) => object.name === row.name && object.version === row.version)
        .map((object) => ({
          tokenSerial: object.token_serial,
          ckaId: object.cka_id,
          publicKey: object.public_key,
          proof: object.proof,
        })),
    }));
  }

  /** @throws when the name already has that version */
  insertKeyVersion(row: KeyVersionRow): void {
    this.transaction(() => {
      this.#sql(
        `INSERT INTO key_version (name, version, purpose, algorithms, spec, state, created_at, provenance, verify, decrypt_only, raw_signing)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ).run(
        row.name,
        row.version,
        row.purpose,
        row.algorithms.join(' '),
        row.spec,
        row.state,
        row.createdAt,
        row.provenance,
        row.verify,
        row.decryptOnly ? 1 : 0,
        row.rawSigning ? 1 : 0,
      );
      for (const object of row.objects) {
        this.#sql(
          'INSERT INTO token_object (name, version, token_serial, cka_id, public_key, proof) VALUES (?, ?, ?, ?, ?, ?)',
        ).run(row.name, row.version, object.tokenSerial, object.ckaId, object.publicKey, object.proof);
      }
    });
  }

  /**
   * Adds `count` to what this key version may have encrypted and resolves to the new total. Durable before it
   * returns: a crash loses the unused rest of a block, never a used count.
   */
  reserveEncryptions(name: string, version: number, count: number): number {
    const row = this.#sql(
      `INSERT INTO encryption_count (name, version, reserved) VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET reserved = reserved + excluded.reserved RETURNING reserved`,
    ).get(name, version, count) as { reserved: number };
    return row.reserved;
  }

  encryptionsReserved(name: string, version: number): number {
    const row = this.#sql('SELECT reserved FROM encryption_count WHERE name = ? AND version = ?').get(
      name,
      version,
    );
    return row === undefined ? 0 : (row as { reserved: number }).reserved;
  }

  freezes(): FreezeRow[] {
    return this.#sql('SELECT * FROM freeze ORDER BY since, kind, subject').all() as unknown as FreezeRow[];
  }

  putFreeze(row: FreezeRow): void {
    this.#sql(
      `INSERT INTO freeze (kind, subject, reason, by, since) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET reason = excluded.reason, by = excluded.by, since = excluded.since`,
    ).run(row.kind, row.subject, row.reason, row.by, row.since);
  }

  /** Whether there was one. */
  deleteFreeze(kind: string, subject: string): boolean {
    return this.#sql('DELETE FROM freeze WHERE kind = ? AND subject = ?').run(kind, subject).changes > 0;
  }

  putLoginAttempt(tokenSerial: string, pinReference: string, outcome: string): void {
    this.#sql(
      `INSERT INTO login_attempt (token_serial, pin_reference, outcome, at) VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET outcome = excluded.outcome, at = excluded.at`,
    ).run(tokenSerial, pinReference, outcome, new Date().toISOString());
  }

  loginAttempt(tokenSerial: string, pinReference: string): string | undefined {
    const row = this.#sql(
      'SELECT outcome FROM login_attempt WHERE token_serial = ? AND pin_reference = ?',
    ).get(tokenSerial, pinReference);
    return row === undefined ? undefined : (row as { outcome: string }).outcome;
  }

  clearLoginAttempts(tokenSerial: string): void {
    this.#sql('DELETE FROM login_attempt WHERE token_serial = ?').run(tokenSerial);
  }

  /** How many entries of the log the state named `what` is known to agree with; 0 when nobody looked. */
  logProgress(what: string): number {
    const row = this.#sql('SELECT entries FROM log_progress WHERE what = ?').get(what);
    return row === undefined ? 0 : (row as { entries: number }).entries;
  }

  putLogProgress(what: string, entries: number): void {
    this.#sql(
      'INSERT INTO log_progress (what, entries) VALUES (?, ?) ON CONFLICT DO UPDATE SET entries = excluded.entries',
    ).run(what, entries);
  }

  /** Keeps the first: what came later may be a consequence of it. */
  putTokenFinding(tokenSerial: string, finding: string): void {
    this.#sql(
      'INSERT INTO token_finding (token_serial, finding, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
    ).run(tokenSerial, finding, new Date().toISOString());
  }

  tokenFinding(tokenSerial: string): string | undefined {
    const row = this.#sql('SELECT finding FROM token_finding WHERE token_serial = ?').get(tokenSerial);
    return row === undefined ? undefined : (row as { finding: string }).finding;
  }

  clearTokenFinding(tokenSerial: string): void {
    this.#sql('DELETE FROM token_finding WHERE token_serial = ?').run(tokenSerial);
  }

  /** By the name in lastmile.yaml: it need not have been reached. */
  putTokenDrain(name: string): void {
    this.#sql('INSERT INTO token_drain (name, at) VALUES (?, ?) ON CONFLICT DO NOTHING').run(
      name,
      new Date().toISOString(),
    );
  }

  deleteTokenDrain(name: string): void {
    this.#sql('DELETE FROM token_drain WHERE name = ?').run(name);
  }

  tokenDrains(): ReadonlySet<string> {
    const rows = this.#sql('SELECT name FROM token_drain').all() as { name: string }[];
    return new Set(rows.map(({ name }) => name));
  }

  /** The newest tree that a log is known to have signed. Never goes back. `rootHash` in base64. */
  putSignedTree(origin: string, treeSize: number, rootHash: string): void {
    this.#sql(
      `INSERT INTO signed_tree (origin, tree_size, root_hash) VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET tree_size = excluded.tree_size, root_hash = excluded.root_hash
       WHERE excluded.tree_size > tree_size`,
    ).run(origin, treeSize, rootHash);
  }

  /** For an operator's decision alone: otherwise what is remembered only grows. */
  forgetSignedTree(origin: string): void {
    this.#sql('DELETE FROM signed_tree WHERE origin = ?').run(origin);
  }

  signedTree(origin: string): { readonly treeSize: number; readonly rootHash: string } | undefined {
    return this.#sql(
      'SELECT tree_size AS treeSize, root_hash AS rootHash FROM signed_tree WHERE origin = ?',
    ).get(origin) as { treeSize: number; rootHash: string } | undefined;
  }

  close(): void {
    this.#db.close();
  }
}
