import { canonicalize } from './canonical.ts';
import {
  type Attempt,
  type DigestedContent,
  ENTRY_VERSION,
  type EntryDraft,
  type EntryKind,
} from './entry.ts';
import { isCount, TlogError } from './tlog/hash.ts';
import { MAX_ENTRY_BYTES } from './tlog/tile.ts';

/** What the sequencer adds to a draft. */
export interface EntryPlace {
  readonly leaf: number;
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string;
  /** 128 random bits, base64url. */
  readonly salt: string;
  /** Of this subject, from 0. */
  readonly seq: number;
  /** Leaf hash of the subject's previous entry, base64url; empty for its first. */
  readonly prev: string;
}

/** An entry as it is read back. Fields of a later minor form are kept under their names and ignored. */
export interface Entry extends EntryDraft {
  readonly v: typeof ENTRY_VERSION;
  readonly leaf: number;
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string;
  readonly salt: string;
  readonly seq: number;
  readonly prev: string;
}

/**
 * Bounds in bytes of UTF-8 before JSON escapes; longer strings are cut and marked. README.md lists them. All of them
 * used up, with every byte escaped, still make an entry below 65,535 bytes (entry-format.test.ts writes that one).
 */
export const BOUNDS = {
  subject: 2048,
  key: 256,
  rule: 128,
  policy: 128,
  peer: 128,
  short: 64,
  inputs: 4096,
  detail: 24_576,
  attempts: 8,
} as const;

