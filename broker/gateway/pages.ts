import { isUtf8 } from 'node:buffer';
import { constants } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import {
  MAX_PAGE_BODY_BYTES,
  PAGE_CALLS,
  type PageAnswer,
  type PageCall,
  type PageRefusal,
} from '../proto/page-calls.ts';
import { originOfPages, type PagesConfiguration, type Refusal } from './edge-frames.ts';
import { type PageFile, readPageFiles } from './page-files.ts';

/** Calls that the broker has not answered, and of them from one address. */
const MAX_IN_FLIGHT = 64;
const MAX_IN_FLIGHT_PER_ADDRESS = 8;
const ANSWER_LIMIT_MS = 15_000;
const REQUEST_LIMIT_MS = 10_000;
const IDLE_MS = 15_000;
const MAX_HEADER_BYTES = 8 * 1024;
/** `__Host-`: of this very host, over TLS, for every path; another site or a subdomain cannot set it. */
const COOKIE = '__Host-lastmile-sign-in';
const SIGN_IN = /^[A-Za-z0-9_-]{43}$/;

/**
 * On every answer. The pages need their own script and style, and calls to where they came from; nothing else may run,
 * be framed, be sent to or be reached from, and no text becomes markup.
 */
const HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; " +
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'permissions-policy':
    'publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), microphone=(), geolocation=(), clipboard-read=()',
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=31536000',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'cache-control': 'no-store',
};

const STATUS: Readonly<Record<PageRefusal, number>> = {
  'signed-out': 401,
  'request-invalid': 400,
  'not-found': 404,
  refused: 403,
  'too-many-requests': 429,
  unavailable: 503,
};

export interface PagesHandlers {
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  /** Sends a PageCall frame; the answer comes to `answered`. */
  call(id: number, payload: Buffer): void;
  /** No call waits any more. */
  idle(): void;
  refused(reason: Refusal): void;
}

interface Waiting {
  readonly address: string;
  readonly response: ServerResponse;
  readonly timer: NodeJS.Timeout;
}

/**
 * The HTTPS listener of the approvers' pages, in the control gateway. It serves a few files and passes calls on,
 * unread, to the broker, which decides; it keeps nothing of a sign-in but what passes through.
 *
 * A call is let through only when the browser says that the pages themselves made it: `Origin` and `Host` are ours,
 * the content is JSON (which no form can send), and the cookie is SameSite=Strict besides.
 */
export class Pages {
  readonly #configuration: PagesConfiguration;
  readonly #handlers: PagesHandlers;
  readonly #files: ReadonlyMap<string, PageFile>;
  readonly #server: Server;
  readonly #waiting = new Map<number, Waiting>();
  readonly #connections = new Map<string, number>();
  readonly #calls = new Map<string, number>();
  #origin = '';
  #lastId = 0;
  #isOpen = false;

