/**
 * Patterns over SPIFFE IDs and key names. A segment of a pattern is a literal, `*` (exactly one segment, whatever it
 * is) or `**` (any number of segments, none included). Inside a segment there are no wildcards, and the trust domain
 * of a SPIFFE ID pattern is always literal.
 *
 * At most 30 segments, so that the states of a match fit one integer: matching takes time linear in the input.
 */
import { MAX_KEY_NAME_LENGTH, RESERVED_KEY_PREFIX } from './key-name.ts';
import { MAX_SPIFFE_ID_BYTES, type SpiffeId } from './spiffe-id.ts';

export interface Pattern {
  /** As written. */
  readonly text: string;
  readonly segments: readonly string[];
  /** No wildcard: it matches one name only. */
  readonly exact: boolean;
}

export class PatternError extends Error {
  override readonly name = 'PatternError';
  readonly expected: string | undefined;
  constructor(message: string, expected?: string) {
    super(message);
    this.expected = expected;
  }
}

export const MAX_PATTERN_SEGMENTS = 30;
const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/;
const SEGMENT = /^[A-Za-z0-9._-]+$/;
const SCHEME = 'spiffe://';

/**
 * `spiffe://example.org/ns/payments/sa/*`. The first segment of the result is the trust domain.
 *
 * @throws PatternError
 */
export function parseSpiffeIdPattern(text: string): Pattern {
  const example = 'spiffe://trust-domain/path, such as spiffe://example.org/ns/payments/sa/*';
  if (text.length > MAX_SPIFFE_ID_BYTES) throw new PatternError('is longer than 2048 characters');
  if (!text.startsWith(SCHEME)) throw new PatternError('does not start with `spiffe://`', example);
  const segments = text.slice(SCHEME.length).split('/');
  const [trustDomain = '', ...path] = segments;
  if (trustDomain.includes('*'))
    throw new PatternError('has a wildcard in the trust domain, which must be literal', example);
  if (!TRUST_DOMAIN.test(trustDomain)) {
    throw new PatternError(
      'has a trust domain with other characters than a-z, 0-9, dot, dash and underscore',
      example,
    );
  }
  if (path.length === 0) {
    throw new PatternError(
      'names a trust domain, which no workload is',
      `${text}/** for all of its workloads`,
    );
  }
  return checkedPattern(text, segments, 1);
}

/**
 * `payments/*`.
 *
 * @throws PatternError
 */
export function parseKeyPattern(text: string): Pattern {
  if (text.length > MAX_KEY_NAME_LENGTH)
    throw new PatternError(`is longer than ${MAX_KEY_NAME_LENGTH} characters`);
  const segments = text.split('/');
  if (segments[0] === 'lastmile') {
    throw new PatternError(
      `names keys under \`${RESERVED_KEY_PREFIX}\`, which are the broker's own and cannot be used by workloads`,
    );
  }
  return checkedPattern(text, segments, 0);
}

function checkedPattern(text: string, segments: readonly string[], firstOfPath: number): Pattern {
  if (segments.length > MAX_PATTERN_SEGMENTS)
    throw new PatternError(`has more than ${MAX_PATTERN_SEGMENTS} segments`);
  for (const [i, segment] of segments.entries()) {
    if (i < firstOfPath) continue;
    if (segment === '') throw new PatternError('has an empty segment, or a slash at its start or end');
    if (segment === '.' || segment === '..') throw new PatternError('has a dot segment');
    if (segment === '**' && segments[i - 1] === '**')
      throw new PatternError('has `**` twice in a row; once means the same');
    if (segment === '*' || segment === '**') continue;
    if (segment.includes('*'))
      throw new PatternError('has a wildcard inside a segment; `*` stands for a whole one');
    if (!SEGMENT.test(segment)) {
      throw new PatternError('has a character other than letters, digits, dot, dash, underscore and slash');
    }
  }
  return { text, segments, exact: !segments.includes('*') && !segments.includes('**') };
}

