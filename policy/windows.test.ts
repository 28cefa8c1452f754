import { describe, expect, it } from 'vitest';
import { parseCalendarDates } from './calendar-dates.ts';
import {
  isOpenAtInstant,
  isPossiblyOpen,
  isSurelyOpen,
  isTimeZone,
  opensWithin,
  parseDays,
  parseTimeOfDay,
  type Schedule,
  type Window,
} from './windows.ts';

interface Written {
  readonly days?: string;
  readonly from?: string;
  readonly to?: string;
  readonly zone?: string;
  readonly dates?: readonly string[];
  readonly except?: readonly string[];
}

function windowOf(written: Written): Window {
  const { days = 'mon-sun', from = '00:00', to = '24:00', zone = 'UTC' } = written;
  return {
    text: `${days} ${from}-${to} ${zone}`,
    days: parseDays(days)!,
    from: parseTimeOfDay(from)!,
    to: parseTimeOfDay(to)!,
    zone,
    dates: written.dates?.map(parseCalendarDates),
    except: (written.except ?? []).map(parseCalendarDates),
  };
}
const schedule = (...windows: Written[]): Schedule => ({
  windows: windows.map(windowOf),
  notBefore: undefined,
  notAfter: undefined,
});
const at = (text: string): number => Date.parse(text);
const isOpen = (written: Written, instant: string): boolean =>
  isOpenAtInstant(schedule(written), at(instant));

/** Minutes within these hours at which it is open. */
function openMinutes(written: Written, from: string, hours: number): number {
  const planned = schedule(written);
  let open = 0;
  for (let minute = 0; minute < hours * 60; minute++) {
    if (isOpenAtInstant(planned, at(from) + minute * 60_000)) open++;
  }
  return open;
}

describe('a window', () => {
  const office = { days: 'mon-fri', from: '08:00', to: '18:00', zone: 'Europe/Berlin' };
  it.each([
    ['its first minute', '2026-11-23T07:00:00Z', true],
    ['the millisecond before', '2026-11-23T06:59:59.999Z', false],
    ['its last millisecond', '2026-11-23T16:59:59.999Z', true],
    ['its end', '2026-11-23T17:00:00Z', false],
    ['summer, when the same hour is another instant', '2026-07-20T06:00:00Z', true],
    ['Saturday', '2026-11-21T12:00:00Z', false],
    ['Monday there while it is Sunday in UTC', '2026-11-22T23:30:00Z', false],
  ])('%s', (_, instant, expected) => {
    expect(isOpen(office, instant)).toBe(expected);
  });

  it('follows the day of its own zone', () => {
    expect(isOpen({ days: 'mon', zone: 'Asia/Kolkata' }, '2026-11-22T18:30:00Z')).toBe(true);
    expect(isOpen({ days: 'mon', zone: 'Asia/Kolkata' }, '2026-11-22T18:29:59Z')).toBe(false);
    expect(isOpen({ days: 'sun', zone: 'America/New_York' }, '2026-11-23T04:59:59Z')).toBe(true);
  });
});

describe('over midnight', () => {
  const night = { days: 'fri', from: '22:00', to: '06:00' };
  it.each([
    ['2026-11-20T22:00:00Z', true],
    ['2026-11-21T05:59:59Z', true],
    ['2026-11-21T06:00:00Z', false],
    ['2026-11-20T05:00:00Z', false],
    ['2026-11-21T22:00:00Z', false],
  ])('%s', (instant, expected) => {
    expect(isOpen(night, instant)).toBe(expected);
  });

  it('is closed by an exception on either of its days', () => {
    expect(isOpen({ ...night, except: ['2026-11-20'] }, '2026-11-21T01:00:00Z')).toBe(false);
    expect(isOpen({ ...night, except: ['2026-11-21'] }, '2026-11-21T01:00:00Z')).toBe(false);
    expect(isOpen({ ...night, except: ['2026-11-21'] }, '2026-11-20T23:00:00Z')).toBe(true);
  });

  it('belongs to the date on which it begins', () => {
    const once = { from: '22:00', to: '06:00', dates: ['2026-11-20'] };
    expect(isOpen(once, '2026-11-21T01:00:00Z')).toBe(true);
    expect(isOpen(once, '2026-11-20T01:00:00Z')).toBe(false);
  });
});

