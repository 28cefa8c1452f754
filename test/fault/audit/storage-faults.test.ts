import { describe, expect, it } from 'vitest';
import { encodeBatch } from '../../../broker/audit/segment.ts';
import { FakeStorage } from '../../fakes/fake-storage.ts';
import { Trial } from './harness.ts';

const isSegment = (path: string): boolean => path.startsWith('segments/');

describe('durability', () => {
  it('answers nobody before the sync that covers the entry is through, then everybody', async () => {
    const trial = new Trial();
    const storage = new FakeStorage();
    const log = await trial.open(storage);
    const { reached, release } = storage.holdSyncs();
    const answered: number[] = [];
    const appends = [1, 2, 3].map((i) => trial.append(log).then(() => answered.push(i)));
    await reached;
    // Those that come while the sync is under way wait for the next one.
    appends.push(trial.append(log).then(() => answered.push(4)));
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(answered).toEqual([]);
    expect(log.size).toBe(1);
    release();
    await Promise.all(appends);
    expect(answered).toEqual([1, 2, 3, 4]);
    await log.close();
    await trial.expectWhole(storage);
  });

  it('writes entries that wait together with one write and one sync', async () => {
    const trial = new Trial();
    const storage = new FakeStorage();
    const log = await trial.open(storage);
    const before = storage.steps.length;
    await trial.appendMany(log, 500);
    expect(storage.steps.slice(before).map(({ kind }) => kind)).toEqual(['append', 'sync']);
    await log.close();
  });

  it('never touches a segment again whose sync failed, and writes its entries to another', async () => {
    const trial = new Trial();
    const storage = new FakeStorage();
    const log = await trial.open(storage);
    let failed: string | undefined;
    storage.fault = ({ kind, path }) => {
      if (kind !== 'sync' || failed !== undefined) return undefined;
      failed = path;
      return 'refuse';
    };
    await trial.elapse(trial.appendMany(log, 5));
    expect(trial.acknowledged.size).toBe(5);
    const at = storage.steps.findLastIndex(({ kind, path }) => kind === 'sync' && path === failed);
    expect(
      storage.steps
        .slice(at + 1)
        .filter(({ path }) => path === failed)
        .map(({ kind }) => kind),
    ).toEqual(['close']);
    const after = storage.afterCrash('promised');
    const reopened = await trial.open(after);
    await reopened.publish();
    await trial.expectWhole(after);
  });

  it('sends those who wait away when nothing gets better, refuses the next at once, and goes on when it does', async () => {
    const trial = new Trial();
    const storage = new FakeStorage();
    const log = await trial.open(storage);
    storage.fault = ({ path }) => (isSegment(path) ? 'refuse' : undefined);
    const started = trial.clock.now();
    await trial.elapse(trial.appendMany(log, 3));
    expect(trial.rejected).toEqual(['AUDIT_UNAVAILABLE', 'AUDIT_UNAVAILABLE', 'AUDIT_UNAVAILABLE']);
    expect(trial.clock.now() - started).toBeGreaterThanOrEqual(5000);
    expect(log.failure).toMatchObject({ reason: 'AUDIT_UNAVAILABLE' });
    await trial.append(log);
    expect(trial.rejected).toHaveLength(4);

    storage.fault = () => undefined;
    await trial.elapse(until(() => log.failure === undefined));
    await trial.append(log);
    expect(trial.acknowledged.size).toBe(1);
    await log.close();
    // The three that nobody was promised are in the log all the same: it tells of more than was released, never of less.
    expect(await trial.expectWhole(storage)).toHaveLength(6);
  });

  it('sends those who wait away when the storage does not answer at all', async () => {
    const trial = new Trial();
    const storage = new FakeStorage();
    const log = await trial.open(storage);
    const { release } = storage.holdSyncs();
    await trial.elapse(trial.append(log));
    expect(trial.rejected).toEqual(['AUDIT_UNAVAILABLE']);
    expect(log.failure?.message).toContain('does not answer');
    release();
    await trial.elapse(until(() => log.failure === undefined));
    await log.close();
    await trial.expectWhole(storage);
  });

  it('stops on a full disk and goes on by itself when there is room', async () => {
    const trial = new Trial();
    const storage = new FakeStorage();
    const log = await trial.open(storage);
    await trial.appendMany(log, 20);
    await log.publish();
    storage.capacity = [...storage.files().values()].reduce((sum, bytes) => sum + bytes.length, 0) + 2000;
    while (trial.rejected.length === 0) await trial.elapse(trial.append(log));
    expect(log.failure).toMatchObject({ reason: 'AUDIT_UNAVAILABLE' });
    expect(trial.acknowledged.size).toBeGreaterThan(20);
    storage.capacity = Number.POSITIVE_INFINITY;
    await trial.elapse(until(() => log.failure === undefined));
    await trial.appendMany(log, 5);
    await log.close();
    await trial.expectWhole(storage);
  });

  it('opens on a full disk, says so, and loses nothing of what it finds', async () => {
    const trial = new Trial();
    const storage = new FakeStorage();
    await trial.appendMany(await trial.open(storage), 5);
    const full = storage.afterCrash('promised');
    full.capacity = 0;
    const log = await trial.elapse(trial.open(full));
    expect(log.failure).toMatchObject({ reason: 'AUDIT_UNAVAILABLE' });
    full.capacity = Number.POSITIVE_INFINITY;
    await trial.elapse(until(() => log.failure === undefined));
    await trial.append(log);
    await log.close();
    await trial.expectWhole(full);
  });

  it('keeps the last of the disk for allowed operations', async () => {
    const trial = new Trial();
    const storage = new FakeStorage();
    storage.capacity = 100_000;
    const log = await trial.open(storage, { reservedBytes: 200_000 });
    const refusal = trial.draft({ decision: 'deny', reason: 'POLICY_DENIED' });
    await expect(log.appendRefusal(refusal)).rejects.toMatchObject({ reason: 'AUDIT_UNAVAILABLE' });
    await trial.append(log);
    expect(trial.acknowledged.size).toBe(1);
    storage.capacity = 1_000_000;
    await log.publish();
    expect(await log.appendRefusal(refusal)).toEqual({ leafIndex: 2 });
    await log.close();
  });

  it('lets appends wait, not pile up, when publishing does not keep pace, and refuses them when it fails for long', async () => {
    const trial = new Trial();
    const storage = new FakeStorage();
    const log = await trial.open(storage, { maxUnpublishedBytes: 2000 });
    storage.fault = ({ path }) => (path.startsWith('incoming/') ? 'refuse' : undefined);
    for (let i = 0; trial.rejected.length === 0 && i < 100; i++) await trial.elapse(trial.append(log));
    expect(trial.rejected).toEqual(['AUDIT_UNAVAILABLE']);
    expect(log.failure?.message).toContain('publishing fails');
    storage.fault = () => undefined;
    await trial.elapse(until(() => log.failure === undefined));
    await trial.elapse(trial.appendMany(log, 20));
    expect(trial.acknowledged.size).toBeGreaterThan(20);
    await trial.elapse(log.close());
    await trial.expectWhole(storage);
  });
});

