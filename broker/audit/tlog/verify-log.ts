import { parseTreeHead, type TreeHead } from './checkpoint.ts';
import { encodeBase64, equalHashes, leafHash, TlogError } from './hash.ts';
import { parseNote, parseVerifierKey, verifyNote } from './note.ts';
import { bundlePrefix, splitBundle, TILE_WIDTH, tilePath, tileWidth } from './tile.ts';
import { type HashTile, TreeEdge } from './tree-edge.ts';

/** A published file of the log by its path; undefined when there is none. */
export type ReadPublished = (path: string) => Promise<Uint8Array | undefined>;

export interface VerifyLogOptions {
  readonly read: ReadPublished;
  /** C2SP vkey of the log. Without it signatures prove nothing, and the report says so. */
  readonly verifierKey?: string | undefined;
  /** Called with each entry, in order. */
  readonly onEntry?: ((leafIndex: number, entry: Uint8Array) => void) | undefined;
}

export interface Finding {
  /** A `problem` means that the log is not what it should be; a `notice` says what was not or cannot be shown. */
  readonly severity: 'problem' | 'notice';
  readonly message: string;
  readonly leafIndex?: number | undefined;
}

export interface LogReport {
  readonly origin: string;
  /** Entries read and checked. */
  readonly entries: number;
  /** Subjects whose chains were checked. */
  readonly subjects: number;
  /** Entries covered by the signed checkpoint. */
  readonly checkpointSize: number;
  /** Root hash at that size, base64. */
  readonly rootHash: string;
  readonly isSignatureVerified: boolean;
  /** Without a witness the log proves nothing against the holder of its key. */
  readonly witnessed: false;
  readonly isSound: boolean;
  readonly findings: readonly Finding[];
}

const MAX_FINDINGS = 100;

interface Chain {
  readonly seq: number;
  readonly hash: string;
}

/**
 * Recomputes a whole log from its entries and holds everything that was published against it: tiles, tree head,
 * signed checkpoint, and of every subject that its entries are numbered without a gap and linked by their hashes.
 *
 * Needs no broker: `read` may read a directory. Entries that are durable but not published yet are not in it.
 */
export async function verifyLog({ read, verifierKey, onEntry }: VerifyLogOptions): Promise<LogReport> {
  const findings: Finding[] = [];
  const report = (severity: Finding['severity'], message: string, leafIndex?: number): void => {
    if (findings.length < MAX_FINDINGS) findings.push({ severity, message, leafIndex });
  };
  const signed = await readSigned(read, verifierKey, report);
  const unsigned = await readTreeHead(read, report);
  const head = unsigned ?? signed.head;
  if (head !== undefined && signed.head !== undefined) {
    if (signed.head.treeSize > head.treeSize)
      report('problem', `the log has ${head.treeSize} entries, its checkpoint ${signed.head.treeSize}`);
    if (signed.head.origin !== head.origin) report('problem', 'the checkpoint is of another log');
  }
  const edge = new TreeEdge();
  const chains = new Map<string, Chain>();
  try {
    await walk({ read, onEntry, report, edge, chains, head, checkpoint: signed.head });
  } catch (error) {
    if (!(error instanceof TlogError)) throw error;
    report('problem', error.message, edge.size);
  }
  report('notice', 'no witness cosigned this log: it proves nothing against the holder of its key');
  return {
    origin: head?.origin ?? '',
    entries: edge.size,
    subjects: chains.size,
    checkpointSize: signed.head?.treeSize ?? 0,
    rootHash: signed.head === undefined ? '' : encodeBase64(signed.head.rootHash),
    isSignatureVerified: signed.isVerified,
    witnessed: false,
    isSound: !findings.some(({ severity }) => severity === 'problem'),
    findings,
  };
}

type Report = (severity: Finding['severity'], message: string, leafIndex?: number) => void;

async function readSigned(
  read: ReadPublished,
  verifierKey: string | undefined,
  report: Report,
): Promise<{ head: TreeHead | undefined; isVerified: boolean }> {
  const bytes = await read('checkpoint');
  if (bytes === undefined) {
    report(verifierKey === undefined ? 'notice' : 'problem', 'there is no signed checkpoint');
    return { head: undefined, isVerified: false };
  }
  try {
    const note = parseNote(Buffer.from(bytes).toString());
    const head = parseTreeHead(note.text);
    if (verifierKey === undefined) {
      report('notice', 'the signature of the checkpoint was not checked: no verifier key was given');
      return { head, isVerified: false };
    }
    const key = parseVerifierKey(verifierKey);
    verifyNote(note, [key]);
    if (head.origin !== key.name) throw new TlogError('the checkpoint is of another log than the key');
    return { head, isVerified: true };
  } catch (error) {
    if (!(error instanceof TlogError)) throw error;
    report('problem', `the checkpoint: ${error.message}`);
    return { head: undefined, isVerified: false };
  }
}

