import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import {
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  connect as tlsConnect,
} from 'node:tls';
import { type BrokerReason, LastmileError } from './errors.ts';
import type { Svid } from './svid.ts';

/** `host:port`, or `[address]:port` for IPv6. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

/** @throws LastmileError REQUEST_INVALID */
export function parseTarget(target: string): Target {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/]+)):(\d{1,5})$/.exec(target);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port < 1 || port > 65535) {
    throw new LastmileError('REQUEST_INVALID', `target \`${target}\` is not host:port`, {
      code: 'INVALID_ARGUMENT',
      performed: 'no',
    });
  }
  return { host, port };
}

/** `spiffe://example.org/lastmile/broker` → `example.org`. */
export function trustDomainOf(spiffeId: string): string | undefined {
  return /^spiffe:\/\/([a-z0-9._-]{1,255})(?:\/[a-zA-Z0-9._-]+)*$/.exec(spiffeId)?.[1];
}

/** What goes into SNI: RFC 6066 allows no addresses there, and the name is not what the broker is known by. */
export function serverName(target: Target, brokerId: string): string {
  return isIP(target.host) === 0 ? target.host : (trustDomainOf(brokerId) ?? 'localhost');
}

/** TLS 1.3 with the workload's own SVID, and nothing but the trust bundle as roots. */
export function secureContextOf(svid: Svid): SecureContext {
  return createSecureContext({
    cert: svid.certificatePem,
    key: svid.keyPem,
    ca: svid.trustBundlePem,
    minVersion: 'TLSv1.3',
  });
}

/** URI SANs in Node's text form, where a value that holds separators is quoted. Undefined: not understood. */
export function uriNames(subjectAltName: string | undefined): string[] | undefined {
  if (subjectAltName === undefined) return [];
  const name = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y;
  const found: string[] = [];
  while (name.lastIndex < subjectAltName.length) {
    const match = name.exec(subjectAltName);
    if (match === null) return undefined;
    if (match[1] === 'URI') found.push(match[2]!);
  }
  return found;
}

/**
 * Accepts a server whose only URI SAN is exactly `brokerId`, and no other: the name that was dialled means
 * nothing, or any workload of the trust domain could pose as the broker. The chain has been verified against
 * the trust bundle before (Node calls this last). Proven by transport.test.ts, "another workload".
 */
export function brokerIdentityCheck(
  brokerId: string,
): (host: string, peer: PeerCertificate) => Error | undefined {
  return (_host, peer) => {
    const names = uriNames(peer.subjectaltname);
    const isBroker =
      names?.length === 1 &&
      names[0] === brokerId &&
      peer.raw !== undefined &&
      !new X509Certificate(peer.raw).ca;
    if (isBroker) return undefined;
    const claimed =
      names?.length === 1 && trustDomainOf(names[0]!) !== undefined ? names[0] : 'something else';
    return new BrokerIdentityError(`the server is ${claimed}, not ${brokerId}`);
  };
}

export class BrokerIdentityError extends Error {
  override readonly name: string = 'BrokerIdentityError';
}

/** What one handshake of our own came to, when gRPC only says that there is no connection. */
export type Probe =
  | { readonly outcome: 'accepted' }
  /** TLS was up and the broker hung up, or sent an alert about our certificate. */
  | { readonly outcome: 'refused'; readonly alert: number | undefined; readonly error: Error | undefined }
  | { readonly outcome: 'not-the-broker'; readonly error: Error }
  | { readonly outcome: 'not-tls'; readonly error: Error }
  | { readonly outcome: 'unreachable'; readonly error: Error };

const SERVER_CHAIN_ERRORS: ReadonlySet<string> = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_UNTRUSTED',
  'CERT_SIGNATURE_FAILURE',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/**
 * Shakes hands once, only to learn why gRPC could not.
 *
 * In TLS 1.3 the server judges our certificate after our side is done, so a finished handshake proves nothing:
 * the first byte of the server's HTTP/2 settings does. A close or alert before it is a refusal.
 */
export function probe(target: Target, svid: Svid, brokerId: string, timeoutMs: number): Promise<Probe> {
  const { promise, resolve } = Promise.withResolvers<Probe>();
  const socket = tlsConnect({
    host: target.host,
    port: target.port,
    servername: serverName(target, brokerId),
    secureContext: secureContextOf(svid),
    checkServerIdentity: brokerIdentityCheck(brokerId),
    ALPNProtocols: ['h2'],
  });
  let isSecure = false;
  const settle = (result: Probe): void => {
    clearTimeout(timer);
    resolve(result);
    socket.destroy();
  };
  const timer = setTimeout(
    () => settle({ outcome: 'unreachable', error: new Error(`no answer within ${timeoutMs} ms`) }),
    timeoutMs,
  );
  socket.once('secureConnect', () => {
    isSecure = true;
  });
  socket.once('data', () => settle({ outcome: 'accepted' }));
  socket.once('close', () =>
    settle({ outcome: isSecure ? 'refused' : 'unreachable', alert: undefined, error: closed() }),
  );
  socket.on('error', (error: NodeJS.ErrnoException) => {
    const alert = /SSL alert number (\d+)/.exec(error.message)?.[1];
    if (error instanceof BrokerIdentityError || SERVER_CHAIN_ERRORS.has(error.code ?? '')) {
      settle({ outcome: 'not-the-broker', error });
    } else if (alert !== undefined) {
      settle({ outcome: 'refused', alert: Number(alert), error });
    } else if (error.code?.startsWith('ERR_SSL') === true || error.code === 'EPROTO') {
      settle({ outcome: 'not-tls', error });
    } else if (isSecure) {
      settle({ outcome: 'refused', alert: undefined, error });
    } else {
      settle({ outcome: 'unreachable', error });
    }
  });
  return promise;
}

