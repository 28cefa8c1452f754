import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Client, credentials, makeGenericClientConstructor, type ServiceError } from '@grpc/grpc-js';
import { connect, type LastmileClient, LastmileError } from '../../broker/client/client.ts';
import { connectOperator, type OperatorClient } from '../../broker/client/operator-client.ts';
import type { ConnectOptions } from '../../broker/client/transport.ts';
import { issueX509Svid, type PemPair, type SvidRequest } from '../../broker/init/pki.ts';
import { codec } from '../../broker/proto/codec.ts';
import type { ErrorInfo__Output } from '../../broker/proto/gen/google/rpc/ErrorInfo.ts';
import type { Status__Output } from '../../broker/proto/gen/google/rpc/Status.ts';

/** Clients of a whole instance, as the profiles that `lastmile init` wrote make them. */

export const PAYMENTS = 'spiffe://example.org/ns/payments/sa/api';
export const BILLING = 'spiffe://example.org/ns/billing/sa/invoices';

export type ProfileName = 'payments' | 'billing' | 'operator' | 'auditor';
export type Listener = 'target' | 'control';

interface Profile {
  readonly target: string;
  readonly control: string;
  readonly brokerId: string;
  readonly brokerDnsName: string;
  readonly certificate: string;
  readonly key: string;
  readonly trustBundle: string;
}

export interface At {
  readonly directory: string;
}

export function readProfile({ directory }: At, name: ProfileName): Profile {
  return JSON.parse(readFileSync(join(directory, 'client', `${name}.json`), 'utf8')) as Profile;
}

function options(at: At, name: ProfileName, listener: Listener): ConnectOptions {
  const profile = readProfile(at, name);
  return {
    target: profile[listener],
    brokerId: profile.brokerId,
    svid: {
      certificateFile: join(at.directory, profile.certificate),
      keyFile: join(at.directory, profile.key),
      trustBundleFile: join(at.directory, profile.trustBundle),
    },
    deadlineMs: 10_000,
  };
}

export function workload(
  at: At,
  name: ProfileName,
  more: Partial<ConnectOptions> = {},
): Promise<LastmileClient> {
  return connect({ ...options(at, name, 'target'), ...more });
}

export function operator(at: At, name: ProfileName = 'operator'): Promise<OperatorClient> {
  return connectOperator(options(at, name, 'control'));
}

/** A rule at the end of the policy file: the payments workload may do all of it with keys that match `keys`. */
export function allowPayments(directory: string, id: string, keys: string): Promise<void> {
  return appendFile(
    join(directory, 'policy.yaml'),
    `
  - id: ${id}
    workloads: ["${PAYMENTS}"]
    keys: ["${keys}"]
    operations: [sign, verify, encrypt, decrypt, mac, verify-mac, generate-data-key]
`,
  );
}

/** SHA-256 of the certificate of `pki/<name>.crt`, as credentials are named in entries and freezes. */
export function fingerprint({ directory }: At, name: string): string {
  const { fingerprint256 } = new X509Certificate(readFileSync(join(directory, 'pki', `${name}.crt`)));
  return fingerprint256.replaceAll(':', '').toLowerCase();
}

/** Writes `pki/<name>.crt` and `.key`: another X509-SVID of the instance's own authority, or of `ca`. */
export async function issueSvid(
  { directory }: At,
  name: string,
  request: SvidRequest,
  { ca, now = Date.now() }: { ca?: PemPair; now?: number } = {},
): Promise<PemPair> {
  const file = (path: string): string => readFileSync(join(directory, 'pki', path), 'utf8');
  const issuer = ca ?? { certificatePem: file('ca.crt'), keyPem: file('ca.key') };
  const issued = await issueX509Svid(issuer, request, now);
  await writeFile(join(directory, 'pki', `${name}.crt`), issued.certificatePem, { mode: 0o600 });
  await writeFile(join(directory, 'pki', `${name}.key`), issued.keyPem, { mode: 0o600 });
  return issued;
}

/** The error of a call that must not succeed. */
export async function refusal(call: Promise<unknown>): Promise<LastmileError> {
  let value: unknown;
  try {
    value = await call;
  } catch (error) {
    if (error instanceof LastmileError) return error;
    throw error;
  }
  throw new Error(`not refused: ${JSON.stringify(value)}`);
}

const asIs = (bytes: Buffer): Buffer => bytes;
const RawClient = makeGenericClientConstructor({}, 'Raw');

