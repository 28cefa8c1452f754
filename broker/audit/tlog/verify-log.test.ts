import { generateKeyPairSync, sign } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { formatTreeHead } from './checkpoint.ts';
import { leafHash } from './hash.ts';
import { formatNote, formatVerifierKey, makeVerifierKey } from './note.ts';
import { TILE_WIDTH, tilePath } from './tile.ts';
import { TreeEdge } from './tree-edge.ts';
import { verifyLog } from './verify-log.ts';

const ORIGIN = 'log.example/verify';
const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const key = makeVerifierKey(ORIGIN, publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
const verifierKey = formatVerifierKey(key);

type Fields = Record<string, unknown>;

/** A log as its key's holder could write it: consistent in hashes and signature, whatever its entries say. */
function writeLog(
  count: number,
  change: (fields: Fields) => Fields = (fields) => fields,
): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const edge = new TreeEdge();
  const heads = new Map<string, { seq: number; prev: string }>();
  let bundle: Uint8Array[] = [];
  for (let leaf = 0; leaf < count; leaf++) {
    const subject = `w${leaf % 3}`;
    const { seq, prev } = heads.get(subject) ?? { seq: 0, prev: '' };
    const time = new Date(1_700_000_000_000 + leaf).toISOString();
    const entry = Buffer.from(JSON.stringify(change({ leaf, prev, seq, subject, time, v: 1 })));
    const hash = leafHash(entry);
    heads.set(subject, { seq: seq + 1, prev: Buffer.from(hash).toString('base64url') });
    edge.append(hash, (tile) => files.set(tilePath(tile), tile.bytes));
    bundle.push(Buffer.concat([Uint8Array.of(entry.length >> 8, entry.length & 255), entry]));
    const width = bundle.length;
    if (width === TILE_WIDTH || leaf === count - 1) {
      files.set(
        tilePath({ level: 'entries', index: Math.floor(leaf / TILE_WIDTH), width }),
        Buffer.concat(bundle),
      );
      bundle = [];
    }
  }
  for (const tile of edge.partialTiles()) files.set(tilePath(tile), tile.bytes);
  const text = formatTreeHead({ origin: ORIGIN, treeSize: count, rootHash: edge.root() });
  const signature = sign(null, Buffer.from(text), privateKey);
  files.set('checkpoint', Buffer.from(formatNote({ text, signatures: [{ ...key, signature }] })));
  return files;
}

async function problems(files: Map<string, Uint8Array>): Promise<string[]> {
  const report = await verifyLog({ read: async (path) => files.get(path), verifierKey });
  const found = report.findings
    .filter(({ severity }) => severity === 'problem')
    .map(({ message }) => message);
  expect(report.isSound).toBe(found.length === 0);
  return found;
}

describe('verifyLog', () => {
  let files: Map<string, Uint8Array>;
  beforeAll(() => {
    files = writeLog(600);
  });

  it('finds a whole log sound, and says that nobody witnessed it', async () => {
    const report = await verifyLog({ read: async (path) => files.get(path), verifierKey });
    expect(report).toMatchObject({
      entries: 600,
      subjects: 3,
      checkpointSize: 600,
      isSignatureVerified: true,
      witnessed: false,
      isSound: true,
    });
    expect(report.findings.map(({ message }) => message).join()).toContain('no witness');
  });

  it('finds any flipped byte in any file', async () => {
    for (const [path, bytes] of files) {
      for (const at of [0, 1, bytes.length >> 1, bytes.length - 2]) {
        const changed = Uint8Array.from(bytes);
        changed[at] = changed[at]! ^ 4;
        expect([path, at, (await problems(new Map(files).set(path, changed))).length > 0]).toEqual([
          path,
          at,
          true,
        ]);
      }
    }
  });

  it('finds any missing file', async () => {
    for (const path of files.keys()) {
      const fewer = new Map(files);
      fewer.delete(path);
      expect([path, (await problems(fewer)).length > 0]).toEqual([path, true]);
    }
  });

  it.each([
    ['a gap in the numbers of a subject', { seq: 9000 }, 'where number'],
    ['a broken chain', { prev: 'AAAA' }, 'does not go on from'],
    ['a wrong index', { leaf: 1 }, 'says that it is entry 1'],
    ['another version', { v: 2 }, 'not an entry of version 1'],
  ])('finds %s, although the key of the log signed it', async (_, wrong, message) => {
    const found = await problems(
      writeLog(600, (fields) => (fields.leaf === 400 ? { ...fields, ...wrong } : fields)),
    );
    expect(found[0]).toContain(message);
  });

  it('tells of a clock that went back without calling the log unsound', async () => {
    const back = writeLog(5, (fields) =>
      fields.leaf === 3 ? { ...fields, time: '2001-01-01T00:00:00.000Z' } : fields,
    );
    const report = await verifyLog({ read: async (path) => back.get(path), verifierKey });
    expect(report.isSound).toBe(true);
    expect(report.findings.find(({ leafIndex }) => leafIndex === 3)?.message).toContain('clock went back');
  });

  it('does not take another key, and says when none was given', async () => {
    const other = generateKeyPairSync('ed25519')
      .publicKey.export({ format: 'der', type: 'spki' })
      .subarray(-32);
    const wrong = await verifyLog({
      read: async (path) => files.get(path),
      verifierKey: formatVerifierKey(makeVerifierKey(ORIGIN, other)),
    });
    expect(wrong).toMatchObject({ isSound: false, isSignatureVerified: false });
    const unchecked = await verifyLog({ read: async (path) => files.get(path) });
    expect(unchecked).toMatchObject({ isSound: true, isSignatureVerified: false });
    expect(unchecked.findings.map(({ message }) => message).join()).toContain('no verifier key');
  });

  it('takes a full tile for a partial one, as tlog-tiles allows', async () => {
    const longer = writeLog(600);
    const shorter = writeLog(300);
    longer.set('checkpoint', shorter.get('checkpoint')!);
    for (const path of [...longer.keys()].filter((name) => name.includes('.p/'))) longer.delete(path);
    longer.set('tile/1/000.p/1', shorter.get('tile/1/000.p/1')!);
    expect(await problems(longer)).toEqual([]);
  });
});
