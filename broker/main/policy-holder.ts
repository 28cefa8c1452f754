import { createHash } from 'node:crypto';
import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { compilePolicy } from '../../policy/compile.ts';
import type { PolicySet } from '../../policy/decision.ts';
import type { AuditLog } from '../audit/entry.ts';
import { Failure } from '../keyuse/failure.ts';

export interface PolicyHolderOptions {
  readonly file: string;
  readonly administrators: readonly string[];
  readonly trustDomain: string;
  readonly audit: AuditLog;
  readonly log: (
    level: 'info' | 'warn' | 'error',
    message: string,
    fields?: Record<string, string | number>,
  ) => void;
}

/**
 * The policy in force. A file is compiled whole before it replaces another; one with a mistake is refused, the old
 * policy stays, and the refusal is in the log and in `status` until a good file comes.
 */
export class PolicyHolder {
  readonly #options: PolicyHolderOptions;
  #policy: PolicySet;
  #seenHash: string;
  #refusal = '';
  #loadedAt: string;
  #watcher: FSWatcher | undefined;
  #settle: NodeJS.Timeout | undefined;

  /** @throws PolicyError: without a policy the broker does not start */
  constructor(options: PolicyHolderOptions) {
    this.#options = options;
    const bytes = readFileSync(options.file);
    this.#seenHash = hashOf(bytes);
    this.#policy = this.#compile(bytes, this.#seenHash);
    this.#loadedAt = new Date().toISOString();
  }

  get current(): PolicySet {
    return this.#policy;
  }

  get loadedAt(): string {
    return this.#loadedAt;
  }

  /** Why the newest file is not in force; empty when it is. */
  get refusal(): string {
    return this.#refusal;
  }

  /** The directory is watched, not the file: editors replace files. */
  startWatching(): void {
    const name = basename(this.#options.file);
    this.#watcher = watch(dirname(this.#options.file), (_event, changed) => {
      if (changed !== null && changed !== name) return;
      clearTimeout(this.#settle);
      // A writer that truncates and then writes is seen twice: the second is the one to read.
      this.#settle = setTimeout(() => this.#reloadQuietly(), 50);
    });
    this.#watcher.on('error', (error) =>
      this.#options.log('error', 'policy file is no longer watched', { error: String(error) }),
    );
  }

  /**
   * Reads the file now.
   *
   * @throws Failure REQUEST_INVALID with every mistake, its line and column
   */
  reload(): PolicySet {
    let hash = '';
    try {
      const bytes = readFileSync(this.#options.file);
      hash = hashOf(bytes);
      const policy = this.#compile(bytes, hash);
      const before = this.#policy.hash;
      this.#policy = policy;
      this.#refusal = '';
      this.#seenHash = hash;
      if (before !== hash) {
        this.#loadedAt = new Date().toISOString();
        this.#options.log('info', 'policy activated', { hash, rules: policy.ruleCount });
        this.#record('allow', { before, after: hash, rules: policy.ruleCount });
      }
      return policy;
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      if (this.#refusal === '' || this.#seenHash !== hash) {
        this.#options.log('error', 'changed policy refused: the old one stays in force', { why });
        this.#record('deny', { offered: hash, why: why.slice(0, 512) });
      }
      this.#refusal = why;
      this.#seenHash = hash;
      throw new Failure('REQUEST_INVALID', `policy refused, the old one stays in force: ${why}`, { cause });
    }
  }

  #reloadQuietly(): void {
    try {
      if (hashOf(readFileSync(this.#options.file)) !== this.#seenHash) this.reload();
    } catch (error) {
      // Told by reload itself; a file that is away for a moment is told when it comes back wrong.
      if (!(error instanceof Failure))
        this.#options.log('warn', 'policy file cannot be read', { error: String(error) });
    }
  }

  close(): void {
    clearTimeout(this.#settle);
    this.#watcher?.close();
  }

  #compile(bytes: Uint8Array, hash: string): PolicySet {
    const { file, administrators, trustDomain } = this.#options;
    return compilePolicy(bytes, { hash, file, administrators, trustDomain });
  }

  #record(decision: 'allow' | 'deny', detail: Record<string, string | number>): void {
    this.#options.audit
      .append({
        kind: 'policy',
        subject: 'lastmile',
        operation: 'activate',
        decision,
        performed: decision === 'allow' ? 'yes' : 'no',
        detail,
      })
      .catch((error) =>
        this.#options.log('error', 'a change of policy is not on record', { error: String(error) }),
      );
  }
}

function hashOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
