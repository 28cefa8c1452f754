import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { entryUrl, roleUsers } from '../../hsm-adapters/frames/isolation.ts';
import { loadConfig } from '../config.ts';
import { DEMO_KEYS } from '../init/demo-identities.ts';
import { createInstance, DEFAULT_UID_BASE, type PreparedToken } from '../init/instance.ts';
import type { Log } from '../telemetry/log.ts';
import { openCore } from './broker.ts';

const TOKENS = ['a', 'b'];

export interface DevelopmentOptions {
  readonly directory: string;
  readonly workloadsPort: number;
  readonly controlPort: number;
}

/** `lastmile init`: files and certificates, two SoftHSM2 tokens, and the keys of the demonstration on both. */
export async function makeDevelopmentInstance(options: DevelopmentOptions, log: Log): Promise<void> {
  const users = roleUsers({ uidBase: DEFAULT_UID_BASE });
  await createInstance({
    ...options,
    tokens: TOKENS.map((name, number) => ({ name, owner: users.worker(number) })),
    initialiseToken,
    createKeys: ({ directory }) => createKeys(directory, log),
  });
}

/** In a process of its own that becomes the worker's user before it loads the module: the files belong to it. */
async function initialiseToken(token: PreparedToken): Promise<void> {
  const child = spawn(process.execPath, [fileURLToPath(entryUrl('hsm-adapters/pkcs11/token-init'))], {
    cwd: token.directory,
    env: { ...token.environment },
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  const said: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  child.stdin.end(
    JSON.stringify({
      module: token.module,
      label: token.label,
      soPinFile: token.soPinFile,
      pinFile: token.pinFile,
      ...(token.owner === undefined ? {} : { user: { ...token.owner, groups: [] } }),
    }),
  );
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0)
    throw new Error(Buffer.concat(said).toString('utf8').trim() || `token initialisation ended with ${code}`);
}

/** The log's own key first, so that the creation of all others is under a signed checkpoint. */
async function createKeys(directory: string, log: Log): Promise<void> {
  const core = await openCore(loadConfig(join(directory, 'lastmile.yaml')), log);
  try {
    await core.announce();
    await core.administration.create({
      key: core.config.audit.key,
      purpose: 'sign',
      algorithms: ['Ed25519'],
      tokens: [TOKENS[0]!],
      modulusBits: 0,
      verify: 'always',
    });
    core.connectSigner();
    for (const { key, purpose, algorithms } of DEMO_KEYS) {
      await core.administration.create({
        key,
        purpose,
        algorithms,
        tokens: [],
        modulusBits: 0,
        verify: 'always',
      });
      await core.audit.append({
        kind: 'method',
        subject: 'lastmile',
        operation: 'init',
        key,
        version: 1,
        decision: 'allow',
        performed: 'yes',
        detail: { algorithms: [...algorithms], tokens: TOKENS },
      });
    }
  } finally {
    await core.close();
  }
}
