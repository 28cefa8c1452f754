import type { Batch, EntryRow } from './batch.ts';
import type { Storage } from './storage.ts';
import { formatTreeHead, type TreeHead } from './tlog/checkpoint.ts';
import { TlogError } from './tlog/hash.ts';
import { formatNote, parseVerifierKey, type VerifierKey, verifySignature } from './tlog/note.ts';
import { bundlePrefix, parseTilePath, splitBundle, TILE_WIDTH, tilePath, tileWidth } from './tlog/tile.ts';
import type { HashTile, TreeEdge } from './tlog/tree-edge.ts';

/** Signs checkpoints: an Ed25519 key, in the HSM where the token can do it. */
export interface CheckpointSigner {
  /** C2SP vkey; its name is the log's origin. */
  readonly verifierKey: string;
  sign(bytes: Uint8Array): Promise<Uint8Array>;
}

export interface SignedCheckpoint {
  /** The signed note. */
  readonly note: string;
  readonly treeSize: number;
}

/** What an earlier run published. */
export interface Published {
  readonly edge: TreeEdge;
  /** The unfinished entry bundle. */
  readonly bundle: Uint8Array;
  readonly checkpoint: SignedCheckpoint | undefined;
  /** Partial tiles that may lie about. */
  readonly partials: readonly string[];
}

export interface PublisherOptions {
  readonly storage: Storage;
  readonly origin: string;
  /** Entries up to `treeSize` are in published tiles. */
  readonly onPublished: (rows: readonly EntryRow[], treeSize: number) => Promise<void>;
  /** A checkpoint of this tree is durable. */
  readonly onSigned: (tree: Pick<TreeHead, 'treeSize' | 'rootHash'>) => void;
  readonly onWarning: (message: string, error: unknown) => void;
}

export const INCOMING = 'incoming';
export const TREE_HEAD = 'treehead';
export const CHECKPOINT = 'checkpoint';
// Entries hashed into tiles before the event loop gets a turn: about a millisecond.
const ENTRIES_PER_TURN = 1024;
// Half of libuv's threads: the other half is for the segment that everybody waits for.
const FILES_AT_A_TIME = 2;

/**
 * Turns durable entries into what C2SP tlog-tiles publishes: entry bundles, tiles of hashes, a signed checkpoint.
 *
 * Order: tiles, their directories, then the tree head, and only then is that tree head signed, so that the log never
 * signs what it could forget (c2sp.org/tlog-checkpoint: "persist before signing"). Each file is written under another
 * name, synced and renamed: a crash leaves the old one or the new one. If anything fails, nothing is taken over and
 * the next attempt begins again from the same tree.
 */
export class Publisher {
  readonly #options: PublisherOptions;
  #edge: TreeEdge;
  #bundle: Uint8Array;
  #checkpoint: SignedCheckpoint | undefined;
  #signer: { readonly key: VerifierKey; readonly sign: CheckpointSigner['sign'] } | undefined;
  #waiting: Batch[] = [];
  #waitingBytes = 0;
  #taken = Promise.withResolvers<void>();
  #incoming = 0;
  readonly #directories = new Set(['.', INCOMING]);
  #partials: Set<string>;
  #checkpointPartials: ReadonlySet<string> = new Set();
  #queued: Promise<void> | undefined;
  #tail: Promise<void> = Promise.resolve();

  constructor(published: Published, options: PublisherOptions) {
    this.#options = options;
    this.#edge = published.edge;
    this.#bundle = published.bundle;
    this.#checkpoint = published.checkpoint;
    this.#partials = new Set(published.partials);
    this.#checkpointPartials = partialsOf(published.checkpoint?.treeSize ?? 0);
  }

  /** Entries in published tiles. */
  get treeSize(): number {
    return this.#edge.size;
  }

  get checkpoint(): SignedCheckpoint | undefined {
    return this.#checkpoint;
  }

  /** Bytes of entries that are durable and not published. They are kept in memory. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Resolves when some of them have been published. */
  whenTaken(): Promise<void> {
    return this.#taken.promise;
  }

  get hasWork(): boolean {
    return this.#waiting.length > 0 || this.#lacksCheckpoint;
  }