  constructor(
    configuration: PagesConfiguration,
    tls: { readonly certificate: string; readonly key: string },
    handlers: PagesHandlers,
  ) {
    this.#configuration = configuration;
    this.#handlers = handlers;
    this.#files = readPageFiles();
    this.#server = createServer(
      {
        ...secureContext(tls),
        ALPNProtocols: ['http/1.1'],
        maxHeaderSize: MAX_HEADER_BYTES,
        requestTimeout: REQUEST_LIMIT_MS,
        headersTimeout: REQUEST_LIMIT_MS,
        keepAliveTimeout: IDLE_MS,
        handshakeTimeout: 5_000,
        insecureHTTPParser: false,
        requireHostHeader: true,
      },
      (request, response) => this.#request(request, response),
    );
    this.#server.maxConnections = handlers.maxConnections;
    this.#server.on('connection', (socket: Socket) => this.#accepted(socket));
    this.#server.on('tlsClientError', (_error, socket) => {
      handlers.refused('other');
      socket.destroy();
    });
    this.#server.on('clientError', (_error, socket) => socket.destroy());
  }

  /** Resolves to the port. Rejects with the system's error code. */
  listen(): Promise<number> {
    const { host, port, name, publicPort } = this.#configuration;
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host, port, exclusive: true }, () => {
        this.#server.off('error', reject);
        const bound = (this.#server.address() as AddressInfo).port;
        this.#origin = originOfPages(name, publicPort ?? bound);
        resolve(bound);
      });
    });
  }

  /** Until this is called every connection is closed unread: the process has not dropped its privileges yet. */
  open(): void {
    this.#isOpen = true;
  }

  get isIdle(): boolean {
    return this.#waiting.size === 0;
  }

  renew(tls: { readonly certificate: string; readonly key: string }): void {
    this.#server.setSecureContext(secureContext(tls));
  }

  drain(): void {
    this.#server.close();
    this.#server.closeIdleConnections();
  }

  /** A PageAnswer frame. One that comes too late finds nobody. */
  answered(id: number, payload: Buffer): void {
    const waiting = this.#take(id);
    if (waiting !== undefined) answer(waiting.response, JSON.parse(payload.toString('utf8')) as PageAnswer);
  }

  #accepted(socket: Socket): void {
    const address = socket.remoteAddress;
    const count = (address === undefined ? 0 : this.#connections.get(address)) ?? 0;
    if (!this.#isOpen || address === undefined || count >= this.#handlers.maxConnectionsPerAddress) {
      this.#handlers.refused('too-many-connections');
      socket.destroy();
      return;
    }
    this.#connections.set(address, count + 1);
    socket.once('close', () => decrement(this.#connections, address));
  }

  #request(request: IncomingMessage, response: ServerResponse): void {
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    const { method, url = '', headers } = request;
    // A name that was made to point here is not ours: its pages must not be answered as if they were.
    if (`https://${headers.host}` !== this.#origin) {
      plain(response, 421, 'this server is not known by that name');
    } else if (method === 'GET' || method === 'HEAD') {
      this.#serve(url, method, response);
    } else if (method === 'POST') {
      this.#receive(url, request, response);
    } else {
      plain(response, 405, 'GET or POST');
    }
  }

  #serve(url: string, method: string, response: ServerResponse): void {
    const file = this.#files.get(url);
    if (file === undefined) {
      plain(response, 404, 'there is no such page');
      return;
    }
    response.writeHead(200, { 'content-type': file.type, 'content-length': file.content.length });
    response.end(method === 'HEAD' ? undefined : file.content);
  }

  #receive(url: string, request: IncomingMessage, response: ServerResponse): void {
    const { headers } = request;
    const name = PAGE_CALLS.find((candidate) => url === `/api/${candidate}`);
    const site = headers['sec-fetch-site'];
    if (name === undefined) plain(response, 404, 'there is no such call');
    else if (headers.origin !== this.#origin || (site !== undefined && site !== 'same-origin'))
      plain(response, 403, 'only the pages themselves may ask');
    else if (headers['content-type'] !== 'application/json') plain(response, 415, 'application/json');
    else {
      readBody(request, (body) => {
        if (body === undefined) plain(response, 413, 'the request is too large');
        else if (body === null) plain(response, 400, 'the request is not UTF-8');
        else this.#pass({ name, peer: '', signIn: signInOf(headers.cookie), body }, request, response);
      });
    }
  }

  #pass(call: PageCall, request: IncomingMessage, response: ServerResponse): void {
    const peer = request.socket.remoteAddress ?? '';
    const own = this.#calls.get(peer) ?? 0;
    if (this.#waiting.size >= MAX_IN_FLIGHT || own >= MAX_IN_FLIGHT_PER_ADDRESS) {
      answer(response, { ok: false, reason: 'too-many-requests', message: 'too much at once: try again' });
      return;
    }
    do {
      this.#lastId = (this.#lastId + 1) >>> 0;
    } while (this.#waiting.has(this.#lastId));
    const id = this.#lastId;
    const timer = setTimeout(() => {
      if (this.#take(id) === undefined) return;
      answer(response, { ok: false, reason: 'unavailable', message: 'the broker did not answer in time' });
    }, ANSWER_LIMIT_MS);
    this.#calls.set(peer, own + 1);
    this.#waiting.set(id, { address: peer, response, timer });
    this.#handlers.call(id, Buffer.from(JSON.stringify({ ...call, peer })));
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return undefined;
    clearTimeout(waiting.timer);
    this.#waiting.delete(id);
    decrement(this.#calls, waiting.address);
    // After the answer has been handed to its socket.
    if (this.isIdle) waiting.response.once('close', () => this.#handlers.idle());
    return waiting;
  }
}

/** Undefined: too long. Null: not UTF-8, which would grow when it is passed on. */
function readBody(request: IncomingMessage, done: (body: string | null | undefined) => void): void {
  const chunks: Buffer[] = [];
  let length = 0;
  let isOver = false;
  const finish = (body: string | null | undefined): void => {
    if (isOver) return;
    isOver = true;
    done(body);
  };
  request.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length > MAX_PAGE_BODY_BYTES) finish(undefined);
    else chunks.push(chunk);
  });
  request.on('end', () => {
    const bytes = Buffer.concat(chunks);
    finish(isUtf8(bytes) ? bytes.toString('utf8') : null);
  });
  // A request that breaks off has nobody to answer.
  request.on('error', () => request.destroy());
}

function signInOf(cookies: string | undefined): string | undefined {
  const found = (cookies ?? '')
    .split('; ')
    .filter((cookie) => cookie.startsWith(`${COOKIE}=`))
    .map((cookie) => cookie.slice(COOKIE.length + 1));
  // Two of that name: somebody has tampered, and neither counts.
  return found.length === 1 && found[0] !== undefined && SIGN_IN.test(found[0]) ? found[0] : undefined;
}

function answer(response: ServerResponse, given: PageAnswer): void {
  // Without Max-Age: gone with the browser, and the broker ends it long before.
  if (typeof given.signIn === 'string')
    response.setHeader('set-cookie', `${COOKIE}=${given.signIn}; Path=/; Secure; HttpOnly; SameSite=Strict`);
  else if (given.signIn === null)
    response.setHeader('set-cookie', `${COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0`);
  const { signIn: _kept, ...shown } = given;
  const bytes = Buffer.from(JSON.stringify(shown));
  response.writeHead(given.ok ? 200 : STATUS[given.reason], {
    'content-type': 'application/json',
    'content-length': bytes.length,
  });
  response.end(bytes);
}

function plain(response: ServerResponse, status: number, text: string): void {
  // What is left of the request is not read.
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    connection: 'close',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}

function decrement(counts: Map<string, number>, name: string): void {
  const left = (counts.get(name) ?? 1) - 1;
  if (left === 0) counts.delete(name);
  else counts.set(name, left);
}

function secureContext(tls: { readonly certificate: string; readonly key: string }) {
  return {
    cert: tls.certificate,
    key: tls.key,
    minVersion: 'TLSv1.3' as const,
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}
