import { createHash } from 'node:crypto';
import type { Guard } from '../../../policy/decision.ts';
import type { EntryValue } from '../../audit/entry.ts';
import type { GuardHead } from '../../state/guard-rows.ts';

/** A guard's value as the log knows it: a number, or the SHA-256 of a text. */
export type LoggedGuard = {
  readonly guard: string;
} & (
  | { readonly kind: 'monotonic'; readonly value: bigint }
  | { readonly kind: 'unique'; readonly hash: Uint8Array }
);

/** Room in an entry's `inputs`, bytes of JSON; charges have theirs (charges.ts). */
export const MAX_GUARDS_BYTES = 1024;
const MAX_NAME_BYTES = 64;
const MAX_SNAPSHOT_BYTES = 20_000;
const HASH_BYTES = 32;
const NUMBER = /^-?\d{1,20}$/;
const MIN_NUMBER = -(2n ** 63n);
const MAX_NUMBER = 2n ** 63n - 1n;

/**
 * What a guard is called in the state and in entries: its id, or, when that is long because its expression is, the
 * beginning and a hash of it.
 */
export function guardName(id: string): string {
  if (Buffer.byteLength(id) <= MAX_NAME_BYTES) return id;
  const start = id.slice(0, 40).replaceAll(/[^ -~]/g, '?');
  return `${start}#${createHash('sha256').update(id, 'utf8').digest('base64url').slice(0, 22)}`;
}

/** What there is of a `unique` guard's value: it may be long, and nobody's business. */
export function hashOf(value: string): Uint8Array {
  return createHash('sha256').update(value, 'utf8').digest();
}

export function isKeepable(value: unknown): value is bigint {
  return typeof value === 'bigint' && value >= MIN_NUMBER && value <= MAX_NUMBER;
}

/**
 * For `inputs.guards` of an entry: `[guard, "m", decimal]` or `[guard, "u", SHA-256 in base64url]` each.
 *
 * To be called before anything is reserved. @throws TypeError when it is longer than an entry has room for
 */
export function encodeGuards(guards: readonly Guard[]): readonly EntryValue[] {
  const encoded = guards.map(({ id, kind, value }) => [
    guardName(id),
    kind === 'monotonic' ? 'm' : 'u',
    kind === 'monotonic' ? String(value) : Buffer.from(hashOf(String(value))).toString('base64url'),
  ]);
  if (Buffer.byteLength(JSON.stringify(encoded)) > MAX_GUARDS_BYTES)
    throw new TypeError('the guards of one rule do not fit into an entry');
  return encoded;
}

/** @throws TypeError for what `encodeGuards` did not write */
export function decodeGuards(encoded: unknown): readonly LoggedGuard[] {
  if (!Array.isArray(encoded)) throw new TypeError('guards are a list');
  return encoded.map((item: unknown) => {
    if (!Array.isArray(item) || item.length !== 3) throw new TypeError('a guard has three parts');
    const [guard, letter, value]: unknown[] = item;
    if (typeof guard !== 'string' || typeof value !== 'string')
      throw new TypeError('a guard is [guard, kind, value]');
    if (letter === 'm') return { guard, kind: 'monotonic', value: decodeNumber(value) };
    if (letter !== 'u') throw new TypeError('a guard is of kind m or u');
    return { guard, kind: 'unique', hash: decodeHash(value) };
  });
}

/**
 * Where all guards stand, in lists that fit an entry's `detail` each: `[guard, key, "m", highest]` or
 * `[guard, key, "u", how many]`. Never pruned, they keep numbers from falling when everything else is lost.
 */
export function* snapshotsOf(heads: readonly GuardHead[]): Generator<readonly EntryValue[]> {
  let list: EntryValue[] = [];
  let bytes = 0;
  for (const { guard, key, kind, count, highest } of heads) {
    const item =
      kind === 'unique' ? [guard, key, 'u', String(count)] : [guard, key, 'm', String(highest ?? '')];
    const size = Buffer.byteLength(JSON.stringify(item)) + 1;
    if (bytes + size > MAX_SNAPSHOT_BYTES && list.length > 0) {
      yield list;
      list = [];
      bytes = 0;
    }
    list.push(item);
    bytes += size;
  }
  if (list.length > 0) yield list;
}

/** The numbers of a snapshot. @throws TypeError for what `snapshotsOf` did not write */
export function decodeSnapshot(encoded: unknown): readonly (LoggedGuard & { readonly key: string })[] {
  if (!Array.isArray(encoded)) throw new TypeError('a snapshot is a list');
  return encoded.flatMap((item: unknown) => {
    if (!Array.isArray(item) || item.length !== 4 || item.some((part) => typeof part !== 'string'))
      throw new TypeError('an item of a snapshot has four texts');
    const [guard, key, letter, value] = item as [string, string, string, string];
    if (letter === 'u' || value === '') return [];
    return [{ guard, key, kind: 'monotonic', value: decodeNumber(value) } as const];
  });
}

function decodeNumber(text: string): bigint {
  const value = NUMBER.test(text) ? BigInt(text) : undefined;
  if (!isKeepable(value)) throw new TypeError('a number is at most 64 bits');
  return value;
}

function decodeHash(text: string): Uint8Array {
  const hash = Buffer.from(text, 'base64url');
  if (hash.length !== HASH_BYTES) throw new TypeError('a hash is a SHA-256');
  return hash;
}
