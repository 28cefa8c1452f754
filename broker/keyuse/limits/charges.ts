import type { Limit, LimitScope } from '../../../policy/decision.ts';
import { limitSubject } from '../../../policy/limit-subject.ts';
import type { EntryValue } from '../../audit/entry.ts';
import type { Charge } from './limits.ts';

/** Who asks, and for what. */
export interface LimitedUse {
  readonly spiffeId: string;
  readonly key: string;
  /** Of message, digest, plaintext or ciphertext. */
  readonly bytes: number;
}

/** What the log says that was consumed; enough to count it again without the policy of then. */
export interface LoggedCharge {
  readonly counter: string;
  readonly subject: string;
  readonly amount: number;
  /** Undefined: for life. */
  readonly perMs: number | undefined;
}

/**
 * The longest list that an entry has room for, as JSON: `inputs` has 4 KiB for everything, and what does not fit would
 * be left out of the log, and so not be counted after a restart. 16 limits of a rule with a name of 64 letters fit.
 */
export const MAX_CHARGES_BYTES = 1536;

const LETTERS = {
  workload: 'w',
  key: 'k',
  'workload-and-key': 'b',
  'trust-domain': 'd',
  rule: 'r',
} as const satisfies Record<LimitScope, string>;
const SCOPES: ReadonlyMap<unknown, LimitScope> = new Map(
  Object.entries(LETTERS).map(([scope, letter]) => [letter, scope as LimitScope]),
);

/** What one use takes from the limits of the rule that allows it. */
export function chargesFor(limits: readonly Limit[], use: LimitedUse): readonly Charge[] {
  return limits.map((limit) => ({
    limit,
    subject: limitSubject(limit.by, use.spiffeId, use.key),
    amount: limit.unit === 'bytes' ? use.bytes : 1,
  }));
}

/**
 * For `inputs.charges` of an entry: what the counters' names have in common, then `[rest of the name, scope, amount,
 * milliseconds]` for each, 0 being for life. Subjects are left out: the entry has SPIFFE ID and key already. Nothing
 * was taken: an empty list.
 *
 * To be called before anything is consumed. @throws TypeError when it is longer than an entry has room for
 */
export function encodeCharges(charges: readonly Charge[]): readonly EntryValue[] {
  if (charges.length === 0) return [];
  const prefix = commonPrefix(charges.map(({ limit }) => limit.id));
  const encoded = [
    prefix,
    ...charges.map(({ limit, amount }) => [
      limit.id.slice(prefix.length),
      LETTERS[limit.by],
      amount,
      limit.perMs ?? 0,
    ]),
  ];
  if (Buffer.byteLength(JSON.stringify(encoded)) > MAX_CHARGES_BYTES)
    throw new TypeError('the limits of one rule do not fit into an entry');
  return encoded;
}

/** @throws TypeError for what `encodeCharges` did not write */
export function decodeCharges(encoded: unknown, spiffeId: string, key: string): readonly LoggedCharge[] {
  if (!Array.isArray(encoded)) throw new TypeError('charges are a list');
  const [prefix, ...items]: unknown[] = encoded;
  if (prefix === undefined) return [];
  if (typeof prefix !== 'string') throw new TypeError('charges begin with what their names have in common');
  return items.map((item) => {
    if (!Array.isArray(item) || item.length !== 4) throw new TypeError('a charge has four parts');
    const [rest, letter, amount, perMs]: unknown[] = item;
    const by = SCOPES.get(letter);
    if (typeof rest !== 'string' || by === undefined || !isCount(amount) || !isCount(perMs))
      throw new TypeError('a charge is [rest of the name, scope, amount, milliseconds]');
    return {
      counter: prefix + rest,
      subject: limitSubject(by, spiffeId, key),
      amount,
      perMs: perMs === 0 ? undefined : perMs,
    };
  });
}

/** Up to a slash, so that no character is cut in two. */
function commonPrefix(names: readonly string[]): string {
  const first = names[0] ?? '';
  let length = first.length;
  for (const name of names) {
    while (!name.startsWith(first.slice(0, length))) length--;
  }
  return first.slice(0, first.slice(0, length).lastIndexOf('/') + 1);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
