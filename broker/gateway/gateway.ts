import { Server, ServerCredentials } from '@grpc/grpc-js';
import {
  connectToParent,
  dropPermissions,
  dropPrivileges,
  readChildArguments,
} from '../../hsm-adapters/frames/child-side.ts';
import { HEALTH_CHECK, METHODS, type ServiceName } from '../proto/methods.ts';
import { Calls } from './calls.ts';
import { EdgeFrame, type GatewayConfiguration, type Refusal, type TlsMaterial } from './edge-frames.ts';
import { Listener } from './listener.ts';
import { Pages } from './pages.ts';

/**
 * A gateway: the process that strangers talk to. It ends TLS, HTTP/2 and gRPC framing, and passes request bytes to
 * the broker undecoded. It holds no PIN, no state and no permission but to serve the sockets that it accepts.
 *
 * The same program plays both roles: `workload` admits KeyUse and nothing else, `control` the opposite. The broker
 * enforces that again on the frames.
 */
const SERVICES: Readonly<Record<GatewayConfiguration['role'], readonly ServiceName[]>> = {
  workload: ['KeyUse'],
  control: ['Admin', 'Audit', 'Approvals'],
};
/** Above our own limit of 1 MiB, so that the refusal is ours, with a reason, and not grpc-js's bare one. */
const MAX_RECEIVE_BYTES = 3 << 20;
const IDLE_MS = 10 * 60_000;
const SWEEP_MS = 500;

const { user } = readChildArguments();
let running: Running | undefined;

const channel = connectToParent({
  frame(type, id, payload) {
    switch (type) {
      case EdgeFrame.Configure:
        void start(JSON.parse(payload.toString('utf8')) as GatewayConfiguration);
        return;
      case EdgeFrame.Reply:
        running?.calls.reply(id, payload);
        return;
      case EdgeFrame.Failure:
        running?.calls.fail(id, payload);
        return;
      case EdgeFrame.PageAnswer:
        running?.pages?.answered(id, payload);
        return;
      case EdgeFrame.Reject:
        running?.listener.close(id);
        return;
      case EdgeFrame.Certificates:
        renew(JSON.parse(payload.toString('utf8')) as TlsMaterial);
        return;
      case EdgeFrame.Drain:
        if (running === undefined) channel.end();
        else running.drain();
        return;
      default:
        throw new Error(`unexpected frame of type ${type}`);
    }
  },
  closed() {
    // connectToParent ends the process: nothing here outlives the broker.
  },
});

interface Running {
  readonly listener: Listener;
  readonly pages: Pages | undefined;
  readonly calls: Calls;
  drain(): void;
}

function renew(tls: TlsMaterial): void {
  running?.listener.renew(tls);
  if (tls.pages !== undefined) running?.pages?.renew(tls.pages);
}

async function start(configuration: GatewayConfiguration): Promise<void> {
  let drainStarted = false;
  const refused = new Map<Refusal, number>();
  const endIfDrained = (): void => {
    if (drainStarted && listener.size === 0 && (pages === undefined || pages.isIdle)) channel.end();
  };
  // Before the listener: what it serves is read while files can be read.
  const pages =
    configuration.pages === undefined || configuration.tls.pages === undefined
      ? undefined
      : new Pages(configuration.pages, configuration.tls.pages, {
          maxConnections: configuration.maxConnections,
          maxConnectionsPerAddress: configuration.maxConnectionsPerAddress,
          call: (id, payload) => channel.send(EdgeFrame.PageCall, id, payload),
          idle: endIfDrained,
          refused: (reason) => refused.set(reason, (refused.get(reason) ?? 0) + 1),
        });
  const listener: Listener = new Listener(configuration, {
    opened: ({ number, peer, chain, socket }) => {
      channel.send(EdgeFrame.Open, number, openPayload(peer, chain));
      connections.injectConnection(socket);
    },
    closed: ({ number }) => {
      channel.send(EdgeFrame.Closed, number);
      endIfDrained();
    },
    refused: (reason) => refused.set(reason, (refused.get(reason) ?? 0) + 1),
  });
  const calls = new Calls(configuration, channel, listener);
  const methods = [
    ...METHODS.filter((method) => SERVICES[configuration.role].includes(method.service)),
    HEALTH_CHECK,
  ];
  const server = new Server({
    'grpc.max_receive_message_length': MAX_RECEIVE_BYTES,
    'grpc.max_concurrent_streams': configuration.maxStreamsPerConnection,
    'grpc.max_connection_idle_ms': IDLE_MS,
    'grpc.keepalive_time_ms': 60_000,
    'grpc.keepalive_timeout_ms': 20_000,
    'grpc.enable_channelz': 0,
    interceptors: [calls.interceptor(new Map(methods.map((method) => [method.path, method])))],
  });
  for (const { path, streaming } of methods) {
    server.register(path, unreachable, asIs, asIs, streaming ? 'bidi' : 'unary');
  }
  const connections = server.createConnectionInjector(ServerCredentials.createInsecure());

  let bound: { address: string; port: number };
  let pagesPort: number | undefined;
  let isPages = false;
  try {
    if (pages !== undefined) {
      isPages = true;
      pagesPort = await pages.listen();
      isPages = false;
    }
    // Last: until privileges are dropped below, nobody else can have been read.
    bound = await listener.listen();
  } catch (error) {
    const { code = 'UNKNOWN', message } = error as NodeJS.ErrnoException;
    channel.send(EdgeFrame.ListenFailed, 0, json({ code, message, isPages }));
    channel.end();
    return;
  }
  // In the same turn of the event loop as the bind: nothing of a stranger has been read yet.
  dropPrivileges(user);
  dropPermissions(['net', 'fs.read']);
  pages?.open();
  running = {
    listener,
    pages,
    calls,
    drain() {
      drainStarted = true;
      listener.stopAccepting();
      calls.drain();
      // GOAWAY; the supervisor's patience bounds what still runs.
      connections.drain(configuration.maxDeadlineMs);
      pages?.drain();
      endIfDrained();
    },
  };
  setInterval(() => {
    for (const [reason, count] of refused) channel.send(EdgeFrame.Refused, count, Buffer.from(reason));
    refused.clear();
    const now = performance.now();
    calls.sweep(now);
    listener.closeSilent(now);
  }, SWEEP_MS).unref();
  channel.send(EdgeFrame.Listening, 0, json({ ...bound, pagesPort }));
}

function openPayload(peer: string, chain: readonly Buffer[]): Buffer {
  const name = Buffer.from(peer);
  const parts: Buffer[] = [Buffer.alloc(2), name];
  parts[0]!.writeUInt16BE(name.length);
  for (const der of chain) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(der.length);
    parts.push(length, der);
  }
  return Buffer.concat(parts);
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function asIs(bytes: Buffer): Buffer {
  return bytes;
}

function unreachable(): never {
  throw new Error('the interceptor passes no call on');
}
