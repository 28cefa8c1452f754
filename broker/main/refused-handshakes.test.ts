import { beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/fakes/fake-clock.ts';
import { FakeLog } from '../../test/fakes/fake-log.ts';
import { AuditError } from '../audit/entry.ts';
import { RefusedHandshakes } from './refused-handshakes.ts';

const WINDOW_MS = 60_000;

let log: FakeLog;
let clock: FakeClock;
let failures: unknown[];
let refused: RefusedHandshakes;

beforeEach(() => {
  log = new FakeLog();
  clock = new FakeClock();
  failures = [];
  refused = new RefusedHandshakes({
    audit: log,
    clock,
    windowMs: WINDOW_MS,
    onFailure: (error) => failures.push(error),
  });
});

/** The window closes and its entry is in the log. */
async function windowCloses(): Promise<void> {
  clock.advance(WINDOW_MS);
  await new Promise(setImmediate);
}

describe('connections refused before anybody is authenticated', () => {
  it('become one entry a window, however many they are, with a count for each reason', async () => {
    for (let i = 0; i < 1_000; i++) refused.count('no-certificate', 10);
    clock.advance(1_000);
    refused.count('expired', 3);
    expect(log.entries).toEqual([]);
    await windowCloses();
    expect(log.entries).toEqual([
      {
        kind: 'refusals',
        subject: 'lastmile',
        operation: 'gateway.handshake',
        decision: 'deny',
        detail: {
          count: 10_003,
          from: '2026-03-01T12:00:00.000Z',
          to: '2026-03-01T12:00:01.000Z',
          reasons: { 'no-certificate': 10_000, expired: 3 },
        },
      },
    ]);
  });

  it('begin again at nothing in the next window, and leave no entry without any', async () => {
    refused.count('untrusted', 1);
    await windowCloses();
    await windowCloses();
    expect(log.entries).toHaveLength(1);
    refused.count('untrusted', 2);
    await windowCloses();
    expect(log.entries.map(({ detail }) => detail!.count)).toEqual([1, 2]);
    expect(refused.sinceStart.get('untrusted')).toBe(3);
  });

  it('are not forgotten while the log cannot be written', async () => {
    log.rejection = () => new AuditError('AUDIT_UNAVAILABLE', 'no');
    refused.count('not-tls', 4);
    await windowCloses();
    expect(failures).toHaveLength(1);
    log.rejection = () => undefined;
    refused.count('not-tls', 1);
    await windowCloses();
    expect(log.entries).toMatchObject([
      { detail: { count: 5, from: '2026-03-01T12:00:00.000Z', reasons: { 'not-tls': 5 } } },
    ]);
  });

  it('are written at an orderly end', async () => {
    refused.count('other', 1);
    await refused.close();
    expect(log.entries).toHaveLength(1);
    await windowCloses();
    expect(log.entries).toHaveLength(1);
  });
});
