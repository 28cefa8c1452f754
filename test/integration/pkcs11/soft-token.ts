import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Duplex } from 'node:stream';
import { ALGORITHMS, type Algorithm, type ObjectAttributes } from '../../../hsm-adapters/adapter.ts';
import type { ChildUser } from '../../../hsm-adapters/frames/child-side.ts';
import { FrameChannel } from '../../../hsm-adapters/frames/frame-channel.ts';
import { treeRoot, workerFlags } from '../../../hsm-adapters/frames/isolation.ts';
import {
  type AdministrationRequest,
  type WorkerFailure,
  WorkerFrame,
} from '../../../hsm-adapters/frames/worker-frames.ts';
import { rejectionOf } from '../../fakes/rejection.ts';

/** SoftHSM tokens in a directory of their own, and workers started on them with the real entry. */

export const MODULE = '/usr/lib/softhsm/libsofthsm2.so';

export interface SoftToken {
  readonly directory: string;
  readonly label: string;
  readonly serial: string;
  readonly pinFile: string;
}

export function makeDirectory(): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'lastmile-token-'));
  fs.mkdirSync(path.join(directory, 'tokens'), { mode: 0o700 });
  const settings = [
    'directories.tokendir = tokens',
    'objectstore.backend = file',
    'log.level = ERROR',
    'slots.mechanisms = ALL',
    'library.reset_on_fork = false',
  ];
  fs.writeFileSync(path.join(directory, 'softhsm2.conf'), `${settings.join('\n')}\n`);
  fs.writeFileSync(path.join(directory, 'so-pin'), '12345678\n', { mode: 0o600 });
  fs.writeFileSync(path.join(directory, 'pin'), '4321\n', { mode: 0o600 });
  return directory;
}

/** With `user`, what the module writes belongs to that user, as a worker's token must. */
export function makeToken(directory: string, label: string, user?: ChildUser): SoftToken {
  const pinFile = path.join(directory, 'pin');
  const request = { module: MODULE, label, soPinFile: path.join(directory, 'so-pin'), pinFile, user };
  const made = execFileSync(process.execPath, [path.join(treeRoot(), 'hsm-adapters/pkcs11/token-init.ts')], {
    cwd: directory,
    env: { SOFTHSM2_CONF: 'softhsm2.conf' },
    input: JSON.stringify(request),
  });
  const { serial } = JSON.parse(made.toString('utf8')) as { serial: string };
  return { directory, label, serial, pinFile };
}

export interface Answer {
  readonly type: number;
  readonly payload: Buffer;
}

export class WorkerError extends Error {
  readonly failure: WorkerFailure;
  constructor(failure: WorkerFailure) {
    super(`${failure.reason}: ${failure.message}`);
    this.failure = failure;
  }
}

export interface WorkerOptions {
  readonly module?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly pinFile?: string;
  readonly user?: ChildUser;
  readonly sessions?: number;
  readonly choice?: { readonly serial?: string; readonly label?: string };
}

/** The broker's end of one worker. */
export class TestWorker {
  readonly #channel: FrameChannel;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  readonly #heard: Answer[] = [];
  #listener: (() => void) | undefined;
  #nextId = 1;
  readonly pid: number;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly #kill: () => void;

