import { afterEach, beforeEach, expect, it } from 'vitest';
import { SignedTreeMemory } from './signed-tree-memory.ts';
import { StateStore } from './state-store.ts';

const ORIGIN = 'log.example';
const tree = (treeSize: number) => ({ treeSize, rootHash: Buffer.alloc(32, treeSize) });

let store: StateStore;
let now: number;
let memory: SignedTreeMemory;
beforeEach(() => {
  store = new StateStore(':memory:');
  now = 0;
  memory = new SignedTreeMemory(store, ORIGIN, () => now);
});
afterEach(() => store.close());

it('remembers the first tree at once, later ones once a minute, and the last at the end', () => {
  expect(memory.last).toBeUndefined();
  memory.signed(tree(1));
  expect(memory.last).toEqual(tree(1));
  now = 59_999;
  memory.signed(tree(2));
  expect(memory.last).toEqual(tree(1));
  now = 60_000;
  memory.signed(tree(3));
  expect(memory.last).toEqual(tree(3));
  memory.signed(tree(4));
  memory.flush();
  expect(new SignedTreeMemory(store, ORIGIN).last).toEqual(tree(4));
});

it('never goes back, and keeps each log apart', () => {
  memory.signed(tree(9));
  new SignedTreeMemory(store, ORIGIN).signed(tree(3));
  new SignedTreeMemory(store, 'other.example').signed(tree(5));
  expect(memory.last).toEqual(tree(9));
});

it('tries again what could not be written', () => {
  const put = store.putSignedTree.bind(store);
  store.putSignedTree = () => {
    throw new Error('disk full');
  };
  expect(() => memory.signed(tree(1))).toThrow('disk full');
  store.putSignedTree = put;
  memory.signed(tree(2));
  expect(memory.last).toEqual(tree(2));
});
