/** What people outside are told. The broker writes notices; receivers and hooks get them as JSON. */
export const NOTICE_TYPES = [
  'approval.opened',
  'approval.reminder',
  'approval.approved',
  'approval.rejected',
  'approval.withdrawn',
  'approval.expired',
  'emergency.used',
] as const;
export type NoticeType = (typeof NOTICE_TYPES)[number];

export interface Notice {
  /** The same notice told again, after a crash or a lost answer, has the same id: receivers drop what they know. */
  readonly id: string;
  readonly type: NoticeType;
  /** When it happened: RFC 3339, UTC. */
  readonly timestamp: string;
  /** Never content, secrets or names of people: it leaves the house. */
  readonly data: Readonly<Record<string, string | number | boolean>>;
}

/** As JSON. */
export const MAX_NOTICE_BYTES = 16 * 1024;
const ID = /^[A-Za-z0-9._:-]{1,128}$/;

/** @throws TypeError for what is no notice, saying what is wrong */
export function readNotice(json: string): Notice {
  if (Buffer.byteLength(json) > MAX_NOTICE_BYTES) throw new TypeError('the notice is too long');
  const parsed: unknown = JSON.parse(json);
  const { id, type, timestamp, data } = (parsed ?? {}) as Record<string, unknown>;
  if (typeof id !== 'string' || !ID.test(id)) throw new TypeError('the notice has no id');
  const known = NOTICE_TYPES.find((candidate) => candidate === type);
  if (known === undefined) throw new TypeError('the notice is of no known type');
  if (typeof timestamp !== 'string' || Number.isNaN(Date.parse(timestamp)))
    throw new TypeError('the notice says no time');
  if (typeof data !== 'object' || data === null || Array.isArray(data))
    throw new TypeError('the notice has no data');
  for (const value of Object.values(data)) {
    if (typeof value !== 'string' && typeof value !== 'boolean' && !Number.isFinite(value))
      throw new TypeError('the notice has data that is neither text, number nor truth');
  }
  return { id, type: known, timestamp, data: data as Notice['data'] };
}

/** Break-glass is told even where the queue has no room for anything else. */
export function isUrgent({ type }: Notice): boolean {
  return type === 'emergency.used';
}

/** The bytes that are sent and signed. */
export function bodyOf({ id, type, timestamp, data }: Notice): string {
  return JSON.stringify({ id, type, timestamp, data });
}
