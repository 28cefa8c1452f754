import { randomInt } from 'node:crypto';
import { chmod, chown, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { isFileMissing, writeClientProfile } from './client-profiles.ts';
import { BROKER_DNS_NAME, BROKER_ID, CLIENTS, TRUST_DOMAIN } from './demo-identities.ts';
import { InitError } from './init-error.ts';
import {
  DEVELOPMENT_MARKER,
  lastmileYaml,
  POLICY_YAML,
  SOFTHSM2_CONF,
  tokenLabel,
} from './instance-files.ts';
import { findSoftHsm2 } from './module-path.ts';

/** A user that a token worker runs as: the token's files must be its own. */
export interface FileOwner {
  readonly uid: number;
  readonly gid: number;
}

export interface NewToken {
  /** `a`, `b`: its name in lastmile.yaml and the name of its directory. */
  readonly name: string;
  /** Undefined: the user that runs init, as where all processes share one user. */
  readonly owner?: FileOwner | undefined;
}

/** What a callback needs to initialise one token; paths are absolute and hold only while the callback runs. */
export interface PreparedToken extends NewToken {
  readonly module: string;
  readonly label: string;
  /** Working directory of whatever loads the module. */
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly pinFile: string;
  readonly soPinFile: string;
}

export interface InstanceOptions {
  readonly directory: string;
  readonly tokens: readonly NewToken[];
  readonly workloadsPort?: number | undefined;
  readonly controlPort?: number | undefined;
  /** Written to lastmile.yaml; the users themselves are the caller's. */
  readonly uidBase?: number | undefined;
  /** Path of SoftHSM2's library; found where distributions put it when absent. */
  readonly module?: string | undefined;
  /** Moves an existing instance aside, to a name that ends in its time, instead of refusing. Nothing is deleted. */
  readonly replace?: boolean | undefined;
  /** Milliseconds since the epoch. */
  readonly now?: number | undefined;
  readonly initialiseToken: (token: PreparedToken) => Promise<void>;
  /** Creates the keys, with the instance complete but for them. Its files are still at `directory`, not at their final place. */
  readonly createKeys: (instance: { readonly directory: string }) => Promise<void>;
}

export const DEFAULT_WORKLOADS_PORT = 7443;
export const DEFAULT_CONTROL_PORT = 7444;
export const DEFAULT_UID_BASE = 64000;

/**
 * Makes a development instance.
 *
 * Everything is written to `<directory>.unfinished`, which becomes `directory` by one rename at the very end: an
 * instance is there whole or not at all. What a crash leaves has never been in use, and the next run removes it.
 *
 * @throws InitError
 */
export async function createInstance(
  options: InstanceOptions,
): Promise<{ readonly replaced: string | undefined }> {
  const directory = resolve(options.directory);
  const now = options.now ?? Date.now();
  const module = options.module ?? findSoftHsm2();
  const existing = await inspect(directory);
  if (existing === 'instance' && options.replace !== true) {
    throw new InitError(
      'INSTANCE_EXISTS',
      `${directory} already holds an instance, with keys that exist nowhere else: it is left as it is. ` +
        'Choose another directory, or move it away first',
    );
  }
  if (existing === 'something else') {
    throw new InitError(
      'DIRECTORY_NOT_EMPTY',
      `${directory} is not empty and holds no instance: choose another directory`,
    );
  }

  const unfinished = `${directory}.unfinished`;
  await claim(unfinished);
  try {
    await populate(unfinished, options, module, now);
    await options.createKeys({ directory: unfinished });
    await rm(join(unfinished, CLAIM));
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    throw error;
  }

  let replaced: string | undefined;
  if (existing === 'instance') {
    replaced = `${directory}.${new Date(now)
      .toISOString()
      .replaceAll(':', '')
      .replace(/\.\d+Z$/, 'Z')}`;
    await rename(directory, replaced);
  }
  // A crash between the two renames leaves both instances whole, under the names that the messages have.
  await rename(unfinished, directory);
  await syncDirectory(dirname(directory));
  return { replaced };
}

const CLAIM = 'init.pid';

async function inspect(directory: string): Promise<'nothing' | 'instance' | 'something else'> {
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    if (isFileMissing(error)) return 'nothing';
    throw error;
  }
  if (names.length === 0) return 'nothing';
  return names.includes('lastmile.yaml') ? 'instance' : 'something else';
}

/** Makes the unfinished directory ours, clearing what an init that died has left. */
async function claim(unfinished: string): Promise<void> {
  await mkdir(dirname(unfinished), { recursive: true });
  if (!(await makeDirectory(unfinished))) {
    const owner = await readClaim(unfinished);
    if (owner !== undefined && isAlive(owner)) throw anotherInit(unfinished, owner);
    await rm(unfinished, { recursive: true, force: true });
    if (!(await makeDirectory(unfinished))) throw anotherInit(unfinished, undefined);
  }
  await writeFile(join(unfinished, CLAIM), `${process.pid}\n`, { mode: 0o600, flag: 'wx' });
}

