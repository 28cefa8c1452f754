import { spawn } from 'node:child_process';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ADMINISTRATOR } from '../../broker/init/demo-identities.ts';
import { addClient } from '../../broker/init/renew.ts';
import { MAIN } from './instance.ts';
import type { At } from './instance-clients.ts';

/** People who approve in a whole instance, with keys of their own and the `lastmile` program. */

export interface InstancePerson {
  readonly id: string;
  readonly spiffeId: string;
  readonly privateKey: KeyObject;
  /** PKCS#8 in PEM. */
  readonly keyFile: string;
  /** The block of `approvers`. */
  readonly block: string;
}

/** The administrator of every instance, as an approver. */
export const OPERATOR = { id: 'operator', spiffeId: ADMINISTRATOR } as const;

/** Before the broker serves: makes a JWS key, and for who is not there yet an X.509-SVID and a profile. */
export async function makePerson(
  directory: string,
  id: string,
  spiffeId: string = `spiffe://example.org/human/${id}`,
): Promise<InstancePerson> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await mkdir(join(directory, 'approvers'), { recursive: true });
  const keyFile = join(directory, 'approvers', `${id}.pem`);
  await writeFile(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  if (spiffeId !== ADMINISTRATOR)
    await addClient(directory, { name: id, spiffeId }, { workloadsPort: 0, controlPort: 0 });
  const jwk = JSON.stringify(publicKey.export({ format: 'jwk' }));
  const block = `  - { id: ${id}, spiffeId: ${spiffeId}, keys: [{ method: jws, publicKey: '${jwk}' }] }\n`;
  return { id, spiffeId, privateKey, keyFile, block };
}

export interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** One `lastmile` command on the instance, to its end, whatever that is. */
export async function lastmile(at: At, args: readonly string[]): Promise<Outcome> {
  const child = spawn(process.execPath, [MAIN, ...args, '--instance', at.directory], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const text = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text.out += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text.err += chunk;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...text };
}

/** `lastmile … --json`. @throws Error with what it said when its exit code is not 0 */
export async function lastmileJson<T>(at: At, args: readonly string[]): Promise<T> {
  const { code, out, err } = await lastmile(at, [...args, '--json']);
  if (code !== 0) throw new Error(`lastmile ${args.join(' ')} ended with ${code}: ${err}`);
  return JSON.parse(out) as T;
}

/** With the person's own key, by the command line. */
export function approve(at: At, { id, keyFile }: InstancePerson, approval: string): Promise<Outcome> {
  return lastmile(at, ['approvals', 'approve', approval, '--as', id, '--jws-key', keyFile, '--yes']);
}

export function reject(at: At, { id }: InstancePerson, approval: string, reason: string): Promise<Outcome> {
  return lastmile(at, ['approvals', 'reject', approval, '--as', id, '--reason', reason]);
}
