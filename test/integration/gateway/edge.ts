import { type Client, credentials, makeGenericClientConstructor, type ServiceError } from '@grpc/grpc-js';
import type { EdgeRequest, GatewayConfiguration, Refusal } from '../../../broker/gateway/edge-frames.ts';
import {
  type Gateway,
  type GatewayEvents,
  type Peer,
  type Responder,
  startGateway,
} from '../../../broker/gateway/gateway-supervisor.ts';
import { METHODS, type Method } from '../../../broker/proto/methods.ts';
import { roleUsers, treeRoot } from '../../../hsm-adapters/frames/isolation.ts';
import { createTestPki, type IssuedSvid, type TestPki } from '../../fakes/pki.ts';

/** What the broker's side of the pipe saw, and what a test makes it answer. */
export interface FakeBroker {
  readonly gateway: Gateway;
  readonly pki: TestPki;
  readonly opened: Map<number, Peer>;
  readonly closed: number[];
  readonly requests: { readonly request: EdgeRequest; readonly payload: Buffer; readonly reply: Responder }[];
  readonly cancelled: Responder[];
  readonly refused: Map<Refusal, number>;
  readonly log: string[];
  /** Called for each request; echoes until a test says otherwise. */
  answer: (request: EdgeRequest, reply: Responder) => void;
  /** Resolves once `condition` holds; looks again whenever anything happens. */
  until(condition: () => boolean): Promise<void>;
  stop(): Promise<void>;
}

export const echo = (request: EdgeRequest, reply: Responder): void => reply.ok(request.payload);

export async function startFakeBroker(
  overrides: Partial<GatewayConfiguration> = {},
  count = 1,
  pki?: TestPki,
  pages: Pick<GatewayEvents, 'onPage' | 'onPagesGone'> = {},
): Promise<FakeBroker> {
  const authority = pki ?? (await createTestPki({ trustDomain: 'example.org' }));
  const server = await brokerSvid(authority);
  const waiting = new Set<() => void>();
  const happened = () => {
    for (const check of waiting) check();
  };
  const state = {
    pki: authority,
    opened: new Map<number, Peer>(),
    closed: [] as number[],
    requests: [] as { request: EdgeRequest; payload: Buffer; reply: Responder }[],
    cancelled: [] as Responder[],
    refused: new Map<Refusal, number>(),
    log: [] as string[],
    answer: echo as FakeBroker['answer'],
  };
  const gateway = await startGateway({
    configuration: {
      role: 'workload',
      trustDomain: authority.trustDomain,
      host: '127.0.0.1',
      port: 0,
      tls: { certificate: server.certificatePem, key: server.keyPem, trustBundle: [authority.rootPem] },
      maxConnections: 1000,
      maxConnectionsPerAddress: 500,
      maxStreamsPerConnection: 100,
      maxStreamInFlight: 64,
      maxDeadlineMs: 10_000,
      ...overrides,
    },
    count,
    onPage:
      pages.onPage &&
      ((call) => {
        const answer = pages.onPage?.(call);
        happened();
        if (answer === undefined) throw new Error('nobody answers pages');
        return answer;
      }),
    onPagesGone: pages.onPagesGone,
    user: roleUsers().gateway,
    root: treeRoot(),
    log: (_level, message) => {
      state.log.push(message);
      happened();
    },
    onOpen: (connection, peer) => {
      state.opened.set(connection, peer);
      happened();
    },
    onClosed: (connection) => {
      state.closed.push(connection);
      happened();
    },
    onRequest: (request, reply) => {
      state.requests.push({ request, payload: Buffer.from(request.payload), reply });
      state.answer(request, reply);
      happened();
    },
    onCancel: (reply) => {
      state.cancelled.push(reply);
      happened();
    },
    onRefused: (reason, number) => {
      state.refused.set(reason, (state.refused.get(reason) ?? 0) + number);
      happened();
    },
  });
  return Object.assign(state, {
    gateway,
    until: (condition: () => boolean) =>
      new Promise<void>((resolve) => {
        const check = () => {
          if (!condition()) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
      }),
    stop: () => gateway.stop(),
  });
}

export function brokerSvid(pki: TestPki): Promise<IssuedSvid> {
  return pki.issue({ spiffeId: `spiffe://${pki.trustDomain}/lastmile/broker`, dnsNames: ['localhost'] });
}

export function workloadSvid(pki: TestPki, path = 'ns/payments/sa/api'): Promise<IssuedSvid> {
  return pki.issue({ spiffeId: `spiffe://${pki.trustDomain}/${path}` });
}

const asIs = (bytes: Buffer): Buffer => bytes;
const RawClient = makeGenericClientConstructor({}, 'Raw');

export function connect(
  broker: FakeBroker,
  svid: IssuedSvid | undefined,
  rootPem = broker.pki.rootPem,
): Client {
  const secure =
    svid === undefined
      ? credentials.createSsl(Buffer.from(rootPem))
      : credentials.createSsl(
          Buffer.from(rootPem),
          Buffer.from(svid.keyPem),
          Buffer.from(svid.certificatePem),
        );
  return new RawClient(`localhost:${broker.gateway.port}`, secure, {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
  });
}

export function method(name: string): Method {
  const found = METHODS.find((m) => m.name === name);
  if (found === undefined) throw new Error(`no method ${name}`);
  return found;
}

export type Outcome = { readonly ok: Buffer } | { readonly error: ServiceError };

export function call(client: Client, path: string, payload: Buffer, deadlineMs = 8_000): Promise<Outcome> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      path,
      asIs,
      asIs,
      payload,
      { deadline: Date.now() + deadlineMs },
      (error, value) => {
        resolve(error === null ? { ok: value! } : { error });
      },
    );
  });
}

export function openStream(client: Client, path = method('SignStream').path) {
  return client.makeBidiStreamRequest(path, asIs, asIs);
}
