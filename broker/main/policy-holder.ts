import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { compileLoadedPolicy } from '../../policy/compile.ts';
import type { PolicySet } from '../../policy/decision.ts';
import { type LoadedPolicy, loadPolicy, MAX_POLICY_BYTES } from '../../policy/load.ts';
import { PolicyError } from '../../policy/policy-error.ts';
import { type Appended, AuditError, type EntryDraft, type EntryValue } from '../audit/entry.ts';
import { Failure } from '../keyuse/failure.ts';
import { PolicyHistory, policyHash, writePolicyFile } from './policy-history.ts';
import { type PolicyReading, readPolicy } from './policy-reader.ts';

/** What the holder needs of the log. */
export interface PolicyLog {
  append(draft: EntryDraft): Promise<Appended>;
  query(filter: {
    readonly kind: string;
    readonly operation: string;
    readonly decision: string;
    readonly limit: number;
  }): Promise<
    readonly {
      readonly leafIndex: number;
      readonly entry: {
        readonly time: string;
        readonly detail?: { readonly [name: string]: EntryValue | undefined } | undefined;
      };
    }[]
  >;
}

export interface PolicyHolderOptions {
  readonly file: string;
  /** Of the versions that were in force. */
  readonly history: string;
  readonly administrators: readonly string[];
  readonly trustDomain: string;
  readonly audit: PolicyLog;
  readonly log: (
    level: 'info' | 'warn' | 'error',
    message: string,
    fields?: Record<string, string | number>,
  ) => void;
}

/** One time that a policy came into force, as the log tells it. */
export interface PolicyActivation {
  readonly policyHash: string;
  /** Of the policy that it replaced; empty for the first. */
  readonly before: string;
  /** RFC 3339. */
  readonly at: string;
  /** SPIFFE ID of who activated it by its hash; empty: the file was changed. */
  readonly by: string;
  readonly rules: number;
  readonly leafIndex: number;
  readonly differences: readonly string[];
  /** It can be read and activated again. */
  readonly isKept: boolean;
}

const MAX_DIFFERENCES = 100;
const MAX_DIFFERENCES_LENGTH = 4096;
const RETRY_MS = 1000;

/**
 * The policy in force. A file is read whole before it replaces another; one with a mistake is refused, the old policy
 * stays, and the refusal is in the log and in `status` until a good file comes.
 *
 * A policy is in force only when it is kept in the history and the entry that tells of it is durable: what the rules
 * were can be shown for every decision. One change at a time.
 */
