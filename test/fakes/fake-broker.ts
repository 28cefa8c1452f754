import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import {
  Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { codec, declaredMethods } from '../../broker/proto/codec.ts';
import type { IssuedPem } from './svid-files.ts';

type Message = Record<string, unknown>;
/** Answers one call. Throw `refusal(…)` to answer with an error. */
export type Answer = (
  request: Message,
  call: {
    readonly deadline: Date | number;
    readonly cancelled: Promise<void>;
    readonly peerSpiffeId: string | undefined;
  },
) => Message | Promise<Message>;
export type StreamAnswer = (stream: ServerDuplexStream<Message, Message>) => void;

const GRPC_CODES: Readonly<Record<string, number>> = {
  BUSY: 8,
  CANCELLED: 1,
  DEADLINE_EXCEEDED: 4,
  CIPHERTEXT_REJECTED: 3,
  REQUEST_INVALID: 3,
  POLICY_DENIED: 7,
  RATE_LIMITED: 8,
  KEY_UNUSABLE: 9,
  APPROVAL_REQUIRED: 9,
  TOKEN_LOGIN_BLOCKED: 9,
  OPERATION_UNSUPPORTED: 12,
  INTERNAL: 13,
  TOKEN_UNREACHABLE: 14,
  AUDIT_UNAVAILABLE: 14,
  AUDIT_INCONSISTENT: 15,
};

/** `google.rpc.Status` as the broker writes it. */
export function statusMessage(reason: string, message: string, metadata: Record<string, string>): Message {
  const value = codec('google.rpc.ErrorInfo').encode({ reason, domain: 'lastmile', metadata });
  return {
    code: GRPC_CODES[reason] ?? 16,
    message,
    details: [{ type_url: 'type.googleapis.com/google.rpc.ErrorInfo', value }],
  };
}

export function refusal(
  reason: string,
  performed: string,
  message: string = 'refused',
  more: Record<string, string> = {},
): Error {
  const status = statusMessage(reason, message, { performed, ...more });
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', codec('google.rpc.Status').encode(status) as Buffer);
  return Object.assign(new Error(message), { code: status.code, details: message, metadata });
}

/**
 * The broker's edge as a client sees it: TLS 1.3 with client certificates, and gRPC with answers that a test sets.
 * What is not set answers UNIMPLEMENTED, as a stranger's server would.
 */
export class FakeBroker {
  readonly answers = new Map<string, Answer>();
  signStream: StreamAnswer | undefined;
  /** SPIFFE IDs of the connections accepted, in order. */
  readonly accepted: string[] = [];
  /** Certificate serial numbers of the same. */
  readonly acceptedSerials: string[] = [];
  /** Decides about a finished handshake; false closes the connection before any byte of HTTP/2. */
  admit: (socket: tls.TLSSocket) => boolean = () => true;
  /** Handshakes that were begun, whatever came of them. */
  handshakes = 0;
  readonly #sockets = new Set<tls.TLSSocket>();
  readonly #grpc: Server;
  readonly #tls: tls.Server;

  private constructor(identity: IssuedPem, trustBundle: string, options: tls.TlsOptions) {
    this.#grpc = new Server({ 'grpc.max_receive_message_length': 2 * 1024 * 1024 });
    for (const service of ['KeyUse', 'Admin', 'Audit', 'Approvals'] as const) this.#addService(service);
    const injector = this.#grpc.createConnectionInjector(ServerCredentials.createInsecure());
    this.#tls = tls.createServer({
      cert: identity.certificate,
      key: identity.key,
      ca: trustBundle,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['h2'],
      ...options,
    });
    this.#tls.on('connection', () => {
      this.handshakes++;
    });
    this.#tls.on('secureConnection', (socket) => {
      // A client that goes away is its own business.
      socket.on('error', () => socket.destroy());
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      if (!this.admit(socket)) {
        socket.destroy();
        return;
      }
      const peer = socket.getPeerCertificate();
      this.accepted.push(peer.subjectaltname ?? '');
      this.acceptedSerials.push(peer.serialNumber ?? '');
      injector.injectConnection(socket);
    });
  }

  static async start(
    identity: IssuedPem,
    trustBundle: string,
    options: tls.TlsOptions & { port?: number } = {},
  ): Promise<FakeBroker> {
    const { port, ...tlsOptions } = options;
    const broker = new FakeBroker(identity, trustBundle, tlsOptions);
    broker.#tls.listen(port ?? 0, '127.0.0.1');
    await once(broker.#tls, 'listening');
    return broker;
  }

  get port(): number {
    return (this.#tls.address() as AddressInfo).port;
  }

  get target(): string {
    return `127.0.0.1:${this.port}`;
  }

  get openConnections(): number {
    return this.#sockets.size;
  }

  /** Cuts every connection, as a crash does. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.#tls.close();
    this.cut();
    this.#grpc.forceShutdown();
    if (this.#tls.listening) await once(this.#tls, 'close');
  }

  #addService(service: 'KeyUse' | 'Admin' | 'Audit' | 'Approvals'): void {
    const definition: Record<string, MethodDefinition<Message, Message>> = {};
    const handlers: UntypedServiceImplementation = {};
    for (const method of declaredMethods().filter((m) => m.service === service)) {
      const request = codec<Message, Message>(method.requestType);
      const response = codec<Message, Message>(method.responseType);
      definition[method.name] = {
        path: `/lastmile.v1.${service}/${method.name}`,
        requestStream: method.streaming,
        responseStream: method.streaming,
        requestSerialize: request.encode,
        requestDeserialize: request.decode,
        responseSerialize: response.encode,
        responseDeserialize: response.decode,
      };
      handlers[method.name] = method.streaming
        ? (stream: ServerDuplexStream<Message, Message>) => this.signStream?.(stream)
        : (call: ServerUnaryCall<Message, Message>, respond: sendUnaryData<Message>) =>
            void this.#unary(method.name, call, respond);
    }
    this.#grpc.addService(definition as ServiceDefinition, handlers);
  }

  async #unary(
    name: string,
    call: ServerUnaryCall<Message, Message>,
    respond: sendUnaryData<Message>,
  ): Promise<void> {
    const answer = this.answers.get(name);
    if (answer === undefined) {
      respond({ code: 12, details: `no answer set for ${name}` });
      return;
    }
    const cancelled = new Promise<void>((resolve) => call.on('cancelled', () => resolve()));
    const peer = call.getAuthContext()?.sslPeerCertificate?.subjectaltname;
    try {
      respond(
        null,
        await answer(call.request, {
          deadline: call.getDeadline(),
          cancelled,
          peerSpiffeId: peer?.slice('URI:'.length),
        }),
      );
    } catch (error) {
      respond(error as Parameters<typeof respond>[0]);
    }
  }
}
