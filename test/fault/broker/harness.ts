import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type LastmileClient, LastmileError } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, runLastmile } from '../../fakes/instance.ts';
import {
  type At,
  type Entry,
  entries,
  PAYMENTS,
  type Status,
  status,
  tokenOf,
  untilStatus,
} from '../../fakes/instance-clients.ts';

/** What the fault tests of the whole broker share: a load that keeps what it was given, and eyes on processes. */

export const KEY = 'payments/jwt';

/** A signature that a client holds: from here on the log must know of it, whatever dies. */
interface Held {
  readonly message: Buffer;
  readonly signature: Uint8Array;
  readonly leafIndex: number;
}

/** Signs without pause until it is stopped. Keeps every signature, and every error by its reason. */
export class Load {
  readonly held: Held[] = [];
  readonly errors: LastmileError[] = [];
  readonly #client: LastmileClient;
  readonly #waiting = new Set<() => void>();
  readonly #loops: Promise<void>[];
  readonly #prefix: string;
  #isStopped = false;
  #count = 0;

  constructor(client: LastmileClient, prefix: string, inFlight = 24) {
    this.#client = client;
    this.#prefix = prefix;
    this.#loops = Array.from({ length: inFlight }, () => this.#loop());
  }

  /** Resolves when so many more signatures have arrived. */
  async more(count: number, withinMs = 30_000): Promise<void> {
    const wanted = this.held.length + count;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const check = () => {
      if (this.held.length >= wanted) resolve();
    };
    const tooLate = setTimeout(
      () => reject(new Error(`${this.held.length} of ${wanted} signatures; ${this.summary()}`)),
      withinMs,
    );
    this.#waiting.add(check);
    check();
    await promise.finally(() => {
      clearTimeout(tooLate);
      this.#waiting.delete(check);
    });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#loops);
  }

  /** Reasons of errors with what was said of performance, counted. */
  reasons(): Readonly<Record<string, number>> {
    const found: Record<string, number> = {};
    for (const { reason, performed } of this.errors) {
      const name = `${reason} ${performed}`;
      found[name] = (found[name] ?? 0) + 1;
    }
    return found;
  }

  summary(): string {
    return JSON.stringify({ held: this.held.length, errors: this.reasons() });
  }

