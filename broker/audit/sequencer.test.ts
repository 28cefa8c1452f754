import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/fakes/fake-clock.ts';
import { FakeStorage } from '../../test/fakes/fake-storage.ts';
import { makeLogSigner } from '../../test/fakes/log-signer.ts';
import type { EntryDraft } from './entry.ts';
import { parseEntry } from './entry-format.ts';
import { FileStorage } from './file-storage.ts';
import type { AuditLogOptions, SignedTree } from './options.ts';
import { openAuditLog, type Sequencer } from './sequencer.ts';
import { readIfPresent } from './storage.ts';
import { parseVerifierKey } from './tlog/note.ts';
import { verifyConsistency } from './tlog/proof.ts';
import { parseTlogProof, verifyTlogProof } from './tlog/tlog-proof.ts';
import { verifyLog } from './tlog/verify-log.ts';

const ORIGIN = 'log.example.org/broker-1';
const signer = makeLogSigner(ORIGIN);
const KEY = parseVerifierKey(signer.verifierKey);

const draftOf = (workload: string, more: Partial<EntryDraft> = {}): EntryDraft => ({
  kind: 'key-use',
  subject: `spiffe://example.org/${workload}`,
  operation: 'sign',
  key: 'payments/jwt',
  decision: 'allow',
  ...more,
});

let storage: FakeStorage;
let clock: FakeClock;
let warnings: string[];
let opened: Sequencer[];

beforeEach(() => {
  storage = new FakeStorage();
  clock = new FakeClock();
  warnings = [];
  opened = [];
});

afterEach(async () => {
  for (const log of opened) await log.close();
  expect(storage.misuse).toEqual([]);
});

async function open(more: Partial<AuditLogOptions> = {}): Promise<Sequencer> {
  const log = await openAuditLog({
    storage,
    origin: ORIGIN,
    indexPath: ':memory:',
    signer,
    clock,
    onWarning: (message) => warnings.push(message),
    ...more,
  });
  opened.push(log);
  return log;
}

const verify = () =>
  verifyLog({ read: (path) => readIfPresent(storage, path), verifierKey: signer.verifierKey });

describe('the log', () => {
  it('takes entries, chains them by subject, and is found sound by who reads only its files', async () => {
    const log = await open();
    const places = await Promise.all(Array.from({ length: 600 }, (_, i) => log.append(draftOf(`w${i % 3}`))));
    expect(places.map(({ leafIndex }) => leafIndex)).toEqual(Array.from({ length: 600 }, (_, i) => i + 1));
    expect(log.size).toBe(601);
    await log.publish();
    const seen: number[] = [];
    const report = await verifyLog({
      read: (path) => readIfPresent(storage, path),
      verifierKey: signer.verifierKey,
      onEntry: (leafIndex) => seen.push(leafIndex),
    });
    expect(report).toMatchObject({
      origin: ORIGIN,
      entries: 601,
      subjects: 4,
      checkpointSize: 601,
      isSignatureVerified: true,
      isSound: true,
    });
    expect(seen).toHaveLength(601);
    const third = parseEntry((await log.getEntry(6))!);
    expect(third).toMatchObject({ leaf: 6, seq: 1, subject: 'spiffe://example.org/w2' });
  });

  it('goes on after a restart where it ended, chains and all, and says how it was left', async () => {
    const first = await open();
    await Promise.all([first.append(draftOf('a')), first.append(draftOf('b'))]);
    await first.close();
    const second = await open();
    await second.append(draftOf('a'));
    await second.publish();
    const entries = await second.query({ kind: 'log' });
    expect(entries.map(({ entry }) => [entry.operation, entry.detail?.previous])).toEqual([
      ['log.open', 'closed'],
      ['log.close', undefined],
      ['log.open', 'none'],
    ]);
    expect(await verify()).toMatchObject({ isSound: true, entries: 6 });
  });

  it('signs with a key that comes later, and publishes unsigned until then', async () => {
    const log = await open({ signer: undefined });
    await log.append(draftOf('a'));
    await log.publish();
    expect(log.status).toMatchObject({ treeSize: 2, checkpointSize: 0, hasSigner: false });
    expect(await log.getCheckpoint()).toBeUndefined();
    const receipt = expect(log.getReceipt(1)).rejects.toMatchObject({ reason: 'AUDIT_UNAVAILABLE' });
    clock.advance(50);
    await receipt;
    log.setSigner(signer);
    await log.publish();
    expect(log.status).toMatchObject({ checkpointSize: 2, hasSigner: true });
    expect(() => log.setSigner(makeLogSigner('another.example'))).toThrow('origin');
  });

  it('does not publish a checkpoint whose signature is wrong', async () => {
    const log = await open({ signer: { ...signer, sign: async () => new Uint8Array(64) } });
    await expect(log.publish()).rejects.toMatchObject({ reason: 'AUDIT_UNAVAILABLE' });
    expect(await log.getCheckpoint()).toBeUndefined();
    expect(storage.files().has('checkpoint')).toBe(false);
    expect(log.status.publishFailure).toContain('does not verify');
    log.setSigner(signer);
  });

  it('publishes by itself once the interval has passed', async () => {
    const log = await open();
    const { promise, resolve } = Promise.withResolvers<void>();
    log.setSigner({
      verifierKey: signer.verifierKey,
      async sign(bytes) {
        resolve();
        return await signer.sign(bytes);
      },
    });
    await log.append(draftOf('a'));
    clock.advance(1000);
    await promise;
    await log.publish();
    expect(log.status.checkpointSize).toBe(2);
  });

  it('refuses a draft that cannot be written, and is none the worse for it', async () => {
    const log = await open();
    await expect(log.append(draftOf('a', { version: 0.5 }))).rejects.toMatchObject({
      reason: 'AUDIT_UNAVAILABLE',
    });
    expect(await log.append(draftOf('a'))).toEqual({ leafIndex: 1 });
    expect(log.failure).toBeUndefined();
  });
});

