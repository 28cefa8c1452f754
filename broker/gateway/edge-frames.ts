/**
 * What a gateway and the broker say to each other. Payload layouts:
 *
 * | frame           | direction | id         | payload |
 * | --- | --- | --- | --- |
 * | Configure       | broker →  | 0          | JSON `GatewayConfiguration` |
 * | Listening       | ← gateway | 0          | JSON `{ address, port, pagesPort? }` |
 * | ListenFailed    | ← gateway | 0          | JSON `{ code, message, isPages? }` |
 * | Open            | ← gateway | connection | u16be peer length · peer · (u32be length · DER)*, leaf first |
 * | Closed          | ← gateway | connection | – |
 * | Reject          | broker →  | connection | UTF-8 reason: the gateway closes that connection |
 * | Request         | ← gateway | request    | u32be connection · u8 method · u32be milliseconds left · protobuf bytes |
 * | Cancel          | ← gateway | request    | – |
 * | Reply           | broker →  | request    | protobuf bytes |
 * | Failure         | broker →  | request    | u8 gRPC code · u16be message length · message · google.rpc.Status bytes |
 * | Refused         | ← gateway | count      | UTF-8 reason: so many handshakes were refused since the last such frame |
 * | Certificates    | broker →  | 0          | JSON `TlsMaterial`: for new connections |
 * | Drain           | broker →  | 0          | –: stop accepting, finish, close |
 * | PageCall        | ← gateway | page call  | JSON `PageCall` (proto/page-calls.ts) |
 * | PageAnswer      | broker →  | page call  | JSON `PageAnswer` |
 *
 * A message of SignStream is a Request of its own: the stream lives in the gateway, which keeps at most
 * `maxStreamInFlight` of them unanswered and stops reading the stream beyond that, or while its reader is slow.
 */
export const EdgeFrame = {
  Configure: 1,
  Listening: 2,
  ListenFailed: 3,
  Open: 4,
  Closed: 5,
  Reject: 6,
  Request: 7,
  Cancel: 8,
  Reply: 9,
  Failure: 10,
  Refused: 11,
  Certificates: 12,
  Drain: 13,
  PageCall: 14,
  PageAnswer: 15,
} as const;

export interface TlsMaterial {
  /** PEM. */
  readonly certificate: string;
  readonly key: string;
  /** PEM certificates of the trust domain's roots. */
  readonly trustBundle: readonly string[];
  /** For the pages, where there are any: a certificate that browsers trust. PEM. */
  readonly pages?: { readonly certificate: string; readonly key: string } | undefined;
}

/** The approvers' pages: HTTPS for browsers, on a port of their own. */
export interface PagesConfiguration {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** The DNS name in the address bar: requests for another name are refused. */
  readonly name: string;
  /** The port in the address bar, where something forwards it; undefined: the one that is listened on. */
  readonly publicPort?: number | undefined;
}

/** As in the address bar: what passkeys are bound to. */
export function originOfPages(name: string, port: number): string {
  return port === 443 ? `https://${name}` : `https://${name}:${port}`;
}

export interface GatewayConfiguration {
  readonly role: 'workload' | 'control';
  readonly trustDomain: string;
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Several gateways share the port. */
  readonly reusePort: boolean;
  /** With `reusePort`: bind the port alone for a moment first, to find another broker there. */
  readonly probePort: boolean;
  readonly tls: TlsMaterial;
  /** The control gateway alone, and only with `tls.pages`. */
  readonly pages?: PagesConfiguration | undefined;
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  readonly maxStreamsPerConnection: number;
  readonly maxStreamInFlight: number;
  /** Upper bound for every deadline, and the deadline of callers that give none. */
  readonly maxDeadlineMs: number;
}

/** What precedes the protobuf bytes in a Request. */
export const REQUEST_HEADER_BYTES = 9;

/** Why a handshake or a connection was refused: the keys of `refused_handshakes` in `status`. */
export const REFUSALS = [
  'no-certificate',
  'untrusted',
  'expired',
  'not-yet-valid',
  'not-an-x509-svid',
  'foreign-trust-domain',
  'handshake-timeout',
  'not-tls',
  'too-many-connections',
  'other',
] as const;
export type Refusal = (typeof REFUSALS)[number];

export interface EdgeRequest {
  /** Unique in the broker among open connections of all gateways. */
  readonly connection: number;
  readonly method: number;
  /** On the broker's monotonic clock (`performance.now()`), milliseconds. */
  readonly deadline: number;
  readonly payload: Buffer;
}
