import { randomBytes } from 'node:crypto';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BROKER_DNS_NAME, BROKER_ID } from './demo-identities.ts';

/**
 * `client/<name>.json`: how one identity reaches the broker, for `--as NAME`, the demonstration and whoever writes
 * a client of their own. Paths are relative to the instance.
 */
export interface ClientProfile {
  /** `host:port` of KeyUse. */
  readonly target: string;
  /** `host:port` of Admin and Audit. */
  readonly control: string;
  /** The exact SPIFFE ID that the broker must prove. */
  readonly brokerId: string;
  /** For TLS stacks that check names and know no SPIFFE. */
  readonly brokerDnsName: string;
  readonly certificate: string;
  readonly key: string;
  readonly trustBundle: string;
}

export interface ListeningPorts {
  readonly workloadsPort: number;
  readonly controlPort: number;
}

/** Writes the profile of an identity whose certificate is `pki/<name>.crt`, over an older one. */
export async function writeClientProfile(
  directory: string,
  name: string,
  ports: ListeningPorts,
): Promise<void> {
  const profile: ClientProfile = {
    target: `127.0.0.1:${ports.workloadsPort}`,
    control: `127.0.0.1:${ports.controlPort}`,
    brokerId: BROKER_ID,
    brokerDnsName: BROKER_DNS_NAME,
    certificate: `pki/${name}.crt`,
    key: `pki/${name}.key`,
    trustBundle: 'pki/ca.crt',
  };
  await replaceFile(join(directory, 'client', `${name}.json`), `${JSON.stringify(profile, null, 2)}\n`);
}

/** Readers see the old file or the new one, never a part. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    await writeFile(temporary, text, { mode: 0o600, flag: 'wx', flush: true });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

export function isFileMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