describe('segments', () => {
  it('are removed only once every entry in them is published, whatever comes while publishing', async () => {
    const trial = new Trial();
    const storage = new FakeStorage();
    // Every batch begins a segment of its own.
    const log = await trial.open(storage, { segmentBytes: 1 });
    await trial.append(log);
    const publishing = log.publish();
    await trial.append(log);
    await trial.append(log);
    await trial.append(log);
    await publishing;
    expect(log.status).toMatchObject({ size: 5, treeSize: 2 });
    const crashed = storage.afterCrash('all');
    expect([...crashed.files().keys()].filter(isSegment)).toHaveLength(3);
    const again = await trial.open(crashed);
    await again.close();
    await trial.expectWhole(crashed);
  });
});

describe('without a key to sign with', () => {
  it('published entries survive a loss of power although their segments are gone', async () => {
    const trial = new Trial();
    const storage = new FakeStorage();
    const log = await trial.open(storage, { segmentBytes: 100 });
    log.setSigner(undefined);
    await trial.append(log);
    await trial.appendMany(log, 300);
    await trial.append(log);
    await log.publish();
    const crashed = storage.afterCrash('all');
    expect([...crashed.files().keys()].filter(isSegment)).toHaveLength(1);
    expect(crashed.files().has('checkpoint')).toBe(false);
    const again = await trial.open(crashed);
    expect(again.failure).toBeUndefined();
    await again.close();
    await trial.expectWhole(crashed);
  });
});

