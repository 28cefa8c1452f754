/// <reference lib="esnext.temporal" />
/**
 * When a rule is open. A window is open at an instant when the wall clock of its zone then shows a time inside it.
 * That says what happens at a change of daylight saving time, in both directions:
 *
 *   - an hour that is skipped is never shown, so nothing is open in it: `02:00` to `03:00` is not open at all on that
 *     day, and `01:00` to `04:00` is open for two hours
 *   - an hour that is shown twice is open both times: `02:00` to `03:00` is open for two hours on that day
 *
 * `from` belongs to a window, `to` does not. A window whose `to` is not after its `from` ends on the day after, and
 * `days` and `dates` speak of the day on which it begins. Exceptions close it on the day on which it began and on the
 * day that the clock shows: a change freeze is not entered from the evening before.
 */
import { type CalendarDates, includesDay } from './calendar-dates.ts';

/** Plain data: it crosses threads. */
export interface Window {
  /** As people say it: `mon-fri 08:00-18:00 Europe/Berlin`. */
  readonly text: string;
  /** Bit 0 is Monday. */
  readonly days: number;
  /** Minutes since midnight, 0 to 1439. */
  readonly from: number;
  /** Minutes since midnight, 1 to 1440. */
  readonly to: number;
  /** IANA name. */
  readonly zone: string;
  /** Undefined: every date. */
  readonly dates: readonly CalendarDates[] | undefined;
  readonly except: readonly CalendarDates[];
}

