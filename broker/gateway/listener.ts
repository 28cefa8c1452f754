import { constants, type X509Certificate } from 'node:crypto';
import { createServer, type Socket, type Server as TcpServer } from 'node:net';
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import { IdentityError, type IdentityReason } from '../identity/identity.ts';
import { type TrustBundle, trustBundleFromPem } from '../identity/trust-bundle.ts';
import { MAX_CHAIN, verifyX509Svid } from '../identity/x509-svid.ts';
import type { GatewayConfiguration, Refusal, TlsMaterial } from './edge-frames.ts';

/** A client must have finished its handshake after so long … */
const HANDSHAKE_TIMEOUT_MS = 5_000;
/** … and have sent its first request after so long again. */
const FIRST_REQUEST_MS = 15_000;

/** One mutually authenticated connection. */
export interface Connection {
  /** Unique in this process, never used again. */
  readonly number: number;
  /** `address:port`, for people. */
  readonly peer: string;
  /** DER, leaf first, without the root. */
  readonly chain: readonly Buffer[];
  readonly socket: TLSSocket;
  readonly openedAt: number;
  hasSpoken: boolean;
}

/** The two ends of a TCP connection, as Node names them. */
export interface SocketAddresses {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
}

export interface ListenerHandlers {
  /** After the handshake, before anything is read. */
  opened(connection: Connection): void;
  closed(connection: Connection): void;
  refused(reason: Refusal): void;
}

/**
 * The TLS 1.3 listener: who may connect, how many, and which connection is whose.
 *
 * Invariants:
 *   - no connection is handed on without a chain that `verifyX509Svid` accepted
 *   - a request is attributed by all four of its connection's addresses and ports; two connections that look alike
 *     (the old one not yet reported closed) do not coexist: the newer is refused
 *   - every accepted TCP connection counts against both limits until it is closed
 */
export class Listener {
  readonly #configuration: GatewayConfiguration;
  readonly #handlers: ListenerHandlers;
  readonly #tcp: TcpServer;
  readonly #tls: TlsServer;
  readonly #byAddresses = new Map<string, Connection>();
  readonly #byNumber = new Map<number, Connection>();
  readonly #perAddress = new Map<string, number>();
  #sockets = 0;
  #lastNumber = 0;
  #bundle: TrustBundle;

  constructor(configuration: GatewayConfiguration, handlers: ListenerHandlers) {
    this.#configuration = configuration;
    this.#handlers = handlers;
    this.#bundle = trustBundleFromPem(configuration.trustDomain, configuration.tls.trustBundle);
    this.#tls = createTlsServer({
      ...secureContext(configuration.tls),
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: ['h2'],
      minVersion: 'TLSv1.3',
      maxVersion: 'TLSv1.3',
      // No tickets and no resumption: every connection proves its certificate anew, under the bundle of the day.
      secureOptions: constants.SSL_OP_NO_TICKET,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    });
    this.#tls.on('secureConnection', (socket) => this.#secured(socket));
    this.#tls.on('tlsClientError', (error, socket) => {
      handlers.refused(refusalOf(error, socket));
      socket.destroy();
    });
    this.#tcp = createServer({ noDelay: true }, (socket) => this.#accepted(socket));
  }

  /** Resolves to what was bound. Rejects with the system's error code, EADDRINUSE above all. */
  async listen(): Promise<{ address: string; port: number }> {
    const { host, port, reusePort, probePort } = this.#configuration;
    let chosen = port;
    if (reusePort && probePort) {
      // With SO_REUSEPORT a second broker would bind silently and take a share of the connections.
      const probe = createServer();
      chosen = (await bind(probe, { host, port })).port;
      await new Promise((resolve) => probe.close(resolve));
    }
    return bind(this.#tcp, { host, port: chosen, reusePort });
  }

  find(addresses: SocketAddresses): Connection | undefined {
    return this.#byAddresses.get(keyOf(addresses));
  }

  get connections(): Iterable<Connection> {
    return this.#byNumber.values();
  }

  get size(): number {
    return this.#byNumber.size;
  }

  /** Ends one connection at once. Does nothing when it is gone. */
  close(number: number): void {
    this.#byNumber.get(number)?.socket.destroy();
  }

  /** Certificates for new connections. Open ones whose chain the new bundle does not accept are ended. */
  renew(tls: TlsMaterial): void {
    const bundle = trustBundleFromPem(this.#configuration.trustDomain, tls.trustBundle);
    this.#tls.setSecureContext({
      ...secureContext(tls),
      minVersion: 'TLSv1.3',
      secureOptions: constants.SSL_OP_NO_TICKET,
    });
    this.#bundle = bundle;
    for (const connection of this.#byNumber.values()) {
      if (this.#refusalOfChain(connection.chain) !== undefined) connection.socket.destroy();
    }
  }

  /** Ends connections that have been open for long without a single request. */
  closeSilent(now: number): void {
    for (const { hasSpoken, openedAt, socket } of this.#byNumber.values()) {
      if (!hasSpoken && now - openedAt > FIRST_REQUEST_MS) socket.destroy();
    }
  }

  stopAccepting(): void {
    this.#tcp.close();
  }

  #accepted(socket: Socket): void {
    const address = socket.remoteAddress;
    // Nobody is listening to this socket's errors until TLS takes it over.
    socket.on('error', () => socket.destroy());
    if (address === undefined) {
      socket.destroy();
      return;
    }
    const fromAddress = this.#perAddress.get(address) ?? 0;
    const { maxConnections, maxConnectionsPerAddress } = this.#configuration;
    if (this.#sockets >= maxConnections || fromAddress >= maxConnectionsPerAddress) {
      this.#handlers.refused('too-many-connections');
      socket.destroy();
      return;
    }
    this.#sockets += 1;
    this.#perAddress.set(address, fromAddress + 1);
    socket.once('close', () => {
      this.#sockets -= 1;
      const left = (this.#perAddress.get(address) ?? 1) - 1;
      if (left === 0) this.#perAddress.delete(address);
      else this.#perAddress.set(address, left);
    });
    this.#tls.emit('connection', socket);
  }

  #secured(socket: TLSSocket): void {
    // A reset after the handshake is the client's business; what hangs on the connection learns of it by 'close'.
    socket.on('error', () => socket.destroy());
    const chain = chainOf(socket.getPeerX509Certificate());
    const refusal = socket.authorized ? this.#refusalOfChain(chain) : 'untrusted';
    const key = keyOf(socket);
    if (
      refusal !== undefined ||
      socket.alpnProtocol !== 'h2' ||
      key === UNKNOWN ||
      this.#byAddresses.has(key)
    ) {
      this.#handlers.refused(refusal ?? 'other');
      socket.destroy();
      return;
    }
    const connection: Connection = {
      number: ++this.#lastNumber,
      peer: `${socket.remoteAddress}:${socket.remotePort}`,
      chain,
      socket,
      openedAt: performance.now(),
      hasSpoken: false,
    };
    this.#byAddresses.set(key, connection);
    this.#byNumber.set(connection.number, connection);
    socket.once('close', () => {
      this.#byAddresses.delete(key);
      this.#byNumber.delete(connection.number);
      this.#handlers.closed(connection);
    });
    this.#handlers.opened(connection);
  }

  #refusalOfChain(chain: readonly Buffer[]): Refusal | undefined {
    try {
      verifyX509Svid(chain, this.#bundle, Date.now());
      return undefined;
    } catch (error) {
      return error instanceof IdentityError ? REFUSAL_OF[error.reason] : 'other';
    }
  }
}

