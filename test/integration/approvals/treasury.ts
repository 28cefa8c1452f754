import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CompactSign } from 'jose';
import { JWS_TYPE } from '../../../broker/approvals/act.ts';
import { type ApproverClient, connectApprover } from '../../../broker/client/approver-client.ts';
import { SshPerson } from '../../fakes/approval-fixture.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import { type At, issueSvid, PAYMENTS, readProfile } from '../../fakes/instance-clients.ts';
import { makePasskey, type Passkey } from '../../fakes/passkey.ts';

/** An instance with three approvers: one with an SSH key, one with a JWK, one with a passkey. */
export interface Treasury {
  instance: RunningInstance;
  readonly ssh: SshPerson;
  readonly jwk: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  readonly passkey: Passkey;
  /** As bob does it. */
  readonly signJws: (document: string) => Promise<string>;
}

export const KEY = 'treasury/settlement';
export const RULE = 'treasury-moves-funds';
export const PAGES = { id: 'localhost', origin: 'https://localhost:7445' };
export const APPROVERS = ['alice', 'bob', 'carol'] as const;
export type ApproverName = (typeof APPROVERS)[number];

const RULES = `
  - id: ${RULE}
    workloads: ["${PAYMENTS}"]
    keys: ["${KEY}"]
    operations: [sign]
    quorum: { approvals: 2, of: treasury, within: 15m, methods: [sshsig, jws, webauthn] }
  - id: treasury-batch
    workloads: ["${PAYMENTS}"]
    keys: ["treasury/batch"]
    operations: [sign]
    quorum: { approvals: 1, of: treasury, within: 4h, uses: 10, covers: rule }
  - id: treasury-reads
    workloads: ["${PAYMENTS}"]
    keys: ["treasury/*"]
    operations: [verify]
`;

export async function startTreasury(
  prepare: (directory: string) => Promise<void> = () => Promise.resolve(),
): Promise<Treasury> {
  let ssh: SshPerson | undefined;
  const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const passkey = makePasskey();
  const instance = await startInstance({
    prepare: async (directory) => {
      const keys = join(directory, 'approvers');
      mkdirSync(keys);
      ssh = new SshPerson(keys, 'alice');
      await appendFile(join(directory, 'policy.yaml'), RULES);
      await prepare(directory);
      await writeFile(join(keys, 'bob.pem'), jwk.privateKey.export({ type: 'pkcs8', format: 'pem' }), {
        mode: 0o600,
      });
      const people = `
approvers:
  - { id: alice, spiffeId: ${idOf('alice')}, keys: [{ method: sshsig, publicKey: ${JSON.stringify(ssh.publicKey)} }] }
  - { id: bob, spiffeId: ${idOf('bob')}, keys: [{ method: jws, publicKey: '${JSON.stringify(jwk.publicKey.export({ format: 'jwk' }))}' }] }
  - { id: carol, spiffeId: ${idOf('carol')}, keys: [{ method: webauthn, credentialId: ${passkey.credentialId}, publicKey: ${passkey.publicKey} }] }
groups:
  treasury: [alice, bob, carol]
`;
      await appendFile(join(directory, 'policy.yaml'), people);
      const config = join(directory, 'lastmile.yaml');
      const text = await readFile(config, 'utf8');
      const pages = `listen:\n  pages: { address: "127.0.0.1:0", name: ${PAGES.id}, public_port: 7445, certificate: pki/broker.crt, key: pki/broker.key }\n`;
      await writeFile(config, text.replace('listen:\n', pages));
    },
  });
  await writeProfiles(instance);
  const signJws = (document: string): Promise<string> =>
    new CompactSign(Buffer.from(document))
      .setProtectedHeader({ alg: 'ES256', typ: JWS_TYPE })
      .sign(jwk.privateKey);
  return { instance, ssh: ssh!, jwk, passkey, signJws };
}

/** `client/<name>.json` for every approver, on the ports of now. */
export async function writeProfiles(at: At): Promise<void> {
  for (const name of APPROVERS) {
    await issueSvid(at, name, { spiffeId: idOf(name) });
    const profile = {
      ...readProfile(at, 'operator'),
      certificate: `pki/${name}.crt`,
      key: `pki/${name}.key`,
    };
    await writeFile(join(at.directory, 'client', `${name}.json`), JSON.stringify(profile));
  }
}

export function idOf(name: string): string {
  return `spiffe://example.org/human/${name}`;
}

export function approver(at: At, name: string): Promise<ApproverClient> {
  const profile = JSON.parse(
    readFileSync(join(at.directory, 'client', `${name}.json`), 'utf8'),
  ) as ReturnType<typeof readProfile>;
  return connectApprover({
    target: profile.control,
    brokerId: profile.brokerId,
    svid: {
      certificateFile: join(at.directory, profile.certificate),
      keyFile: join(at.directory, profile.key),
      trustBundleFile: join(at.directory, profile.trustBundle),
    },
    deadlineMs: 10_000,
  });
}
