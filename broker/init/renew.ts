import { X509Certificate } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ListeningPorts, replaceFile, writeClientProfile } from './client-profiles.ts';
import { InitError } from './init-error.ts';
import { requireDevelopmentInstance } from './instance.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
/** A third of an SVID's life: whoever starts the instance now and then never meets an expired one. */
export const RENEWED_BEFORE_MS = 10 * DAY_MS;

/**
 * Renews every X.509-SVID of a development instance that expires within ten days, and resolves to their names.
 *
 * The key pair stays, so that one file changes and a client that reads in between never has a certificate beside
 * the wrong key. Certificates of an instance that `lastmile init` did not make are left alone (InitError).
 */
export async function renewSvids(directory: string, now: number = Date.now()): Promise<readonly string[]> {
  await requireDevelopmentInstance(directory);
  const renewed: string[] = [];
  for (const name of await svidNames(directory)) {
    const certificatePath = join(directory, 'pki', `${name}.crt`);
    const certificatePem = await readFile(certificatePath, 'utf8');
    if (new X509Certificate(certificatePem).validToDate.getTime() - now > RENEWED_BEFORE_MS) continue;
    const { describeSvid, issueX509Svid } = await import('./pki.ts');
    const keyPem = await readFile(join(directory, 'pki', `${name}.key`), 'utf8');
    const svid = await issueX509Svid(
      await readCa(directory, now),
      { ...describeSvid(certificatePem), keyPem },
      now,
    );
    await replaceFile(certificatePath, svid.certificatePem);
    renewed.push(name);
  }
  return renewed;
}

/** Issues an X.509-SVID for one more workload or person of a development instance, with a client profile for `--as NAME`. */
export async function addClient(
  directory: string,
  client: { readonly name: string; readonly spiffeId: string },
  ports: ListeningPorts,
  now: number = Date.now(),
): Promise<void> {
  await requireDevelopmentInstance(directory);
  if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(client.name)) {
    throw new InitError(
      'NAME_INVALID',
      'a client name is 1 to 64 of a-z, 0-9 and dash, and does not begin with a dash',
    );
  }
  if (client.name === 'ca' || (await svidNames(directory)).includes(client.name)) {
    throw new InitError(
      'NAME_TAKEN',
      `there is a certificate named ${client.name} already: choose another name`,
    );
  }
  const { issueX509Svid } = await import('./pki.ts');
  const svid = await issueX509Svid(await readCa(directory, now), { spiffeId: client.spiffeId }, now);
  await replaceFile(join(directory, 'pki', `${client.name}.key`), svid.keyPem);
  // Last of the two: a certificate is only ever there with its key.
  await replaceFile(join(directory, 'pki', `${client.name}.crt`), svid.certificatePem);
  await writeClientProfile(directory, client.name, ports);
}

/** Writes every client profile anew, for ports that were chosen when the broker began to listen. */
export async function writeClientProfiles(directory: string, ports: ListeningPorts): Promise<void> {
  await requireDevelopmentInstance(directory);
  for (const file of await readdir(join(directory, 'client'))) {
    if (file.endsWith('.json')) await writeClientProfile(directory, file.slice(0, -'.json'.length), ports);
  }
}

async function svidNames(directory: string): Promise<readonly string[]> {
  const files = await readdir(join(directory, 'pki'));
  return files
    .filter((file) => file.endsWith('.crt') && file !== 'ca.crt')
    .map((file) => file.slice(0, -'.crt'.length));
}

async function readCa(directory: string, now: number): Promise<{ certificatePem: string; keyPem: string }> {
  const certificatePem = await readFile(join(directory, 'pki', 'ca.crt'), 'utf8');
  if (new X509Certificate(certificatePem).validToDate.getTime() <= now) {
    throw new InitError(
      'CERTIFICATE_AUTHORITY_EXPIRED',
      'the development CA has expired: move the instance away and make a new one with `lastmile init`',
    );
  }
  return { certificatePem, keyPem: await readFile(join(directory, 'pki', 'ca.key'), 'utf8') };
}