describe('receipts and proofs', () => {
  it('a receipt verifies offline against the log key, and those who ask together share one signature', async () => {
    const log = await open();
    const places = await Promise.all(Array.from({ length: 300 }, (_, i) => log.append(draftOf(`w${i}`))));
    const before = signer.signed.length;
    const asked = Promise.all([places[0]!, places[299]!].map(({ leafIndex }) => log.getReceipt(leafIndex)));
    clock.advance(50);
    const receipts = await asked;
    expect(signer.signed.length).toBe(before + 1);
    for (const [i, receipt] of receipts.entries()) {
      const proof = parseTlogProof(receipt!);
      const entry = (await log.getEntry(places[i * 299]!.leafIndex))!;
      expect(verifyTlogProof(proof, entry, KEY)).toMatchObject({ treeSize: 301, origin: ORIGIN });
      expect(() => verifyTlogProof(proof, Buffer.from('{}'), KEY)).toThrow('not at that index');
    }
    expect(await log.getReceipt(301)).toBeUndefined();
    expect(await log.getEntry(301)).toBeUndefined();
  });

  it('proves that a later checkpoint goes on from an earlier one', async () => {
    const log = await open();
    await Promise.all(Array.from({ length: 258 }, () => log.append(draftOf('a'))));
    await log.publish();
    const earlier = signer.signed.at(-1)!.split('\n');
    await Promise.all(Array.from({ length: 300 }, () => log.append(draftOf('a'))));
    await log.publish();
    const later = signer.signed.at(-1)!.split('\n');
    const { hashes, treeSize } = await log.getProof({ fromSize: Number(earlier[1]) });
    const roots = [earlier[2]!, later[2]!].map((root) => Buffer.from(root, 'base64')) as [Buffer, Buffer];
    expect(verifyConsistency(Number(earlier[1]), treeSize, ...roots, hashes)).toBe(true);
    await expect(log.getProof({ leafIndex: 0 }, 10_000)).rejects.toThrow('no published tree');
    await expect(log.getProof({ leafIndex: 9_000 })).rejects.toThrow('not in the tree');
  });

  it('serves published files by path, partial tiles of earlier sizes too, and nothing else', async () => {
    const log = await open();
    await Promise.all(Array.from({ length: 299 }, () => log.append(draftOf('a'))));
    await log.publish();
    for (const path of [
      'checkpoint',
      'treehead',
      'tile/0/000',
      'tile/0/001.p/44',
      'tile/1/000.p/1',
      'tile/entries/001.p/44',
    ]) {
      expect(Buffer.from((await log.readPublished(path))!)).toEqual(storage.files().get(path));
    }
    expect(await log.readPublished('tile/0/000.p/3')).toEqual(
      storage.files().get('tile/0/000')!.subarray(0, 96),
    );
    for (const path of ['tile/0/001.p/45', 'tile/0/002', 'segments/x', '../etc/passwd', 'index.sqlite', '']) {
      expect(await log.readPublished(path)).toBeUndefined();
    }
  });
});

