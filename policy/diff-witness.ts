/**
 * Names that stand for patterns: a witness of a pattern is a name that it matches and that no pattern matches only
 * by accident, because every segment that a wildcard stands for is one that nobody writes.
 */
import type { Pattern } from './pattern.ts';

const ANY = 'any';

/**
 * A name that both patterns match; undefined: there is none. `taken` holds every literal segment of the patterns in
 * question.
 */
export function sharedWitness(
  a: Pattern,
  b: Pattern,
  taken: ReadonlySet<string>,
): readonly string[] | undefined {
  const fresh = freshSegment(taken);
  // Depth first over (segment of a, segment of b), at most 31 × 31 of them. A `**` stands for nothing where that
  // leads on, and for one segment where it must.
  const dead = new Set<number>();
  const walk = (i: number, j: number, name: readonly string[]): readonly string[] | undefined => {
    const left = a.segments[i];
    const right = b.segments[j];
    if (left === undefined && right === undefined) return name;
    const place = i * 64 + j;
    if (dead.has(place)) return undefined;
    const found =
      (left === '**' ? walk(i + 1, j, name) : undefined) ??
      (right === '**' ? walk(i, j + 1, name) : undefined) ??
      step(i, j, left, right, name);
    if (found === undefined) dead.add(place);
    return found;
  };
  const step = (
    i: number,
    j: number,
    left: string | undefined,
    right: string | undefined,
    name: readonly string[],
  ): readonly string[] | undefined => {
    if (left === undefined || right === undefined || (left === '**' && right === '**')) return undefined;
    const segment = isWild(left) ? (isWild(right) ? fresh : right) : left;
    if (!isWild(left) && !isWild(right) && left !== right) return undefined;
    return walk(left === '**' ? i : i + 1, right === '**' ? j : j + 1, [...name, segment]);
  };
  const name = walk(0, 0, []);
  // `**` alone may stand for no segment at all, and that is no name.
  return name === undefined || name.length > 0 ? name : [fresh];
}

/** The same of one pattern: where it has a `**`, names in which that stands for two segments, for one and for none. */
export function witnesses(pattern: Pattern, taken: ReadonlySet<string>): readonly (readonly string[])[] {
  const fresh = freshSegment(taken);
  const lengths = pattern.segments.includes('**') ? [2, 1, 0] : [0];
  return lengths
    .map((length) =>
      pattern.segments.flatMap((segment) =>
        segment === '**' ? new Array<string>(length).fill(fresh) : segment === '*' ? [fresh] : [segment],
      ),
    )
    .filter((name) => name.length > 0);
}

function isWild(segment: string): boolean {
  return segment === '*' || segment === '**';
}

function freshSegment(taken: ReadonlySet<string>): string {
  let name = ANY;
  for (let i = 2; taken.has(name); i++) name = `${ANY}${i}`;
  return name;
}
