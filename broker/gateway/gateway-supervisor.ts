import type { ChildUser, RestartPolicy } from '../../hsm-adapters/frames/child-process.ts';
import type { PageAnswer, PageCall } from '../proto/page-calls.ts';
import type { EdgeRequest, GatewayConfiguration, Refusal, TlsMaterial } from './edge-frames.ts';
import { GatewayError, GatewayProcess, type Shared } from './gateway-process.ts';

/** A caller that waits. Exactly one of the two is called; what comes after that, or after a cancel, has no effect. */
export interface Responder {
  /** @param bytes the response message, protobuf */
  ok(bytes: Uint8Array): void;
  /**
   * @param code gRPC's
   * @param statusBytes google.rpc.Status, protobuf, for `grpc-status-details-bin`
   */
  fail(code: number, message: string, statusBytes: Uint8Array): void;
}

export interface Peer {
  /** `address:port`. */
  readonly peer: string;
  /** DER, leaf first, as the gateway saw it: still to be verified. */
  readonly chain: readonly Buffer[];
}

/** Called in the order in which the gateway saw it happen: a connection's `onOpen` comes before its requests. */
export interface GatewayEvents {
  onOpen(connection: number, peer: Peer): void;
  onClosed(connection: number): void;
  /** `request.payload` is a view into a larger buffer: copy what is kept. */
  onRequest(request: EdgeRequest, reply: Responder): void;
  /** The caller of `reply` has gone: its work need not be done. */
  onCancel(reply: Responder): void;
  /** So many connections were refused for this reason since the last call. */
  onRefused(reason: Refusal, count: number): void;
  /** Something that the approvers' pages ask for. Absent where there are no pages. */
  onPage?: ((call: PageCall) => Promise<PageAnswer>) | undefined;
  /** The process that served the pages is gone: what it knew of sign-ins may be known to others. */
  onPagesGone?: (() => void) | undefined;
}

export interface GatewayOptions extends GatewayEvents {
  readonly configuration: Omit<GatewayConfiguration, 'reusePort' | 'probePort'>;
  /** Processes that share the port. */
  readonly count: number;
  /** What they become; undefined: user ids are shared. */
  readonly user: ChildUser | undefined;
  /** The directory that holds `broker/` and `hsm-adapters/`. */
  readonly root: string;
  readonly log: (
    level: 'info' | 'warn' | 'error',
    message: string,
    fields?: Record<string, string | number>,
  ) => void;
  readonly restartPolicy?: RestartPolicy | undefined;
}

export interface GatewayProcessStatus {
  readonly name: string;
  readonly role: GatewayConfiguration['role'];
  readonly pid: number | undefined;
  readonly uid: number;
  readonly isListening: boolean;
  readonly restarts: number;
  readonly connections: number;
}

export interface Gateway {
  readonly address: string;
  /** Stays the same when a process is replaced. */
  readonly port: number;
  /** Of the approvers' pages. */
  readonly pagesPort: number | undefined;
  /** The gateway closes that connection, and `onClosed` follows. Does nothing when it is gone. */
  reject(connection: number, reason: string): void;
  /** For new connections; open ones that the new trust bundle does not accept are ended. */
  renewCertificates(tls: TlsMaterial): void;
  processes(): readonly GatewayProcessStatus[];
  /** Stops accepting, lets calls finish within `maxDeadlineMs`, and ends the processes. */
  drain(): Promise<void>;
  /** Ends the processes now. */
  stop(): Promise<void>;
}

/**
 * Starts the gateways of one listener and keeps them running. Resolves once all of them listen.
 *
 * The first one finds out whether the port is free and, for port 0, which it is; the others and all replacements
 * are told.
 *
 * @throws GatewayError when the port cannot be had, or a process dies before it listens
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const shared: Shared = {
    options,
    tls: options.configuration.tls,
    port: options.configuration.port,
    pagesPort: undefined,
    isPortOurs: false,
  };
  const processes = Array.from({ length: options.count }, (_, i) => new GatewayProcess(shared, i));
  const first = processes[0];
  if (first === undefined) throw new GatewayError('a listener needs at least one gateway');
  try {
    const bound = await first.start();
    shared.port = bound.port;
    shared.pagesPort = bound.pagesPort;
    shared.isPortOurs = true;
    await Promise.all(processes.slice(1).map((process) => process.start()));
    return {
      address: bound.address,
      port: bound.port,
      pagesPort: bound.pagesPort,
      reject: (connection, reason) => {
        for (const process of processes) process.reject(connection, reason);
      },
      renewCertificates: (tls) => {
        shared.tls = tls;
        for (const process of processes) process.renewCertificates(tls);
      },
      processes: () => processes.map((process) => process.status()),
      drain: async () => {
        await Promise.all(processes.map((process) => process.drain()));
      },
      stop: async () => {
        await Promise.all(processes.map((process) => process.stop()));
      },
    };
  } catch (error) {
    await Promise.all(processes.map((process) => process.stop()));
    throw error;
  }
}