describe('daylight saving', () => {
  // [zone, the day on which an hour is skipped, the day on which it is shown twice, minutes of the change,
  //  the hour that is skipped, the hour that is shown twice]; six o'clock UTC of the day before is the start of the count.
  it.each([
    ['Europe/Berlin', '2026-03-28', '2026-10-24', 60, ['02:00', '03:00'], ['02:00', '03:00']],
    ['America/New_York', '2026-03-07', '2026-10-31', 60, ['02:00', '03:00'], ['01:00', '02:00']],
    ['Australia/Lord_Howe', '2026-10-03', '2026-04-04', 30, ['02:00', '02:30'], ['01:30', '02:00']],
  ] as const)(
    'in %s: skipped is never open, doubled is open twice',
    (zone, spring, autumn, change, lost, twice) => {
      const [skippedDay, doubledDay] = [spring, autumn].map((day) => `${day}T06:00:00Z`) as [string, string];
      const dateAfter = (text: string): string => new Date(at(text) + 86_400_000).toISOString().slice(0, 10);
      const on = (text: string) => ({ zone, dates: [dateAfter(text)] });
      const minutes = ([from, to]: readonly [string, string]) => parseTimeOfDay(to)! - parseTimeOfDay(from)!;
      // In the zone the change comes within two days of that.
      expect(openMinutes({ ...on(skippedDay), from: lost[0], to: lost[1] }, skippedDay, 48)).toBe(0);
      expect(openMinutes({ ...on(skippedDay), from: '00:00', to: '06:00' }, skippedDay, 48)).toBe(
        360 - change,
      );
      expect(openMinutes({ ...on(doubledDay), from: twice[0], to: twice[1] }, doubledDay, 48)).toBe(
        2 * minutes(twice),
      );
      expect(openMinutes({ ...on(doubledDay), from: '00:00', to: '06:00' }, doubledDay, 48)).toBe(
        360 + change,
      );
      // Over midnight, with the change in the second half.
      const night = { zone, days: 'sat', from: '22:00', to: '06:00' };
      expect(openMinutes(night, skippedDay, 48)).toBe(480 - change);
      expect(openMinutes(night, doubledDay, 48)).toBe(480 + change);
    },
  );

  it('does not exist in Asia/Kolkata, half an hour off', () => {
    const day = { zone: 'Asia/Kolkata', from: '02:00', to: '03:00' };
    expect(openMinutes(day, '2026-03-28T12:00:00Z', 48)).toBe(120);
    expect(isOpen(day, '2026-03-28T20:30:00Z')).toBe(true);
    expect(isOpen(day, '2026-03-28T21:30:00Z')).toBe(false);
  });

  it('is the same whichever instant is asked for first', () => {
    const berlin = { zone: 'Europe/Berlin', from: '08:00', to: '09:00' };
    const asked = [
      '2026-03-29T00:59:59Z',
      '2026-03-29T01:00:00Z',
      '2026-07-01T06:30:00Z',
      '2026-10-25T01:00:00Z',
    ];
    asked.push('2026-01-01T07:30:00Z', '2026-10-25T00:59:59Z', '2026-03-29T06:30:00Z');
    const wall = new Intl.DateTimeFormat('en-GB', {
      timeZone: 'Europe/Berlin',
      hour: '2-digit',
      hour12: false,
    });
    for (const instant of [...asked, ...asked.toReversed(), ...asked]) {
      expect(isOpen(berlin, instant)).toBe(wall.format(at(instant)) === '08');
    }
  });
});

describe('dates', () => {
  it('are single, ranges with both ends, and days of every year', () => {
    const window = { dates: ['2026-12-24', '2027-01-02..2027-01-06', '02-29'] };
    expect(isOpen(window, '2026-12-24T23:59:59Z')).toBe(true);
    expect(isOpen(window, '2026-12-25T00:00:00Z')).toBe(false);
    expect(isOpen(window, '2027-01-06T12:00:00Z')).toBe(true);
    expect(isOpen(window, '2027-01-07T00:00:00Z')).toBe(false);
    expect(isOpen(window, '2028-02-29T00:00:00Z')).toBe(true);
  });

  it.each([
    '2026-02-29',
    '2026-13-01',
    '02-30',
    '2026-1-1',
    '',
    '2026-12-24..2026-12-23',
    '1969-01-01',
    'a..b',
  ])('refuses %s', (text) => {
    expect(() => parseCalendarDates(text)).toThrow(/is not a|ends before/);
  });

  it('tell whether a window opens at all', () => {
    const day = at('2026-11-21T00:00:00Z') / 86_400_000;
    expect(opensWithin(windowOf({ days: 'mon', dates: ['2026-12-24'] }), day, Infinity, 1500)).toBe(false);
    expect(opensWithin(windowOf({ days: 'thu', dates: ['2026-12-24'] }), day, Infinity, 1500)).toBe(true);
    expect(opensWithin(windowOf({ dates: ['2026-11-20'] }), day, Infinity, 1500)).toBe(false);
    expect(opensWithin(windowOf({ dates: ['2026-12-24'], except: ['12-24'] }), day, Infinity, 1500)).toBe(
      false,
    );
    expect(opensWithin(windowOf({ dates: ['2036-12-24'] }), day, Infinity, 1500)).toBe(true);
  });
});

