/**
 * The policy in force, and how another one replaces it.
 *
 * Longer than most files because the order of the steps is the security property: read, agreed to, kept, remembered,
 * recorded, and only then in force. It is to be read in one piece.
 */
import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { describeCheck, type PolicyCheck } from '../../policy/check.ts';
import { compileLoadedPolicy } from '../../policy/compile.ts';
import type { PolicySet } from '../../policy/decision.ts';
import { governedChange } from '../../policy/governance.ts';
import type { KnownNames } from '../../policy/idle-rules.ts';
import { type LoadedPolicy, loadPolicy, MAX_POLICY_BYTES } from '../../policy/load.ts';
import { PolicyError } from '../../policy/policy-error.ts';
import { formatSourceIssue } from '../../policy/source-issue.ts';
import type { AskedApprovals, Petition } from '../approvals/approvals.ts';
import { AuditError } from '../audit/entry.ts';
import { Failure } from '../keyuse/failure.ts';
import type { KnownPolicy, PolicyRows } from '../state/policy-rows.ts';
import {
  activationEntry,
  activationsIn,
  governedPolicy,
  type PolicyActivation,
  type PolicyLog,
  policyInForce,
} from './policy-activations.ts';
import { PolicyHistory, policyHash, writePolicyFile } from './policy-history.ts';
import { showPolicyChange } from './policy-proposal.ts';
import { type PolicyReading, readPolicy } from './policy-reader.ts';
import { profileIssues } from './profile-check.ts';

export interface PolicyHolderOptions {
  readonly file: string;
  /** Of the versions that were in force. */
  readonly history: string;
  readonly administrators: readonly string[];
  readonly trustDomain: string;
  readonly audit: PolicyLog;
  /** What is in force, remembered beside the log. */
  readonly rows: Pick<PolicyRows, 'inForce' | 'next' | 'begin' | 'settle'>;
  /** Keys that there are and workloads that were seen: rules about none of them are warned of. */
  readonly names?: (() => Pick<KnownNames, 'knownKeys' | 'knownWorkloads'>) | undefined;
  /** Asked when governance wants people to agree. Undefined: nobody can be asked, and nothing governed changes. */
  readonly approvals?: (() => AskedApprovals | undefined) | undefined;
  readonly log: (
    level: 'info' | 'warn' | 'error',
    message: string,
    fields?: Record<string, string | number>,
  ) => void;
}

/** Another policy, as it was proposed. */
export interface PolicyProposal {
  readonly policyHash: string;
  /** Id of the approval that it needs, or has. */
  readonly approval: string;
  /** People have agreed: it can be activated by who proposed it. */
  readonly isApproved: boolean;
  readonly differences: readonly string[];
}

const RETRY_MS = 1000;

/**
 * The policy in force. A file is read whole before it replaces another; one with a mistake is refused, the old policy
 * stays, and the refusal is in the log and in `status` until a good file comes.
 *
 * A policy is in force only when it is kept in the history and the entry that tells of it is durable: what the rules
 * were can be shown for every decision. One change at a time.
 *
 * Under `governance` the policy in force is the one that was activated last, whatever the file says, over restarts too:
 * another one is proposed, agreed to, and activated by its hash.
 */
