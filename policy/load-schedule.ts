/** When a rule is open, as people write it. */
import { type CalendarDates, CalendarDatesError, parseCalendarDates } from './calendar-dates.ts';
import type { RuleContext } from './load-rule.ts';
import type { Report } from './report.ts';
import type { RuleDocument } from './schema.ts';
import type { YamlPath } from './source.ts';
import { quoteSource } from './source-issue.ts';
import { isTimeZone, parseDays, parseTimeOfDay, type Schedule, type Window } from './windows.ts';

const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,3})?(?:Z|[+-]\d{2}:\d{2})$/;
const ALWAYS: Schedule = Object.freeze({
  windows: Object.freeze([]),
  notBefore: undefined,
  notAfter: undefined,
});

export function loadDates(texts: readonly string[], path: YamlPath, report: Report): CalendarDates[] {
  const dates: CalendarDates[] = [];
  for (const [i, text] of texts.entries()) {
    try {
      dates.push(parseCalendarDates(text));
    } catch (error) {
      if (!(error instanceof CalendarDatesError)) throw error;
      report.refuse([...path, i], `${quoteSource(text)} ${error.message}`);
    }
  }
  return dates;
}

export function loadSchedule(rule: RuleDocument, path: YamlPath, context: RuleContext): Schedule {
  const { report } = context;
  const notBefore = loadInstant(rule['not-before'], [...path, 'not-before'], report);
  const notAfter = loadInstant(rule['not-after'], [...path, 'not-after'], report);
  if (notBefore !== undefined && notAfter !== undefined && notAfter <= notBefore) {
    report.refuse([...path, 'not-after'], '`not-after` is not later than `not-before`');
  }
  const windows = (rule.windows ?? []).map((window, i) =>
    loadWindow(window, [...path, 'windows', i], context),
  );
  if (windows.length === 0 && notBefore === undefined && notAfter === undefined) return ALWAYS;
  return { windows, notBefore, notAfter };
}

export function loadInstant(text: string | undefined, path: YamlPath, report: Report): number | undefined {
  if (text === undefined) return undefined;
  const instant = RFC_3339.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(instant)) {
    report.refuse(path, `${quoteSource(text)} is not a moment`, 'RFC 3339, such as 2026-12-24T12:00:00Z');
  }
  return instant;
}

function loadWindow(
  window: NonNullable<RuleDocument['windows']>[number],
  path: YamlPath,
  { calendars, report }: RuleContext,
): Window {
  const days = parseDays(window.days);
  if (days === undefined) {
    report.refuse([...path, 'days'], `${quoteSource(window.days)} are no days`, 'mon-fri, or sat,sun');
  }
  const from = parseTimeOfDay(window.from);
  const to = parseTimeOfDay(window.to);
  if (from === undefined || from === 1440) {
    report.refuse([...path, 'from'], `${quoteSource(window.from)} is not a time of day`, '00:00 to 23:59');
  }
  if (to === undefined || to === 0) {
    report.refuse([...path, 'to'], `${quoteSource(window.to)} is not a time of day`, '00:01 to 24:00');
  }
  if (from !== undefined && from === to) {
    report.refuse([...path, 'to'], 'a window does not end when it begins; a whole day is 00:00 to 24:00');
  }
  if (!isTimeZone(window.zone)) {
    report.refuse(
      [...path, 'zone'],
      `${quoteSource(window.zone)} is not a known time zone`,
      'an IANA name such as Europe/Berlin',
    );
  }
  const except: CalendarDates[] = [];
  for (const [i, name] of (window.except ?? []).entries()) {
    const calendar = calendars.get(name);
    if (calendar === undefined)
      report.refuse([...path, 'except', i], `there is no calendar ${quoteSource(name)}`);
    else except.push(...calendar);
  }
  const dates = window.dates === undefined ? undefined : loadDates(window.dates, [...path, 'dates'], report);
  const more = [
    ...(window.dates === undefined
      ? []
      : [`on ${window.dates.slice(0, 3).join(', ')}${window.dates.length > 3 ? ', …' : ''}`]),
    ...(window.except === undefined ? [] : [`except ${window.except.join(', ')}`]),
  ];
  return {
    text: [`${window.days} ${window.from}-${window.to} ${window.zone}`, ...more].join(' '),
    days: days ?? 0,
    from: from ?? 0,
    to: to ?? 0,
    zone: window.zone,
    dates,
    except,
  };
}
