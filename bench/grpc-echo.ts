import { type IssuedPem, SvidIssuer } from '../test/fakes/svid-files.ts';
import { BenchChild } from './child.ts';
import type { Sample } from './closed-loop.ts';
import type { EchoClientRequest } from './grpc-echo-client.ts';
import type { EchoServerRequest } from './grpc-echo-server.ts';

/** One end of an echo. */
export interface EchoEnd {
  readonly svid: IssuedPem;
  readonly trustBundle: string;
}

/**
 * The ceiling of the network edge: grpc-js at both ends of one TLS 1.3 connection with client certificates, and a
 * server that answers at once, without looking, with a message of the right size.
 */
export class GrpcEcho {
  readonly #client: BenchChild<EchoClientRequest>;
  readonly #server: BenchChild<EchoServerRequest>;

  private constructor(client: BenchChild<EchoClientRequest>, server: BenchChild<EchoServerRequest>) {
    this.#client = client;
    this.#server = server;
  }

  static async open(): Promise<GrpcEcho> {
    const issuer = await SvidIssuer.create();
    const trustBundle = issuer.certificate;
    const serverSvid = await issuer.issue([{ type: 'dns', value: 'localhost' }]);
    const clientSvid = await issuer.issue('spiffe://example.org/ns/payments/sa/api');
    const server = new BenchChild<EchoServerRequest>(new URL('grpc-echo-server.ts', import.meta.url));
    const port = await server.request<number>({ kind: 'listen', svid: serverSvid, trustBundle });
    const client = new BenchChild<EchoClientRequest>(new URL('grpc-echo-client.ts', import.meta.url));
    await client.request({ kind: 'connect', port, svid: clientSvid, trustBundle });
    return new GrpcEcho(client, server);
  }

  run(mode: 'unary' | 'stream', inFlight: number, seconds: number): Promise<Sample> {
    return this.#client.request({ kind: 'run', mode, inFlight, seconds });
  }

  async close(): Promise<void> {
    await this.#client.stop();
    await this.#server.stop();
  }
}