async function readTreeHead(read: ReadPublished, report: Report): Promise<TreeHead | undefined> {
  const bytes = await read('treehead');
  if (bytes === undefined) return undefined;
  try {
    return parseTreeHead(Buffer.from(bytes).toString());
  } catch (error) {
    if (!(error instanceof TlogError)) throw error;
    report('problem', `the tree head: ${error.message}`);
    return undefined;
  }
}

interface Walk {
  readonly read: ReadPublished;
  readonly onEntry: VerifyLogOptions['onEntry'];
  readonly report: Report;
  readonly edge: TreeEdge;
  readonly chains: Map<string, Chain>;
  readonly head: TreeHead | undefined;
  readonly checkpoint: TreeHead | undefined;
}

async function walk({ read, onEntry, report, edge, chains, head, checkpoint }: Walk): Promise<void> {
  const treeSize = Math.max(head?.treeSize ?? 0, checkpoint?.treeSize ?? 0);
  let lastTime = '';
  const full: HashTile[] = [];
  for (let bundle = 0; edge.size < treeSize; bundle++) {
    const width = tileWidth(treeSize, 0, bundle);
    const entries = splitBundle(await readWide(read, 'entries', bundle, width));
    if (entries.length !== width)
      throw new TlogError(`entry bundle ${bundle} has ${entries.length} entries instead of ${width}`);
    for (const bytes of entries) {
      const leafIndex = edge.size;
      const hash = leafHash(bytes);
      const time = checkEntry(bytes, hash, leafIndex, chains, report);
      if (time < lastTime) report('notice', `the clock went back from ${lastTime} to ${time}`, leafIndex);
      if (time !== '') lastTime = time;
      edge.append(hash, (tile) => full.push(tile));
      onEntry?.(leafIndex, bytes);
      if (edge.size === checkpoint?.treeSize && !equalHashes(edge.root(), checkpoint.rootHash)) {
        report('problem', `the first ${edge.size} entries are not what the checkpoint signed`);
      }
    }
    for (const tile of full.splice(0)) await checkTile(read, tile, report);
  }
  for (const tile of edge.partialTiles()) await checkTile(read, tile, report);
  if (head !== undefined && !equalHashes(edge.root(), head.rootHash))
    report('problem', 'the entries are not those of the tree head');
}

async function checkTile(read: ReadPublished, tile: HashTile, report: Report): Promise<void> {
  const published = await readWide(read, tile.level, tile.index, tile.width);
  if (!equalHashes(published.subarray(0, tile.bytes.length), tile.bytes)) {
    report('problem', `${tilePath(tile)} is not what its entries make`);
  }
}

/** A partial tile may have been replaced by the full one (c2sp.org/tlog-tiles, "Partial Tiles"). */
async function readWide(
  read: ReadPublished,
  level: number | 'entries',
  index: number,
  width: number,
): Promise<Uint8Array> {
  const path = tilePath({ level, index, width });
  const exact = await read(path);
  if (exact !== undefined) return exact;
  const whole = width === TILE_WIDTH ? undefined : await read(tilePath({ level, index, width: TILE_WIDTH }));
  if (whole === undefined) throw new TlogError(`${path} is missing`);
  return level === 'entries' ? bundlePrefix(whole, width) : whole;
}

/** @returns the entry's time; empty when it has none */
function checkEntry(
  bytes: Uint8Array,
  hash: Uint8Array,
  leafIndex: number,
  chains: Map<string, Chain>,
  report: Report,
): string {
  const entry = readFields(bytes);
  if (entry === undefined) {
    report('problem', 'not an entry of version 1', leafIndex);
    return '';
  }
  const { leaf, seq, prev, subject, time } = entry;
  if (leaf !== leafIndex) report('problem', `the entry says that it is entry ${leaf}`, leafIndex);
  const chain = chains.get(subject);
  const expectedSeq = chain === undefined ? 0 : chain.seq + 1;
  if (seq !== expectedSeq)
    report('problem', `entry number ${seq} of ${subject}, where number ${expectedSeq} is due`, leafIndex);
  if (prev !== (chain?.hash ?? ''))
    report('problem', `the entry does not go on from the previous one of ${subject}`, leafIndex);
  chains.set(subject, { seq, hash: Buffer.from(hash).toString('base64url') });
  return time;
}

interface Fields {
  readonly leaf: number;
  readonly seq: number;
  readonly prev: string;
  readonly subject: string;
  readonly time: string;
}

function readFields(bytes: Uint8Array): Fields | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString());
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { v, leaf, seq, prev, subject, time } = value as Partial<Record<keyof Fields | 'v', unknown>>;
  if (v !== 1 || typeof leaf !== 'number' || typeof seq !== 'number') return undefined;
  if (typeof prev !== 'string' || typeof subject !== 'string' || typeof time !== 'string') return undefined;
  return { leaf, seq, prev, subject, time };
}
