/**
 * Names of keys: `payments/jwt`. Segments of letters, digits, dot, dash and underscore, parted by slashes; at most
 * 128 characters. A segment is never `.` or `..`.
 */
export const MAX_KEY_NAME_LENGTH = 128;

/**
 * Keys that make authority (the log's, later trust anchors and credentials) live here. No rule can name them and no
 * decision allows their use: they are not addressable by workloads.
 */
export const RESERVED_KEY_PREFIX = 'lastmile/';

const KEY_NAME = /^(?!\.\.?(?:\/|$))[A-Za-z0-9._-]+(?:\/(?!\.\.?(?:\/|$))[A-Za-z0-9._-]+)*$/;

export function isKeyName(name: string): boolean {
  return name.length <= MAX_KEY_NAME_LENGTH && KEY_NAME.test(name);
}

export function isReservedKeyName(name: string): boolean {
  return name === 'lastmile' || name.startsWith(RESERVED_KEY_PREFIX);
}
