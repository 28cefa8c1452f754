/**
 * Every method of the public contract and the number it has inside the product's own pipes. A gateway passes
 * request bytes through undecoded, so it needs the names and nothing of the messages.
 *
 * A test compares this table with the .proto files.
 */
export type ServiceName = 'KeyUse' | 'Admin' | 'Audit' | 'Approvals' | 'Health';

export interface Method {
  readonly number: number;
  readonly service: ServiceName;
  readonly name: string;
  /** gRPC path, `/lastmile.v1.KeyUse/Sign`. */
  readonly path: string;
  readonly streaming: boolean;
}

const KEY_USE = [
  'Sign',
  'SignStream',
  'Verify',
  'Encrypt',
  'Decrypt',
  'Mac',
  'VerifyMac',
  'GenerateDataKey',
  'GenerateRandom',
  'GetPublicKey',
  'ListKeys',
  'GetReceipt',
  'SignJwt',
  'SignCertificate',
  'SignDsse',
] as const;
const ADMIN = [
  'GetStatus',
  'ListKeyVersions',
  'GetKey',
  'CreateKey',
  'ImportKey',
  'ListTokens',
  'UnblockToken',
  'DrainToken',
  'UndrainToken',
  'Freeze',
  'Unfreeze',
  'ListFreezes',
  'AcceptClock',
  'CheckPolicy',
  'ExplainPolicy',
  'ReloadPolicy',
  'GetPolicy',
  'ListPolicies',
  'ProposePolicy',
  'ActivatePolicy',
] as const;
const AUDIT = ['Query', 'GetEntry', 'GetCheckpoint', 'GetProof', 'ReadTile'] as const;

const APPROVALS = [
  'List',
  'Get',
  'GetAttachment',
  'Approve',
  'Reject',
  'Withdraw',
  'Watch',
  'AcceptState',
] as const;

export type KeyUseMethod = (typeof KEY_USE)[number];
export type AdminMethod = (typeof ADMIN)[number];
export type AuditMethod = (typeof AUDIT)[number];
export type ApprovalsMethod = (typeof APPROVALS)[number];

/** What its messages are named by: `<name>Request`, `<name>Response`. Those of the other services, by the method. */
export const APPROVALS_MESSAGES: Readonly<Record<ApprovalsMethod, string>> = {
  List: 'ListApprovals',
  Get: 'GetApproval',
  GetAttachment: 'GetAttachment',
  Approve: 'Approve',
  Reject: 'Reject',
  Withdraw: 'Withdraw',
  Watch: 'Watch',
  AcceptState: 'AcceptState',
};

function number(service: ServiceName, names: readonly string[], first: number): Method[] {
  return names.map((name, i) => ({
    number: first + i,
    service,
    name,
    path: `/lastmile.v1.${service}/${name}`,
    streaming: name === 'SignStream',
  }));
}

/** Numbers are stable within one build only: parent and children always run the same one. */
export const METHODS: readonly Method[] = [
  ...number('KeyUse', KEY_USE, 1),
  ...number('Admin', ADMIN, 64),
  ...number('Audit', AUDIT, 128),
  ...number('Approvals', APPROVALS, 160),
];

/** grpc.health.v1, on every listener: what load balancers and probes ask. Not in METHODS, which is our own contract. */
export const HEALTH_CHECK: Method = {
  number: 255,
  service: 'Health',
  name: 'Check',
  path: '/grpc.health.v1.Health/Check',
  streaming: false,
};

const byNumber = new Map([...METHODS, HEALTH_CHECK].map((m) => [m.number, m]));

export function methodByNumber(n: number): Method | undefined {
  return byNumber.get(n);
}
