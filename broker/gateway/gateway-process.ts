import { type ChildExit, SupervisedChild } from '../../hsm-adapters/frames/child-process.ts';
import type { FrameChannel } from '../../hsm-adapters/frames/frame-channel.ts';
import { entryUrl, gatewayFlags } from '../../hsm-adapters/frames/isolation.ts';
import { type Method, methodByNumber } from '../proto/methods.ts';
import {
  EdgeFrame,
  type GatewayConfiguration,
  REFUSALS,
  REQUEST_HEADER_BYTES,
  type TlsMaterial,
} from './edge-frames.ts';
import type { GatewayOptions, GatewayProcessStatus, Peer, Responder } from './gateway-supervisor.ts';
import { PageInlet } from './page-inlet.ts';
import { ProtocolError } from './protocol-error.ts';

/** The port cannot be had, or a process died before it listened. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
}

const SERVICES: Readonly<Record<GatewayConfiguration['role'], readonly string[]>> = {
  workload: ['KeyUse', 'Health'],
  control: ['Admin', 'Audit', 'Approvals', 'Health'],
};
/** Twice what an honest gateway keeps in flight. */
const MAX_WAITING = 32_768;
const MAX_CHAIN_BYTES = 128 * 1024;
/** Answers that a gateway does not take. */
const MAX_PENDING_BYTES = 128 << 20;
const DRAIN_MARGIN_MS = 2_000;

/**
 * Under load a gateway makes much garbage that dies young. With these it keeps 150 MiB instead of 230 resident, and
 * is no slower: one arena, because one thread does the work, and a young generation that fits the caches.
 */
const MODEST_MEMORY = {
  flags: ['--max-semi-space-size=4'],
  env: { MALLOC_ARENA_MAX: '1', UV_THREADPOOL_SIZE: '1' },
} as const;

/** Over all gateways of this broker, living and dead. */
let instances = 0;
const CONNECTIONS_PER_INSTANCE = 2 ** 32;

/** What the processes of one listener have in common. */
export interface Shared {
  readonly options: GatewayOptions;
  tls: TlsMaterial;
  port: number;
  /** Of the pages, once it is known. */
  pagesPort: number | undefined;
  /** One of our gateways has bound the port: another one there is no stranger. */
  isPortOurs: boolean;
}

export interface Bound {
  readonly address: string;
  readonly port: number;
  readonly pagesPort?: number | undefined;
}

/** One gateway process after another, and what the broker holds for the one that runs. */
export class GatewayProcess {
  readonly #shared: Shared;
  readonly #options: GatewayOptions;
  readonly #name: string;
  readonly #child: SupervisedChild;
  readonly #open = new Set<number>();
  readonly #waiting = new Map<number, Reply>();
  readonly #pages: PageInlet | undefined;
  #instance = 0;
  #configuredTls: TlsMaterial | undefined;
  #isListening = false;
  #isStopping = false;
  #started: { resolve(bound: Bound): void; reject(error: GatewayError): void } | undefined;