export class PolicyHolder {
  readonly #options: PolicyHolderOptions;
  readonly #history: PolicyHistory;
  #policy: PolicySet;
  #seenHash: string;
  #refusal = '';
  #loadedAt = new Date().toISOString();
  #watcher: FSWatcher | undefined;
  #settle: NodeJS.Timeout | undefined;
  #tail: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  private constructor(options: PolicyHolderOptions, history: PolicyHistory, policy: PolicySet) {
    this.#options = options;
    this.#history = history;
    this.#policy = policy;
    this.#seenHash = policy.hash;
  }

  /**
   * @throws PolicyError: without a policy the broker does not start
   * @throws AuditError when it is another one than before and that cannot be recorded
   */
  static async open(options: PolicyHolderOptions): Promise<PolicyHolder> {
    const { administrators, trustDomain, file } = options;
    // Nobody waits yet: no thread is needed.
    const bytes = readFileSync(file);
    const known = { file, administrators, trustDomain };
    const loaded = loadPolicy(bytes, known);
    const policy = compileLoadedPolicy(loaded, policyHash(bytes));
    const history = await PolicyHistory.open(options.history);
    await history.keep(bytes);
    const holder = new PolicyHolder(options, history, policy);
    const [last] = await holder.activations(1);
    if (last?.policyHash !== policy.hash) {
      const before = last?.policyHash ?? '';
      // What was in force before may stay; what is new is taken up now, and may be late for that.
      const { issues } = loadPolicy(bytes, { ...known, now: Date.now() });
      if (issues.length > 0) throw new PolicyError(issues);
      const differences = before === '' ? [] : (await holder.#read(bytes, before)).differences;
      await holder.#recordActivation(before, policy, differences, '');
    }
    return holder;
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
      // A writer that truncates and then writes is seen twice: the second is the one to read.
      this.#reloadSoon(50);
    });
    this.#watcher.on('error', (error) =>
      this.#options.log('error', 'policy file is no longer watched', { error: String(error) }),
    );
  }

  /**
   * Reads the file now.
   *
   * @throws Failure REQUEST_INVALID with every mistake, its line and column
   * @throws AuditError when the change cannot be recorded: the old policy stays in force, and it is tried again
   */
  reload(): Promise<PolicySet> {
    return this.#inTurn(async () => {
      let hash = '';
      try {
        const bytes = await readFile(this.#options.file);
        hash = policyHash(bytes);
        const policy = await this.#replaceBy(bytes, '', async () => undefined);
        this.#refusal = '';
        this.#seenHash = hash;
        return policy;
      } catch (cause) {
        if (cause instanceof AuditError) {
          this.#reloadSoon(RETRY_MS);
          throw cause;
        }
        const why = cause instanceof Error ? cause.message : String(cause);
        if (this.#refusal === '' || this.#seenHash !== hash) {
          this.#options.log('error', 'changed policy refused: the old one stays in force', { why });
          this.#recordRefusal({ offered: hash, why: why.slice(0, 512) });
        }
        this.#refusal = why;
        this.#seenHash = hash;
        throw new Failure('REQUEST_INVALID', `policy refused, the old one stays in force: ${why}`, { cause });
      }
    });
  }

  /** The bytes of a version that was in force; of the one in force for an empty hash. Undefined: not kept. */
  read(hash: string): Promise<Uint8Array | undefined> {
    return this.#history.read(hash === '' ? this.#policy.hash : hash);
  }

  /** Newest first; `limit` is 1 to 1000. */
  async activations(limit: number): Promise<readonly PolicyActivation[]> {
    const [found, kept] = await Promise.all([
      this.#options.audit.query({ kind: 'policy', operation: 'activate', decision: 'allow', limit }),
      this.#history.list(),
    ]);
    return found.map(({ leafIndex, entry: { time, detail = {} } }) => ({
      policyHash: text(detail.after),
      before: text(detail.before),
      at: time,
      by: text(detail.by),
      rules: typeof detail.rules === 'number' ? detail.rules : 0,
      leafIndex,
      differences: Array.isArray(detail.differences) ? detail.differences.map(text) : [],
      isKept: kept.has(text(detail.after)),
    }));
  }

  /**
   * Puts a version of the history into force again and writes it to the policy file.
   *
   * @param by SPIFFE ID of who asks for it
   * @throws Failure REQUEST_INVALID when it is not kept, or is no policy for this broker any more
   */
  activate(hash: string, by: string): Promise<PolicySet> {
    return this.#inTurn(async () => {
      const bytes = await this.#history.read(hash);
      if (bytes === undefined)
        throw new Failure('REQUEST_INVALID', 'no policy of this hash was ever in force here');
      try {
        const policy = await this.#replaceBy(bytes, by, () => writePolicyFile(this.#options.file, bytes));
        this.#refusal = '';
        this.#seenHash = hash;
        return policy;
      } catch (cause) {
        if (!(cause instanceof PolicyError)) throw cause;
        throw new Failure('REQUEST_INVALID', `this version cannot be in force any more: ${cause.message}`, {
          cause,
        });
      }
    });
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#settle);
    this.#watcher?.close();
  }

  /** @throws PolicyError, AuditError, or what `write` throws: then nothing has changed in here */
  async #replaceBy(bytes: Uint8Array, by: string, write: () => Promise<void>): Promise<PolicySet> {
    const before = this.#policy.hash;
    const hash = policyHash(bytes);
    if (hash === before) {
      await write();
      return this.#policy;
    }
    const { loaded, differences } = await this.#read(bytes, before);
    const policy = compileLoadedPolicy(loaded, hash);
    await this.#history.keep(bytes);
    // Recorded first: what is not on record does not grant.
    await this.#recordActivation(before, policy, differences, by);
    try {
      await write();
    } catch (error) {
      this.#recordRefusal({
        offered: hash,
        why: `the policy file cannot be written: ${String(error)}`.slice(0, 512),
      });
      throw error;
    }
    this.#policy = policy;
    this.#loadedAt = new Date().toISOString();
    this.#options.log('info', 'policy activated', { hash, rules: policy.ruleCount });
    return policy;
  }

  async #read(bytes: Uint8Array, before: string): Promise<PolicyReading> {
    const { file, administrators, trustDomain } = this.#options;
    if (bytes.length > MAX_POLICY_BYTES) return { loaded: tooLarge(file), differences: [] };
    return readPolicy({
      bytes,
      options: { file, administrators, trustDomain, now: Date.now() },
      before: await this.#history.read(before),
    });
  }

  async #recordActivation(
    before: string,
    policy: PolicySet,
    differences: readonly string[],
    by: string,
  ): Promise<void> {
    await this.#options.audit.append({
      kind: 'policy',
      subject: 'lastmile',
      operation: 'activate',
      decision: 'allow',
      performed: 'yes',
      policy: policy.hash,
      detail: {
        before,
        after: policy.hash,
        rules: policy.ruleCount,
        ...(by === '' ? {} : { by }),
        ...boundedDifferences(differences),
      },
    });
  }

  #recordRefusal(detail: Record<string, string | number>): void {
    this.#options.audit
      .append({
        kind: 'policy',
        subject: 'lastmile',
        operation: 'activate',
        decision: 'deny',
        performed: 'no',
        detail,
      })
      .catch((error) =>
        this.#options.log('error', 'a refused policy is not on record', { error: String(error) }),
      );
  }

  #reloadSoon(delayMs: number): void {
    if (this.#isClosed) return;
    clearTimeout(this.#settle);
    this.#settle = setTimeout(() => void this.#reloadQuietly(), delayMs);
  }

  async #reloadQuietly(): Promise<void> {
    try {
      if (policyHash(await readFile(this.#options.file)) !== this.#seenHash) await this.reload();
    } catch (error) {
      // Told by reload itself; a file that is away for a moment is told when it comes back wrong.
      if (!(error instanceof Failure))
        this.#options.log('warn', 'policy file is not in force', { error: String(error) });
    }
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(change);
    // Whoever comes next waits for the end of this one, not for its success.
    this.#tail = turn.then(
      () => undefined,
      () => undefined,
    );
    return turn;
  }
}

function tooLarge(file: string): LoadedPolicy {
  return loadPolicy(new Uint8Array(MAX_POLICY_BYTES + 1), { file });
}

/** As much of them as has room in an entry. */
function boundedDifferences(lines: readonly string[]): { readonly [name: string]: EntryValue } {
  if (lines.length === 0) return {};
  const shown: string[] = [];
  let length = 0;
  for (const line of lines) {
    length += line.length;
    if (shown.length >= MAX_DIFFERENCES || length > MAX_DIFFERENCES_LENGTH) break;
    shown.push(line);
  }
  const left = lines.length - shown.length;
  return { differences: shown, ...(left === 0 ? {} : { furtherDifferences: left }) };
}

function text(value: EntryValue | undefined): string {
  return typeof value === 'string' ? value : '';
}
