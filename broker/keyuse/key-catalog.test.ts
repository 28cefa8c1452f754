import { expect, it } from 'vitest';
import { StateStore } from '../state/state-store.ts';
import { catalogEntryOf, KeyCatalog, type KeyVersion, type TokenObject } from './key-catalog.ts';

const object = (tokenSerial: string): TokenObject => ({
  tokenSerial,
  ckaId: '01',
  publicKey: Buffer.from(`public on ${tokenSerial}`),
  proof: Buffer.alloc(0),
});
const MADE: KeyVersion = {
  name: 'treasury/settlement',
  version: 1,
  id: 'treasury/settlement#1',
  purpose: 'sign',
  algorithms: ['ES256', 'ES384'],
  spec: { type: 'ec', curve: 'P-256' },
  state: 'active',
  createdAt: '2026-11-21T08:00:00Z',
  provenance: 'generated',
  verify: 'always',
  decryptOnly: false,
  rawSigning: false,
  objects: [object('beef'), object('0abc'), object('cafe')],
};

it('says the same of a key that was just made and of one that was read from the state', () => {
  const store = new StateStore(':memory:');
  const catalog = new KeyCatalog(store);
  catalog.add(MADE);
  const before = catalog.find(MADE.name, 1);
  const after = new KeyCatalog(store).find(MADE.name, 1);
  if (before === undefined || after === undefined) throw new Error('the key is not there');
  expect(after.objects.map(({ tokenSerial }) => tokenSerial)).not.toEqual(
    before.objects.map(({ tokenSerial }) => tokenSerial),
  );
  expect(catalogEntryOf(after)).toBe(catalogEntryOf(before));
  const moved = { ...MADE, objects: [object('beef'), object('0abc'), object('f00d')] };
  expect(catalogEntryOf(moved)).not.toBe(catalogEntryOf(before));
  store.close();
});