  constructor(shared: Shared, index: number) {
    this.#shared = shared;
    this.#options = shared.options;
    const { role } = this.#options.configuration;
    this.#name = role === 'workload' ? `gateway-${index + 1}` : 'control-gateway';
    const { root, user, restartPolicy, onPage } = this.#options;
    this.#pages =
      onPage === undefined || this.#options.configuration.pages === undefined
        ? undefined
        : new PageInlet(onPage, (id, answer) => this.send(EdgeFrame.PageAnswer, id, answer));
    this.#child = new SupervisedChild(
      {
        role: role === 'workload' ? 'gateway' : 'control-gateway',
        name: this.#name,
        entry: entryUrl('broker/gateway/gateway', root),
        flags: [...gatewayFlags(root), ...MODEST_MEMORY.flags],
        env: MODEST_MEMORY.env,
        cwd: '/',
        user,
      },
      {
        started: (channel) => this.#configure(channel),
        frame: (type, id, payload) => this.#guardedFrame(type, id, payload),
        exited: (exit) => this.#exited(exit),
        log: (line) => this.#log('warn', line),
      },
      restartPolicy === undefined ? {} : { restartPolicy },
    );
  }

  start(): Promise<Bound> {
    return new Promise((resolve, reject) => {
      this.#started = { resolve, reject };
      this.#child.start();
    });
  }

  reject(connection: number, reason: string): void {
    const local = connection - this.#instance * CONNECTIONS_PER_INSTANCE;
    if (this.#open.has(local)) this.#child.channel?.send(EdgeFrame.Reject, local, Buffer.from(reason));
  }

  renewCertificates(tls: TlsMaterial): void {
    if (this.#isListening)
      this.#child.channel?.send(EdgeFrame.Certificates, 0, Buffer.from(JSON.stringify(tls)));
  }

  status(): GatewayProcessStatus {
    return {
      name: this.#name,
      role: this.#options.configuration.role,
      pid: this.#child.pid,
      uid: this.#child.uid,
      isListening: this.#isListening,
      restarts: this.#child.restarts,
      connections: this.#open.size,
    };
  }

  drain(): Promise<void> {
    this.#isStopping = true;
    return this.#child.stop({
      farewell: (channel) => channel.send(EdgeFrame.Drain, 0),
      graceMs: this.#options.configuration.maxDeadlineMs + DRAIN_MARGIN_MS,
    });
  }

  stop(): Promise<void> {
    this.#isStopping = true;
    return this.#child.stop();
  }

  /** Ends the process; another takes its place. */
  kill(error: Error): void {
    this.#child.kill(error);
  }

  #configure(channel: FrameChannel): void {
    this.#instance = ++instances;
    const { options, port, pagesPort, tls, isPortOurs } = this.#shared;
    const { pages } = options.configuration;
    this.#configuredTls = tls;
    const isShared = options.count > 1;
    const configuration: GatewayConfiguration = {
      ...options.configuration,
      port,
      ...(pages === undefined ? {} : { pages: { ...pages, port: pagesPort ?? pages.port } }),
      tls,
      reusePort: isShared,
      probePort: isShared && !isPortOurs,
    };
    channel.send(EdgeFrame.Configure, 0, Buffer.from(JSON.stringify(configuration)));
  }

  /** A gateway may have been taken over: what it sends can end it, and nothing else. */
  #guardedFrame(type: number, id: number, payload: Buffer): void {
    try {
      this.#frame(type, id, payload);
    } catch (error) {
      this.kill(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #frame(type: number, id: number, payload: Buffer): void {
    if (!this.#isListening && type !== EdgeFrame.Listening && type !== EdgeFrame.ListenFailed) {
      throw new ProtocolError(`frame of type ${type} before it listens`);
    }
    switch (type) {
      case EdgeFrame.Request:
        this.#request(id, payload);
        return;
      case EdgeFrame.Cancel:
        this.#cancelled(id);
        return;
      case EdgeFrame.Open:
        this.#opened(id, payload);
        return;
      case EdgeFrame.Closed:
        if (!this.#open.delete(id)) throw new ProtocolError('closed a connection that is not open');
        this.#options.onClosed(this.#global(id));
        return;
      case EdgeFrame.Refused: {
        const reason = REFUSALS.find((known) => known === payload.toString('utf8'));
        if (reason === undefined) throw new ProtocolError('refused for a reason that there is not');
        this.#options.onRefused(reason, id);
        return;
      }
      case EdgeFrame.PageCall:
        if (this.#pages === undefined) throw new ProtocolError('page call where there are no pages');
        this.#pages.call(id, payload);
        return;
      case EdgeFrame.Listening:
        this.#listening(payload);
        return;
      case EdgeFrame.ListenFailed:
        this.#listenFailed(payload);
        return;
      default:
        throw new ProtocolError(`frame of unknown type ${type}`);
    }
  }

  #cancelled(id: number): void {
    const reply = this.#waiting.get(id);
    // The answer may be on its way already.
    if (reply === undefined) return;
    this.#waiting.delete(id);
    this.#options.onCancel(reply);
  }

  #listening(payload: Buffer): void {
    const bound = JSON.parse(payload.toString('utf8')) as Bound;
    if (this.#isListening || typeof bound.address !== 'string' || !Number.isInteger(bound.port)) {
      throw new ProtocolError('does not say where it listens');
    }
    if (Number.isInteger(bound.pagesPort) !== (this.#pages !== undefined))
      throw new ProtocolError('does not say where the pages are');
    this.#isListening = true;
    // Renewed while it was starting.
    if (this.#shared.tls !== this.#configuredTls) this.renewCertificates(this.#shared.tls);
    this.#log('info', 'listening', { address: bound.address, port: bound.port });
    this.#started?.resolve(bound);
    this.#started = undefined;
  }

  #listenFailed(payload: Buffer): void {
    const { code, message, isPages } = JSON.parse(payload.toString('utf8')) as {
      code: string;
      message: string;
      isPages?: boolean;
    };
    const { host, pages } = this.#options.configuration;
    const where =
      isPages === true && pages !== undefined
        ? `${pages.host}:${pages.port}`
        : `${host}:${this.#shared.port}`;
    const error = new GatewayError(
      code === 'EADDRINUSE'
        ? `${where} is in use: another broker, or another program, listens there`
        : `cannot listen on ${where}: ${message}`,
    );
    this.#log('error', error.message);
    this.#started?.reject(error);
    this.#started = undefined;
  }

  #opened(id: number, payload: Buffer): void {
    const { maxConnections } = this.#options.configuration;
    if (this.#open.has(id)) throw new ProtocolError('opened a connection twice');
    // Twice: a closed connection's frame may come after the next one's.
    if (this.#open.size >= 2 * maxConnections) throw new ProtocolError('opened more connections than it may');
    const peer = readPeer(payload);
    this.#open.add(id);
    this.#options.onOpen(this.#global(id), peer);
  }

  #request(id: number, payload: Buffer): void {
    if (payload.length < REQUEST_HEADER_BYTES) throw new ProtocolError('request without its header');
    const connection = payload.readUInt32BE(0);
    const method = methodByNumber(payload.readUInt8(4));
    if (method === undefined || !this.#admits(method))
      throw new ProtocolError('request for a method it may not pass on');
    if (!this.#open.has(connection)) throw new ProtocolError('request of a connection that is not open');
    if (this.#waiting.has(id)) throw new ProtocolError('request under a number that is in use');
    if (this.#waiting.size >= MAX_WAITING)
      throw new ProtocolError('more requests than it may have in flight');
    const left = Math.min(payload.readUInt32BE(5), this.#options.configuration.maxDeadlineMs);
    const reply = new Reply(this.#waiting, id, this);
    this.#waiting.set(id, reply);
    this.#options.onRequest(
      {
        connection: this.#global(connection),
        method: method.number,
        deadline: performance.now() + left,
        payload: payload.subarray(REQUEST_HEADER_BYTES),
      },
      reply,
    );
  }

  #admits(method: Method): boolean {
    return SERVICES[this.#options.configuration.role].includes(method.service);
  }

  send(type: number, id: number, ...parts: readonly Uint8Array[]): void {
    const channel = this.#child.channel;
    if (channel === undefined) return;
    if (channel.pendingBytes > MAX_PENDING_BYTES) this.kill(new Error('does not take its answers'));
    else channel.send(type, id, ...parts);
  }

  #exited({ code, signal, error }: ChildExit): void {
    this.#isListening = false;
    const waiting = [...this.#waiting.values()];
    const open = [...this.#open];
    this.#waiting.clear();
    this.#open.clear();
    if (this.#pages !== undefined) {
      this.#pages.ended();
      this.#options.onPagesGone?.();
    }
    for (const reply of waiting) this.#options.onCancel(reply);
    for (const id of open) this.#options.onClosed(this.#global(id));
    const how = error?.message ?? (signal === null ? `exit code ${code}` : signal);
    if (!this.#isStopping) this.#log('error', `gateway ended: ${how}`);
    this.#started?.reject(new GatewayError(`${this.#name} ended before it listened: ${how}`));
    this.#started = undefined;
  }

  #global(local: number): number {
    return this.#instance * CONNECTIONS_PER_INSTANCE + local;
  }

  #log(
    level: 'info' | 'warn' | 'error',
    message: string,
    fields: Record<string, string | number> = {},
  ): void {
    this.#options.log(level, message, { process: this.#name, ...fields });
  }
}

class Reply implements Responder {
  readonly #waiting: Map<number, Reply>;
  readonly #id: number;
  readonly #process: GatewayProcess;

  constructor(waiting: Map<number, Reply>, id: number, process: GatewayProcess) {
    this.#waiting = waiting;
    this.#id = id;
    this.#process = process;
  }

  ok(bytes: Uint8Array): void {
    if (this.#isFirst()) this.#process.send(EdgeFrame.Reply, this.#id, bytes);
  }

  fail(code: number, message: string, statusBytes: Uint8Array): void {
    if (!this.#isFirst()) return;
    const text = Buffer.from(message);
    const header = Buffer.alloc(3);
    header.writeUInt8(code, 0);
    header.writeUInt16BE(text.length, 1);
    this.#process.send(EdgeFrame.Failure, this.#id, header, text, statusBytes);
  }

  /** Answered, cancelled, or of a process that is no more: the number may be another request's by now. */
  #isFirst(): boolean {
    return this.#waiting.get(this.#id) === this && this.#waiting.delete(this.#id);
  }
}

function readPeer(payload: Buffer): Peer {
  if (payload.length < 2 || payload.length > MAX_CHAIN_BYTES)
    throw new ProtocolError('connection is malformed');
  const nameEnd = 2 + payload.readUInt16BE(0);
  const chain: Buffer[] = [];
  let at = nameEnd;
  while (at + 4 <= payload.length) {
    const end = at + 4 + payload.readUInt32BE(at);
    if (end > payload.length) break;
    // Copied: it is kept as long as the connection.
    chain.push(Buffer.from(payload.subarray(at + 4, end)));
    at = end;
  }
  if (at !== payload.length || chain.length === 0) throw new ProtocolError('connection is malformed');
  return { peer: payload.toString('utf8', 2, nameEnd), chain };
}
