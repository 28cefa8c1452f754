import { parseTreeHead, type TreeHead } from './checkpoint.ts';
import { decodeBase64, encodeBase64, HASH_BYTES, leafHash, parseCount, TlogError } from './hash.ts';
import { parseNote, type VerifierKey, verifyNote } from './note.ts';
import { verifyInclusion } from './proof.ts';

/** An offline proof that an entry is in a log (c2sp.org/tlog-proof@v1): what we call a receipt. */
export interface TlogProof {
  /** Application data; not covered by any signature. */
  readonly extra?: Uint8Array | undefined;
  readonly leafIndex: number;
  readonly hashes: readonly Uint8Array[];
  /** The signed note, whole. */
  readonly checkpoint: string;
}

const HEADER = 'c2sp.org/tlog-proof@v1';
const MAX_HASHES = 64;

export function formatTlogProof(proof: TlogProof): string {
  const extra = proof.extra === undefined ? '' : `extra ${encodeBase64(proof.extra)}\n`;
  const hashes = proof.hashes.map((hash) => `${encodeBase64(hash)}\n`).join('');
  return `${HEADER}\n${extra}index ${proof.leafIndex}\n${hashes}\n${proof.checkpoint}`;
}

export function parseTlogProof(text: string): TlogProof {
  const split = text.indexOf('\n\n');
  if (split < 0) throw new TlogError('proof has no checkpoint');
  const lines = text.slice(0, split).split('\n');
  if (lines.shift() !== HEADER) throw new TlogError(`proof does not begin with ${HEADER}`);
  const extra =
    lines[0]?.startsWith('extra ') === true ? decodeBase64(lines.shift()!.slice('extra '.length)) : undefined;
  const index = lines.shift();
  if (index?.startsWith('index ') !== true) throw new TlogError('proof has no index');
  if (lines.length > MAX_HASHES) throw new TlogError('proof has more than 64 hashes');
  const hashes = lines.map((line) => {
    const hash = decodeBase64(line);
    if (hash.length !== HASH_BYTES) throw new TlogError('a hash of the proof has not 32 bytes');
    return hash;
  });
  return {
    extra,
    leafIndex: parseCount(index.slice('index '.length)),
    hashes,
    checkpoint: text.slice(split + 2),
  };
}

/**
 * Checks that `entry` is in the log whose key is `key`, and returns the tree head that says so.
 * @throws TlogError that says which step failed
 */
export function verifyTlogProof(proof: TlogProof, entry: Uint8Array, key: VerifierKey): TreeHead {
  return verifyTlogProofOfLeaf(proof, leafHash(entry), key);
}

/** The same for somebody who knows the leaf hash alone, 32 bytes. @throws TlogError */
export function verifyTlogProofOfLeaf(proof: TlogProof, leaf: Uint8Array, key: VerifierKey): TreeHead {
  const note = parseNote(proof.checkpoint);
  verifyNote(note, [key]);
  const head = parseTreeHead(note.text);
  if (head.origin !== key.name) throw new TlogError('the checkpoint is of another log');
  if (!verifyInclusion(proof.leafIndex, head.treeSize, leaf, head.rootHash, proof.hashes)) {
    throw new TlogError('the entry is not at that index of the log');
  }
  return head;
}