// What JSON writes as it stands: printable ASCII but the quotation mark and the backslash.
const PLAIN = /^[ !#-[\]-~]*$/;
// The longest mark is an ellipsis, a plus sign and the digits of a count.
const MARK_BYTES = 16;

/** At most `max` bytes: a longer one ends in `…+N`, N being the bytes that were cut. */
export function boundString(text: string, max: number): string {
  if (text.length * 3 <= max) return text;
  const bytes = Buffer.byteLength(text);
  if (bytes <= max) return text;
  let cut = text.slice(0, max);
  while (Buffer.byteLength(cut) > max - MARK_BYTES)
    cut = cut.slice(0, -Math.max(1, (Buffer.byteLength(cut) - max + MARK_BYTES) >> 2));
  cut = cut.toWellFormed();
  return `${cut}…+${bytes - Buffer.byteLength(cut)}`;
}

function quote(text: string, max: number): string {
  const bounded = boundString(text, max);
  return PLAIN.test(bounded) ? `"${bounded}"` : JSON.stringify(bounded.toWellFormed());
}

function count(value: number, field: string): string {
  if (!Number.isSafeInteger(value) || value < 0) throw new TypeError(`${field} is not a whole number`);
  return String(value);
}

/** Durations come from clocks that have fractions; entries have none. */
function micros(value: number, field: string): string {
  return count(Math.round(value), field);
}

function content(value: DigestedContent): string {
  const digest = value.sha256 === undefined ? '' : `,"sha256":${quote(value.sha256, BOUNDS.short)}`;
  return `{"bytes":${count(value.bytes, 'bytes')},"kind":${quote(value.kind, BOUNDS.short)}${digest}}`;
}

function attempt(value: Attempt): string {
  const ckr = value.ckr === undefined ? '' : `"ckr":${quote(value.ckr, BOUNDS.short)},`;
  const reason = value.reason === undefined ? '' : `,"reason":${quote(value.reason, BOUNDS.short)}`;
  return (
    `{${ckr}"micros":${micros(value.micros, 'micros')},"outcome":${quote(value.outcome, BOUNDS.short)},` +
    `"performed":${quote(value.performed, BOUNDS.short)}${reason},"token":${quote(value.token, BOUNDS.short)}}`
  );
}

/** Free-form fields: canonical, and replaced as a whole by their size where they exceed their bound. */
function freeForm(value: unknown, max: number): string {
  const text = canonicalize(value);
  const bytes = text.length * 3 <= max ? 0 : Buffer.byteLength(text);
  return bytes <= max ? text : `{"omittedBytes":${bytes}}`;
}

/**
 * The entry in canonical JSON (RFC 8785): names in order, no white space.
 *
 * Written field by field, in order, because it stands in the path of every key use: sorting and walking a generic
 * value costs several times as much.
 *
 * @throws TypeError for a number that is not whole; the caller's operation then fails closed
 */
export function formatEntry(draft: EntryDraft, place: EntryPlace): string {
  let text = '{';
  if (draft.algorithm !== undefined) text += `"algorithm":${quote(draft.algorithm, BOUNDS.short)},`;
  if (draft.attempts !== undefined)
    text += `"attempts":[${draft.attempts.slice(-BOUNDS.attempts).map(attempt).join(',')}],`;
  if (draft.credential !== undefined) text += `"credential":${quote(draft.credential, BOUNDS.short)},`;
  text += `"decision":${quote(draft.decision, BOUNDS.short)},`;
  if (draft.detail !== undefined) text += `"detail":${freeForm(draft.detail, BOUNDS.detail)},`;
  if (draft.generation !== undefined) text += `"generation":${count(draft.generation, 'generation')},`;
  if (draft.input !== undefined) text += `"input":${content(draft.input)},`;
  if (draft.inputs !== undefined) text += `"inputs":${freeForm(draft.inputs, BOUNDS.inputs)},`;
  if (draft.key !== undefined) text += `"key":${quote(draft.key, BOUNDS.key)},`;
  text += `"kind":${quote(draft.kind, BOUNDS.short)},`;
  if (draft.latencyMicros !== undefined)
    text += `"latencyMicros":${micros(draft.latencyMicros, 'latencyMicros')},`;
  text += `"leaf":${place.leaf},"operation":${quote(draft.operation, BOUNDS.short)},`;
  if (draft.output !== undefined) text += `"output":${content(draft.output)},`;
  if (draft.peer !== undefined) text += `"peer":${quote(draft.peer, BOUNDS.peer)},`;
  if (draft.performed !== undefined) text += `"performed":${quote(draft.performed, BOUNDS.short)},`;
  if (draft.policy !== undefined) text += `"policy":${quote(draft.policy, BOUNDS.policy)},`;
  text += `"prev":"${place.prev}",`;
  if (draft.reason !== undefined) text += `"reason":${quote(draft.reason, BOUNDS.short)},`;
  if (draft.rule !== undefined) text += `"rule":${quote(draft.rule, BOUNDS.rule)},`;
  text += `"salt":"${place.salt}","seq":${place.seq},"subject":${quote(draft.subject, BOUNDS.subject)},"time":"${place.time}"`;
  if (draft.traceId !== undefined) text += `,"traceId":${quote(draft.traceId, BOUNDS.short)}`;
  text += `,"v":${ENTRY_VERSION}`;
  return draft.version === undefined ? `${text}}` : `${text},"version":${count(draft.version, 'version')}}`;
}

const KINDS: ReadonlySet<string> = new Set<EntryKind>([
  'key-use',
  'refusals',
  'method',
  'software-generation',
  'key-proof',
  'policy',
  'token',
  'approval',
  'freeze',
  'unfreeze',
  'log',
]);

/**
 * Reads an entry back. Strict about the version and the fields that place it in the log; what a later minor form
 * added is kept and ignored.
 *
 * @throws TlogError for anything else
 */
export function parseEntry(bytes: Uint8Array): Entry {
  if (bytes.length > MAX_ENTRY_BYTES) throw new TlogError('entry is larger than 65,535 bytes');
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new TlogError('entry is not JSON', { cause });
  }
  if (
    typeof value !== 'object' ||
    value === null ||
    !isEntry(value as Partial<Record<keyof Entry, unknown>>)
  ) {
    throw new TlogError('not an entry of version 1');
  }
  return value as Entry;
}

function isEntry(value: Partial<Record<keyof Entry, unknown>>): boolean {
  return (
    value.v === ENTRY_VERSION &&
    isCount(value.leaf) &&
    isCount(value.seq) &&
    typeof value.time === 'string' &&
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value.time) &&
    typeof value.kind === 'string' &&
    KINDS.has(value.kind) &&
    typeof value.salt === 'string' &&
    typeof value.prev === 'string' &&
    typeof value.subject === 'string' &&
    typeof value.operation === 'string' &&
    (value.decision === 'allow' || value.decision === 'deny')
  );
}
