/** The kinds of values that lastmile.yaml has beside plain text and numbers. */
import { isIP } from 'node:net';
import { z } from 'zod';

const MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const BYTES = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;

const DURATION = /^(\d{1,9})(ms|s|m|h|d)$/;
const SIZE = /^(\d{1,9})(B|KiB|MiB|GiB)$/;
const ADDRESS = /^(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([0-9A-Fa-f:.]{2,45})\]):(\d{1,5})$/;

function quantity(text: string, form: RegExp, units: Readonly<Record<string, number>>): number {
  const [, amount = '', unit = ''] = form.exec(text) ?? [];
  return Number(amount) * (units[unit] ?? Number.NaN);
}

/** `10s`, `500ms`, `15m`, `2h`, `1d`; milliseconds once parsed. */
export function duration(range: { min: string; max: string }) {
  const [min, max] = [range.min, range.max].map((text) => quantity(text, DURATION, MS)) as [number, number];
  return z
    .string()
    .regex(DURATION, 'must be a duration such as 500ms, 10s, 15m, 2h or 1d')
    .refine(
      (text) => within(quantity(text, DURATION, MS), min, max),
      `must be from ${range.min} to ${range.max}`,
    )
    .transform((text) => quantity(text, DURATION, MS));
}

/** `64KiB`, `1MiB`; bytes once parsed. */
export function size(range: { min: string; max: string }) {
  const [min, max] = [range.min, range.max].map((text) => quantity(text, SIZE, BYTES)) as [number, number];
  return z
    .string()
    .regex(SIZE, 'must be a size such as 512B, 64KiB, 1MiB or 2GiB')
    .refine(
      (text) => within(quantity(text, SIZE, BYTES), min, max),
      `must be from ${range.min} to ${range.max}`,
    )
    .transform((text) => quantity(text, SIZE, BYTES));
}

// What another check refused already is not refused here once more.
function within(value: number, min: number, max: number): boolean {
  return Number.isNaN(value) || (value >= min && value <= max);
}

export interface ListenAddress {
  /** An IP address; never a name, which could come to mean another interface. */
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

/** `127.0.0.1:7443` or `[::1]:7443`. */
export function listenAddress() {
  return z
    .string()
    .regex(ADDRESS, 'must be an IP address and a port, such as 127.0.0.1:7443 or [::1]:7443')
    .refine((text) => {
      const address = parseAddress(text);
      return address === undefined || (isIP(address.host) !== 0 && address.port <= 65_535);
    }, 'must be an IP address and a port up to 65535')
    .transform((text): ListenAddress => parseAddress(text) ?? { host: text, port: -1 });
}

function parseAddress(text: string): ListenAddress | undefined {
  const found = ADDRESS.exec(text);
  return found === null ? undefined : { host: found[1] ?? found[2] ?? '', port: Number(found[3]) };
}

export function isLoopback(host: string): boolean {
  return host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
