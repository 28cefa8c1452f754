import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AuditLogFixture, draftOf, ORIGIN } from '../../test/fakes/audit-log-fixture.ts';
import { FakeStorage } from '../../test/fakes/fake-storage.ts';
import { makeLogSigner } from '../../test/fakes/log-signer.ts';
import { FileStorage } from './file-storage.ts';
import type { SignedTree } from './options.ts';
import { readIfPresent } from './storage.ts';
import { verifyLog } from './tlog/verify-log.ts';

let fixture: AuditLogFixture;
beforeEach(() => {
  fixture = new AuditLogFixture();
});
afterEach(() => fixture.close());

describe('a history that was written while nobody was looking', () => {
  const stranger = makeLogSigner(ORIGIN);

  it('is not taken up when a stranger signed its checkpoint, whoever else is trusted', async () => {
    const forged = await fixture.open({ signer: stranger });
    await forged.append(draftOf('a'));
    await forged.close();
    for (const verifierKeys of [undefined, [], [fixture.signer.verifierKey]]) {
      const log = await fixture.open({ verifierKeys });
      expect(log.failure).toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
      await expect(log.append(draftOf('a'))).rejects.toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
      await expect(log.publish()).rejects.toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
    }
  });

  it('is not taken up when no key of the log is known', async () => {
    const first = await fixture.open();
    await first.close();
    const log = await fixture.open({ signer: undefined });
    expect(log.failure).toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
  });

  it('is not taken up without what is known to have been signed, though nothing signs it', async () => {
    const signed: SignedTree[] = [];
    const log = await fixture.open({ onSigned: (tree) => signed.push(tree) });
    await log.append(draftOf('a'));
    await log.close();
    const signedTree = signed.at(-1)!;
    expect(signedTree.treeSize).toBe(3);
    const again = await fixture.open({ signedTree });
    expect(again.failure).toBeUndefined();
    await again.close();

    for (const entries of [0, 9]) {
      fixture.storage = new FakeStorage();
      const forged = await fixture.open({ signer: undefined });
      for (let i = 0; i < entries; i++) await forged.append(draftOf('b'));
      await forged.close();
      const taken = await fixture.open({ signedTree });
      expect(taken.failure).toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
    }
  });

  it('goes on under a new key when the old one signed it', async () => {
    const first = await fixture.open();
    await first.append(draftOf('a'));
    await first.close();
    const next = makeLogSigner(ORIGIN);
    const log = await fixture.open({
      signer: next,
      verifierKeys: [next.verifierKey, fixture.signer.verifierKey],
    });
    expect(log.failure).toBeUndefined();
    await log.append(draftOf('a'));
    expect((await log.getCheckpoint({})) ?? undefined).toMatchObject({ treeSize: 3 });
  });
});

describe('on a real file system', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lastmile-log-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const openFiles = () =>
    fixture.open({ storage: new FileStorage(directory), indexPath: join(directory, 'index.sqlite') });

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
      verifierKey: fixture.signer.verifierKey,
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
    const forged = await fixture.open({ storage: new FileStorage(directory), signer: undefined });
    for (let i = 0; i < 5; i++) await forged.append(draftOf('b'));
    await forged.close();
    const rewritten = await openFiles();
    expect(rewritten.failure).toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
  });
});
