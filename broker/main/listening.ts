import { readFileSync } from 'node:fs';
import { treeRoot } from '../../hsm-adapters/frames/isolation.ts';
import type { Router } from '../api/router.ts';
import type { LastmileConfig } from '../config.ts';
import type { GatewayConfiguration, Refusal, TlsMaterial } from '../gateway/edge-frames.ts';
import { type Gateway, startGateway } from '../gateway/gateway-supervisor.ts';
import { IdentityError } from '../identity/identity.ts';
import { trustBundleFromPem } from '../identity/trust-bundle.ts';
import { verifyX509Svid } from '../identity/x509-svid.ts';
import type { Log } from '../telemetry/log.ts';
import type { Outward, PagesWiring } from './outward.ts';
import { configuredUsers } from './process-users.ts';

export interface ConnectionControl {
  reject(connection: number, reason: string): void;
}

/** What gateways are put in front of. */
export interface Listenable {
  readonly config: LastmileConfig;
  readonly router: (connections: ConnectionControl) => Router;
  readonly refused: (reason: Refusal, count: number) => void;
  /** What people outside see of approvals. */
  readonly outward: Outward;
  readonly pages: () => PagesWiring | undefined;
  /** Tells whose processes the status is to show. */
  readonly listensThrough: (gateways: readonly Gateway[]) => void;
}

export interface Listening {
  readonly workloads: string;
  readonly control: string;
  /** Undefined: approvers have no pages. */
  readonly pages: string | undefined;
  /** Stops accepting, lets calls finish, ends every process. */
  stop(): Promise<void>;
}

/**
 * Starts the gateways: one group for workloads, one for operators, approvers and their pages. What they let in is
 * checked again here.
 *
 * @throws when one of them cannot listen; then none does
 */
export async function listen(core: Listenable, log: Log): Promise<Listening> {
  const { config } = core;
  const tls: TlsMaterial = {
    certificate: readFileSync(config.broker.certificate, 'utf8'),
    key: readFileSync(config.broker.key, 'utf8'),
    trustBundle: [readFileSync(config.trustBundle, 'utf8')],
  };
  const bundle = trustBundleFromPem(config.trustDomain, tls.trustBundle);
  const users = configuredUsers(config.isolation);
  const gateways: Gateway[] = [];
  const pages = core.pages();
  const start = async (role: GatewayConfiguration['role']): Promise<Gateway> => {
    const address = role === 'workload' ? config.listen.workloads : config.listen.control;
    let gateway: Gateway | undefined;
    const router = core.router({ reject: (connection, reason) => gateway?.reject(connection, reason) });
    gateway = await startGateway({
      configuration: {
        role,
        trustDomain: config.trustDomain,
        host: address.host,
        port: address.port,
        tls: role === 'control' && pages !== undefined ? { ...tls, pages: pages.tls } : tls,
        ...(role === 'control' && pages !== undefined ? { pages: pages.configuration } : {}),
        maxConnections: config.limits.maxConnections,
        maxConnectionsPerAddress: config.limits.maxConnectionsPerAddress,
        maxStreamsPerConnection: config.limits.maxStreamsPerConnection,
        maxStreamInFlight: config.limits.maxStreamInFlight,
        maxDeadlineMs: config.limits.maxDeadlineMs,
      },
      count: role === 'workload' ? config.listen.gateways : 1,
      user: role === 'workload' ? users.gateway : users.controlGateway,
      root: treeRoot(),
      log,
      onOpen: (connection, { peer, chain }) => {
        try {
          // Again, by the broker itself: a gateway is not believed.
          router.opened(connection, { identity: verifyX509Svid(chain, bundle, Date.now()), peer });
        } catch (error) {
          if (!(error instanceof IdentityError)) throw error;
          log('warn', 'a connection that a gateway let in is refused', {
            peer,
            reason: error.reason,
            why: error.message,
          });
          core.refused('other', 1);
          gateway?.reject(connection, error.reason);
        }
      },
      onClosed: (connection) => router.closed(connection),
      onRequest: (request, reply) => router.handle(request, reply),
      onCancel: (reply) => router.cancel(reply),
      onRefused: (reason, count) => core.refused(reason, count),
      ...(role === 'control' && pages !== undefined
        ? { onPage: pages.onPage, onPagesGone: pages.onPagesGone }
        : {}),
    });
    if (gateway.pagesPort !== undefined) core.outward.pagesListen(gateway.pagesPort);
    return gateway;
  };
  try {
    gateways.push(await start('workload'));
    gateways.push(await start('control'));
  } catch (error) {
    await Promise.all(gateways.map((gateway) => gateway.stop()));
    throw error;
  }
  core.listensThrough(gateways);
  const [workloads, control] = gateways as [Gateway, Gateway];
  return {
    workloads: `${workloads.address}:${workloads.port}`,
    control: `${control.address}:${control.port}`,
    pages: control.pagesPort === undefined ? undefined : `${control.address}:${control.pagesPort}`,
    stop: async () => {
      await Promise.all(gateways.map((gateway) => gateway.drain()));
      await Promise.all(gateways.map((gateway) => gateway.stop()));
    },
  };
}
