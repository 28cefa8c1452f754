import { generateKeyPairSync } from 'node:crypto';
import { checkPolicy } from '../../policy/check.ts';
import { type LoadedPolicy, loadPolicy, type PolicyOptions } from '../../policy/load.ts';
import { formatSourceIssue } from '../../policy/source-issue.ts';

/** Policies with people in them: three in the group that approves what `SETTLE` signs, unless a test says otherwise. */
export const NOW: number = Date.parse('2026-11-23T12:00:00Z');
export const SETTLE = 'spiffe://example.org/ns/treasury/sa/settle';

const jwk = (): string => JSON.stringify(generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }));

export const ANNA: string = jwk();
export const BEN: string = jwk();
export const CLEO: string = jwk();
/** A key of somebody who is in no group. */
export const DAN: string = jwk();

/** The public key of a JWK, base64url. */
export const x = (key: string): string => (JSON.parse(key) as { x: string }).x;

export const sshLine = (key: string): string => {
  const field = (value: Uint8Array): Buffer => Buffer.concat([Buffer.from([0, 0, 0, value.length]), value]);
  const blob = Buffer.concat([field(Buffer.from('ssh-ed25519')), field(Buffer.from(x(key), 'base64url'))]);
  return `ssh-ed25519 ${blob.toString('base64')}`;
};

export const person = (id: string, key: string, more: object = {}): object => ({
  id,
  keys: [{ method: 'jws', publicKey: key }],
  ...more,
});
export const PEOPLE: readonly object[] = [person('anna', ANNA), person('ben', BEN), person('cleo', CLEO)];
export const GROUPS = { treasury: ['anna', 'ben', 'cleo'] } as const;
export const RULE = {
  id: 'settles',
  workloads: [SETTLE],
  keys: ['treasury/settlement'],
  operations: ['sign'],
} as const;
export const QUORUM = { approvals: 2, of: 'treasury', within: '15m' } as const;

/** Every JSON text is YAML; one part to a line, so that a refusal has a line to name. */
export function file(parts: object): Uint8Array {
  const members = Object.entries({ version: 1, ...parts });
  return new TextEncoder().encode(
    `{\n${members.map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`).join(',\n')}\n}\n`,
  );
}
export const policyOf = (quorum: object, rule: object = {}, parts: object = {}): Uint8Array =>
  file({ approvers: PEOPLE, groups: GROUPS, rules: [{ ...RULE, ...rule, quorum }], ...parts });

export const load = (bytes: Uint8Array, options: PolicyOptions = {}): LoadedPolicy =>
  loadPolicy(bytes, { file: 'p.yaml', now: NOW, ...options });
export const refusals = (bytes: Uint8Array, options: PolicyOptions = {}): string =>
  load(bytes, options).issues.map(formatSourceIssue).join('\n');

/** Of a policy that is accepted. */
export const warnings = (bytes: Uint8Array, options: PolicyOptions = {}): readonly string[] => {
  const { issues, warnings: found } = checkPolicy(bytes, { file: 'p.yaml', now: NOW, ...options });
  if (issues.length > 0) throw new Error(`was refused: ${issues.map(formatSourceIssue).join('\n')}`);
  return found.map(formatSourceIssue);
};