/** What `matchesPattern` takes for a SPIFFE ID. */
export function spiffeIdSegments(id: SpiffeId): readonly string[] {
  return [id.trustDomain, ...id.segments];
}

/** `segments` must be of a well-formed name: an empty segment would match `*`. */
export function matchesPattern(pattern: Pattern, segments: readonly string[]): boolean {
  // Bit i: everything before the pattern's segment i has matched what was read so far.
  let states = withEmptyRuns(pattern, 1);
  for (const segment of segments) {
    states = step(pattern, states, segment);
    if (states === 0) return false;
  }
  return (states & (1 << pattern.segments.length)) !== 0;
}

// `**` may stand for nothing, so what is ready for it is ready for what follows. Two never stand in a row.
function withEmptyRuns(pattern: Pattern, states: number): number {
  let reached = states;
  for (let i = 0; i < pattern.segments.length; i++) {
    if ((reached & (1 << i)) !== 0 && pattern.segments[i] === '**') reached |= 1 << (i + 1);
  }
  return reached;
}

/** `segment` undefined: one segment of which nothing is known, so that only wildcards take it. */
function step(pattern: Pattern, states: number, segment: string | undefined): number {
  let next = 0;
  for (let i = 0; i < pattern.segments.length; i++) {
    if ((states & (1 << i)) === 0) continue;
    const expected = pattern.segments[i];
    if (expected === '**') next |= 1 << i;
    else if (expected === '*' || expected === segment) next |= 1 << (i + 1);
  }
  return withEmptyRuns(pattern, next);
}

/** Whether some name matches both. Exact, but for the bound on a name's length, which it ignores. */
export function patternsOverlap(a: Pattern, b: Pattern): boolean {
  if (a.exact && b.exact) return a.text === b.text;
  if (a.exact) return matchesPattern(b, a.segments);
  if (b.exact) return matchesPattern(a, b.segments);
  // Row i, bit j: one beginning of a name can bring a to its segment i and b to its segment j.
  const rows = new Array<number>(a.segments.length + 1).fill(0);
  rows[0] = 1;
  for (let i = 0; i <= a.segments.length; i++) {
    const left = a.segments[i];
    for (let j = 0; j <= b.segments.length; j++) {
      const row = rows[i] ?? 0;
      if ((row & (1 << j)) === 0) continue;
      const right = b.segments[j];
      if (left === '**') rows[i + 1] = (rows[i + 1] ?? 0) | (1 << j);
      if (right === '**') rows[i] = (rows[i] ?? 0) | (1 << (j + 1));
      if (left === undefined || right === undefined) continue;
      // A `**` that takes a segment stays where it is.
      if (left === '**' && right !== '**') rows[i] = (rows[i] ?? 0) | (1 << (j + 1));
      else if (right === '**' && left !== '**') rows[i + 1] = (rows[i + 1] ?? 0) | (1 << j);
      else if (left === right || left === '*' || right === '*')
        rows[i + 1] = (rows[i + 1] ?? 0) | (1 << (j + 1));
    }
  }
  return ((rows[a.segments.length] ?? 0) & (1 << b.segments.length)) !== 0;
}

/**
 * Whether `wide` surely matches everything that `narrow` does. Sound, not complete: `false` may be wrong where only
 * several wildcards together cover the other pattern. For warnings, never for decisions.
 */
export function patternCovers(wide: Pattern, narrow: Pattern): boolean {
  let states = withEmptyRuns(wide, 1);
  for (const segment of narrow.segments) {
    if (segment === '**') {
      let runs = 0;
      for (let i = 0; i < wide.segments.length; i++) {
        if ((states & (1 << i)) !== 0 && wide.segments[i] === '**') runs |= 1 << i;
      }
      states = withEmptyRuns(wide, runs);
    } else {
      states = step(wide, states, segment === '*' ? undefined : segment);
    }
    if (states === 0) return false;
  }
  return (states & (1 << wide.segments.length)) !== 0;
}
