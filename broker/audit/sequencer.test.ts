import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AuditLogFixture, draftOf, ORIGIN } from '../../test/fakes/audit-log-fixture.ts';
import { makeLogSigner } from '../../test/fakes/log-signer.ts';
import { parseEntry } from './entry-format.ts';
import { readIfPresent } from './storage.ts';
import { parseVerifierKey } from './tlog/note.ts';
import { verifyConsistency } from './tlog/proof.ts';
import { parseTlogProof, verifyTlogProof } from './tlog/tlog-proof.ts';
import { verifyLog } from './tlog/verify-log.ts';

let fixture: AuditLogFixture;
beforeEach(() => {
  fixture = new AuditLogFixture();
});
afterEach(() => fixture.close());

describe('the log', () => {
  it('takes entries, chains them by subject, and is found sound by who reads only its files', async () => {
    const log = await fixture.open();
    const places = await Promise.all(Array.from({ length: 600 }, (_, i) => log.append(draftOf(`w${i % 3}`))));
    expect(places.map(({ leafIndex }) => leafIndex)).toEqual(Array.from({ length: 600 }, (_, i) => i + 1));
    expect(log.size).toBe(601);
    await log.publish();
    const seen: number[] = [];
    const report = await verifyLog({
      read: (path) => readIfPresent(fixture.storage, path),
      verifierKey: fixture.signer.verifierKey,
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
    const first = await fixture.open();
    await Promise.all([first.append(draftOf('a')), first.append(draftOf('b'))]);
    await first.close();
    const second = await fixture.open();
    await second.append(draftOf('a'));
    await second.publish();
    const entries = await second.query({ kind: 'log' });
    expect(entries.map(({ entry }) => [entry.operation, entry.detail?.previous])).toEqual([
      ['log.open', 'closed'],
      ['log.close', undefined],
      ['log.open', 'none'],
    ]);
    expect(await fixture.verify()).toMatchObject({ isSound: true, entries: 6 });
  });

  it('signs with a key that comes later, and publishes unsigned until then', async () => {
    const log = await fixture.open({ signer: undefined });
    await log.append(draftOf('a'));
    await log.publish();
    expect(log.status).toMatchObject({ treeSize: 2, checkpointSize: 0, hasSigner: false });
    expect(await log.getCheckpoint()).toBeUndefined();
    const receipt = expect(log.getReceipt(1)).rejects.toMatchObject({ reason: 'AUDIT_UNAVAILABLE' });
    fixture.clock.advance(50);
    await receipt;
    log.setSigner(fixture.signer);
    await log.publish();
    expect(log.status).toMatchObject({ checkpointSize: 2, hasSigner: true });
    expect(() => log.setSigner(makeLogSigner('another.example'))).toThrow('origin');
  });

  it('does not publish a checkpoint whose signature is wrong', async () => {
    const log = await fixture.open({ signer: { ...fixture.signer, sign: async () => new Uint8Array(64) } });
    await expect(log.publish()).rejects.toMatchObject({ reason: 'AUDIT_UNAVAILABLE' });
    expect(await log.getCheckpoint()).toBeUndefined();
    expect(fixture.storage.files().has('checkpoint')).toBe(false);
    expect(log.status.publishFailure).toContain('does not verify');
    log.setSigner(fixture.signer);
  });

  it('publishes by itself once the interval has passed', async () => {
    const log = await fixture.open();
    const { promise, resolve } = Promise.withResolvers<void>();
    log.setSigner({
      verifierKey: fixture.signer.verifierKey,
      async sign(bytes) {
        resolve();
        return await fixture.signer.sign(bytes);
      },
    });
    await log.append(draftOf('a'));
    fixture.clock.advance(1000);
    await promise;
    await log.publish();
    expect(log.status.checkpointSize).toBe(2);
  });

  it('refuses a draft that cannot be written, and is none the worse for it', async () => {
    const log = await fixture.open();
    await expect(log.append(draftOf('a', { version: 0.5 }))).rejects.toMatchObject({
      reason: 'AUDIT_UNAVAILABLE',
    });
    expect(await log.append(draftOf('a'))).toEqual({ leafIndex: 1 });
    expect(log.failure).toBeUndefined();
  });
});

describe('receipts and proofs', () => {
  it('a receipt verifies offline against the log key, and those who ask together share one signature', async () => {
    const log = await fixture.open();
    const places = await Promise.all(Array.from({ length: 300 }, (_, i) => log.append(draftOf(`w${i}`))));
    const before = fixture.signer.signed.length;
    const asked = Promise.all([places[0]!, places[299]!].map(({ leafIndex }) => log.getReceipt(leafIndex)));
    fixture.clock.advance(50);
    const receipts = await asked;
    expect(fixture.signer.signed.length).toBe(before + 1);
    const key = parseVerifierKey(fixture.signer.verifierKey);
    for (const [i, receipt] of receipts.entries()) {
      const proof = parseTlogProof(receipt!);
      const entry = (await log.getEntry(places[i * 299]!.leafIndex))!;
      expect(verifyTlogProof(proof, entry, key)).toMatchObject({ treeSize: 301, origin: ORIGIN });
      expect(() => verifyTlogProof(proof, Buffer.from('{}'), key)).toThrow('not at that index');
    }
    expect(await log.getReceipt(301)).toBeUndefined();
    expect(await log.getEntry(301)).toBeUndefined();
  });

  it('proves that a later checkpoint goes on from an earlier one', async () => {
    const log = await fixture.open();
    await Promise.all(Array.from({ length: 258 }, () => log.append(draftOf('a'))));
    await log.publish();
    const earlier = fixture.signer.signed.at(-1)!.split('\n');
    await Promise.all(Array.from({ length: 300 }, () => log.append(draftOf('a'))));
    await log.publish();
    const later = fixture.signer.signed.at(-1)!.split('\n');
    const { hashes, treeSize } = await log.getProof({ fromSize: Number(earlier[1]) });
    const roots = [earlier[2]!, later[2]!].map((root) => Buffer.from(root, 'base64')) as [Buffer, Buffer];
    expect(verifyConsistency(Number(earlier[1]), treeSize, ...roots, hashes)).toBe(true);
    await expect(log.getProof({ leafIndex: 0 }, 10_000)).rejects.toThrow('no published tree');
    await expect(log.getProof({ leafIndex: 9_000 })).rejects.toThrow('not in the tree');
  });

  it('serves published files by path, partial tiles of earlier sizes too, and nothing else', async () => {
    const log = await fixture.open();
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
      expect(Buffer.from((await log.readPublished(path))!)).toEqual(fixture.storage.files().get(path));
    }
    expect(await log.readPublished('tile/0/000.p/3')).toEqual(
      fixture.storage.files().get('tile/0/000')!.subarray(0, 96),
    );
    for (const path of ['tile/0/001.p/45', 'tile/0/002', 'segments/x', '../etc/passwd', 'index.sqlite', '']) {
      expect(await log.readPublished(path)).toBeUndefined();
    }
  });
});