/** Stock gRPC that sends bytes as they are, and checks the broker by the DNS name that only it has. */
export function rawClient(
  at: At,
  name: ProfileName,
  listener: Listener,
  { dnsName, target, svid }: { dnsName?: string; target?: string; svid?: string } = {},
): Client {
  const profile = readProfile(at, name);
  const file = (path: string): Buffer => readFileSync(join(at.directory, path));
  return new RawClient(
    target ?? profile[listener],
    credentials.createSsl(
      file(profile.trustBundle),
      file(svid === undefined ? profile.key : `pki/${svid}.key`),
      file(svid === undefined ? profile.certificate : `pki/${svid}.crt`),
    ),
    {
      'grpc.ssl_target_name_override': dnsName ?? profile.brokerDnsName,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
    },
  );
}

export interface RawAnswer {
  /** gRPC status code; 0: OK. */
  readonly code: number;
  readonly details: string;
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Names of the metadata that came with the answer. */
  readonly headers: readonly string[];
  readonly ok: Buffer | undefined;
}

const statusCodec = codec<Status__Output, Status__Output>('google.rpc.Status');
const errorInfoCodec = codec<ErrorInfo__Output, ErrorInfo__Output>('google.rpc.ErrorInfo');

export function rawCall(
  client: Client,
  path: string,
  payload: Buffer,
  deadlineMs = 10_000,
): Promise<RawAnswer> {
  return new Promise((resolve) => {
    const deadline = Date.now() + deadlineMs;
    client.makeUnaryRequest(path, asIs, asIs, payload, { deadline }, (error, value) => {
      if (error !== null) resolve(describe(error));
      else resolve({ code: 0, details: '', reason: '', metadata: {}, headers: [], ok: value });
    });
  });
}

/** The first answer of a stream, or how it ended. */
export function rawStream(client: Client, path: string, payload: Buffer): Promise<RawAnswer> {
  return new Promise((resolve) => {
    const stream = client.makeBidiStreamRequest(path, asIs, asIs, { deadline: Date.now() + 10_000 });
    stream.on('data', (ok: Buffer) => {
      resolve({ code: 0, details: '', reason: '', metadata: {}, headers: [], ok });
      stream.end();
    });
    stream.on('error', (error: ServiceError) => resolve(describe(error)));
    stream.write(payload);
  });
}

function describe(error: ServiceError): RawAnswer {
  const [bytes] = error.metadata.get('grpc-status-details-bin');
  const detail = typeof bytes === 'object' ? statusCodec.decode(bytes).details[0] : undefined;
  const info = detail === undefined ? undefined : errorInfoCodec.decode(detail.value);
  return {
    code: error.code,
    details: error.details,
    reason: info?.reason ?? '',
    metadata: info?.metadata ?? {},
    headers: Object.keys(error.metadata.getMap()).sort(),
    ok: undefined,
  };
}

/** An entry of the log, as far as tests look at it. */
export interface Entry {
  readonly leaf: number;
  readonly kind: string;
  readonly subject: string;
  readonly operation: string;
  readonly key?: string;
  readonly decision: string;
  readonly rule?: string;
  readonly reason?: string;
  readonly performed?: string;
  readonly input?: { readonly kind: string; readonly bytes: number; readonly sha256?: string };
  readonly output?: { readonly kind: string; readonly bytes: number; readonly sha256?: string };
  readonly attempts?: readonly {
    readonly token: string;
    readonly outcome: string;
    readonly performed: string;
    readonly ckr?: string;
    readonly reason?: string;
  }[];
  readonly detail?: Readonly<Record<string, unknown>>;
}

/** Newest first. */
export async function entries(
  client: OperatorClient,
  filter: Parameters<typeof query>[1] = {},
): Promise<readonly Entry[]> {
  return (await query(client, filter)).map((bytes) => JSON.parse(bytes.toString('utf8')) as Entry);
}

export async function query(
  client: OperatorClient,
  filter: {
    workload?: string;
    key?: string;
    kind?: string;
    operation?: string;
    decision?: string;
    limit?: number;
    before?: number;
  },
): Promise<readonly Buffer[]> {
  const { entries: found = [] } = await client.audit('Query', { limit: 1000, ...filter });
  return found.map(({ entry }) => Buffer.from(entry as Uint8Array));
}

export type Status = Awaited<ReturnType<typeof status>>;

export function status(client: OperatorClient) {
  return client.admin('GetStatus', {});
}

/** Asks the broker for its status until it is as wanted: nobody tells a client of a change. */
export async function untilStatus(
  client: OperatorClient,
  isWanted: (status: Status) => boolean,
  withinMs = 15_000,
): Promise<Status> {
  const end = performance.now() + withinMs;
  for (;;) {
    const now = await status(client);
    if (isWanted(now)) return now;
    if (performance.now() > end) {
      throw new Error(`status did not become what it should: ${JSON.stringify(now, null, 1)}`);
    }
    await pause(25);
  }
}

export function tokenOf(status: Status, name: string) {
  const token = status.tokens.find((candidate) => candidate.name === name);
  if (token === undefined) throw new Error(`no token ${name}`);
  return token;
}