function closed(): Error {
  return new Error('the connection was closed');
}

/** TLS alerts about the certificate that we sent (RFC 8446, section 6.2). */
const ALERT_REASONS: ReadonlyMap<number, readonly [BrokerReason, string]> = new Map([
  [42, ['SVID_INVALID', 'bad_certificate']],
  [43, ['SVID_INVALID', 'unsupported_certificate']],
  [44, ['CREDENTIAL_FROZEN', 'certificate_revoked']],
  [45, ['SVID_EXPIRED', 'certificate_expired']],
  [46, ['SVID_UNTRUSTED', 'certificate_unknown']],
  [48, ['SVID_UNTRUSTED', 'unknown_ca']],
  [49, ['SVID_UNTRUSTED', 'access_denied']],
  [116, ['SVID_MISSING', 'certificate_required']],
]);

/** What is wrong with our own SVID, as far as can be told without the broker. */
export function ownFault(
  svid: Svid,
  brokerId: string,
  now: number,
): readonly [BrokerReason, string] | undefined {
  const leaf = svid.chain[0]!;
  for (const certificate of svid.chain) {
    if (now >= Date.parse(certificate.validTo)) {
      return ['SVID_EXPIRED', `our X.509-SVID expired at ${new Date(certificate.validTo).toISOString()}`];
    }
    if (now < Date.parse(certificate.validFrom)) {
      return [
        'SVID_NOT_YET_VALID',
        `our X.509-SVID is valid from ${new Date(certificate.validFrom).toISOString()} on; is the clock right?`,
      ];
    }
  }
  const names = uriNames(leaf.subjectAltName);
  const trustDomain = names?.length === 1 ? trustDomainOf(names[0]!) : undefined;
  if (trustDomain === undefined)
    return ['SVID_INVALID', 'our certificate does not have exactly one SPIFFE ID'];
  if (leaf.ca) return ['SVID_INVALID', 'our certificate is a CA certificate, not an X.509-SVID'];
  if (trustDomain !== trustDomainOf(brokerId)) {
    return [
      'SVID_FOREIGN_TRUST_DOMAIN',
      `our X.509-SVID is of trust domain ${trustDomain}, the broker's is another`,
    ];
  }
  if (!reaches(leaf, svid.chain.slice(1), svid.trustBundle)) {
    return ['SVID_UNTRUSTED', 'our X.509-SVID does not chain to the trust bundle'];
  }
  return undefined;
}

function reaches(
  certificate: X509Certificate,
  intermediates: readonly X509Certificate[],
  roots: readonly X509Certificate[],
): boolean {
  const issued = (issuer: X509Certificate): boolean =>
    certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
  if (roots.some(issued)) return true;
  const issuer = intermediates.find(issued);
  return (
    issuer !== undefined &&
    reaches(
      issuer,
      intermediates.filter((c) => c !== issuer),
      roots,
    )
  );
}

/** Turns a probe that was not accepted into the error that the caller gets. */
export function explain(
  result: Exclude<Probe, { outcome: 'accepted' }>,
  target: string,
  svid: Svid,
  brokerId: string,
  now: number = Date.now(),
): LastmileError {
  switch (result.outcome) {
    case 'unreachable':
      return new LastmileError(
        'BROKER_UNREACHABLE',
        `no broker answers at ${target}: ${result.error.message}`,
        {
          performed: 'no',
          cause: result.error,
        },
      );
    case 'not-the-broker':
      return new LastmileError('BROKER_UNTRUSTED', `refused to speak to ${target}: ${result.error.message}`, {
        code: 'UNAUTHENTICATED',
        performed: 'no',
        cause: result.error,
      });
    case 'not-tls':
      return new LastmileError(
        'PROTOCOL_MISMATCH',
        `${target} does not speak TLS 1.3: ${result.error.message}`,
        {
          performed: 'no',
          cause: result.error,
        },
      );
    case 'refused': {
      const alert = result.alert === undefined ? undefined : ALERT_REASONS.get(result.alert);
      const own = ownFault(svid, brokerId, now);
      // Our own certificate says it in more detail than the alert; both lie on the same side of the wire.
      const [reason, text] =
        own ??
        (alert === undefined
          ? ([
              'SVID_INVALID',
              'it closed the connection on our certificate, whose dates and chain look right here',
            ] as const)
          : ([alert[0], `TLS alert ${alert[1]}`] as const));
      if (own === undefined && result.alert !== undefined && alert === undefined) {
        return new LastmileError(
          'PROTOCOL_MISMATCH',
          `${target} refused the handshake: TLS alert ${result.alert}`,
          {
            performed: 'no',
            cause: result.error,
          },
        );
      }
      return new LastmileError(reason, `the broker at ${target} refused the handshake: ${text}`, {
        code: 'UNAUTHENTICATED',
        performed: 'no',
        cause: result.error,
      });
    }
    default:
      return result satisfies never;
  }
}
