import { createServer, type IncomingHttpHeaders } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly notice: { readonly id: string; readonly type: string; readonly data: Record<string, unknown> };
}

export interface Receiver {
  readonly url: string;
  readonly port: number;
  readonly received: Received[];
  /** Status of each answer; 204 until a test says otherwise. */
  answer: (request: Received) => { readonly status: number; readonly headers?: Record<string, string> };
  until(condition: (received: readonly Received[]) => boolean): Promise<void>;
  stop(): Promise<void>;
}

/** Somebody whom the courier tells. */
export async function startReceiver(
  options: { readonly tls?: { readonly cert: string; readonly key: string }; readonly port?: number } = {},
): Promise<Receiver> {
  const waiting = new Set<() => void>();
  const receiver = {
    received: [] as Received[],
    answer: (() => ({ status: 204 })) as Receiver['answer'],
  };
  const listener: Parameters<typeof createServer>[1] = (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8');
      const received: Received = {
        path: request.url ?? '',
        headers: request.headers,
        body,
        notice: JSON.parse(body) as Received['notice'],
      };
      receiver.received.push(received);
      const { status, headers = {} } = receiver.answer(received);
      response.writeHead(status, headers).end('an answer that nobody reads');
      for (const check of waiting) check();
    });
  };
  const server =
    options.tls === undefined ? createServer(listener) : createSecureServer(options.tls, listener);
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return Object.assign(receiver, {
    port,
    url: options.tls === undefined ? `http://127.0.0.1:${port}/told` : `https://localhost:${port}/told`,
    until: (condition: (received: readonly Received[]) => boolean) =>
      new Promise<void>((resolve) => {
        const check = () => {
          if (!condition(receiver.received)) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
      }),
    stop: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  });
}
