import { decodeBase64, encodeBase64, HASH_BYTES, isCount, parseCount, TlogError } from './hash.ts';

/** A statement of the whole log (c2sp.org/tlog-checkpoint): the text of a signed note. */
export interface TreeHead {
  readonly origin: string;
  readonly treeSize: number;
  readonly rootHash: Uint8Array;
}

export function formatTreeHead(head: TreeHead): string {
  if (head.origin === '' || /[\n\r]/.test(head.origin)) throw new TlogError('an origin is one line');
  if (!isCount(head.treeSize) || head.rootHash.length !== HASH_BYTES) throw new TlogError('not a tree head');
  return `${head.origin}\n${head.treeSize}\n${encodeBase64(head.rootHash)}\n`;
}

/** Extension lines are allowed and ignored. */
export function parseTreeHead(text: string): TreeHead {
  const [origin, size, root, ...rest] = text.split('\n');
  if (
    origin === undefined ||
    origin === '' ||
    size === undefined ||
    root === undefined ||
    rest.at(-1) !== ''
  ) {
    throw new TlogError('a checkpoint has three lines');
  }
  if (rest.slice(0, -1).includes('')) throw new TlogError('a checkpoint has no empty line');
  const rootHash = decodeBase64(root);
  if (rootHash.length !== HASH_BYTES) throw new TlogError('a root hash has 32 bytes');
  return { origin, treeSize: parseCount(size), rootHash };
}