  get #lacksCheckpoint(): boolean {
    return this.#signer !== undefined && this.treeSize > 0 && this.#checkpoint?.treeSize !== this.treeSize;
  }

  /** @throws TlogError when it is not this log's key */
  setSigner(signer: CheckpointSigner | undefined): void {
    if (signer === undefined) {
      this.#signer = undefined;
      return;
    }
    const key = parseVerifierKey(signer.verifierKey);
    if (key.name !== this.#options.origin) throw new TlogError('the name of the key of a log is its origin');
    this.#signer = { key, sign: (bytes) => signer.sign(bytes) };
  }

  /** Durable entries, in order. */
  add(batch: Batch): void {
    this.#waiting.push(batch);
    this.#waitingBytes += batch.body.length;
  }

  /** Publishes and signs everything that was added before the call. Rejects when it could not be written or signed. */
  publish(): Promise<void> {
    this.#queued ??= this.#queue();
    return this.#queued;
  }

  async #queue(): Promise<void> {
    const before = this.#tail;
    const mine = (async () => {
      await before;
      this.#queued = undefined;
      await this.#extend();
      await this.#sign();
    })();
    this.#tail = mine.then(
      () => undefined,
      () => undefined,
    );
    await mine;
  }

  async #extend(): Promise<void> {
    const batches = [...this.#waiting];
    if (batches.length === 0) return;
    const edge = this.#edge.clone();
    const files: { readonly path: string; readonly bytes: Uint8Array }[] = [];
    const addTile = (tile: HashTile): void => {
      files.push({ path: tilePath(tile), bytes: tile.bytes });
    };
    let bundle: Uint8Array[] = [this.#bundle];
    for (const { body, rows } of batches) {
      let from = 0;
      let at = 0;
      for (const row of rows) {
        if (row.leaf !== edge.size) throw new TlogError(`entry ${row.leaf} is out of order`);
        at += 2 + body.readUInt16BE(at);
        edge.append(Buffer.from(row.hash, 'base64url'), addTile);
        if (edge.size % TILE_WIDTH === 0) {
          bundle.push(body.subarray(from, at));
          from = at;
          const index = edge.size / TILE_WIDTH - 1;
          files.push({
            path: tilePath({ level: 'entries', index, width: TILE_WIDTH }),
            bytes: Buffer.concat(bundle),
          });
          bundle = [];
        }
        if (edge.size % ENTRIES_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      bundle.push(body.subarray(from));
    }
    const rest = Buffer.concat(bundle);
    const width = edge.size % TILE_WIDTH;
    if (width > 0) {
      files.push({
        path: tilePath({ level: 'entries', index: Math.floor(edge.size / TILE_WIDTH), width }),
        bytes: rest,
      });
    }
    for (const tile of edge.partialTiles()) addTile(tile);

    await this.#writeFiles(files);
    const head = formatTreeHead({ origin: this.#options.origin, treeSize: edge.size, rootHash: edge.root() });
    await this.#writeFiles([{ path: TREE_HEAD, bytes: Buffer.from(head) }]);

    this.#edge = edge;
    this.#bundle = rest;
    this.#waiting = this.#waiting.slice(batches.length);
    for (const { body } of batches) this.#waitingBytes -= body.length;
    this.#taken.resolve();
    this.#taken = Promise.withResolvers();
    await this.#removeOldPartials();
    await this.#options.onPublished(
      batches.flatMap(({ rows }) => rows),
      edge.size,
    );
  }

  async #sign(): Promise<void> {
    if (this.#signer === undefined || !this.#lacksCheckpoint) return;
    const { key, sign } = this.#signer;
    const treeSize = this.treeSize;
    const rootHash = this.#edge.root();
    const text = formatTreeHead({ origin: this.#options.origin, treeSize, rootHash });
    const signature = await sign(Buffer.from(text));
    if (!verifySignature(text, key, signature))
      throw new TlogError('the signature of the checkpoint does not verify');
    const note = formatNote({ text, signatures: [{ name: key.name, noteKeyId: key.noteKeyId, signature }] });
    await this.#writeFiles([{ path: CHECKPOINT, bytes: Buffer.from(note) }]);
    this.#checkpoint = { note, treeSize };
    this.#checkpointPartials = partialsOf(treeSize);
    this.#options.onSigned({ treeSize, rootHash });
    await this.#removeOldPartials();
  }

  /** All of them durable, under their names, when it resolves. */
  async #writeFiles(files: readonly { readonly path: string; readonly bytes: Uint8Array }[]): Promise<void> {
    const queue = files.values();
    const lanes = Array.from({ length: Math.min(FILES_AT_A_TIME, files.length) }, async () => {
      for (const { path, bytes } of queue) await this.#writeFile(path, bytes);
    });
    // All lanes end before anything is done about a failure in one of them.
    const failed = (await Promise.allSettled(lanes)).find((lane) => lane.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    const directories = new Set(files.map(({ path }) => parentOf(path)));
    for (const directory of directories) await this.#options.storage.syncDirectory(directory);
  }

  async #writeFile(path: string, bytes: Uint8Array): Promise<void> {
    const { storage } = this.#options;
    await this.#makeDirectories(parentOf(path));
    const temporary = `${INCOMING}/${this.#incoming++}`;
    const file = await storage.create(temporary);
    try {
      await file.append(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await storage.rename(temporary, path);
  }

  async #makeDirectories(directory: string): Promise<void> {
    if (this.#directories.has(directory)) return;
    const parent = parentOf(directory);
    await this.#makeDirectories(parent);
    await this.#options.storage.makeDirectory(directory);
    await this.#options.storage.syncDirectory(parent);
    this.#directories.add(directory);
  }

  /** Partial tiles that neither the newest tree nor the newest checkpoint needs. Leftovers do no harm. */
  async #removeOldPartials(): Promise<void> {
    const needed = partialsOf(this.treeSize);
    for (const path of this.#partials) {
      if (needed.has(path) || this.#checkpointPartials.has(path)) continue;
      try {
        await this.#options.storage.remove(path);
        this.#partials.delete(path);
      } catch (error) {
        this.#options.onWarning(`cannot remove ${path}`, error);
      }
    }
    for (const path of needed) this.#partials.add(path);
  }

  /** Hashes of a tile of the published tree. @throws TlogError when the tree has no such tile */
  async readTile(level: number, index: number): Promise<Uint8Array> {
    const width = tileWidth(this.treeSize, level, index);
    if (width === 0) throw new TlogError('the tree has no such tile');
    return (
      this.#edge.unfinishedTile(level, index) ??
      (await this.#options.storage.read(tilePath({ level, index, width })))
    );
  }

  /** Entries of a bundle of the published tree, as many as it has; none when the tree has no such bundle. */
  async readEntries(bundleIndex: number): Promise<Uint8Array[]> {
    return splitBundle(await this.#readBundle(bundleIndex));
  }

  async #readBundle(index: number): Promise<Uint8Array> {
    const width = tileWidth(this.treeSize, 0, index);
    if (width === 0) return new Uint8Array(0);
    if (width < TILE_WIDTH) return this.#bundle;
    return await this.#options.storage.read(tilePath({ level: 'entries', index, width }));
  }

  /** Durable entries that are not published yet, from leaf index `treeSize` on. */
  unpublishedEntries(): { readonly firstLeaf: number; readonly entries: Uint8Array[] } {
    return { firstLeaf: this.treeSize, entries: this.#waiting.flatMap(entriesOf) };
  }

  unpublishedEntry(leafIndex: number): Uint8Array | undefined {
    const batch = this.#waiting.findLast(({ firstLeaf }) => firstLeaf <= leafIndex);
    return batch === undefined ? undefined : entriesOf(batch)[leafIndex - batch.firstLeaf];
  }

  /** A published file by its C2SP path. Partial tiles are cut from wider ones, so that all of them can be read. */
  async readPublished(path: string): Promise<Uint8Array | undefined> {
    if (path === CHECKPOINT)
      return this.#checkpoint === undefined ? undefined : Buffer.from(this.#checkpoint.note);
    if (path === TREE_HEAD) {
      const rootHash = this.#edge.root();
      return Buffer.from(formatTreeHead({ origin: this.#options.origin, treeSize: this.treeSize, rootHash }));
    }
    const name = parseTilePath(path);
    if (name === undefined) return undefined;
    const level = name.level === 'entries' ? 0 : name.level;
    if (tileWidth(this.treeSize, level, name.index) < name.width) return undefined;
    if (name.level === 'entries') return bundlePrefix(await this.#readBundle(name.index), name.width);
    return (await this.readTile(name.level, name.index)).subarray(0, name.width * 32);
  }
}

function entriesOf({ body, rows }: Batch): Uint8Array[] {
  let at = 0;
  return rows.map(() => {
    const end = at + 2 + body.readUInt16BE(at);
    const entry = body.subarray(at + 2, end);
    at = end;
    return entry;
  });
}

function parentOf(path: string): string {
  const at = path.lastIndexOf('/');
  return at < 0 ? '.' : path.slice(0, at);
}

/** Paths of the partial tiles of a tree. */
export function partialsOf(treeSize: number): Set<string> {
  const paths = new Set<string>();
  for (let level = 0; level < 7; level++) {
    const nodes = Math.floor(treeSize / TILE_WIDTH ** level);
    const width = nodes % TILE_WIDTH;
    if (width === 0) continue;
    const index = Math.floor(nodes / TILE_WIDTH);
    paths.add(tilePath({ level, index, width }));
    if (level === 0) paths.add(tilePath({ level: 'entries', index, width }));
  }
  return paths;
}