/** When a rule is open: any of its windows (none: always), from `notBefore` on and until before `notAfter`. */
export interface Schedule {
  readonly windows: readonly Window[];
  /** Milliseconds of the Unix epoch. */
  readonly notBefore: number | undefined;
  readonly notAfter: number | undefined;
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const DAY_MINUTES = 1440;
const DAY_NAMES = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;

/** A clock that may be wrong by more than this is no clock to keep windows by, whatever a policy says. */
export const MAX_CLOCK_DOUBT_MS = 5 * MINUTE_MS;

export function isAlwaysOpen(schedule: Schedule): boolean {
  return schedule.windows.length === 0 && schedule.notBefore === undefined && schedule.notAfter === undefined;
}

/**
 * Whether the schedule is open at every instant that `now` may be. Beyond `maxDoubtMs` nobody knows, and it is closed.
 */
export function isSurelyOpen(schedule: Schedule, now: number, doubtMs: number, maxDoubtMs: number): boolean {
  if (!isUsableClock(now, doubtMs, maxDoubtMs)) return isAlwaysOpen(schedule);
  for (const instant of instantsOf(now, doubtMs)) if (!isOpenAtInstant(schedule, instant)) return false;
  return true;
}

/** Whether it is open at any instant that `now` may be: for deny rules. Beyond `maxDoubtMs` it is. */
export function isPossiblyOpen(
  schedule: Schedule,
  now: number,
  doubtMs: number,
  maxDoubtMs: number,
): boolean {
  if (!isUsableClock(now, doubtMs, maxDoubtMs)) return true;
  for (const instant of instantsOf(now, doubtMs)) if (isOpenAtInstant(schedule, instant)) return true;
  return false;
}

export function isUsableClock(now: number, doubtMs: number, maxDoubtMs: number): boolean {
  // Written so that NaN is refused.
  return (
    Math.abs(now) < 8.64e15 - DAY_MS && doubtMs >= 0 && doubtMs <= Math.min(maxDoubtMs, MAX_CLOCK_DOUBT_MS)
  );
}

/**
 * One instant of every piece of `[now - doubt, now + doubt]` in which nothing can change. Windows begin and end, and
 * zones change their offset, on whole minutes; not-before and not-after may stand at any millisecond, but are
 * thresholds, so that the two ends say all of them.
 */
function* instantsOf(now: number, doubtMs: number): Generator<number> {
  const first = Math.floor(now - doubtMs);
  const last = Math.floor(now + doubtMs);
  yield first;
  for (let minute = (Math.floor(first / MINUTE_MS) + 1) * MINUTE_MS; minute <= last; minute += MINUTE_MS) {
    yield minute;
  }
  if (last !== first) yield last;
}

export function isOpenAtInstant(schedule: Schedule, instant: number): boolean {
  const { windows, notBefore, notAfter } = schedule;
  if (notBefore !== undefined && instant < notBefore) return false;
  if (notAfter !== undefined && instant >= notAfter) return false;
  return windows.length === 0 || windows.some((window) => isWindowOpen(window, instant));
}

function isWindowOpen(window: Window, instant: number): boolean {
  const wall = instant + offsetMs(window.zone, instant);
  const day = Math.floor(wall / DAY_MS);
  const minute = Math.floor((wall - day * DAY_MS) / MINUTE_MS);
  if (window.from < window.to) {
    return (
      window.from <= minute && minute < window.to && beginsOn(window, day) && !includesDay(window.except, day)
    );
  }
  if (includesDay(window.except, day)) return false;
  if (minute >= window.from) return beginsOn(window, day);
  return minute < window.to && beginsOn(window, day - 1) && !includesDay(window.except, day - 1);
}

function beginsOn(window: Window, day: number): boolean {
  return (
    (window.days & (1 << weekday(day))) !== 0 &&
    (window.dates === undefined || includesDay(window.dates, day))
  );
}

/** 0 is Monday. 1970-01-01 was a Thursday. */
function weekday(day: number): number {
  return (((day + 3) % 7) + 7) % 7;
}

/**
 * Whether it opens on any day from `fromDay` on and before `toDay`; at most `days` of them are looked at, but whatever
 * its dates are. Days that a change of daylight saving skips are not told apart.
 */
export function opensWithin(window: Window, fromDay: number, toDay: number, days: number): boolean {
  const dated = window.dates?.filter(({ monthDay }) => monthDay === undefined) ?? [];
  const isDatedOnly = window.dates !== undefined && dated.length === window.dates.length;
  const isOpenOn = (day: number): boolean => beginsOn(window, day) && !includesDay(window.except, day);
  const ranges = isDatedOnly ? dated : [{ from: fromDay, to: fromDay + days }, ...dated];
  return ranges.some(({ from, to }) => {
    const last = Math.min(to, toDay - 1, Math.max(from, fromDay) + days);
    for (let day = Math.max(from, fromDay); day <= last; day++) if (isOpenOn(day)) return true;
    return false;
  });
}

export function dayOfInstant(instant: number): number {
  return Math.floor(instant / DAY_MS);
}

interface Offset {
  /** Milliseconds of the Unix epoch; the offset holds from here on, and until before `to`. */
  readonly from: number;
  readonly to: number;
  readonly ms: number;
}

// Only what was asked for last: decisions are about now. It only remembers; a policy names at most a few zones.
const offsets = new Map<string, Offset>();

/** Milliseconds that the wall clock of `zone` is ahead of UTC. */
function offsetMs(zone: string, instant: number): number {
  const known = offsets.get(zone);
  if (known !== undefined && known.from <= instant && instant < known.to) return known.ms;
  const at = Temporal.Instant.fromEpochMilliseconds(instant).toZonedDateTimeISO(zone);
  const next = at.getTimeZoneTransition('next')?.epochMilliseconds ?? Number.POSITIVE_INFINITY;
  // What has no transition behind it has had its offset always.
  const ms = at.offsetNanoseconds / 1e6;
  const isAtTransition =
    at.subtract({ nanoseconds: 1 }).getTimeZoneTransition('next')?.epochMilliseconds === instant;
  const from = isAtTransition
    ? instant
    : (at.getTimeZoneTransition('previous')?.epochMilliseconds ?? Number.NEGATIVE_INFINITY);
  offsets.set(zone, { from, to: next, ms });
  return ms;
}

/** Whether the runtime knows this IANA zone. Offsets such as `+01:00` are refused: they know no daylight saving. */
export function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9+_-]*(?:\/[A-Za-z0-9+_-]+){0,2}$/.test(name)) return false;
  try {
    Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(name);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** `mon-fri`, `sat,sun`, `fri-mon`. Undefined: not such a text. */
export function parseDays(text: string): number | undefined {
  let days = 0;
  for (const part of text.split(',')) {
    const [first = '', last = first, ...rest] = part.trim().split('-');
    const from = DAY_NAMES.indexOf(first as (typeof DAY_NAMES)[number]);
    const to = DAY_NAMES.indexOf(last as (typeof DAY_NAMES)[number]);
    if (from < 0 || to < 0 || rest.length > 0) return undefined;
    for (let day = from; ; day = (day + 1) % 7) {
      days |= 1 << day;
      if (day === to) break;
    }
  }
  return days;
}

/** Minutes since midnight; `24:00` is 1440. Undefined: not a time of day. */
export function parseTimeOfDay(text: string): number | undefined {
  const [, hours, minutes] = (/^(\d{2}):(\d{2})$/.exec(text) ?? []).map(Number);
  if (hours === undefined || minutes === undefined || minutes > 59) return undefined;
  const total = hours * 60 + minutes;
  return total <= DAY_MINUTES ? total : undefined;
}

/** What an explanation says of a schedule that is closed. */
export function describeClosed(
  schedule: Schedule,
  now: number,
  doubtMs: number,
  maxDoubtMs: number,
): readonly string[] {
  if (!isUsableClock(now, doubtMs, maxDoubtMs)) {
    return [`the clock is in doubt by ${doubtMs} ms, more than ${maxDoubtMs} ms`];
  }
  const words: string[] = [];
  const { notBefore, notAfter, windows } = schedule;
  const at = new Date(now).toISOString();
  if (notBefore !== undefined && now - doubtMs < notBefore) {
    words.push(`not before ${new Date(notBefore).toISOString()}`);
  }
  if (notAfter !== undefined && now + doubtMs >= notAfter) {
    words.push(`not after ${new Date(notAfter).toISOString()}`);
  }
  if (words.length === 0) {
    for (const window of windows) words.push(`window ${window.text} is closed at ${at}`);
  }
  return words;
}