  async #loop(): Promise<void> {
    while (!this.#isStopped) {
      const message = Buffer.from(`${this.#prefix} ${this.#count++}`);
      try {
        const { signature, log } = await this.#client.sign({ key: KEY, algorithm: 'ES256', message });
        this.held.push({ message, signature, leafIndex: log.leafIndex });
        for (const check of this.#waiting) check();
      } catch (error) {
        if (!(error instanceof LastmileError)) throw error;
        this.errors.push(error);
        // A refusal costs the client nothing; without a turn of the event loop nothing else would happen here.
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  }
}

/** Half the order of P-256: the log has signatures with s at most this. */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** SHA-256, base64url, of r ‖ min(s, n−s), as entries have it. */
export function signatureDigest(signature: Uint8Array): string {
  const s = BigInt(`0x${Buffer.from(signature.subarray(32)).toString('hex')}`);
  const low = s > ORDER / 2n ? ORDER - s : s;
  return createHash('sha256')
    .update(signature.subarray(0, 32))
    .update(Buffer.from(low.toString(16).padStart(64, '0'), 'hex'))
    .digest('base64url');
}

/** Everything that is wrong with what clients hold; empty when each signature verifies and is in the log. */
export function findings(
  held: readonly Held[],
  publicKey: KeyObject,
  log: ReadonlyMap<number, Entry>,
): string[] {
  const found: string[] = [];
  const leaves = new Set<number>();
  for (const { message, signature, leafIndex } of held) {
    if (leaves.has(leafIndex)) found.push(`leaf ${leafIndex} stands for two signatures`);
    leaves.add(leafIndex);
    if (!verify('sha256', message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)) {
      found.push(`the signature of leaf ${leafIndex} does not verify`);
    }
    const entry = log.get(leafIndex);
    if (entry === undefined) found.push(`leaf ${leafIndex} is not in the log`);
    else if (
      entry.subject !== PAYMENTS ||
      entry.key !== KEY ||
      entry.operation !== 'sign' ||
      entry.decision !== 'allow' ||
      entry.performed !== 'yes' ||
      entry.output?.sha256 !== signatureDigest(signature) ||
      entry.input?.sha256 !== createHash('sha256').update(message).digest('base64url')
    ) {
      found.push(`leaf ${leafIndex} tells of something else: ${JSON.stringify(entry)}`);
    }
  }
  return found;
}

export async function publicKeyOf(client: LastmileClient): Promise<KeyObject> {
  return createPublicKey((await client.getPublicKey({ key: KEY })).pem);
}

/** The whole log by leaf index. */
export async function wholeLog(client: OperatorClient): Promise<ReadonlyMap<number, Entry>> {
  const found = new Map<number, Entry>();
  let before: number | undefined;
  for (;;) {
    const page = await entries(client, before === undefined ? {} : { before });
    for (const entry of page) found.set(entry.leaf, entry);
    const last = page.at(-1);
    if (last === undefined || last.leaf === 0) return found;
    before = last.leaf;
  }
}

/** `lastmile audit verify` over the network. @throws Error with its output when the log is not sound */
export function verifyAudit(instance: At): Promise<string> {
  return runLastmile(['audit', 'verify', '--instance', instance.directory, '--as', 'operator', '--json']);
}

/** Process ids of all descendants. Linux. */
export function descendants(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = parentOf(Number(name));
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const found: number[] = [];
  for (const queue = [pid]; queue.length > 0; ) {
    const next = children.get(queue.pop()!) ?? [];
    found.push(...next);
    queue.push(...next);
  }
  return found;
}

function parentOf(pid: number): number | undefined {
  const text = readIfThere(`/proc/${pid}/stat`);
  // The name in parentheses may hold anything, parentheses too.
  return text === undefined ? undefined : Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]);
}

/** False for what has ended, even where nobody has taken note of it yet. */
export function isRunning(pid: number): boolean {
  const text = readIfThere(`/proc/${pid}/stat`);
  return text !== undefined && !/^[ZX]/.test(text.slice(text.lastIndexOf(')') + 2));
}

/** Bytes, now. */
export function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

/** Looks until `condition` holds: for what tells nobody that it has happened. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  withinMs = 15_000,
): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Logged in, and the key proven there: keys that were proven before the last login do not count. */
export function isServing(now: Status, token: string): boolean {
  const { state, keys } = tokenOf(now, token);
  return (state === 'ready' || state === 'degraded') && keys.includes(`${KEY}#1`);
}

export async function processOf(client: OperatorClient, role: string) {
  const found = (await status(client)).processes.find((candidate) => candidate.role === role);
  if (found === undefined) throw new Error(`no process ${role}`);
  return found;
}

/** SIGKILL, then until its successor has logged in or must not. */
export async function killTokenWorker(client: OperatorClient, token: string): Promise<void> {
  const role = `token worker ${token}`;
  const before = await processOf(client, role);
  process.kill(before.pid, 'SIGKILL');
  await untilStatus(client, ({ processes }) =>
    processes.some(
      (now) =>
        now.role === role && now.pid !== before.pid && (now.state === 'ready' || now.state === 'blocked'),
    ),
  );
}

/** Edits a text file; the pattern must be in it. */
export function edit(path: string, pattern: string | RegExp, replacement: string): void {
  const before = readFileSync(path, 'utf8');
  const after = before.replace(pattern, replacement);
  if (after === before) throw new Error(`${path} has no ${String(pattern)}`);
  writeFileSync(path, after);
}

/** From now on the instance listens where it does now, so that clients find it again after a restart. */
export function keepPorts(instance: RunningInstance): void {
  const path = join(instance.directory, 'lastmile.yaml');
  edit(path, 'workloads: 127.0.0.1:0', `workloads: 127.0.0.1:${instance.workloadsPort}`);
  edit(path, 'control: 127.0.0.1:0', `control: 127.0.0.1:${instance.controlPort}`);
}
