/**
 * The words that a policy may use. `policy/` imports nothing of the broker, so they stand here as well; a test holds
 * them against the contract that the broker serves.
 */
import type { Operation } from './decision.ts';

/** JOSE names (RFC 7518, RFC 9864). */
export const POLICY_ALGORITHMS = [
  'ES256',
  'ES384',
  'ES512',
  'Ed25519',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'HS256',
  'HS384',
  'HS512',
  'A256GCM',
  'RSA-OAEP-256',
] as const;
export type PolicyAlgorithm = (typeof POLICY_ALGORITHMS)[number];

/** `EdDSA` is the older name of Ed25519 (RFC 9864, section 2.2). */
export function policyAlgorithm(name: string): string {
  return name === 'EdDSA' ? 'Ed25519' : name;
}

const SIGNATURES = POLICY_ALGORITHMS.slice(0, 10);
const MACS = POLICY_ALGORITHMS.slice(10, 13);
const ENCRYPTIONS = POLICY_ALGORITHMS.slice(13);

/** The algorithms that make sense for an operation. Empty: it has none. */
export const OPERATION_ALGORITHMS: { readonly [operation in Operation]: readonly PolicyAlgorithm[] } = {
  sign: SIGNATURES,
  verify: SIGNATURES,
  'sign-jwt': SIGNATURES,
  'sign-certificate': SIGNATURES,
  'sign-dsse': SIGNATURES,
  encrypt: ENCRYPTIONS,
  decrypt: ENCRYPTIONS,
  mac: MACS,
  'verify-mac': MACS,
  'generate-data-key': ENCRYPTIONS,
  random: [],
};

const ADMIN_METHODS = [
  'Admin.GetStatus',
  'Admin.ListKeyVersions',
  'Admin.GetKey',
  'Admin.CreateKey',
  'Admin.ImportKey',
  'Admin.ListTokens',
  'Admin.UnblockToken',
  'Admin.DrainToken',
  'Admin.UndrainToken',
  'Admin.Freeze',
  'Admin.Unfreeze',
  'Admin.ListFreezes',
  'Admin.AcceptClock',
  'Admin.CheckPolicy',
  'Admin.ExplainPolicy',
  'Admin.ReloadPolicy',
  'Admin.GetPolicy',
  'Admin.ListPolicies',
  'Admin.ProposePolicy',
  'Admin.ActivatePolicy',
] as const;
const AUDIT_METHODS = [
  'Audit.Query',
  'Audit.GetEntry',
  'Audit.GetCheckpoint',
  'Audit.GetProof',
  'Audit.ReadTile',
] as const;

/** The rest of Approvals is for approvers, who stand in the policy under that name. */
const APPROVALS_METHODS = ['Approvals.AcceptState'] as const;

/** What roles may be allowed. Key use is never one of them: rules alone allow it. */
export const ROLE_METHODS: readonly string[] = [...ADMIN_METHODS, ...AUDIT_METHODS, ...APPROVALS_METHODS];

/** As a role writes them: a method, or all of a service. */
export const ROLE_METHOD_PATTERNS = [
  'Admin.*',
  'Audit.*',
  ...ADMIN_METHODS,
  ...AUDIT_METHODS,
  ...APPROVALS_METHODS,
] as const;
export type RoleMethodPattern = (typeof ROLE_METHOD_PATTERNS)[number];

export function roleMethodMatches(pattern: string, method: string): boolean {
  if (!ROLE_METHODS.includes(method)) return false;
  return pattern === method || (pattern.endsWith('.*') && method.startsWith(pattern.slice(0, -1)));
}
