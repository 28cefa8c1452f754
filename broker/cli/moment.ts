import { InvalidArgumentError } from 'commander';

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** RFC 3339, or how long ago: `15m`, `2h`, `30d`. In UTC, as entries have it. */
export function moment(text: string): string {
  const ago = /^(\d{1,6})([smhd])$/.exec(text);
  const at = ago === null ? Date.parse(text) : Date.now() - Number(ago[1]) * UNIT_MS[ago[2]!]!;
  if (Number.isNaN(at)) throw new InvalidArgumentError('Give a time such as 2026-11-20T08:00:00Z, or 2h.');
  return new Date(at).toISOString();
}