  constructor(token: SoftToken, options: WorkerOptions = {}) {
    const module = options.module ?? MODULE;
    const pinFile = options.pinFile ?? token.pinFile;
    const sessions = options.sessions ?? 4;
    const flags = workerFlags(treeRoot(), { module, pinFile });
    const entry = path.join(treeRoot(), 'hsm-adapters/pkcs11/worker.ts');
    const child = spawn(
      process.execPath,
      [...flags, entry, JSON.stringify({ role: 'token-worker', name: token.label, user: options.user })],
      {
        cwd: token.directory,
        env: { SOFTHSM2_CONF: 'softhsm2.conf', UV_THREADPOOL_SIZE: String(sessions), ...options.environment },
        stdio: ['ignore', 'inherit', 'inherit', 'pipe', 'pipe'],
      },
    );
    this.pid = child.pid ?? -1;
    this.#kill = () => child.kill('SIGKILL');
    this.exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
    const lifeline = child.stdio[4] as unknown as Duplex;
    lifeline.on('error', () => lifeline.destroy());
    this.#channel = new FrameChannel(child.stdio[3] as unknown as Duplex, {
      frame: (type, id, payload) => this.#receive(type, id, Buffer.from(payload)),
      closed: () => this.#receive(0, 0, Buffer.alloc(0)),
    });
    const choice = options.choice ?? { label: token.label };
    const start = {
      token: token.label,
      module,
      profile: 'softhsm2',
      pin: { file: pinFile },
      sessions,
      ...choice,
    };
    this.#channel.send(WorkerFrame.Start, 0, Buffer.from(JSON.stringify(start)));
  }

  #receive(type: number, id: number, payload: Buffer): void {
    const waiting = this.#waiting.get(id);
    if (waiting !== undefined) {
      this.#waiting.delete(id);
      waiting({ type, payload });
    } else if (type !== WorkerFrame.Load) {
      this.#heard.push({ type, payload });
      this.#listener?.();
    }
  }

  /** The next frame that answers nothing: Found, LoggedIn, Gone; type 0 when the pipe closed. */
  async heard(): Promise<Answer> {
    if (this.#heard.length === 0) {
      await new Promise<void>((resolve) => {
        this.#listener = resolve;
      });
      this.#listener = undefined;
    }
    return this.#heard.shift()!;
  }

  async heardJson<T>(type: number): Promise<T> {
    const answer = await this.heard();
    if (answer.type !== type)
      throw new Error(`frame ${answer.type}, not ${type}: ${answer.payload.toString()}`);
    return JSON.parse(answer.payload.toString()) as T;
  }

  /** Found, Login, LoggedIn. */
  async logIn(): Promise<{ outcome: string; ckr?: string }> {
    await this.heardJson(WorkerFrame.Found);
    this.send(WorkerFrame.Login, 0);
    return this.heardJson(WorkerFrame.LoggedIn);
  }

  send(type: number, id: number, ...parts: Uint8Array[]): void {
    this.#channel.send(type, id, ...parts);
    this.#channel.flush();
  }

  request(type: number, ...parts: Uint8Array[]): { readonly id: number; readonly answer: Promise<Buffer> } {
    const id = this.#nextId;
    this.#nextId += 1;
    const answer = new Promise<Buffer>((resolve, reject) => {
      this.#waiting.set(id, ({ type: got, payload }) => {
        if (got === WorkerFrame.Failed)
          reject(new WorkerError(JSON.parse(payload.toString()) as WorkerFailure));
        else resolve(payload);
      });
    });
    this.#channel.send(type, id, ...parts);
    return { id, answer };
  }

  sign(ref: number, algorithm: Algorithm, data: Uint8Array, msLeft = 10_000): Promise<Buffer> {
    return this.request(WorkerFrame.Sign, signHeader(ref, algorithm, msLeft), data).answer;
  }

  async encrypt(ref: number, data: Uint8Array, associatedData: Uint8Array) {
    const header = Buffer.alloc(12);
    header.writeUInt32BE(ref, 0);
    header.writeUInt32BE(10_000, 4);
    header.writeUInt32BE(associatedData.length, 8);
    const done = await this.request(WorkerFrame.Encrypt, header, associatedData, data).answer;
    return { session: done.readUInt16BE(0), iv: done.subarray(2, 14), sealed: done.subarray(14) };
  }

  decrypt(
    ref: number,
    message: { iv: Uint8Array; sealed: Uint8Array; associatedData: Uint8Array },
    options: { algorithm?: Algorithm; notSession?: number } = {},
  ): Promise<Buffer> {
    const header = Buffer.alloc(12);
    header.writeUInt32BE(ref, 0);
    header[4] = ALGORITHMS.indexOf(options.algorithm ?? 'A256GCM');
    header.writeUInt32BE(10_000, 5);
    header.writeUInt16BE(options.notSession ?? 0xffff, 9);
    header[11] = message.iv.length;
    const length = Buffer.alloc(4);
    length.writeUInt32BE(message.associatedData.length);
    return this.request(
      WorkerFrame.Decrypt,
      header,
      message.iv,
      length,
      message.associatedData,
      message.sealed,
    ).answer;
  }

  random(bytes: number): Promise<Buffer> {
    const header = Buffer.alloc(8);
    header.writeUInt32BE(10_000, 0);
    header.writeUInt32BE(bytes, 4);
    return this.request(WorkerFrame.Random, header).answer;
  }

  async administer<T = unknown>(request: AdministrationRequest): Promise<T> {
    const answer = await this.request(WorkerFrame.Administer, Buffer.from(JSON.stringify(request))).answer;
    return JSON.parse(answer.toString()) as T;
  }

  /** Binds by CKA_ID, and decodes the public key. */
  async bind(ref: number, ckaId: string, kind: 'private' | 'secret'): Promise<ReadAttributes> {
    return readBack(await this.administer({ op: 'bind', ref, query: { ckaId, kind } }));
  }

  async stop(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    this.send(WorkerFrame.Stop, 0);
    return this.exited;
  }

  kill(): void {
    this.#kill();
  }
}

export type ReadAttributes = Omit<ObjectAttributes, 'publicKey'> & { readonly publicKey: Buffer };

export function readBack(json: unknown): ReadAttributes {
  const attributes = json as Omit<ObjectAttributes, 'publicKey'> & { readonly publicKey: string };
  return { ...attributes, publicKey: Buffer.from(attributes.publicKey, 'base64') };
}

export function signHeader(ref: number, algorithm: Algorithm, msLeft: number): Buffer {
  const header = Buffer.alloc(9);
  header.writeUInt32BE(ref, 0);
  header[4] = ALGORITHMS.indexOf(algorithm);
  header.writeUInt32BE(msLeft, 5);
  return header;
}

/** A new CKA_ID. */
export const newId = (): string => randomBytes(16).toString('hex');

/** What the worker answered instead. */
export async function failure(promise: Promise<unknown>): Promise<WorkerError['failure']> {
  return (await rejectionOf(promise, WorkerError)).failure;
}
