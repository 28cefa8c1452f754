import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AuditLogFixture, draftOf } from '../../test/fakes/audit-log-fixture.ts';

let fixture: AuditLogFixture;
beforeEach(() => {
  fixture = new AuditLogFixture();
});
afterEach(() => fixture.close());

describe('queries', () => {
  it('find what they ask for, newest first, published or not, page by page', async () => {
    const log = await fixture.open();
    for (let i = 0; i < 10; i++) {
      await Promise.all(
        Array.from({ length: 60 }, (_, j) =>
          log.append(
            draftOf(`w${j % 2}`, { key: i === 4 ? 'rare' : 'common', decision: j === 7 ? 'deny' : 'allow' }),
          ),
        ),
      );
      fixture.clock.advance(100);
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
    const log = await fixture.open();
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
    const log = await fixture.open();
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
    const log = await fixture.open();
    await Promise.all(Array.from({ length: 600 }, () => log.append(draftOf('a'))));
    await log.publish();
    const gone = new Error('gone');
    await expect(log.queryPage({ isVisible: () => false }, AbortSignal.abort(gone))).rejects.toBe(gone);
  });
});