const REFUSAL_OF: Readonly<Record<IdentityReason, Refusal>> = {
  SVID_MISSING: 'no-certificate',
  SVID_INVALID: 'not-an-x509-svid',
  SVID_EXPIRED: 'expired',
  SVID_NOT_YET_VALID: 'not-yet-valid',
  SVID_UNTRUSTED: 'untrusted',
  SVID_FOREIGN_TRUST_DOMAIN: 'foreign-trust-domain',
  CREDENTIAL_FROZEN: 'other',
};

/** OpenSSL's verdicts on a client's chain (X509_V_ERR_*); all others are `untrusted`. */
const REFUSAL_OF_OPENSSL: Readonly<Record<string, Refusal>> = {
  CERT_HAS_EXPIRED: 'expired',
  CERT_NOT_YET_VALID: 'not-yet-valid',
  INVALID_PURPOSE: 'not-an-x509-svid',
  UNHANDLED_CRITICAL_EXTENSION: 'not-an-x509-svid',
};

const REFUSAL_OF_CODE: Readonly<Record<string, Refusal>> = {
  ERR_TLS_HANDSHAKE_TIMEOUT: 'handshake-timeout',
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'no-certificate',
  ERR_SSL_WRONG_VERSION_NUMBER: 'not-tls',
  ERR_SSL_HTTP_REQUEST: 'not-tls',
  ERR_SSL_HTTPS_PROXY_REQUEST: 'not-tls',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'not-tls',
  ERR_SSL_RECORD_LAYER_FAILURE: 'not-tls',
  ERR_SSL_UNEXPECTED_MESSAGE: 'not-tls',
};

function refusalOf(error: NodeJS.ErrnoException, socket: TLSSocket): Refusal {
  // On the server side this is OpenSSL's code, not an Error.
  const verdict = socket.authorizationError as unknown;
  if (typeof verdict === 'string') return REFUSAL_OF_OPENSSL[verdict] ?? 'untrusted';
  return REFUSAL_OF_CODE[error.code ?? ''] ?? 'other';
}

const UNKNOWN = '';

function keyOf({ remoteAddress, remotePort, localAddress, localPort }: SocketAddresses): string {
  if (remoteAddress === undefined || localAddress === undefined) return UNKNOWN;
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

/** What the client sent, and at most one certificate more: the verifier's own root, which it does not need. */
function chainOf(leaf: X509Certificate | undefined): Buffer[] {
  const chain: Buffer[] = [];
  for (let at = leaf; at !== undefined && chain.length <= MAX_CHAIN; at = at.issuerCertificate) {
    if (chain.length > 0 && at.subject === at.issuer) break;
    chain.push(at.raw);
  }
  return chain;
}

function secureContext(tls: TlsMaterial): { key: string; cert: string; ca: string[] } {
  return { key: tls.key, cert: tls.certificate, ca: [...tls.trustBundle] };
}

function bind(
  server: TcpServer,
  options: { host: string; port: number; reusePort?: boolean },
): Promise<{ address: string; port: number }> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...options, backlog: 511 }, () => {
      server.off('error', reject);
      const bound = server.address();
      if (bound === null || typeof bound === 'string')
        reject(new Error('listening on something that is not TCP'));
      else resolve({ address: bound.address, port: bound.port });
    });
  });
}