describe('a history that was written while nobody was looking', () => {
  const stranger = makeLogSigner(ORIGIN);

  it('is not taken up when a stranger signed its checkpoint, whoever else is trusted', async () => {
    const forged = await open({ signer: stranger });
    await forged.append(draftOf('a'));
    await forged.close();
    for (const verifierKeys of [undefined, [], [signer.verifierKey]]) {
      const log = await open({ verifierKeys });
      expect(log.failure).toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
      await expect(log.append(draftOf('a'))).rejects.toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
      await expect(log.publish()).rejects.toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
    }
  });

  it('is not taken up when no key of the log is known', async () => {
    const first = await open();
    await first.close();
    const log = await open({ signer: undefined });
    expect(log.failure).toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
  });

  it('is not taken up without what is known to have been signed, though nothing signs it', async () => {
    const signed: SignedTree[] = [];
    const log = await open({ onSigned: (tree) => signed.push(tree) });
    await log.append(draftOf('a'));
    await log.close();
    const signedTree = signed.at(-1)!;
    expect(signedTree.treeSize).toBe(3);
    const again = await open({ signedTree });
    expect(again.failure).toBeUndefined();
    await again.close();

    for (const entries of [0, 9]) {
      storage = new FakeStorage();
      const forged = await open({ signer: undefined });
      for (let i = 0; i < entries; i++) await forged.append(draftOf('b'));
      await forged.close();
      const taken = await open({ signedTree });
      expect(taken.failure).toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
    }
  });

  it('goes on under a new key when the old one signed it', async () => {
    const first = await open();
    await first.append(draftOf('a'));
    await first.close();
    const next = makeLogSigner(ORIGIN);
    const log = await open({ signer: next, verifierKeys: [next.verifierKey, signer.verifierKey] });
    expect(log.failure).toBeUndefined();
    await log.append(draftOf('a'));
    expect((await log.getCheckpoint({})) ?? undefined).toMatchObject({ treeSize: 3 });
  });
});

describe('queries', () => {
  it('find what they ask for, newest first, published or not, page by page', async () => {
    const log = await open();
    for (let i = 0; i < 10; i++) {
      await Promise.all(
        Array.from({ length: 60 }, (_, j) =>
          log.append(
            draftOf(`w${j % 2}`, { key: i === 4 ? 'rare' : 'common', decision: j === 7 ? 'deny' : 'allow' }),
          ),
        ),
      );
      clock.advance(100);
      if (i === 5) await log.publish();
    }
    const rare = await log.query({ key: 'rare', workload: 'spiffe://example.org/w0', limit: 1000 });
    expect(rare.map(({ leafIndex }) => leafIndex)).toEqual(
      Array.from({ length: 30 }, (_, i) => 1 + 4 * 60 + 58 - 2 * i),
    );
    const denied = await log.query({ decision: 'deny' });
    expect(denied.map(({ leafIndex }) => leafIndex)).toEqual(
      Array.from({ length: 10 }, (_, i) => 8 + 60 * (9 - i)),
    );
    const page = await log.query({ decision: 'deny', limit: 3, before: denied[2]!.leafIndex });
    expect(page.map(({ leafIndex }) => leafIndex)).toEqual(
      denied.slice(3, 6).map(({ leafIndex }) => leafIndex),
    );
    const times = await log.query({
      since: '2026-03-01T12:00:00.200Z',
      until: '2026-03-01T12:00:00.300Z',
      limit: 1000,
    });
    expect(times).toHaveLength(60);
    expect(await log.query({ workload: 'spiffe://example.org/nobody' })).toEqual([]);
    const scoped = await log.query({ isVisible: ({ subject }) => subject.endsWith('w1'), limit: 1000 });
    expect(scoped).toHaveLength(300);
    expect((await log.query({}))[0]!.leafIndex).toBe(600);
    expect(await log.query({})).toHaveLength(50);
  });

  it('say where to go on when a page is full, and that there is no more when there is not', async () => {
    const log = await open();
    await Promise.all(Array.from({ length: 20 }, () => log.append(draftOf('a'))));
    await log.publish();
    const { signal } = new AbortController();
    const first = await log.queryPage({ key: 'payments/jwt', limit: 15 }, signal);
    expect([first.entries.length, first.continueBefore]).toEqual([15, 6]);
    const second = await log.queryPage({ key: 'payments/jwt', limit: 15, before: 6 }, signal);
    expect(second.entries.map(({ leafIndex }) => leafIndex)).toEqual([5, 4, 3, 2, 1]);
    expect(second.continueBefore).toBeUndefined();
  });

  it('look into so many bundles and no more, and go on from there', async () => {
    const log = await open();
    await log.append(draftOf('first'));
    for (let i = 0; i < 4; i++)
      await Promise.all(Array.from({ length: 255 }, () => log.append(draftOf('filler'))));
    await log.publish();
    const isVisible = ({ subject }: { subject: string }) => subject.endsWith('/first');
    const found: number[] = [];
    let before: number | undefined;
    let pages = 0;
    do {
      const page = await log.queryPage({ isVisible, before }, new AbortController().signal, 2);
      found.push(...page.entries.map(({ leafIndex }) => leafIndex));
      before = page.continueBefore;
      pages += 1;
    } while (before !== undefined);
    expect(found).toEqual([1]);
    expect(pages).toBe(2);
  });

  it('end when whoever asked has gone', async () => {
    const log = await open();
    await Promise.all(Array.from({ length: 600 }, () => log.append(draftOf('a'))));
    await log.publish();
    const gone = new Error('gone');
    await expect(log.queryPage({ isVisible: () => false }, AbortSignal.abort(gone))).rejects.toBe(gone);
  });
});

