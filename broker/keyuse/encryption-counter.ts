import type { StateStore } from '../state/state-store.ts';
import { IV_BYTES } from './ciphertext.ts';
import { Failure } from './failure.ts';

/** NIST SP 800-38D, section 8.3: at most 2^32 invocations a key with random 96-bit IVs. */
export const MAX_ENCRYPTIONS = 2 ** 32;
export const WARN_ENCRYPTIONS = 2 ** 31;
const BLOCK = 65_536;

/**
 * How often each AES-GCM key version has encrypted, over all tokens. Reserved durably in blocks before a token is
 * asked: a crash loses the rest of a block, never a use. Attempts count, whatever came of them.
 */
export class EncryptionCounter {
  readonly #store: StateStore;
  readonly #onWarning: (keyId: string, reserved: number) => void;
  readonly #left = new Map<string, number>();

  constructor(store: StateStore, onWarning: (keyId: string, reserved: number) => void) {
    this.#store = store;
    this.#onWarning = onWarning;
  }

  reserved(name: string, version: number): number {
    return this.#store.encryptionsReserved(name, version);
  }

  /** @throws Failure KEY_UNUSABLE when the key has made all the encryptions that it may */
  take(name: string, version: number): void {
    const id = `${name}#${version}`;
    let left = this.#left.get(id) ?? 0;
    if (left === 0) {
      const before = this.#store.encryptionsReserved(name, version);
      if (before + BLOCK > MAX_ENCRYPTIONS) {
        throw new Failure(
          'KEY_UNUSABLE',
          'the key has made the 2^32 encryptions that AES-GCM allows: create a new version',
        );
      }
      const reserved = this.#store.reserveEncryptions(name, version, BLOCK);
      if (before < WARN_ENCRYPTIONS && reserved >= WARN_ENCRYPTIONS) this.#onWarning(id, reserved);
      left = BLOCK;
    }
    this.#left.set(id, left - 1);
  }
}

/**
 * IVs that key versions have used lately. They are random: one that is zero or comes back means a broken generator,
 * and the token leaves service before a second message is lost with it. The oldest are forgotten, of all keys
 * together.
 */
export class RecentIvs {
  readonly #seen = new Set<string>();
  readonly #limit: number;

  constructor(limit = 131_072) {
    this.#limit = limit;
  }

  /** False when it must not be used. */
  admit(keyId: string, iv: Uint8Array): boolean {
    // Of another length it could not be found again in the ciphertext, which would open today and never after.
    if (iv.length !== IV_BYTES || iv.every((byte) => byte === 0)) return false;
    const text = `${keyId} ${Buffer.from(iv.buffer, iv.byteOffset, iv.byteLength).toString('latin1')}`;
    if (this.#seen.has(text)) return false;
    this.#seen.add(text);
    if (this.#seen.size > this.#limit) {
      for (const oldest of this.#seen) {
        this.#seen.delete(oldest);
        break;
      }
    }
    return true;
  }
}
