import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/fakes/fake-clock.ts';
import { FakeStorage } from '../../test/fakes/fake-storage.ts';
import type { EntryDraft } from './entry.ts';
import type { AuditLimits } from './options.ts';
import { openAuditLog, type Sequencer } from './sequencer.ts';

const MALLORY = 'spiffe://example.org/mallory';
const refusal = (more: Partial<EntryDraft> = {}): EntryDraft => ({
  kind: 'key-use',
  subject: MALLORY,
  operation: 'sign',
  key: 'payments/jwt',
  decision: 'deny',
  reason: 'POLICY_DENIED',
  ...more,
});

let storage: FakeStorage;
let clock: FakeClock;
let log: Sequencer;

async function open(limits: Partial<AuditLimits> = {}): Promise<void> {
  log = await openAuditLog({ storage, clock, origin: 'log.example', indexPath: ':memory:', limits });
}

beforeEach(() => {
  storage = new FakeStorage();
  clock = new FakeClock();
});

afterEach(async () => {
  await log.close();
});

/** The window closes, and its counts are on disk. */
async function closeWindow(): Promise<void> {
  clock.advance(60_000);
  await log.append({ kind: 'log', subject: 'lastmile', operation: 'test', decision: 'allow' });
}

const counts = async () => (await log.query({ kind: 'refusals', limit: 1000 })).map(({ entry }) => entry);

describe('refusals', () => {
  it('logs the first of a kind before it is answered, counts repeats, and logs the count when the window closes', async () => {
    await open();
    expect(await log.appendRefusal(refusal())).toEqual({ leafIndex: 1 });
    clock.advance(1000);
    for (let i = 0; i < 1000; i++) expect(await log.appendRefusal(refusal())).toBeUndefined();
    expect(log.size).toBe(2);
    expect(log.status.refusalsCounted).toBe(1000);
    await closeWindow();
    expect(await counts()).toMatchObject([
      {
        subject: MALLORY,
        operation: 'sign',
        key: 'payments/jwt',
        reason: 'POLICY_DENIED',
        decision: 'deny',
        detail: { count: 1000, first: 1, from: '2026-03-01T12:00:00.000Z', to: '2026-03-01T12:00:01.000Z' },
      },
    ]);
    expect(await log.appendRefusal(refusal())).toEqual({ leafIndex: log.size - 1 });
  });

  it('each subject, key, operation and reason is a kind of its own', async () => {
    await open();
    const kinds = [
      refusal(),
      refusal({ key: 'other' }),
      refusal({ operation: 'mac' }),
      refusal({ reason: 'RATE_LIMITED' }),
      refusal({ subject: 'spiffe://example.org/b' }),
    ];
    for (const kind of kinds) expect(await log.appendRefusal(kind)).toBeDefined();
  });

  it('a repeat that comes while the first is being written is not answered before it', async () => {
    await open();
    const { reached, release } = storage.holdSyncs();
    const answered: string[] = [];
    const both = Promise.all([
      log.appendRefusal(refusal()).then(() => answered.push('first')),
      log.appendRefusal(refusal()).then(() => answered.push('repeat')),
    ]);
    await reached;
    expect(answered).toEqual([]);
    release();
    await both;
    expect(answered.sort()).toEqual(['first', 'repeat']);
  });

  it('a flood of ever new key names costs its author bounded log bytes, and others nothing', async () => {
    await open({ quotaBytesPerHour: 20_000, kindsPerSubject: 1_000_000 });
    for (let i = 0; i < 2000; i++) await log.appendRefusal(refusal({ key: `guess-${i}` }));
    expect(log.isOverQuota(MALLORY)).toBe(true);
    expect(log.isOverQuota('spiffe://example.org/alice')).toBe(false);
    const logged = log.size - 1;
    expect(logged).toBeLessThan(100);
    expect(await log.appendRefusal(refusal({ subject: 'spiffe://example.org/alice' }))).toBeDefined();
    await closeWindow();
    const [{ operation, detail } = {}] = await counts();
    expect([operation, detail?.count]).toEqual(['*', 2000 - logged]);
    clock.advance(3_600_000);
    expect(log.isOverQuota(MALLORY)).toBe(false);
    expect(await log.appendRefusal(refusal({ key: 'later' }))).toBeDefined();
  });

  it('beyond its number of kinds a subject has one more, for all the rest', async () => {
    await open({ kindsPerSubject: 10 });
    for (let i = 0; i < 50; i++) await log.appendRefusal(refusal({ key: `guess-${i}` }));
    // Ten kinds, and the first of the rest.
    expect(log.size).toBe(1 + 11);
    await closeWindow();
    expect((await counts()).map(({ operation, detail }) => [operation, detail?.count])).toEqual([['*', 39]]);
  });

  it('counts for a bounded number of subjects, and takes new ones when windows have closed', async () => {
    await open({ maxSubjects: 2 });
    for (const name of ['a', 'b']) await log.appendRefusal(refusal({ subject: name }));
    await expect(log.appendRefusal(refusal({ subject: 'c' }))).rejects.toMatchObject({
      reason: 'AUDIT_UNAVAILABLE',
    });
    clock.advance(60_000);
    clock.advance(3_600_000);
    expect(await log.appendRefusal(refusal({ subject: 'c' }))).toBeDefined();
  });

  it('a first that could not be logged is not answered as logged, nor does it make the next a repeat', async () => {
    await open({ giveUpMs: 20 });
    storage.fault = ({ path }) => (path.startsWith('segments/') ? 'refuse' : undefined);
    const first = expect(log.appendRefusal(refusal())).rejects.toMatchObject({ reason: 'AUDIT_UNAVAILABLE' });
    for (let i = 0; i < 30; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(1);
    }
    await first;
    storage.fault = () => undefined;
    while (log.failure !== undefined) {
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(1);
    }
    expect(await log.appendRefusal(refusal())).toBeDefined();
  });

  it('open counts become entries at close; a crash loses them and the next start says so', async () => {
    await open();
    for (let i = 0; i < 5; i++) await log.appendRefusal(refusal());
    await log.close();
    await open();
    expect((await counts())[0]?.detail?.count).toBe(4);
    for (let i = 0; i < 5; i++) await log.appendRefusal(refusal());
    storage = storage.afterCrash('promised');
    await open();
    const [newest] = await log.query({ kind: 'log' });
    expect(newest?.entry.detail).toMatchObject({ previous: 'crashed', refusalCountsLost: true });
  });
});