describe('what is found when the log is opened', () => {
  async function closedLog(trial: Trial, entries = 300): Promise<FakeStorage> {
    const storage = new FakeStorage();
    const log = await trial.open(storage);
    await trial.appendMany(log, entries);
    await log.close();
    return storage;
  }

  it.each([
    ['tree head', 'treehead'],
    ['last tile', 'tile/0/001.p/46'],
    ['last entry bundle', 'tile/entries/001.p/46'],
    ['upper tile', 'tile/1/000.p/1'],
  ])('a log without its %s is inconsistent, and takes nothing', async (_, path) => {
    const trial = new Trial();
    const storage = await closedLog(trial);
    const isRecoverable = path === 'treehead';
    storage.tamper(path, () => undefined);
    const log = await trial.open(storage);
    if (isRecoverable) {
      // The checkpoint says the same, signed.
      expect(log.failure).toBeUndefined();
      await log.close();
      return;
    }
    expect(log.failure).toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
    await expect(log.append(trial.draft())).rejects.toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
    await expect(log.appendRefusal(trial.draft())).rejects.toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
    await expect(log.publish()).rejects.toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
    expect(log.status.failure).toContain('inconsistent');
    const files = new Map(storage.files());
    await log.close();
    expect(storage.files()).toEqual(files);
  });

  it('a log shorter than its last signed checkpoint is inconsistent', async () => {
    const trial = new Trial();
    const storage = await closedLog(trial);
    const checkpoint = Buffer.from(storage.files().get('checkpoint')!);
    const short = new FakeStorage();
    const log = await trial.open(short);
    await log.append(trial.draft());
    await log.close();
    short.tamper('checkpoint', () => checkpoint);
    const reopened = await trial.open(short);
    expect(reopened.failure).toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
    expect(reopened.failure?.message).toContain('the log has 3 entries, its last checkpoint 302');
  });

  it('a log that is longer than its checkpoint and of another history is inconsistent', async () => {
    const trial = new Trial();
    const signed = await closedLog(trial, 3);
    const checkpoint = Buffer.from(signed.files().get('checkpoint')!);
    // The same calls made another history: the salts alone see to that.
    const forked = await closedLog(new Trial(), 300);
    forked.tamper('checkpoint', () => checkpoint);
    expect((await trial.open(forked)).failure?.message).toContain(
      'does not begin with what its last checkpoint signed',
    );
  });

  it.each([
    ['checkpoint with another root', 'checkpoint', /^[A-Za-z0-9+/]{43}=$/m, `${'A'.repeat(43)}=`],
    ['checkpoint of another log', 'checkpoint', /^log\.example\.org\/fault$/m, 'log.example.org/other'],
    ['tree head of another tree', 'treehead', /^[A-Za-z0-9+/]{43}=$/m, `${'A'.repeat(43)}=`],
  ])('a %s is inconsistent', async (_, path, found, put) => {
    const trial = new Trial();
    const storage = await closedLog(trial, 3);
    storage.tamper(path, (bytes) => Buffer.from(bytes.toString().replace(found, put)));
    expect((await trial.open(storage)).failure).toMatchObject({ reason: 'AUDIT_INCONSISTENT' });
  });

  it('a changed entry of the last bundle is inconsistent', async () => {
    const trial = new Trial();
    const storage = await closedLog(trial, 3);
    storage.tamper('tile/entries/000.p/5', (bytes) =>
      Buffer.from(bytes.toString('latin1').replace('mark-1', 'mark-9'), 'latin1'),
    );
    expect((await trial.open(storage)).failure?.message).toContain('is not the one that was logged');
  });

  it.each([1, 24, 60, 200])(
    'cuts a torn batch of %d bytes, which nobody was promised, and says so',
    async (length) => {
      const trial = new Trial();
      const storage = new FakeStorage();
      await trial.appendMany(await trial.open(storage), 5);
      const crashed = storage.afterCrash('promised');
      const [path] = [...crashed.files().keys()].filter(isSegment);
      const batch = encodeBatch(6, 1, [Buffer.alloc(300, 1)]).subarray(0, length);
      crashed.tamper(path!, (bytes) => Buffer.concat([bytes, batch]));
      const log = await trial.open(crashed);
      expect(log.failure).toBeUndefined();
      await trial.append(log);
      await log.close();
      const entries = await trial.expectWhole(crashed);
      expect(entries[6]).toMatchObject({
        operation: 'log.open',
        detail: { previous: 'crashed', tornBytes: length, recoveredEntries: 6, refusalCountsLost: true },
      });
    },
  );

  it('finds what a restart was writing again when the power went, however much of that reached the disk', async () => {
    for (const survival of ['torn', 'scattered'] as const) {
      const trial = new Trial();
      const first = new FakeStorage();
      const log = await trial.open(first);
      for (let batch = 0; batch < 4; batch++) await trial.appendMany(log, 2);
      const second = first.afterCrash('promised');
      second.fault = ({ kind }) => (kind === 'sync' ? 'crash-before' : undefined);
      await Promise.race([trial.open(second), second.crashed]);
      const third = second.afterCrash(survival);
      const again = await trial.open(third);
      expect(again.failure).toBeUndefined();
      await trial.append(again);
      await again.close();
      await trial.expectWhole(third);
    }
  });

  it('damage before an acknowledged batch is inconsistent, not a torn tail', async () => {
    const trial = new Trial();
    const storage = new FakeStorage();
    const first = await trial.open(storage);
    await trial.append(first);
    await trial.append(first);
    const crashed = storage.afterCrash('promised');
    const [path] = [...crashed.files().keys()].filter(isSegment);
    crashed.tamper(path!, (bytes) => bytes.fill(0x20, 100, 101));
    expect((await trial.open(crashed)).failure?.message).toContain('damaged');
  });

  it('a missing segment is inconsistent when a later one is there', async () => {
    const trial = new Trial();
    const storage = new FakeStorage();
    const log = await trial.open(storage, { segmentBytes: 100 });
    await trial.append(log);
    await trial.append(log);
    const crashed = storage.afterCrash('promised');
    const segments = [...crashed.files().keys()].filter(isSegment).sort();
    expect(segments.length).toBeGreaterThan(1);
    crashed.tamper(segments[0]!, () => undefined);
    expect((await trial.open(crashed)).failure?.message).toContain('are missing');
  });

  it('tiles beyond the tree head, left by a publication that was cut off, are written again', async () => {
    const trial = new Trial();
    const storage = new FakeStorage();
    const log = await trial.open(storage);
    await trial.appendMany(log, 300);
    storage.fault = ({ kind, path }) =>
      kind === 'rename' && path === 'treehead' ? 'crash-before' : undefined;
    await Promise.race([log.publish(), storage.crashed]);
    const crashed = storage.afterCrash('all');
    expect(crashed.files().has('tile/0/000')).toBe(true);
    expect(crashed.files().has('treehead')).toBe(false);
    const again = await trial.open(crashed);
    await again.close();
    await trial.expectWhole(crashed);
  });
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}
