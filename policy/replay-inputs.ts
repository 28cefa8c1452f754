/**
 * What a decision saw, in the form in which an audit entry keeps it (its `inputs`), and back: a past request can then
 * be put to another policy.
 *
 * The form is JSON without nulls and fractions, at most 3 KiB as UTF-8. `inputs` of an entry may hold more than this
 * (what limits were charged, what guards reserved): the names used here are `at`, `doubt`, `bytes`, `content`, `pinned`,
 * `evidence`, `peer` and `typed`.
 */
import type { Circumstances, Facts, FactValue } from './decision.ts';

/** What may stand in an entry. */
export type InputValue =
  | string
  | number
  | boolean
  | readonly InputValue[]
  | { readonly [name: string]: InputValue };
export interface Inputs {
  readonly [name: string]: InputValue;
}

/** Of everything that `encodeInputs` makes, as JSON in UTF-8. The rest of an entry's 4 KiB is for charges and guards. */
export const MAX_INPUTS_BYTES = 3072;

export interface RecordedCircumstances {
  readonly circumstances: Circumstances;
  /**
   * The typed facts were too large for the entry and are missing: rules that look at them cannot be replayed.
   * `circumstances.typed` is undefined then.
   */
  readonly isTruncated: boolean;
}

const CONTENTS = ['message', 'digest', 'ciphertext', 'plaintext', 'typed', 'none'] as const;
const TYPES = ['jwt', 'x509', 'dsse'] as const;
const MAX_EVIDENCE = 16;
const MAX_WORD = 64;
/** Bytes of JSON that everything but the typed facts takes at most; see `replay-inputs.test.ts`. */
const FRAME_BYTES = 1536;
const MAX_DEPTH = 32;

/** @throws TypeError for circumstances that no clock or gateway makes; the request then fails closed */
export function encodeInputs(circumstances: Circumstances): Inputs {
  const { now, clockDoubtMs, bytes, content, version, typed, evidence, peerAddress } = circumstances;
  // Whole milliseconds. The doubt is rounded up: a replay is never surer of the time than the decision was.
  const at = Math.floor(now);
  const doubt = Math.ceil(clockDoubtMs);
  if (!Number.isSafeInteger(at)) throw new TypeError('the time of a request is not a time');
  if (Number.isNaN(doubt) || doubt < 0) throw new TypeError('the doubt of a clock is not a duration');
  return {
    at,
    ...(doubt === 0 ? {} : { doubt: Number.isSafeInteger(doubt) ? doubt : 'unknown' }),
    bytes,
    content,
    ...(version === 0 ? {} : { pinned: version }),
    evidence: evidence.slice(0, MAX_EVIDENCE).map((kind) => kind.slice(0, MAX_WORD)),
    peer: peerAddress.slice(0, MAX_WORD),
    ...(typed === undefined ? {} : { typed: encodeTyped(typed) }),
  };
}

function encodeTyped({ type, facts }: NonNullable<Circumstances['typed']>): InputValue {
  const encoded = encodeFact(facts, 0);
  const size = encoded === undefined ? 0 : jsonBytes(encoded);
  // Whole or not at all: a condition over half of the claims would decide something else.
  return encoded === undefined || size > MAX_INPUTS_BYTES - FRAME_BYTES
    ? { type, omitted: size }
    : { type, facts: encoded };
}

function jsonBytes(value: InputValue): number {
  return new TextEncoder().encode(JSON.stringify(value)).length;
}

// Values that JSON or an entry has no form for are text with a mark; text that begins like a mark has one of its own.
const MARK = '~';

