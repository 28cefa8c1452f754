import { createHash, randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, open, readdir, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** `sha256:<hex>` of a policy file's bytes: its name in decisions, entries and here. */
export function policyHash(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

const HASH = /^sha256:([0-9a-f]{64})$/;
const SUFFIX = '.yaml';
const PROPOSED_SUFFIX = '.proposed.yaml';
/** Policies that were proposed and never in force. */
const MAX_PROPOSED = 64;

/**
 * Every policy that was ever in force, each in a file that its hash names: `<hex>.yaml`, 0600, never changed. What
 * is read back is what its name says, or nothing.
 *
 * What was proposed stands beside in `<hex>.proposed.yaml` until it is in force, or many newer ones were proposed.
 */
export class PolicyHistory {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async open(directory: string): Promise<PolicyHistory> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await chmod(directory, 0o700);
    await syncDirectory(dirname(directory));
    for (const name of await readdir(directory)) {
      // What a crash left half written.
      if (name.startsWith('.')) await rm(join(directory, name), { force: true });
    }
    return new PolicyHistory(directory);
  }

  /** Durable once it resolves: before the policy is in force. @returns the hash */
  async keep(bytes: Uint8Array): Promise<string> {
    const hash = policyHash(bytes);
    // A damaged file is not a version that was kept: it is written again.
    if ((await this.#read(hash, SUFFIX)) === undefined) {
      await replaceFile(join(this.#directory, fileName(hash, SUFFIX)), bytes, { mode: 0o600 });
    }
    await rm(join(this.#directory, fileName(hash, PROPOSED_SUFFIX)), { force: true });
    return hash;
  }

  /** For who is to agree to it and who activates it; the oldest make room. Durable once it resolves. */
  async keepProposed(bytes: Uint8Array): Promise<void> {
    const hash = policyHash(bytes);
    if ((await this.#read(hash, SUFFIX)) !== undefined) return;
    const name = fileName(hash, PROPOSED_SUFFIX);
    await replaceFile(join(this.#directory, name), bytes, { mode: 0o600 });
    const others = (await readdir(this.#directory)).filter(
      (other) => other.endsWith(PROPOSED_SUFFIX) && other !== name,
    );
    if (others.length < MAX_PROPOSED) return;
    const aged = await Promise.all(
      others.map(async (other) => ({ other, at: (await stat(join(this.#directory, other))).mtimeMs })),
    );
    aged.sort((a, b) => b.at - a.at);
    for (const { other } of aged.slice(MAX_PROPOSED - 1)) await rm(join(this.#directory, other));
  }

  /** In force once, or proposed. Undefined: it was never kept, or is no longer what its name says. */
  async read(hash: string): Promise<Uint8Array | undefined> {
    if (!HASH.test(hash)) return undefined;
    return (await this.#read(hash, SUFFIX)) ?? (await this.#read(hash, PROPOSED_SUFFIX));
  }

  async #read(hash: string, suffix: string): Promise<Uint8Array | undefined> {
    let bytes: Uint8Array;
    try {
      bytes = await readFile(join(this.#directory, fileName(hash, suffix)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    return policyHash(bytes) === hash ? bytes : undefined;
  }

  /** Hashes of what is kept, without what was only proposed. */
  async list(): Promise<ReadonlySet<string>> {
    const names = await readdir(this.#directory);
    return new Set(
      names
        .filter((name) => name.endsWith(SUFFIX))
        .map((name) => `sha256:${name.slice(0, -SUFFIX.length)}`)
        .filter((hash) => HASH.test(hash)),
    );
  }
}

function fileName(hash: string, suffix: string): string {
  return `${hash.slice('sha256:'.length)}${suffix}`;
}

/**
 * Puts `bytes` in the place of a file, whole or not at all, and durable once it resolves. A link stays one; the file
 * keeps its mode and owner.
 */
export async function writePolicyFile(file: string, bytes: Uint8Array): Promise<void> {
  const place = await realpath(file);
  const { mode, uid, gid } = await stat(place);
  await replaceFile(place, bytes, { mode: mode & 0o777, uid, gid });
}

async function replaceFile(
  file: string,
  bytes: Uint8Array,
  owner: { readonly mode: number; readonly uid?: number; readonly gid?: number },
): Promise<void> {
  const temporary = join(dirname(file), `.${basename(file)}.${randomBytes(6).toString('hex')}`);
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(bytes);
      await handle.chmod(owner.mode);
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (owner.uid !== undefined && owner.gid !== undefined && process.getuid?.() === 0)
      await chown(temporary, owner.uid, owner.gid);
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(file));
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
