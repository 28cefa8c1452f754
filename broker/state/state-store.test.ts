import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SqliteLoginLedger } from './login-ledger.ts';
import { type KeyVersionRow, StateError, StateStore } from './state-store.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'lastmile-state-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const row: KeyVersionRow = {
  name: 'payments/jwt',
  version: 1,
  purpose: 'sign',
  algorithms: ['RS256', 'PS256'],
  spec: '{"type":"rsa","modulusBits":2048}',
  state: 'active',
  createdAt: '2026-11-21T00:00:00.000Z',
  provenance: 'replicated',
  verify: 'always',
  decryptOnly: false,
  rawSigning: true,
  objects: [
    { tokenSerial: 'a', ckaId: '01', publicKey: new Uint8Array([1, 2]), proof: new Uint8Array() },
    { tokenSerial: 'b', ckaId: '01', publicKey: new Uint8Array([1, 2]), proof: new Uint8Array([9]) },
  ],
};

describe('state store', () => {
  it('keeps keys, counts, freezes and attempts across a restart', () => {
    const file = join(directory, 'state.db');
    const first = new StateStore(file);
    first.insertKeyVersion(row);
    expect(first.reserveEncryptions('k', 1, 65_536)).toBe(65_536);
    expect(first.reserveEncryptions('k', 1, 65_536)).toBe(131_072);
    first.putFreeze({ kind: 'key', subject: 'payments/jwt', reason: 'x', by: 'me', since: 'now' });
    new SqliteLoginLedger(first).recordAttempt('a', 'file:pin');
    first.close();
    const second = new StateStore(file);
    expect(second.keyVersions()).toEqual([row]);
    expect(second.encryptionsReserved('k', 1)).toBe(131_072);
    expect(second.freezes()).toHaveLength(1);
    expect(new SqliteLoginLedger(second).lookup('a', 'file:pin')).toBe('unfinished');
    expect(second.deleteFreeze('key', 'payments/jwt')).toBe(true);
    expect(second.deleteFreeze('key', 'payments/jwt')).toBe(false);
    second.close();
  });

  it('refuses a second broker on the same file', () => {
    const file = join(directory, 'state.db');
    const first = new StateStore(file);
    expect(() => new StateStore(file)).toThrow(StateError);
    first.close();
  });

  it('refuses the same version twice and leaves nothing of it behind', () => {
    const store = new StateStore(join(directory, 'state.db'));
    store.insertKeyVersion(row);
    expect(() =>
      store.insertKeyVersion({ ...row, objects: [{ ...row.objects[0]!, tokenSerial: 'c' }] }),
    ).toThrow();
    expect(store.keyVersions()).toEqual([row]);
    store.close();
  });

  it('refuses an object a second owner, whatever the key is called', () => {
    const store = new StateStore(join(directory, 'state.db'));
    store.insertKeyVersion(row);
    expect(() => store.insertKeyVersion({ ...row, name: 'another', objects: [row.objects[1]!] })).toThrow(
      'UNIQUE',
    );
    expect(store.keyVersions()).toEqual([row]);
    store.close();
  });

  it('keeps the first finding about a token until it is cleared, and the newest tree that was signed', () => {
    const file = join(directory, 'state.db');
    const first = new StateStore(file);
    first.putTokenFinding('a', 'wrong bytes');
    first.putTokenFinding('a', 'something else');
    first.putSignedTree('log.example', 7, 'seven');
    first.putSignedTree('log.example', 5, 'five');
    first.close();
    const second = new StateStore(file);
    expect([second.tokenFinding('a'), second.tokenFinding('b')]).toEqual(['wrong bytes', undefined]);
    expect(second.signedTree('log.example')).toEqual({ treeSize: 7, rootHash: 'seven' });
    expect(second.signedTree('other.example')).toBeUndefined();
    second.clearTokenFinding('a');
    expect(second.tokenFinding('a')).toBeUndefined();
    second.close();
  });

  it('counts an attempt without an outcome as spent, and a rejected one until it is cleared', () => {
    const store = new StateStore(join(directory, 'state.db'));
    const ledger = new SqliteLoginLedger(store);
    expect(ledger.lookup('a', 'file:pin')).toBe('clear');
    ledger.recordAttempt('a', 'file:pin');
    expect(ledger.lookup('a', 'file:pin')).toBe('unfinished');
    ledger.recordOutcome('a', 'file:pin', 'rejected');
    expect(ledger.lookup('a', 'file:pin')).toBe('rejected');
    expect(ledger.lookup('b', 'file:pin')).toBe('clear');
    ledger.clear('a');
    expect(ledger.lookup('a', 'file:pin')).toBe('clear');
    store.close();
  });
});
