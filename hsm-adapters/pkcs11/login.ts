import fs from 'node:fs';
import type { WorkerStart } from '../frames/worker-frames.ts';
import { ckr, ckrName } from './ckr.ts';
import { CKU } from './constants.ts';
import { CkrError, type Cryptoki, type SessionHandle } from './cryptoki.ts';

const MAX_PIN_BYTES = 1024;

/** The PIN cannot be had. The message never has a byte of it. */
export class PinError extends Error {
  override readonly name = 'PinError';
}

/**
 * The PIN, held from before the drop of the user id until C_Login has returned, then zeroed. Usable once.
 *
 * pkcs11js takes a string, and a string cannot be zeroed: that copy, and the one that the module makes, stay in
 * this process until its memory is used again. No other process has it, and there are no core dumps.
 */
export class Pin {
  readonly #bytes: Buffer;
  #spent = false;

  private constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Reads a file, or descriptor 5 to its end. One line feed at the end is not part of the PIN. */
  static read(source: WorkerStart['pin']): Pin {
    const descriptor = 'file' in source ? openFile(source.file) : source.descriptor;
    const buffer = Buffer.allocUnsafeSlow(MAX_PIN_BYTES + 1);
    let length = 0;
    try {
      for (;;) {
        const read = fs.readSync(descriptor, buffer, length, buffer.length - length, null);
        if (read === 0) break;
        length += read;
        if (length === buffer.length) throw new PinError(`the PIN has more than ${MAX_PIN_BYTES} bytes`);
      }
      if (length > 0 && buffer[length - 1] === 0x0a) length -= 1;
      if (length > 0 && buffer[length - 1] === 0x0d) length -= 1;
      if (length === 0) throw new PinError('the PIN is empty');
      return new Pin(Buffer.from(new Uint8Array(buffer.subarray(0, length)).buffer));
    } catch (error) {
      if (error instanceof PinError) throw error;
      throw new PinError(`the PIN cannot be read: ${errorCode(error)}`, { cause: error });
    } finally {
      buffer.fill(0);
      fs.closeSync(descriptor);
    }
  }

  /** Hands the PIN over and forgets it, whatever `use` does. A second call throws. */
  use<T>(use: (pin: string) => T): T {
    if (this.#spent) throw new PinError('the PIN was used already');
    this.#spent = true;
    try {
      return use(this.#bytes.toString('utf8'));
    } finally {
      this.#bytes.fill(0);
    }
  }

  forget(): void {
    this.#spent = true;
    this.#bytes.fill(0);
  }
}

function openFile(path: string): number {
  try {
    return fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOCTTY);
  } catch (cause) {
    throw new PinError(`the PIN file \`${path}\` cannot be opened: ${errorCode(cause)}`, { cause });
  }
}

function errorCode(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'unknown error';
}

export interface LoginResult {
  readonly outcome: 'accepted' | 'rejected' | 'error';
  readonly ckr?: string;
}

const REJECTED: ReadonlySet<number> = new Set(
  [
    'CKR_PIN_INCORRECT',
    'CKR_PIN_INVALID',
    'CKR_PIN_LEN_RANGE',
    'CKR_PIN_EXPIRED',
    'CKR_PIN_LOCKED',
    'CKR_USER_PIN_NOT_INITIALIZED',
    'CKR_NEW_PIN_MODE',
    'CKR_NEXT_OTP',
  ].map(ckr),
);
const USER_ALREADY_LOGGED_IN = ckr('CKR_USER_ALREADY_LOGGED_IN');

/**
 * The one C_Login of this process. A wrong PIN is terminal: tokens count failures and then lock, and every
 * worker of a token has the same PIN, so that one retry here is many at the token.
 * Proven by test/integration/pkcs11/worker.test.ts.
 */
export function login(cryptoki: Cryptoki, session: SessionHandle, pin: Pin): LoginResult {
  try {
    pin.use((text) => cryptoki.login(session, CKU.USER, text));
    return { outcome: 'accepted' };
  } catch (error) {
    if (!(error instanceof CkrError)) throw error;
    // Login belongs to the application: somebody in this process was faster, and with a right PIN.
    if (error.ckr === USER_ALREADY_LOGGED_IN) return { outcome: 'accepted' };
    return { outcome: REJECTED.has(error.ckr) ? 'rejected' : 'error', ckr: ckrName(error.ckr) };
  }
}