function anotherInit(unfinished: string, pid: number | undefined): InitError {
  const who = pid === undefined ? 'another init' : `another init (process ${pid})`;
  return new InitError('ANOTHER_INIT', `${who} is at work in ${unfinished}: wait for it`);
}

/** False when it is there already. */
async function makeDirectory(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function readClaim(unfinished: string): Promise<number | undefined> {
  try {
    return Number(await readFile(join(unfinished, CLAIM), 'utf8'));
  } catch (error) {
    if (isFileMissing(error)) return undefined;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function populate(
  directory: string,
  options: InstanceOptions,
  module: string,
  now: number,
): Promise<void> {
  for (const name of ['pki', 'client', 'secrets', 'tokens', 'state', 'audit']) {
    await mkdir(join(directory, name), { mode: 0o700 });
  }
  const ports = {
    workloadsPort: options.workloadsPort ?? DEFAULT_WORKLOADS_PORT,
    controlPort: options.controlPort ?? DEFAULT_CONTROL_PORT,
  };
  await write(
    join(directory, 'lastmile.yaml'),
    lastmileYaml({
      ...ports,
      module,
      tokens: options.tokens.map((token) => token.name),
      uidBase: options.uidBase ?? DEFAULT_UID_BASE,
    }),
  );
  await write(join(directory, 'policy.yaml'), POLICY_YAML);
  await writePki(directory, now);
  for (const { name } of CLIENTS) await writeClientProfile(directory, name, ports);
  for (const token of options.tokens)
    await options.initialiseToken(await prepareToken(directory, token, module));
}

async function writePki(directory: string, now: number): Promise<void> {
  // Loaded here and not at the top: certificate libraries are heavy, and every other command does without.
  const { createDevelopmentCa, issueX509Svid } = await import('./pki.ts');
  const ca = await createDevelopmentCa(TRUST_DOMAIN, now);
  await write(join(directory, 'pki', 'DEVELOPMENT'), DEVELOPMENT_MARKER);
  await write(join(directory, 'pki', 'ca.crt'), ca.certificatePem);
  await write(join(directory, 'pki', 'ca.key'), ca.keyPem);
  const identities = [
    {
      name: 'broker',
      spiffeId: BROKER_ID,
      dnsNames: [BROKER_DNS_NAME, 'localhost'],
      ipAddresses: ['127.0.0.1'],
    },
    ...CLIENTS,
  ];
  for (const { name, ...request } of identities) {
    const svid = await issueX509Svid(ca, request, now);
    await write(join(directory, 'pki', `${name}.crt`), svid.certificatePem);
    await write(join(directory, 'pki', `${name}.key`), svid.keyPem);
  }
}

async function prepareToken(directory: string, token: NewToken, module: string): Promise<PreparedToken> {
  const tokenDirectory = join(directory, 'tokens', token.name);
  const pinFile = join(directory, 'secrets', `token-${token.name}.pin`);
  const soPinFile = join(directory, 'secrets', `token-${token.name}.so-pin`);
  // The PINs stay with the user that runs the broker: a worker reads its own before it drops to its user.
  await write(pinFile, newPin());
  await write(soPinFile, newPin());
  await mkdir(join(tokenDirectory, 'objects'), { recursive: true, mode: 0o700 });
  await chmod(tokenDirectory, 0o700);
  await write(join(tokenDirectory, 'softhsm2.conf'), SOFTHSM2_CONF);
  if (token.owner !== undefined) {
    for (const path of ['.', 'objects', 'softhsm2.conf']) {
      await chown(join(tokenDirectory, path), token.owner.uid, token.owner.gid);
    }
  }
  return {
    ...token,
    module,
    label: tokenLabel(token.name),
    directory: tokenDirectory,
    environment: { SOFTHSM2_CONF: 'softhsm2.conf' },
    pinFile,
    soPinFile,
  };
}

/** 16 digits: some modules take nothing but digits. */
function newPin(): string {
  return Array.from({ length: 16 }, () => randomInt(10)).join('');
}

async function write(path: string, text: string): Promise<void> {
  await writeFile(path, text, { mode: 0o600, flag: 'wx', flush: true });
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** @throws InitError when `directory` is not a development instance, whose certificates are then nobody's to renew */
export async function requireDevelopmentInstance(directory: string): Promise<void> {
  try {
    await stat(join(directory, 'pki', 'DEVELOPMENT'));
  } catch (error) {
    if (!isFileMissing(error)) throw error;
    throw new InitError(
      'NOT_A_DEVELOPMENT_INSTANCE',
      `${directory} is not a development instance made by \`lastmile init\``,
      error,
    );
  }
}

/** Whether there is an instance at `directory`. */
export async function hasInstance(directory: string): Promise<boolean> {
  return (await inspect(directory)) === 'instance';
}