/** Undefined: it cannot be written. */
function encodeFact(value: FactValue, depth: number): InputValue | undefined {
  if (depth > MAX_DEPTH) return undefined;
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) return undefined;
      return value.startsWith(MARK) ? `${MARK}s${value}` : value;
    case 'bigint':
      return `${MARK}i${value}`;
    case 'number':
      return `${MARK}d${Object.is(value, -0) ? '-0' : value}`;
    case 'boolean':
      return value;
    case 'object': {
      if (value === null) return `${MARK}n`;
      if (value instanceof Date) return `${MARK}t${value.getTime()}`;
      if (isList(value)) {
        const items = value.map((item) => encodeFact(item, depth + 1));
        return items.every((item) => item !== undefined) ? items : undefined;
      }
      const members: [string, InputValue][] = [];
      for (const [name, member] of Object.entries(value)) {
        const encoded = encodeFact(member, depth + 1);
        if (encoded === undefined || !name.isWellFormed()) return undefined;
        members.push([name, encoded]);
      }
      return Object.fromEntries(members);
    }
    default:
      return value satisfies never;
  }
}

function isList(value: object): value is readonly FactValue[] {
  return Array.isArray(value);
}

/** Undefined for anything that `encodeInputs` does not make: such an entry is replayed from its other fields. */
export function decodeInputs(inputs: unknown): RecordedCircumstances | undefined {
  if (!isRecord(inputs)) return undefined;
  const { at, doubt = 0, bytes, content, pinned = 0, evidence, peer, typed } = inputs;
  const kind = CONTENTS.find((candidate) => candidate === content);
  if (
    !isCount(at) ||
    !(isCount(doubt) || doubt === 'unknown') ||
    !isCount(bytes) ||
    kind === undefined ||
    !isCount(pinned) ||
    !Array.isArray(evidence) ||
    !evidence.every((word) => typeof word === 'string') ||
    typeof peer !== 'string'
  ) {
    return undefined;
  }
  const recorded = typed === undefined ? { isTruncated: false } : decodeTyped(typed);
  if (recorded === undefined) return undefined;
  return {
    circumstances: Object.freeze({
      now: at,
      clockDoubtMs: doubt === 'unknown' ? Number.POSITIVE_INFINITY : doubt,
      bytes,
      content: kind,
      version: pinned,
      typed: 'typed' in recorded ? recorded.typed : undefined,
      evidence: Object.freeze([...evidence]),
      peerAddress: peer,
    }),
    isTruncated: recorded.isTruncated,
  };
}

function decodeTyped(
  value: unknown,
):
  | { readonly isTruncated: true }
  | { readonly isTruncated: false; readonly typed: NonNullable<Circumstances['typed']> }
  | undefined {
  if (!isRecord(value)) return undefined;
  const type = TYPES.find((candidate) => candidate === value.type);
  if (type === undefined) return undefined;
  if (value.facts === undefined) return { isTruncated: true };
  const facts = decodeFact(value.facts, 0);
  if (!isRecord(facts) || facts instanceof Date) return undefined;
  return { isTruncated: false, typed: Object.freeze({ type, facts: facts as Facts }) };
}

/** Undefined: not what `encodeFact` makes. */
function decodeFact(value: unknown, depth: number): FactValue | undefined {
  if (depth > MAX_DEPTH) return undefined;
  if (typeof value === 'boolean') return value;
  if (typeof value === 'string') return value.startsWith(MARK) ? decodeMarked(value) : value;
  if (Array.isArray(value)) {
    const items = value.map((item) => decodeFact(item, depth + 1));
    return items.every((item) => item !== undefined) ? Object.freeze(items) : undefined;
  }
  if (!isRecord(value)) return undefined;
  const members: [string, FactValue][] = [];
  for (const [name, member] of Object.entries(value)) {
    const decoded = decodeFact(member, depth + 1);
    if (decoded === undefined) return undefined;
    members.push([name, decoded]);
  }
  return Object.freeze(Object.fromEntries(members));
}

const INTEGER = /^(?:0|-?[1-9]\d{0,1000})$/;

function decodeMarked(text: string): FactValue | undefined {
  const rest = text.slice(2);
  switch (text[1]) {
    case 's':
      return rest;
    case 'i':
      return INTEGER.test(rest) ? BigInt(rest) : undefined;
    case 'd':
      return rest === 'NaN' || !Number.isNaN(Number(rest)) ? Number(rest) : undefined;
    case 'n':
      return null;
    case 't':
      return rest === 'NaN' || !Number.isNaN(Number(rest)) ? new Date(Number(rest)) : undefined;
    default:
      return undefined;
  }
}

function isRecord(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
