import { Client, connectivityState, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import type { Codec } from '../proto/codec.ts';
import { fromServiceError } from './errors.ts';
import { brokerIdentityCheck, secureContextOf, serverName, type Target } from './handshake.ts';
import { cancelled, deadlineExceeded, type Patience } from './retry.ts';
import type { Svid } from './svid.ts';

/**
 * One gRPC channel and the SVID it was made with. Owned by Transport (transport.ts); retired when a newer SVID is there, and
 * closed when its last call is over.
 */
export class Lane {
  readonly client: Client;
  readonly svid: Svid;
  #inUse = 0;
  #isRetired = false;

  constructor(target: Target, brokerId: string, svid: Svid, maxResponseBytes: number) {
    this.svid = svid;
    this.client = new Client(
      target.host.includes(':') ? `[${target.host}]:${target.port}` : `${target.host}:${target.port}`,
      credentials.createFromSecureContext(secureContextOf(svid), {
        checkServerIdentity: brokerIdentityCheck(brokerId),
      }),
      {
        'grpc.ssl_target_name_override': serverName(target, brokerId),
        // A channel of its own: another one's credentials are never reused.
        'grpc.use_local_subchannel_pool': 1,
        // A retry policy in a DNS record would repeat uses of a key behind our back.
        'grpc.service_config_disable_resolution': 1,
        'grpc.enable_http_proxy': 0,
        'grpc.initial_reconnect_backoff_ms': 100,
        'grpc.max_reconnect_backoff_ms': 2000,
        'grpc.keepalive_time_ms': 30_000,
        'grpc.keepalive_timeout_ms': 5000,
        'grpc.max_receive_message_length': maxResponseBytes,
      },
    );
  }

  take(): void {
    this.#inUse++;
  }

  release(): void {
    this.#inUse--;
    if (this.#isRetired && this.#inUse === 0) this.client.close();
  }

  retire(): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    if (this.#inUse === 0) this.client.close();
  }

  get isReady(): boolean {
    return this.client.getChannel().getConnectivityState(false) === connectivityState.READY;
  }
}

/** True when the channel is connected, false when connecting failed. @throws LastmileError on deadline and abort */
export async function connected(client: Client, patience: Patience): Promise<boolean> {
  const channel = client.getChannel();
  const { signal } = patience;
  for (;;) {
    const state = channel.getConnectivityState(true);
    if (state === connectivityState.READY) return true;
    if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN) return false;
    const remainingMs = patience.deadlineAt - performance.now();
    if (remainingMs <= 0) throw deadlineExceeded('no');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const abort = (): void => reject(cancelled(signal!, 'no'));
    signal?.addEventListener('abort', abort, { once: true });
    // A watcher cannot be taken back; it ends with the next change of state, or with this deadline.
    channel.watchConnectivityState(state, Date.now() + remainingMs, () => resolve());
    try {
      await promise;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }
}

/** One unary call on a connected channel. @throws LastmileError and nothing else */
export function call<Out extends object>(
  client: Client,
  path: string,
  request: Buffer,
  response: Codec<never, Out>,
  patience: Patience,
): Promise<Out> {
  const { promise, resolve, reject } = Promise.withResolvers<Out>();
  const { signal } = patience;
  const remainingMs = patience.deadlineAt - performance.now();
  if (signal?.aborted) throw cancelled(signal, 'no');
  if (remainingMs <= 0) throw deadlineExceeded('no');
  const abort = (): void => {
    started.cancel();
    reject(cancelled(signal!, 'unknown'));
  };
  const started = client.makeUnaryRequest<Buffer, Out>(
    path,
    (bytes) => bytes,
    response.decode,
    request,
    new Metadata(),
    { deadline: Date.now() + remainingMs },
    (error: ServiceError | null, response?: Out) => {
      signal?.removeEventListener('abort', abort);
      if (error !== null) reject(fromServiceError(error));
      else resolve(response as Out);
    },
  );
  signal?.addEventListener('abort', abort, { once: true });
  return promise;
}
