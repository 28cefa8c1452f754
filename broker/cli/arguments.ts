import { InvalidArgumentError } from 'commander';
import { parseDuration } from '../../policy/duration.ts';

/** Whole numbers from 1 on, as commander parses them. */
export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!/^\d{1,15}$/.test(text) || value < 1) throw new InvalidArgumentError('Give a whole number from 1 on.');
  return value;
}

/** Whole numbers from 0 on. */
export function count(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('Give a whole number from 0 on.');
  return Number(text);
}

export function port(text: string): number {
  const value = count(text);
  if (value > 65535) throw new InvalidArgumentError('Give a port, 0 to 65535.');
  return value;
}

/** For options that may be given several times. */
export function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}

/** `{version}` when it was given: absent is not the same as undefined in the types of the client. */
export function pinned(version: number | undefined): { version?: number } {
  return version === undefined ? {} : { version };
}

/** `15m` as in a policy, in whole seconds. */
export function seconds(text: string): number {
  const milliseconds = parseDuration(text);
  if (milliseconds === undefined || milliseconds < 1000 || milliseconds % 1000 !== 0) {
    throw new InvalidArgumentError('Write it as 90s, 15m, 8h or 30d.');
  }
  return milliseconds / 1000;
}
