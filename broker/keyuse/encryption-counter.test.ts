import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StateStore } from '../state/state-store.ts';
import { EncryptionCounter, MAX_ENCRYPTIONS, RecentIvs, WARN_ENCRYPTIONS } from './encryption-counter.ts';
import { Failure } from './failure.ts';

const BLOCK = 65_536;

function refusalOf(run: () => void): Failure {
  try {
    run();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error('was not refused');
}

describe('EncryptionCounter', () => {
  let directory: string;
  let store: StateStore;
  let warnings: [string, number][];
  const newCounter = (): EncryptionCounter =>
    new EncryptionCounter(store, (keyId, reserved) => warnings.push([keyId, reserved]));

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lastmile-count-'));
    store = new StateStore(join(directory, 'state.db'));
    warnings = [];
  });
  afterEach(() => {
    store.close();
    rmSync(directory, { recursive: true });
  });

  it('has reserved durably before a use is given, and never gives a use that is not reserved', () => {
    const counter = newCounter();
    expect(counter.reserved('k', 1)).toBe(0);
    for (let used = 1; used <= 2 * BLOCK + 1; used++) {
      counter.take('k', 1);
      if (used % 4096 === 0 || used % BLOCK <= 1) {
        expect(store.encryptionsReserved('k', 1)).toBeGreaterThanOrEqual(used);
      }
    }
    expect(counter.reserved('k', 1)).toBe(3 * BLOCK);
  });

  it('loses the rest of a block in a crash, never a use', () => {
    newCounter().take('k', 1);
    store.close();
    store = new StateStore(join(directory, 'state.db'));
    const afterwards = newCounter();
    expect(afterwards.reserved('k', 1)).toBe(BLOCK);
    afterwards.take('k', 1);
    expect(afterwards.reserved('k', 1)).toBe(2 * BLOCK);
  });

  it('gives no use when the reservation cannot be made durable', () => {
    const counter = newCounter();
    store.close();
    expect(() => counter.take('k', 1)).toThrow();
    store = new StateStore(join(directory, 'state.db'));
    expect(store.encryptionsReserved('k', 1)).toBe(0);
  });

  it('counts each key and each version for itself', () => {
    const counter = newCounter();
    counter.take('k', 1);
    counter.take('k', 2);
    counter.take('k2', 1);
    expect([counter.reserved('k', 1), counter.reserved('k', 2), counter.reserved('k2', 1)]).toEqual([
      BLOCK,
      BLOCK,
      BLOCK,
    ]);
    expect(counter.reserved('k', 3)).toBe(0);
  });

  it('gives exactly 2^32 uses and refuses the next, now and after a restart', () => {
    store.reserveEncryptions('k', 1, MAX_ENCRYPTIONS - BLOCK);
    const counter = newCounter();
    for (let i = 0; i < BLOCK; i++) counter.take('k', 1);
    expect(counter.reserved('k', 1)).toBe(MAX_ENCRYPTIONS);
    for (const asked of [counter, newCounter()]) {
      const refusal = refusalOf(() => asked.take('k', 1));
      expect(refusal).toMatchObject({ reason: 'KEY_UNUSABLE', performed: 'no' });
      expect(refusal.message).toContain('new version');
    }
    expect(store.encryptionsReserved('k', 1)).toBe(MAX_ENCRYPTIONS);
  });

  it('refuses when what is left is less than a block', () => {
    store.reserveEncryptions('k', 1, MAX_ENCRYPTIONS - BLOCK + 1);
    expect(refusalOf(() => newCounter().take('k', 1)).reason).toBe('KEY_UNUSABLE');
  });

  it('warns once, when half is used up', () => {
    store.reserveEncryptions('k', 1, WARN_ENCRYPTIONS - 2 * BLOCK);
    const counter = newCounter();
    for (let i = 0; i < BLOCK; i++) counter.take('k', 1);
    expect(warnings).toEqual([]);
    for (let i = 0; i < 2 * BLOCK; i++) counter.take('k', 1);
    expect(warnings).toEqual([['k#1', WARN_ENCRYPTIONS]]);
  });
});

describe('RecentIvs', () => {
  it('admits an IV once for each key, and zero never', () => {
    const ivs = new RecentIvs();
    const iv = randomBytes(12);
    expect(ivs.admit('k#1', iv)).toBe(true);
    expect(ivs.admit('k#1', Buffer.from(iv))).toBe(false);
    expect(ivs.admit('k#2', iv)).toBe(true);
    expect(ivs.admit('k#1', Buffer.alloc(12))).toBe(false);
  });

  it.each([0, 8, 11, 13, 16])('admits none of %i bytes', (bytes) => {
    expect(new RecentIvs().admit('k#1', Buffer.alloc(bytes, 1))).toBe(false);
  });

  it('compares the bytes that it is given, not the buffer they lie in', () => {
    const ivs = new RecentIvs();
    const shared = randomBytes(36);
    expect(ivs.admit('k#1', shared.subarray(0, 12))).toBe(true);
    expect(ivs.admit('k#1', shared.subarray(12, 24))).toBe(true);
    expect(ivs.admit('k#1', new Uint8Array(shared.subarray(12, 24)))).toBe(false);
  });

  it('remembers as many as its limit and forgets the oldest first', () => {
    const ivs = new RecentIvs(3);
    const [a, b, c, d] = [1, 2, 3, 4].map((value) => Buffer.alloc(12, value)) as [
      Buffer,
      Buffer,
      Buffer,
      Buffer,
    ];
    for (const iv of [a, b, c, d]) expect(ivs.admit('k#1', iv)).toBe(true);
    for (const iv of [b, c, d]) expect(ivs.admit('k#1', iv)).toBe(false);
    expect(ivs.admit('k#1', a)).toBe(true);
  });
});
