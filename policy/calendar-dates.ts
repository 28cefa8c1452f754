/**
 * Dates as windows and calendars name them: `2026-12-24`, `2026-12-24..2027-01-06` (both ends included), and
 * `12-25`, every year. A day is a number: whole days since 1970-01-01 in the proleptic Gregorian calendar, without a
 * time zone; a window says in which zone its days are.
 */
const DAY_MS = 86_400_000;
const DATE = /^(\d{4})-(\d{2})-(\d{2})$/;
const EVERY_YEAR = /^(\d{2})-(\d{2})$/;

/** Plain data: it crosses threads. */
export interface CalendarDates {
  readonly from: number;
  readonly to: number;
  /** 101 to 1231: month and day of every year; then `from` and `to` mean nothing. */
  readonly monthDay: number | undefined;
}

export class CalendarDatesError extends Error {
  override readonly name = 'CalendarDatesError';
}

/** @throws CalendarDatesError that says what is wrong, quoting nothing */
export function parseCalendarDates(text: string): CalendarDates {
  const yearly = EVERY_YEAR.exec(text);
  if (yearly !== null) {
    // 29 February exists in some years.
    if (dayOf(`2028-${text}`) === undefined) throw new CalendarDatesError('is not a day of any year');
    return { from: 0, to: 0, monthDay: Number(yearly[1]) * 100 + Number(yearly[2]) };
  }
  const [first = '', last = first, ...rest] = text.split('..');
  const from = dayOf(first);
  const to = dayOf(last);
  if (from === undefined || to === undefined || rest.length > 0) {
    throw new CalendarDatesError(
      'is not a date: write 2026-12-24, 2026-12-24..2027-01-06, or 12-25 for every year',
    );
  }
  if (to < from) throw new CalendarDatesError('ends before it begins');
  return { from, to, monthDay: undefined };
}

function dayOf(text: string): number | undefined {
  const [, year, month, day] = (DATE.exec(text) ?? []).map(Number);
  if (year === undefined || month === undefined || day === undefined) return undefined;
  const ms = Date.UTC(year, month - 1, day);
  // 31 April would become 1 May.
  if (year < 1970 || !new Date(ms).toISOString().startsWith(text)) return undefined;
  return ms / DAY_MS;
}

export function includesDay(dates: readonly CalendarDates[], day: number): boolean {
  let monthDay: number | undefined;
  for (const one of dates) {
    if (one.monthDay === undefined) {
      if (one.from <= day && day <= one.to) return true;
    } else {
      monthDay ??= monthDayOf(day);
      if (one.monthDay === monthDay) return true;
    }
  }
  return false;
}

function monthDayOf(day: number): number {
  const date = new Date(day * DAY_MS);
  return (date.getUTCMonth() + 1) * 100 + date.getUTCDate();
}