export class PolicyHolder {
  readonly #options: PolicyHolderOptions;
  readonly #history: PolicyHistory;
  #policy: PolicySet;
  /** What the log says was activated last: another one where the file could not be written after it. */
  #recorded: KnownPolicy | undefined;
  #seenHash: string;
  #refusal = '';
  /** Why the file is not what was activated last; empty when it is. */
  #unwritten = '';
  #loadedAt = new Date().toISOString();
  #watcher: FSWatcher | undefined;
  #reloadTimer: NodeJS.Timeout | undefined;
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
   * @throws Error when log and state disagree about the policy in force, or a governed one is not kept
   */
  static async open(options: PolicyHolderOptions): Promise<PolicyHolder> {
    const { administrators, trustDomain, file } = options;
    const names = { file, administrators, trustDomain };
    const history = await PolicyHistory.open(options.history);
    const last = await policyInForce(options.audit, options.rows);
    options.rows.settle(last);
    const governed = await governedPolicy(last, history);
    // Nobody waits yet: no thread is needed.
    const bytes = governed ?? readFileSync(file);
    const loaded = loadPolicy(bytes, names);
    const policy = compileLoadedPolicy(loaded, policyHash(bytes));
    await history.keep(bytes);
    const holder = new PolicyHolder(options, history, policy);
    holder.#recorded = last;
    if (governed !== undefined) await holder.#lookAtFile();
    if (last?.hash !== policy.hash) {
      const before = last?.hash ?? '';
      // What was in force before may stay; what is new is taken up now, and may be late for that.
      const { issues } = loadPolicy(bytes, { ...names, now: Date.now() });
      const all = [...issues, ...(await profileIssues(bytes, file, loaded))];
      if (all.length > 0) throw new PolicyError(all);
      const differences = before === '' ? [] : (await holder.#read(bytes, before)).differences;
      await holder.#record({ before, policy, differences, by: '' });
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
        if (governedChange(this.#policy, { hash }) !== undefined) throw new Error(GOVERNED);
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

  /** What is wrong in a policy that nobody takes up, and probably not meant, by the names that are known here. */
  async check(bytes: Uint8Array, file: string): Promise<PolicyCheck> {
    const { administrators, trustDomain, names } = this.#options;
    const options = { file, administrators, trustDomain, now: Date.now(), ...names?.() };
    const { loaded } = await readPolicy({ bytes, options, before: undefined });
    return describeCheck(loaded, options);
  }

  /** Newest first; `limit` is 1 to 1000. */
  activations(limit: number): Promise<readonly PolicyActivation[]> {
    return activationsIn(this.#options.audit, this.#history, limit);
  }

  /**
   * Proposes another policy, where `governance` wants people to agree: reads it whole, keeps it, and asks them.
   *
   * @param content undefined: of the policy file as it is now
   * @param by SPIFFE ID of who proposes it, and does not approve it
   * @throws Failure REQUEST_INVALID with every mistake in it, or when nobody has to agree
   */
  propose(content: Uint8Array | undefined, by: string): Promise<PolicyProposal> {
    return this.#inTurn(async () => {
      const bytes = content ?? (await readFile(this.#options.file));
      const hash = policyHash(bytes);
      if (hash === this.#policy.hash) throw new Failure('REQUEST_INVALID', 'this policy is in force');
      if (this.#policy.governance === undefined) {
        throw new Failure(
          'REQUEST_INVALID',
          'the policy in force has no `governance`: change the policy file',
        );
      }
      const reading = await this.#read(bytes, this.#policy.hash);
      const policy = asRequest('policy refused', () => compileLoadedPolicy(reading.loaded, hash));
      const governed = this.#governed(policy, reading, by);
      // Where people have agreed already, it stays theirs to be used.
      const { id, isApproved } =
        governed === undefined
          ? { id: '', isApproved: true }
          : await governed.approvals.ask(governed.petition);
      // After it: who asks for too much is refused there, and takes nobody's place among what is kept.
      await this.#history.keepProposed(bytes);
      return { policyHash: hash, differences: reading.differences, approval: id, isApproved };
    });
  }

  /**
   * Puts a version of the history, or one that was proposed, into force and writes it to the policy file.
   *
   * @param by SPIFFE ID of who asks for it; under `governance`, who proposed it
   * @throws Failure REQUEST_INVALID when it is not kept, or is no policy for this broker any more; APPROVAL_REQUIRED
   *   with `approval` while `governance` wants more people to agree
   */
  activate(hash: string, by: string): Promise<PolicySet> {
    return this.#inTurn(async () => {
      const bytes = await this.#history.read(hash);
      if (bytes === undefined)
        throw new Failure('REQUEST_INVALID', 'no policy of this hash was ever in force or proposed here');
      try {
        const policy = await this.#replaceBy(bytes, by, () => writePolicyFile(this.#options.file, bytes));
        this.#refusal = this.#unwritten;
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
    clearTimeout(this.#reloadTimer);
    this.#watcher?.close();
  }

  /** @throws PolicyError, AuditError, or what `write` throws: then nothing has changed in here */
  async #replaceBy(bytes: Uint8Array, by: string, write: () => Promise<void>): Promise<PolicySet> {
    const before = this.#policy.hash;
    const hash = policyHash(bytes);
    this.#unwritten = '';
    if (hash === before) {
      await write();
      return this.#policy;
    }
    const reading = await this.#read(bytes, before);
    const { loaded, differences } = reading;
    const policy = compileLoadedPolicy(loaded, hash);
    const governed = this.#governed(policy, reading, by);
    for (const warning of loaded.warnings)
      this.#options.log('warn', 'in the policy that comes into force', { what: formatSourceIssue(warning) });
    const approval = await governed?.approvals.take(governed.petition);
    // Recorded first: what is not on record does not grant.
    try {
      await this.#history.keep(bytes);
      await this.#record({ before, policy, differences, by, approval });
    } catch (error) {
      approval?.giveBack();
      throw error;
    }
    try {
      await write();
    } catch (error) {
      if (policy.governance !== undefined && approval !== undefined) {
        // The log says what is in force, and the file nothing.
        this.#policy = policy;
        this.#loadedAt = new Date().toISOString();
        this.#unwritten = `the policy file cannot be written, and is not what is in force: ${String(error)}`;
        this.#options.log('warn', 'policy activated, but the policy file is another', {
          error: String(error),
        });
        return policy;
      }
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

  /** Durable once it resolves, and remembered beside the log. */
  async #record(activation: Parameters<typeof activationEntry>[0]): Promise<void> {
    const { audit, rows, log } = this.#options;
    const next = { hash: activation.policy.hash, isGoverned: activation.policy.governance !== undefined };
    rows.begin(this.#recorded, next);
    await audit.append(activationEntry(activation));
    this.#recorded = next;
    try {
      rows.settle(next);
    } catch (error) {
      // What was begun, with the log, says as much at the next start.
      log('warn', 'the state does not say yet which policy is in force', { error: String(error) });
    }
  }

  /**
   * What people have to agree to, and who asks them; undefined: nothing.
   *
   * @throws Failure BUSY when nobody can be asked; REQUEST_INVALID when they could not be shown what changes
   */
  #governed(
    policy: PolicySet,
    { isCompared, differences }: PolicyReading,
    by: string,
  ): { readonly petition: Petition; readonly approvals: AskedApprovals } | undefined {
    const allowance = governedChange(this.#policy, policy);
    if (allowance === undefined) return undefined;
    if (!isCompared) throw new Failure('REQUEST_INVALID', NOT_COMPARED);
    const approvals = this.#options.approvals?.();
    if (approvals === undefined) throw new Failure('BUSY', 'approvals cannot be looked up now');
    const petition = {
      requester: by,
      operation: 'policy.activate',
      key: '',
      version: 0,
      algorithm: '',
      ...showPolicyChange(this.#policy.hash, policy.hash, differences),
      allowance,
      catalogEntry: '',
    };
    return { petition, approvals };
  }

  /** After a start under governance: a file that is not what is in force is told of, and changes nothing. */
  async #lookAtFile(): Promise<void> {
    try {
      await this.reload();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
    }
  }

  async #read(bytes: Uint8Array, before: string): Promise<PolicyReading> {
    const { file, administrators, trustDomain, names } = this.#options;
    if (bytes.length > MAX_POLICY_BYTES)
      return { loaded: tooLarge(file), isCompared: false, differences: [] };
    return readPolicy({
      bytes,
      options: { file, administrators, trustDomain, now: Date.now(), ...names?.() },
      before: await this.#history.read(before),
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
    clearTimeout(this.#reloadTimer);
    this.#reloadTimer = setTimeout(() => void this.#reloadQuietly(), delayMs);
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

const NOT_COMPARED =
  'the policy in force is no longer among the kept policies, so that nobody can be shown what changes: bring the directory of policies back from a copy';
const GOVERNED =
  'the policy file is not the policy in force, and `governance` lets no file change it: propose it, or put the file back';

/** A policy with mistakes, as who handed it in is told. */
function asRequest<T>(what: string, compile: () => T): T {
  try {
    return compile();
  } catch (cause) {
    if (!(cause instanceof PolicyError)) throw cause;
    throw new Failure('REQUEST_INVALID', `${what}: ${cause.message}`, { cause });
  }
}

function tooLarge(file: string): LoadedPolicy {
  return loadPolicy(new Uint8Array(MAX_POLICY_BYTES + 1), { file });
}
