const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** As durations are written in a policy: `500ms`, `10s`, `15m`, `8h`, `30d`. One number, one unit. */
export const DURATION: RegExp = /^([1-9][0-9]{0,8})(ms|s|m|h|d)$/;

/** Milliseconds; undefined when the text is no duration. */
export function parseDuration(text: string): number | undefined {
  const [, amount, unit] = DURATION.exec(text) ?? [];
  const unitMs = unit === undefined ? undefined : UNITS_MS[unit];
  return unitMs === undefined ? undefined : Number(amount) * unitMs;
}

/** `90000` is `90s`: the largest unit that needs no fraction. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's']) {
    const unitMs = UNITS_MS[unit] ?? 1;
    if (ms !== 0 && ms % unitMs === 0) return `${ms / unitMs}${unit}`;
  }
  return `${ms}ms`;
}