describe('a clock in doubt', () => {
  const window = schedule({ from: '08:00', to: '18:00' });
  const edge = at('2026-11-23T08:00:00Z');
  const noon = at('2026-11-23T12:00:00Z');

  it('opens only what is open at every instant that it may be', () => {
    expect(isSurelyOpen(window, edge, 0, 1000)).toBe(true);
    expect(isSurelyOpen(window, edge, 1, 1000)).toBe(false);
    expect(isSurelyOpen(window, edge + 500, 500, 1000)).toBe(true);
    expect(isSurelyOpen(window, edge + 500, 501, 1000)).toBe(false);
    expect(isSurelyOpen(window, noon, 1000, 1000)).toBe(true);
    expect(isSurelyOpen(window, noon, 1001, 1000)).toBe(false);
    for (const doubt of [Number.POSITIVE_INFINITY, Number.NaN, -1]) {
      expect(isSurelyOpen(window, noon, doubt, 1000)).toBe(false);
      expect(isPossiblyOpen(window, edge - 7_200_000, doubt, 1000)).toBe(true);
    }
    expect(isSurelyOpen(window, Number.NaN, 0, 1000)).toBe(false);
  });

  it('sees a gap in the middle', () => {
    const gap = schedule({ from: '08:00', to: '12:00' }, { from: '12:01', to: '18:00' });
    expect(isSurelyOpen(gap, noon + 30_000, 60_000, 120_000)).toBe(false);
    const joined = schedule({ from: '08:00', to: '12:00' }, { from: '12:00', to: '18:00' });
    expect(isSurelyOpen(joined, noon, 60_000, 120_000)).toBe(true);
  });

  it('closes for a deny rule what may be open at any of them', () => {
    expect(isPossiblyOpen(window, edge - 1, 0, 1000)).toBe(false);
    expect(isPossiblyOpen(window, edge - 1, 1, 1000)).toBe(true);
    const minute = schedule({ from: '12:00', to: '12:01' });
    expect(isPossiblyOpen(minute, noon + 30_000, 60_000, 120_000)).toBe(true);
  });

  it('keeps not-before and not-after to the millisecond', () => {
    const bounded: Schedule = { windows: [], notBefore: edge + 5, notAfter: edge + 10 };
    expect([4, 5, 9, 10].map((ms) => isSurelyOpen(bounded, edge + ms, 0, 1000))).toEqual([
      false,
      true,
      true,
      false,
    ]);
    expect(isSurelyOpen(bounded, edge + 7, 2, 1000)).toBe(true);
    expect(isSurelyOpen(bounded, edge + 7, 3, 1000)).toBe(false);
    expect(isPossiblyOpen(bounded, edge + 1, 3, 1000)).toBe(false);
    expect(isPossiblyOpen(bounded, edge + 1, 4, 1000)).toBe(true);
    expect(isSurelyOpen({ windows: [], notBefore: undefined, notAfter: undefined }, edge, 1e9, 1000)).toBe(
      true,
    );
  });
});

it('reads days, times and zones, and refuses others', () => {
  expect(parseDays('mon-fri')).toBe(0b0011111);
  expect(parseDays('sat, sun')).toBe(0b1100000);
  expect(parseDays('sat-mon')).toBe(0b1100001);
  for (const text of ['', 'Mon', 'mon-', 'mon-fri-sat', 'weekdays', 'mon,,fri'])
    expect(parseDays(text)).toBeUndefined();
  expect(parseTimeOfDay('24:00')).toBe(1440);
  for (const text of ['24:01', '8:00', '08:60', '0800', '']) expect(parseTimeOfDay(text)).toBeUndefined();
  for (const zone of ['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires', 'Etc/GMT+5']) {
    expect(isTimeZone(zone)).toBe(true);
  }
  for (const zone of ['', '+01:00', 'Berlin', 'Europe/Berlin\n', 'CET/..', '../etc'])
    expect(isTimeZone(zone)).toBe(false);
});
