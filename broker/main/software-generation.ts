import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { TokenAdapter } from '../../hsm-adapters/adapter.ts';
import { treeRoot } from '../../hsm-adapters/frames/isolation.ts';
import type { AuditLog, EntryDraft } from '../audit/entry.ts';
import type { Log } from '../telemetry/log.ts';

/** Of the product, as package.json has it. */
export const VERSION = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

const SOURCES = ['broker', 'policy', 'hsm-adapters'];

export interface GenerationOptions {
  readonly audit: Pick<AuditLog, 'append'>;
  readonly configSha256: string;
  readonly policyHash: () => string;
  readonly tokens: readonly TokenAdapter[];
  readonly log: Log;
}

/**
 * What decides: digests of the build, lockfile, Node, configuration, policy and modules, and what each token says
 * it is. One entry at every start, and again when a token comes back as another; all others refer to it.
 */
export class SoftwareGeneration {
  readonly #options: GenerationOptions;
  readonly #announced = new Map<TokenAdapter, string>();
  #current = 0;

  constructor(options: GenerationOptions) {
    this.#options = options;
  }

  /** Leaf index of the newest entry; 0 before the first. */
  get current(): number {
    return this.#current;
  }

  /** Writes an entry. @throws AuditError */
  async announce(): Promise<void> {
    const { audit, configSha256, policyHash, tokens } = this.#options;
    for (const token of tokens) this.#announced.set(token, tokenFingerprint(token));
    const draft = await softwareGeneration({
      root: treeRoot(),
      version: VERSION,
      configSha256,
      policyHash: policyHash(),
      tokens,
    });
    this.#current = (await audit.append(draft)).leafIndex;
  }

  /** Writes another entry when the token is not what it was in the last one. Nothing waits for it. */
  tokenChanged(token: TokenAdapter): void {
    const before = this.#announced.get(token);
    if (token.state === 'ready' && before !== undefined && before !== tokenFingerprint(token)) {
      this.announce().catch((error) =>
        this.#options.log('error', 'the software generation is not on record', { error: String(error) }),
      );
    }
  }
}

async function softwareGeneration(options: {
  readonly root: string;
  readonly version: string;
  readonly configSha256: string;
  readonly policyHash: string;
  readonly tokens: readonly TokenAdapter[];
}): Promise<EntryDraft> {
  return {
    kind: 'software-generation',
    subject: 'lastmile',
    operation: 'start',
    decision: 'allow',
    performed: 'yes',
    policy: options.policyHash,
    detail: {
      version: options.version,
      build: buildDigest(options.root),
      lockfile: digestIfPresent(join(options.root, 'package-lock.json')),
      node: process.version,
      nodeBinary: await fileDigest(process.execPath),
      configuration: options.configSha256,
      tokens: options.tokens.map(describeToken),
    },
  };
}

/** Changes when a token was replaced, upgraded, or has another module. */
function tokenFingerprint(token: TokenAdapter): string {
  return JSON.stringify(describeToken(token));
}

function describeToken(token: TokenAdapter): Record<string, string | boolean> {
  const { info } = token;
  if (info === undefined) return { name: token.name, state: token.state };
  return {
    name: token.name,
    serial: info.serial,
    model: info.model,
    firmware: info.firmware,
    mode: info.software ? 'software token' : 'hardware',
    module: info.moduleSha256,
  };
}

/** SHA-256 over the sorted list of every program file and its digest. */
function buildDigest(root: string): string {
  const digest = createHash('sha256');
  for (const directory of SOURCES) {
    const files = readdirSync(join(root, directory), { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.(ts|js|proto)$/.test(file) && !file.includes('.test.'))
      .sort();
    for (const file of files) {
      digest.update(`${directory}/${file}\0`);
      digest.update(
        createHash('sha256')
          .update(readFileSync(join(root, directory, file)))
          .digest(),
      );
    }
  }
  return digest.digest('hex');
}

function digestIfPresent(file: string): string {
  try {
    return createHash('sha256').update(readFileSync(file)).digest('hex');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'absent';
    throw error;
  }
}

/** Through one buffer: Node itself is a hundred megabytes, which would stay in the heap for as long as nothing needs room. */
async function fileDigest(file: string): Promise<string> {
  const digest = createHash('sha256');
  const buffer = Buffer.allocUnsafe(1 << 20);
  await using handle = await open(file);
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length);
    if (bytesRead === 0) return digest.digest('hex');
    digest.update(buffer.subarray(0, bytesRead));
  }
}