describe('on a real file system', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lastmile-log-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const openFiles = () =>
    open({ storage: new FileStorage(directory), indexPath: join(directory, 'index.sqlite') });

  it('keeps its index over a restart, rebuilds it when it is gone or damaged, and lets no second broker in', async () => {
    const log = await openFiles();
    await Promise.all(Array.from({ length: 300 }, (_, i) => log.append(draftOf(`w${i % 5}`))));
    await expect(openFiles()).rejects.toThrow('another broker');
    await log.close();
    const again = await openFiles();
    expect(await again.query({ workload: 'spiffe://example.org/w3', limit: 1000 })).toHaveLength(60);
    await again.append(draftOf('w3'));
    await again.close();
    for (const damage of [
      (path: string) => rmSync(path),
      (path: string) => writeFileSync(path, 'not a database at all, not at all'),
    ]) {
      damage(join(directory, 'index.sqlite'));
      const rebuilt = await openFiles();
      const [newest] = await rebuilt.query({ workload: 'spiffe://example.org/w3' });
      expect(newest!.entry.seq).toBe(60);
      await rebuilt.close();
    }
    const files = new FileStorage(directory);
    const report = await verifyLog({
      read: (path) => readIfPresent(files, path),
      verifierKey: signer.verifierKey,
    });
    expect(report).toMatchObject({ isSound: true, entries: 309, isSignatureVerified: true });
  });

  it('an index that knows more than the log means that entries were lost', async () => {
    const log = await openFiles();
    await log.append(draftOf('a'));
    await log.close();
    for (const name of ['checkpoint', 'treehead']) rmSync(join(directory, name));
    for (const name of ['segments', 'tile']) rmSync(join(directory, name), { recursive: true });
    const emptied = await openFiles();
    expect(emptied.failure).toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
    await expect(emptied.append(draftOf('a'))).rejects.toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
  });

  it('an index that knows another entry means that history was rewritten', async () => {
    const log = await openFiles();
    await log.append(draftOf('a'));
    await log.close();
    for (const name of ['checkpoint', 'treehead']) rmSync(join(directory, name));
    for (const name of ['segments', 'tile']) rmSync(join(directory, name), { recursive: true });
    const forged = await open({ storage: new FileStorage(directory), signer: undefined });
    for (let i = 0; i < 5; i++) await forged.append(draftOf('b'));
    await forged.close();
    const rewritten = await openFiles();
    expect(rewritten.failure).toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
  });
});
